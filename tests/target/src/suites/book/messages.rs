//! Messages that the kernel copies, from whoever may call to a ring of the receiver's own.

use exopi_ipc::MessageRing;
use exopi_ipc::messages::Sender;
use exopi_rt::{Environment, tables};

use crate::area::AREA;
use crate::harness::{Failure, Outcome};
use crate::peer::{Shared, me, shared_words};

pub(super) fn a_letter_to_oneself() -> Outcome {
    // A page of this program's, mapped at `AREA`: room for 16 messages.
    let memory = Shared::new(1)?;
    let mapping = tables::mapping_of(AREA).ok_or_else(|| Failure::new("it is mapped"))?;

    // SAFETY: the page is the one that is mapped there.
    let mut ring = unsafe { MessageRing::new(shared_words(0, 1)?, mapping.page, 13) }?;

    // Whoever may call the receiver may send. Here that is the receiver; it could be anybody, on any core.
    let sender = Sender::bind(Environment::Own)?;
    sender.try_send(b"up to 240 bytes")?;

    // The message is looked at where it lies, and its entry is free again behind that. Who has sent it the kernel says.
    let mut copy = [0; 240];
    let seen = ring.look(|letter| (letter.sender, letter.copy(&mut copy).len()));
    check_eq!(seen, Some((me()?, 15)));
    check_eq!(copy[..15], *b"up to 240 bytes");

    drop(ring);
    memory.close()
}
