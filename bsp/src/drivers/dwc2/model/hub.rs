//! A hub.

use super::unit::{Function, Reply, Unit};
use crate::drivers::usb::Speed;

struct Port {
    unit: Option<Unit>,
    state: u16,
    change: u16,
    reset_until: Option<u64>,
}

/// A hub with some ports.
pub(crate) struct Hub {
    ports: Vec<Port>,
    now: u64,
}

const CONNECTED: u16 = 1;
const ENABLED: u16 = 2;
const RESETTING: u16 = 16;
const POWERED: u16 = 256;

impl Hub {
    /// A hub with these devices plugged in.
    pub(crate) fn unit(speed: Speed, children: Vec<Option<Unit>>) -> Unit {
        let ports = children.into_iter().map(|unit| Port {
            unit,
            state: 0,
            change: 0,
            reset_until: None,
        });
        let hub = Self {
            ports: ports.collect(),
            now: 0,
        };
        let packet = if speed == Speed::High { 64 } else { 8 };
        let device = [
            18, 1, 0, 2, 9, 0, 0, packet, 0x09, 0x04, 0xaa, 0x55, 1, 1, 0, 0, 0, 1,
        ];
        let configuration = vec![
            9, 2, 25, 0, 1, 1, 0, 0xe0, 0, 9, 4, 0, 0, 1, 9, 0, 0, 0, 7, 5, 0x81, 3, 2, 0, 255,
        ];
        Unit::new(speed, Box::new(hub)).with(device, &[configuration])
    }

    fn port(&mut self, number: u8) -> Option<&mut Port> {
        self.ports.get_mut(usize::from(number).checked_sub(1)?)
    }
}

impl Function for Hub {
    fn control(&mut self, setup: [u8; 8], _: &[u8]) -> Option<Vec<u8>> {
        let [kind, request, value, _, index, ..] = setup;
        let now = self.now;
        match (kind, request) {
            (0xa0, 6) => Some(vec![9, 0x29, self.ports.len() as u8, 0, 0, 10, 0, 0, 0xff]),
            (0xa3, 0) => {
                let port = self.port(index)?;
                let [a, b] = port.state.to_le_bytes();
                let [c, d] = port.change.to_le_bytes();
                Some(vec![a, b, c, d])
            }
            (0x23, 3) => {
                let port = self.port(index)?;
                match value {
                    8 => {
                        port.state |= POWERED;
                        if port.unit.is_some() {
                            port.state |= CONNECTED;
                            port.change |= 1;
                        }
                    }
                    4 => {
                        port.state = port.state & !ENABLED | RESETTING;
                        port.reset_until = Some(now + 12_000);
                    }
                    _ => return None,
                }
                Some(Vec::new())
            }
            (0x23, 1) => {
                let port = self.port(index)?;
                match value {
                    1 => port.state &= !ENABLED,
                    16..=20 => port.change &= !(1 << (value - 16)),
                    _ => return None,
                }
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn input(&mut self, _: u8, _: usize) -> Reply {
        let changed = self.ports.iter().enumerate();
        let bits = changed.map(|(n, port)| u16::from(port.change != 0) << (n + 1));
        match bits.sum::<u16>() {
            0 => Reply::Nak,
            bits => Reply::Data(vec![bits as u8]),
        }
    }

    fn reset(&mut self) {
        for port in &mut self.ports {
            port.state = 0;
            port.change = 0;
            port.reset_until = None;
        }
    }

    fn run(&mut self, now: u64) {
        self.now = now;
        for port in &mut self.ports {
            if port.reset_until.is_some_and(|until| now >= until) {
                port.reset_until = None;
                port.state &= !RESETTING;
                port.change |= 16;
                if let Some(unit) = port.unit.as_mut().filter(|unit| !unit.broken) {
                    unit.reset();
                    port.state |= ENABLED;
                    port.state |= match unit.speed {
                        Speed::Low => 0x200,
                        Speed::Full => 0,
                        Speed::High => 0x400,
                    };
                }
            }
        }
    }

    fn children(&mut self) -> Vec<&mut Unit> {
        let on = self
            .ports
            .iter_mut()
            .filter(|port| port.state & ENABLED != 0);
        on.filter_map(|port| port.unit.as_mut()).collect()
    }

    fn unplug(&mut self, port: usize) -> Option<Unit> {
        let port = &mut self.ports[port];
        port.state &= !(CONNECTED | ENABLED);
        port.change |= 1;
        port.unit.take()
    }

    fn plug(&mut self, port: usize, unit: Unit) {
        let port = &mut self.ports[port];
        port.unit = Some(unit);
        port.state |= CONNECTED;
        port.change |= 1;
    }
}
