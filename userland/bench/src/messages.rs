//! The rows about message rings: a message of 64 bytes to the program's own ring, and its receipt.
//!
//! One message always waits in the ring, so that none comes with a notice.

use exopi_ipc::loan::words_at;
use exopi_ipc::messages::{MessageRing, Sender};
use exopi_rt::{Access, Call, Environment, Error, VirtAddr, memory, upcall};

use crate::measure::{self, Sample};
use crate::rows::{Row, WINDOW, refused};

/// Bytes of a message.
const BYTES: usize = 64;
/// Where the ring is.
const RING: u64 = WINDOW + 0x14_0000;
/// The ring's notice.
const BIT: u64 = 13;

/// A round: what sending took, and what receiving did.
fn round(sender: &Sender, ring: &mut MessageRing) -> Result<[Sample; 2], Error> {
    let bytes = [7; BYTES];
    let words = [sender.slot(), bytes.as_ptr() as u64, BYTES as u64, 0, 0, 0];
    // SAFETY: the call reads the bytes, and writes into the ring's page, whose words are atomic.
    let (sent, reply) = unsafe { measure::call::<{ Call::msgring_send as u16 }>(words) };
    refused(reply)?;
    let mut copy = [0; BYTES];
    let events = measure::events();
    let begin = measure::now();
    let length = ring.look(|letter| letter.copy(&mut copy).len());
    let end = measure::now();
    if length != Some(BYTES) || copy != bytes {
        return Err(Error::Vacant);
    }
    let received = Sample {
        instructions: end - begin - measure::overhead(),
        events: measure::between(events, measure::events()),
    };
    Ok([sent, received])
}

fn measured(name: &'static str, which: usize) -> Result<Row, Error> {
    let at = VirtAddr::new(RING).ok_or(Error::BadAddress)?;
    let page = memory::map_new(at, Access::READ | Access::WRITE)?;
    // SAFETY: the page was mapped there just now, and is nothing but words until the ring is gone.
    let words = unsafe { words_at(at, 1) };
    // SAFETY: the page is the one that is mapped there.
    let mut ring = unsafe { MessageRing::new(words, page, BIT) }?;
    let sender = Sender::bind(Environment::Own)?;
    // The first message comes with a notice. Left waiting, it would be asked for at each end of a masked stretch.
    upcall::on_notice(|_| {});
    sender.try_send(&[7; BYTES])?;
    let row = Row::measured(name, || Ok(round(&sender, &mut ring)?[which]));
    drop(sender);
    drop(ring);
    // SAFETY: nothing refers to it any more.
    unsafe { memory::unmap_and_give(at, page) }?;
    row
}

pub(crate) fn send(name: &'static str) -> Result<Row, Error> {
    measured(name, 0)
}

pub(crate) fn receive(name: &'static str) -> Result<Row, Error> {
    measured(name, 1)
}
