//! Descriptors of real devices, and any bytes instead of them.

use proptest::prelude::*;

use super::descriptors::{
    Configuration, DeviceDescriptor, Direction, EndpointKind, HubDescriptor, ascii,
};
use super::request::{MOST_IN, MOST_OUT, Request};

/// Configuration 1 of the emulator's adapter: CDC Ethernet.
const CDC: [u8; 80] = [
    9, 2, 80, 0, 2, 1, 7, 0xc0, 50, // configuration
    9, 4, 0, 0, 1, 2, 6, 0, 5, // interface 0
    5, 0x24, 0, 0x10, 1, // header
    5, 0x24, 6, 0, 1, // union
    13, 0x24, 0x0f, 3, 0, 0, 0, 0, 0xea, 5, 0, 0, 0, // Ethernet
    7, 5, 0x81, 3, 16, 0, 32, // notifications
    9, 4, 1, 0, 0, 0x0a, 0, 0, 0, // interface 1, nothing
    9, 4, 1, 1, 2, 0x0a, 0, 0, 4, // interface 1, alternate 1
    7, 5, 0x82, 2, 64, 0, 0, 7, 5, 0x02, 2, 64, 0, 0,
];

#[test]
fn a_configuration_is_read() {
    assert_eq!(Configuration::total_bytes(&CDC), Some(80));
    let configuration = Configuration::parse(&CDC).unwrap();
    assert_eq!(configuration.value, 1);
    let interfaces: Vec<_> = configuration.interfaces().collect();
    let seen: Vec<_> = interfaces
        .iter()
        .map(|it| (it.number, it.alternate, it.class))
        .collect();
    let expected = [(0, 0, [2, 6, 0]), (1, 0, [10, 0, 0]), (1, 1, [10, 0, 0])];
    assert_eq!(seen, expected);
    assert_eq!(interfaces[0].functional(0x0f), Some(&CDC[28..41]));
    assert_eq!(interfaces[2].functional(0x0f), None);
    // Endpoints are the interface's own, not those after the next one.
    let bulk = |it: usize, direction| interfaces[it].endpoint(EndpointKind::Bulk, direction);
    assert_eq!(bulk(0, Direction::In), None);
    assert_eq!(bulk(1, Direction::In), None);
    let input = bulk(2, Direction::In).unwrap();
    assert_eq!(
        (input.number, input.max_packet, input.address()),
        (2, 64, 0x82)
    );
    let output = bulk(2, Direction::Out).unwrap();
    assert_eq!((output.number, output.address()), (2, 2));
}

#[test]
fn a_configuration_that_is_cut_off_or_has_no_value_is_none() {
    for length in 0..CDC.len() {
        assert_eq!(Configuration::parse(&CDC[..length]), None, "{length}");
    }
    let changes: [(usize, u8); 6] = [(5, 0), (1, 1), (2, 79), (0, 8), (9, 1), (9, 0)];
    for (at, value) in changes {
        let mut bytes = CDC;
        bytes[at] = value;
        assert_eq!(Configuration::parse(&bytes), None, "{at}");
    }
}

#[test]
fn a_device_is_read() {
    let bytes = [
        18, 1, 0, 2, 2, 0, 0, 64, 0x25, 0x05, 0xa2, 0xa4, 0, 0, 1, 2, 10, 2,
    ];
    let device = DeviceDescriptor::parse(&bytes).unwrap();
    assert_eq!((device.vendor, device.product), (0x0525, 0xa4a2));
    assert_eq!((device.class, device.configurations), (2, 2));
    assert_eq!(DeviceDescriptor::max_packet(&bytes[..8]), Some(64));
    for length in 0..18 {
        assert_eq!(DeviceDescriptor::parse(&bytes[..length]), None);
    }
    for packet in (0..=255).filter(|packet| ![8, 16, 32, 64].contains(packet)) {
        let mut bytes = bytes;
        bytes[7] = packet;
        assert_eq!(DeviceDescriptor::max_packet(&bytes), None);
    }
}

#[test]
fn a_hub_is_read() {
    let hub = HubDescriptor::parse(&[9, 0x29, 4, 0, 0, 50, 0, 0, 0xff]).unwrap();
    assert_eq!((hub.ports, hub.power_good), (4, 100_000));
    assert_eq!(
        HubDescriptor::parse(&[9, 0x29, 0, 0, 0, 50, 0, 0, 0xff]),
        None
    );
    assert_eq!(HubDescriptor::parse(&[9, 0x29, 4, 0, 0, 50]), None);
}

#[test]
fn strings_end_where_they_do() {
    let text = |bytes: &[u8]| ascii(bytes).collect::<Vec<_>>();
    assert_eq!(text(&[6, 3, b'4', 0, b'0', 0]), b"40");
    assert_eq!(text(&[6, 3, b'4', 0, b'0', 1]), b"4");
    assert_eq!(text(&[8, 3, b'4', 0, b'0', 0]), b"");
    assert_eq!(text(&[6, 2, b'4', 0, b'0', 0]), b"");
    assert_eq!(text(&[1, 3]), b"");
}

#[test]
fn requests_are_as_the_standard_has_them() {
    assert_eq!(Request::set_address(5).setup(), [0, 5, 5, 0, 0, 0, 0, 0]);
    let descriptor = Request::descriptor(2, 1, 300);
    assert_eq!(descriptor.setup(), [0x80, 6, 1, 2, 0, 0, 44, 1]);
    let string = Request::descriptor(3, 3, 64);
    assert_eq!(string.setup(), [0x80, 6, 3, 3, 9, 4, 64, 0]);
    assert_eq!(Request::set_port(4, 3).setup(), [0x23, 3, 4, 0, 3, 0, 0, 0]);
    assert_eq!(Request::port_status(2).setup(), [0xa3, 0, 0, 0, 2, 0, 4, 0]);
    assert_eq!(
        Request::clear_halt(0x82).setup(),
        [2, 1, 0, 0, 0x82, 0, 0, 0]
    );
    let data = Request::write(0x40, 0xa0, 0, 0x104, &[1, 2, 3, 4]);
    assert_eq!(data.setup(), [0x40, 0xa0, 0, 0, 4, 1, 4, 0]);
    assert_eq!(data.data(), [1, 2, 3, 4]);
    // No more than there is room for.
    assert_eq!(Request::write(0, 0, 0, 0, &[0; 999]).data().len(), MOST_OUT);
    let most = Request::descriptor(2, 0, u16::MAX).length;
    assert_eq!(usize::from(most), MOST_IN);
}

proptest! {
    /// Any bytes: all parsers end, with a value or none, and what they give is sane.
    #[test]
    fn any_bytes_are_parsed(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        fix in any::<bool>(),
    ) {
        if fix && bytes.len() >= 9 {
            let [low, high] = (bytes.len() as u16).to_le_bytes();
            bytes[..4].copy_from_slice(&[9, 2, low, high]);
        }
        let _ = DeviceDescriptor::parse(&bytes);
        if let Some(hub) = HubDescriptor::parse(&bytes) {
            prop_assert!(hub.ports > 0);
        }
        prop_assert!(ascii(&bytes).all(|byte| byte.is_ascii()));
        if let Some(configuration) = Configuration::parse(&bytes) {
            for interface in configuration.interfaces() {
                for direction in [Direction::In, Direction::Out] {
                    let endpoint = interface.endpoint(EndpointKind::Bulk, direction);
                    prop_assert!(endpoint.is_none_or(|it| it.number > 0 && it.max_packet > 0));
                }
                let _ = interface.functional(6);
            }
        }
    }

    /// A sane configuration with some bytes changed.
    #[test]
    fn changed_configurations_are_parsed(
        changes in prop::collection::vec((0..80_usize, any::<u8>()), 1..6),
    ) {
        let mut bytes = CDC;
        for (at, value) in changes {
            bytes[at] = value;
        }
        if let Some(configuration) = Configuration::parse(&bytes) {
            prop_assert!(configuration.interfaces().count() <= 9);
        }
    }
}
