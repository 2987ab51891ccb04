//! What the victim has of a network.

use alloc::boxed::Box;
use alloc::vec::Vec;

use exopi_rt::capability::{FilterRights, SendRights};
use exopi_rt::domain::ObjectName;
use exopi_rt::net::{Filter, NO_NOTICE, Piece, Send, filter_index};
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::{Cap, Object, PageNumber, UserBytes, exposed, memory, stubs};

use super::Caps;
use crate::harness::{Failure, Outcome};
use crate::suites::frames::{self, BY_TYPE, byte_at, of_type};

/// A filter, a ring and a send capability.
pub(super) struct Network {
    pub(super) filter: ObjectName,
    pub(super) filter_caps: Caps<FilterRights>,
    pub(super) ring: ObjectName,
    pub(super) send: ObjectName,
    pub(super) send_caps: Caps<SendRights>,
    page: PageNumber,
    /// An atom, and a piece of the page.
    pub(super) words: Box<[u64; 4]>,
}

/// As a register holds it.
pub(super) fn named(name: ObjectName) -> u64 {
    let mut words = Arguments::new([0; 6]);
    Object::Owned(name).encode(&mut words);
    words.words()[0]
}

impl Network {
    pub(super) fn new() -> Result<Self, Failure> {
        let root = Filter::Owned(frames::root()?);
        let all = Send::Owned(frames::first_send()?);
        let filter = || root.insert(BY_TYPE, &[of_type(0x88f0)], None);
        let send = || all.refine(&[byte_at(6, 2)]);
        let of_filter = |name: ObjectName| Cap::mint(name.index.into(), 1, FilterRights::all());
        let of_send = |name: ObjectName| Cap::mint(name.index.into(), 1, SendRights::all());
        let gone = filter()?;
        let stale_filter = of_filter(gone)?;
        Filter::Owned(gone).delete()?;
        let gone = send()?;
        let stale_send = of_send(gone)?;
        Send::Owned(gone).delete()?;
        let (filter, send) = (filter()?, send()?);
        let page = memory::take_page()?;
        let number = u64::from(page.get()).to_le_bytes();
        let ring = stubs::pktring_setring(11, UserBytes::from(&number[..]), NO_NOTICE)?;
        let [head, mask, value] = byte_at(14, 0).into_words();
        let piece = Piece {
            page,
            offset: 0,
            length: 64,
            last: true,
        };
        Ok(Self {
            filter_caps: Caps {
                all: of_filter(filter)?,
                stale: stale_filter,
            },
            filter,
            ring,
            send_caps: Caps {
                all: of_send(send)?,
                stale: stale_send,
            },
            send,
            page,
            words: Box::new([head, mask, value, piece.into_word()]),
        })
    }

    pub(super) fn close(&self) -> Outcome {
        Filter::Owned(self.filter).delete()?;
        Send::Owned(self.send).delete()?;
        stubs::pktring_delring(Object::Owned(self.ring)).unless_stopped()?;
        Ok(memory::give_page(self.page)?)
    }
}

/// What tells of each filter, ring and send capability that nobody but its owner may change it.
pub(super) fn records() -> Vec<[u64; 3]> {
    let filters = (0..exposed::header().filters.count as usize)
        .filter_map(|number| exposed::filter_at(filter_index(0, number)?))
        .map(|it| {
            let counts = u64::from(it.keys) | u64::from(it.references) << 8;
            [it.epoch, counts, it.state as u64]
        });
    let rings = (0..exposed::header().rings.count as u16)
        .filter_map(exposed::ring_at)
        .map(|it| {
            let counts = u64::from(it.references) | u64::from(it.pages) << 16;
            [
                it.epoch,
                counts,
                u64::from(it.tap) | u64::from(it.leaving) << 8,
            ]
        });
    let sends = (0..exposed::header().sends.count as u16)
        .filter_map(exposed::send_at)
        .map(|it| [it.epoch, it.frames, it.leaving.into()]);
    filters.chain(rings).chain(sends).collect()
}
