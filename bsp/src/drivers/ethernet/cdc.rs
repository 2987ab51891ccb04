//! CDC Ethernet: bare frames on two bulk endpoints (USB CDC 1.2; its subclass ECM 1.2).
//!
//! A frame ends with a packet that is not full; one of whole packets is followed by an empty one, both ways.
//! The device's address is a string of twelve digits. Devices also tell of the link on an interrupt
//! endpoint, which is not listened to: the link counts as up when the device is.

use super::nic::Offer;
use crate::drivers::usb::descriptors::{ascii, kind};
use crate::drivers::usb::request::{Answer, Request, Step, Target};
use crate::traits::{Link, MacAddress};

/// The functional descriptor with the address's string (ECM 1.2, table 3).
pub(super) const FUNCTIONAL: u8 = 0x0f;
/// The functional descriptor that names the interface for data (CDC 1.2, table 16).
pub(super) const UNION: u8 = 0x06;

/// `SET_ETHERNET_PACKET_FILTER` (ECM 1.2, 6.2.4).
const SET_FILTER: u8 = 0x43;
/// Frames to the device's own address, to all, and to all groups.
const FILTER: u16 = 1 << 2 | 1 << 3 | 1 << 1;
/// Class request to an interface.
const TO_INTERFACE: u8 = 0x21;

#[derive(Clone, Copy, Debug)]
enum Phase {
    Configuration,
    Interface,
    Address,
    Filter,
}

/// A CDC Ethernet device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cdc {
    phase: Phase,
    pub address: Option<MacAddress>,
}

impl Cdc {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Configuration,
            address: None,
        }
    }

    pub(super) fn set_up(&mut self, target: Target, offer: &Offer, answer: Answer<'_>) -> Step {
        let request = match (self.phase, answer) {
            (_, Answer::Begin) => {
                self.phase = Phase::Configuration;
                Request::set_configuration(offer.configuration)
            }
            (Phase::Configuration, Answer::Data(_)) => {
                self.phase = Phase::Interface;
                Request::set_interface(offer.data_interface, offer.alternate)
            }
            (Phase::Interface, Answer::Data(_)) => {
                self.phase = Phase::Address;
                Request::descriptor(kind::STRING, offer.address_string, 64)
            }
            (Phase::Address, Answer::Data(bytes)) => {
                self.address = address(bytes);
                if self.address.is_none() {
                    return Step::Failed;
                }
                self.phase = Phase::Filter;
                let interface = offer.control_interface.into();
                Request::write(TO_INTERFACE, SET_FILTER, FILTER, interface, &[])
            }
            // A device may not know filters: it then lets all in (ECM 1.2, table 6: optional).
            (Phase::Filter, _) => return Step::Done,
            _ => return Step::Failed,
        };
        Step::Ask(target, request)
    }

    pub(super) fn link(&self) -> Link {
        Link::Up
    }
}

/// The address that a string of twelve hexadecimal digits names.
pub(super) fn address(string: &[u8]) -> Option<MacAddress> {
    let mut digits = ascii(string).map(|digit| char::from(digit).to_digit(16));
    let mut bytes = [0; 6];
    for byte in &mut bytes {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = (high << 4 | low) as u8;
    }
    let address = MacAddress(bytes);
    (digits.next().is_none() && address.is_usable()).then_some(address)
}
