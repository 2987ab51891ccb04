//! Hubs asked now and then which of their ports have changed.

use super::{CHANGES, HUB_CHANNEL, Host, MOST_DEVICES, WATCH, WATCH_PATIENCE};
use crate::bus::Bus;
use crate::dma::{DmaMemory, LINE};
use crate::drivers::dwc2::channel::{Pid, Progress, Transfer, TransferError};
use crate::drivers::usb::Class;
use crate::drivers::usb::descriptors::{self, Direction, EndpointKind};
use crate::drivers::usb::request::Speed;

impl<B: Bus, D: DmaMemory, C: Class> Host<B, D, C> {
    /// Asks one hub after the other whether ports of it have changed. Whether there was something to do.
    pub(super) fn watch(&mut self, now: u64) -> bool {
        if self.watching {
            return match self.controller.poll(HUB_CHANNEL, now) {
                Progress::Running => false,
                Progress::Idle => {
                    self.watching = false;
                    true
                }
                Progress::Ended(ending) => {
                    self.watching = false;
                    self.heard(ending.result, ending.next);
                    true
                }
            };
        }
        if now < self.watch_at {
            return false;
        }
        self.watch_at = now + WATCH;
        let hubs = (self.watched + 1..MOST_DEVICES).chain(0..=self.watched);
        let next = hubs.into_iter().find(|index| self.hub(*index).is_some());
        if let Some(index) = next {
            self.watched = index;
            self.ask_for_changes(index, now);
        }
        true
    }

    fn ask_for_changes(&mut self, index: usize, now: u64) {
        let (Some(target), Some(hub)) = (self.target(index), self.hub(index)) else {
            return;
        };
        let fits = |packet| (1..=LINE as u16).contains(&packet);
        let endpoint = hub.changes.filter(|endpoint| fits(endpoint.max_packet));
        let Some(endpoint) = endpoint else {
            let all = hub.all_ports();
            if let Some(hub) = self.hub_mut(index) {
                hub.unseen = all;
            }
            return;
        };
        let transfer = Transfer {
            device: target.address,
            endpoint: endpoint.number,
            kind: EndpointKind::Interrupt,
            direction: Direction::In,
            low_speed: target.speed == Speed::Low,
            max_packet: endpoint.max_packet,
            pid: hub.next,
            memory: self.memory.bus_address().wrapping_add(CHANGES as u32),
            length: endpoint.max_packet.into(),
            deadline: Some(now + WATCH_PATIENCE),
        };
        self.memory.invalidate(CHANGES..CHANGES + LINE);
        self.watching = self.controller.start(HUB_CHANNEL, transfer).is_ok();
    }

    /// A hub has told which of its ports have changed, or has not.
    fn heard(&mut self, result: Result<(), TransferError>, next: Pid) {
        let ports = match result {
            Ok(()) => {
                self.memory.invalidate(CHANGES..CHANGES + LINE);
                let bytes = self.memory.bytes(CHANGES..CHANGES + 2);
                descriptors::word(bytes, 0).unwrap_or(0)
            }
            Err(TransferError::Nothing) => 0,
            // The control pipe will find out.
            Err(_) => u16::MAX,
        };
        let watched = self.watched;
        if let Some(hub) = self.hub_mut(watched) {
            hub.next = next;
            hub.unseen |= ports & hub.all_ports();
        }
    }
}
