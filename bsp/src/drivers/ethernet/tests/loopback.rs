//! The interface whose cable leads back.

use super::frame;
use crate::drivers::ethernet::loopback::Loopback;
use crate::traits::{Ethernet, SendError};

fn received(interface: &mut Loopback<4>) -> Option<Vec<u8>> {
    let mut found = None;
    interface.try_receive(|frame| found = Some(frame.to_vec()));
    found
}

#[test]
fn what_is_sent_is_received_in_order_and_a_full_one_says_so() {
    let mut interface = Loopback::<4>::new();
    for round in 0..10 {
        let frames: Vec<_> = (0..4)
            .map(|n| frame(14 + 500 * n, round * 4 + n as u32))
            .collect();
        for frame in &frames {
            let (a, b) = frame.split_at(7);
            interface.try_send(&[a, &[], b], 0).unwrap();
        }
        assert_eq!(interface.try_send(&[&frames[0]], 0), Err(SendError::Full));
        interface.set_receiving(false, 0);
        assert_eq!(received(&mut interface), None);
        interface.set_receiving(true, 0);
        assert_eq!(received(&mut interface).as_ref(), Some(&frames[0]));
        interface.try_send(&[&frames[0]], 0).unwrap();
        for expected in frames[1..].iter().chain([&frames[0]]) {
            assert_eq!(received(&mut interface).as_ref(), Some(expected));
        }
        assert_eq!(received(&mut interface), None);
    }
}

#[test]
fn lengths_that_are_no_frames_are_refused_and_a_reset_loses_what_waits() {
    let mut interface = Loopback::<4>::new();
    for length in [0, 13, 1515] {
        let result = interface.try_send(&[&vec![0; length]], 0);
        assert_eq!(result, Err(SendError::Length));
    }
    interface.try_send(&[&[1; 1514]], 0).unwrap();
    interface.reset(0);
    assert_eq!(received(&mut interface), None);
    let counters = interface.counters();
    assert_eq!((counters.lost, counters.received), (1, 0));
}
