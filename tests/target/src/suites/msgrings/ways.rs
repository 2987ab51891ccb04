//! What is refused, what is stamped, and what becomes of the pages.

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_ipc::messages::Sender;
use exopi_rt::capability::{Badge, EnvironmentRights};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::FrameType;
use exopi_rt::pages::Run;
use exopi_rt::revocation::{RevocationState, Wanted};
use exopi_rt::uarea::UpcallClass;
use exopi_rt::{Account, Call, Environment, Error, PageNumber, exposed, stubs, time, upcall};

use super::{BIT, refused, ring, ring_page};
use crate::area::{AREA, RW, insert, place, record, remove};
use crate::harness::{Failure, Outcome};
use crate::other::wait;
use crate::peer::{Shared, me};
use crate::second::Second;

pub(super) fn refusals() -> Outcome {
    let shared = Shared::new(1)?;
    let sender = Sender::bind(Environment::Own)?;
    check_eq!(refused(sender.try_send(b"x")), Some(Error::NotAccepting));
    let mut ring = ring(&shared)?;
    check_eq!(refused(sender.try_send(&[0; 241])), Some(Error::TooLong));
    check_eq!(
        refused(stubs::msgring_send(16, b"x"[..].into())),
        Some(Error::NoGate)
    );
    check_eq!(
        refused(stubs::msgring_send(15, b"x"[..].into())),
        Some(Error::NoGate)
    );
    // Where nothing is mapped, and where the last byte is not.
    let mut second = Second::new()?;
    check_eq!(second.call(Call::gate_bind, [0; 6])?.error(), None);
    for at in [AREA + PAGE_SIZE, AREA + PAGE_SIZE - 7] {
        let sent = second.call(Call::msgring_send, [0, at, 8, 0, 0, 0])?;
        check_eq!(sent.error(), Some(Error::BadAddress));
    }
    second.close()?;
    let cap = Environment::Own.mint(EnvironmentRights::SCHEDULE)?;
    let other = Sender::bind((&cap).into())?;
    check_eq!(refused(other.try_send(b"x")), Some(Error::MissingRight));
    check!(ring.look(|_| ()).is_none(), "something has come");
    for n in 0..16_u8 {
        sender.try_send(&[n; 240])?;
    }
    check_eq!(refused(sender.try_send(b"x")), Some(Error::RingFull));
    for n in 0..16_u8 {
        let mut copy = [0; 240];
        let whole = ring.look(|letter| letter.copy(&mut copy) == [n; 240]);
        check_eq!(whole, Some(true));
        check_eq!(refused(sender.try_send(&[n])), None);
    }
    check_eq!(refused(sender.try_send(b"x")), Some(Error::RingFull));
    drop(ring);
    check_eq!(refused(sender.try_send(b"x")), Some(Error::NotAccepting));
    shared.close()
}

pub(super) fn badges() -> Outcome {
    let shared = Shared::new(1)?;
    let mut ring = ring(&shared)?;
    let cap = Environment::Own.mint(EnvironmentRights::CALL)?;
    for number in [1, 0xff_ffff, 77] {
        let badge = Badge::new(number).ok_or(Error::OutOfRange)?;
        let cap = cap.badge(badge)?;
        let sender = Sender::bind((&cap).into())?;
        sender.try_send(&number.to_le_bytes())?;
        let told = ring.look(|letter| (letter.sender, letter.badge, letter.length()));
        check_eq!(told, Some((me()?, number, 4)));
    }
    drop(ring);
    shared.close()
}

/// How often the ring's notice has come.
static TOLD: AtomicU64 = AtomicU64::new(0);

fn told() -> u64 {
    TOLD.load(Ordering::Relaxed)
}

/// Sends to this program, and tells how often its handler has been told by then.
fn tell(sender: &Sender, bytes: &[u8]) -> Result<u64, Failure> {
    sender.try_send(bytes)?;
    Ok(told())
}

pub(super) fn notice() -> Outcome {
    let shared = Shared::new(1)?;
    let sender = Sender::bind(Environment::Own)?;
    let before = upcall::entry(UpcallClass::Notice);
    upcall::on_notice(|notice| {
        if notice.bits() & 1 << BIT != 0 {
            TOLD.fetch_add(1, Ordering::Relaxed);
        }
    });
    // What cases before have left.
    // SAFETY: the handler above has it.
    unsafe { stubs::upcall_deliver() }?;
    let mut ring = ring(&shared)?;
    TOLD.store(0, Ordering::Relaxed);
    let first = tell(&sender, b"first");
    let second = tell(&sender, b"second");
    let seen = ring.look(|letter| letter.length());
    let third = tell(&sender, b"third");
    let rest = [ring.look(|letter| letter.length()), ring.look(|_| 0)];
    let fourth = tell(&sender, b"fourth");
    // SAFETY: it was in force before.
    unsafe { upcall::set_entry(UpcallClass::Notice, before) };
    check_eq!([first?, second?], [1, 1]);
    // The one before the third is there still, and before the fourth there is none.
    check_eq!([third?, fourth?], [1, 2]);
    check_eq!(seen, Some(5));
    check_eq!(rest, [Some(6), Some(0)]);
    drop(ring);
    shared.close()
}

pub(super) fn pages_stay() -> Outcome {
    let shared = Shared::new(1)?;
    let sender = Sender::bind(Environment::Own)?;
    let page = ring_page()?;
    let mut ring = ring(&shared)?;
    check_eq!((record(page)?.pins(), record(page)?.references), (1, 2));
    let run = Run::owned(page, 1);
    check_eq!(run.free().stopped, Some(Error::InUse));
    // A new stamp ends capabilities for it, and is nothing to the ring.
    run.retire().unless_stopped()?;
    sender.try_send(b"after")?;
    check_eq!(ring.look(|letter| letter.length()), Some(5));
    // Pages that are none of this account's, or no memory.
    let mapping = exopi_rt::tables::mapping_of(AREA);
    check!(mapping.is_some(), "it is mapped");
    // SAFETY: the kernel refuses all of these.
    let set = |page, count, bit| unsafe { stubs::msgring_set(page, count, bit) };
    check_eq!(refused(set(page, 0, BIT)), Some(Error::BadCount));
    check_eq!(refused(set(page, 17, BIT)), Some(Error::BadCount));
    check_eq!(refused(set(page, 1, 32)), Some(Error::OutOfRange));
    check_eq!(
        refused(set(PageNumber::new(0), 1, BIT)),
        Some(Error::NotYours)
    );
    check!(ring.is_set(), "a refused call has changed it");
    drop(ring);
    check_eq!((record(page)?.pins(), record(page)?.references), (0, 1));
    shared.close()
}

pub(super) fn unmapped() -> Outcome {
    let shared = Shared::new(1)?;
    let sender = Sender::bind(Environment::Own)?;
    let page = ring_page()?;
    let mut ring = ring(&shared)?;
    remove(place(AREA)?, 1).unless_stopped()?;
    let sent = sender.try_send(b"nobody looks");
    insert(place(AREA)?, page, 1, RW).unless_stopped()?;
    sent?;
    check_eq!(ring.look(|letter| letter.length()), Some(12));
    drop(ring);
    shared.close()
}

pub(super) fn revoked() -> Outcome {
    const PAGES: u64 = 4;
    let mut second = Second::with_pages(PAGES as u32, 0)?;
    second.account().bind()?;
    let first = Run::take_row(PAGES).map(|run| run.first());
    Account::Own.bind()?;
    let first = first?;
    let words = [first.get().into(), PAGES, BIT, 0, 0, 0];
    let set = second.call(Call::msgring_set, words)?;
    check_eq!(set.error(), None);
    let sender = Sender::bind(second.environment())?;
    sender.try_send(b"x")?;
    let index = second.name().index;
    check_eq!(
        exposed::message_ring_at(index).map(|ring| (ring.written, ring.pages)),
        Some((1, 4))
    );
    // SAFETY: what it loses is its own, which nobody uses: its stack is mapped from what is no plain page of these.
    let asked = unsafe {
        stubs::revoke_request(
            second.environment().object(),
            Wanted::Pages(first),
            PAGES as u32,
            time::ticks_per_second() / 1000,
            0,
            9,
        )
    };
    check!(asked.is_ok(), "{asked:?}");
    let outcome = || exposed::revocation_at(index).map(|record| record.state());
    wait(
        || Ok(outcome() == Some(RevocationState::Taken)),
        || alloc::format!("{:?}", exposed::revocation_at(index)),
    )?;
    let ring = exposed::message_ring_at(index);
    check_eq!(ring.map(|ring| ring.is_set()), Some(false));
    check_eq!(refused(sender.try_send(b"x")), Some(Error::NotAccepting));
    for n in 0..PAGES as u32 {
        let page = record(PageNumber::new(first.get() + n))?;
        check_eq!((page.kind, page.pins()), (FrameType::Free, 0));
    }
    drop(sender);
    second.close()
}
