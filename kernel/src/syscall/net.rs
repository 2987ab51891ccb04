//! Calls on packet filters, packet rings and send capabilities.

use exopi_abi::capability::{Body, Kind, Rights};
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{Atom, AtomError, Completion, MAX_ATOMS, MAX_RING_PAGES, Program};
use exopi_abi::{Error, PageNumber, Progress, UserBytes};
use exopi_domains::{Subject, Target};
use exopi_frames::{Books, Claim, Frames, Step};

use crate::arch::user;
use crate::kernel::lock;
use crate::network::{self, Arena, ENOUGH_PIECES, Linear, MOST_FRAMES};

/// Most pieces that one call looks at.
const MOST_PIECES: usize = 16;

/// What a filter or send capability is named by. Nobody is one.
fn claim(target: Target<'_>) -> Result<Claim<'_>, Error> {
    match target {
        Target::Own => Err(Error::NotYours),
        Target::Owned(name) => Ok(Claim::Owned(name)),
        Target::Verified(verified) => Ok(Claim::Verified(verified)),
    }
}

/// The name of a ring, which only its owner has a use for.
fn ring(target: Target<'_>) -> Result<ObjectName, Error> {
    match target {
        Target::Owned(name) => Ok(name),
        _ => Err(Error::NotYours),
    }
}

/// Copies in as many words as `bytes` has.
fn words<'w>(bytes: &UserBytes<'_>, into: &'w mut [u64]) -> Result<&'w [u64], Error> {
    let length = usize::try_from(bytes.length()).map_err(|_| Error::BadCount)?;
    let count = length / size_of::<u64>();
    let words = into.get_mut(..count).ok_or(Error::BadCount)?;
    if !length.is_multiple_of(size_of::<u64>()) {
        return Err(Error::BadCount);
    }
    if user::copy_in_words(bytes, words) != length {
        return Err(Error::BadAddress);
    }
    Ok(words)
}

/// Copies a list of atoms in, checks it, and calls with it.
fn with_atoms<R>(
    bytes: &UserBytes<'_>,
    call: impl FnOnce(Program<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    let mut place = [0; 3 * MAX_ATOMS];
    let words = words(bytes, &mut place)?;
    let (words, rest) = words.as_chunks::<3>();
    if !rest.is_empty() {
        return Err(Error::BadCount);
    }
    let mut atoms = [Atom::default(); MAX_ATOMS];
    for (atom, words) in atoms.iter_mut().zip(words) {
        *atom = Atom::from_words(*words);
    }
    let atoms = atoms.get(..words.len()).unwrap_or_default();
    call(Program::new(atoms).map_err(AtomError::told)?)
}

/// Progress of one thing.
fn progress(step: Result<Step, Error>) -> Progress {
    match step {
        Ok(step) => Progress {
            done: (step == Step::Done).into(),
            stopped: None,
        },
        Err(error) => Progress::refused(error),
    }
}

/// Does `work` under the kernel lock.
fn enter<R>(work: impl FnOnce(&mut Frames<'static>, &mut Books<'_, 'static>) -> R) -> R {
    network::with(&mut lock(), work)
}

pub(super) fn mint(
    by: &Subject,
    kind: Kind,
    index: u64,
    count: u64,
    rights: u64,
) -> Result<Body, Error> {
    let rights = u16::try_from(rights).map_err(|_| Error::Malformed)?;
    let rights = Rights::from_bits(rights);
    if !kind.rights().contains(rights) {
        return Err(Error::Malformed);
    }
    if count != 1 {
        return Err(Error::BadCount);
    }
    enter(|frames, _| frames.cap_mint(&network::by(by), kind, index, rights))
}

pub(super) fn split(by: &Subject, filter: Target<'_>, atoms: &UserBytes<'_>) -> Result<u64, Error> {
    with_atoms(atoms, |key| {
        let (by, filter) = (network::by(by), claim(filter)?);
        let position = enter(|frames, books| frames.dpf_split(&by, filter, key, books, &mut Arena));
        position.map(|position| position as u64)
    })
}

pub(super) fn insert(
    by: &Subject,
    parent: Target<'_>,
    key: u64,
    atoms: &UserBytes<'_>,
    to: Target<'_>,
) -> Result<ObjectName, Error> {
    with_atoms(atoms, |atoms| {
        let (by, parent) = (network::by(by), claim(parent)?);
        let to = match to {
            Target::Own => None,
            _ => Some(ring(to)?),
        };
        let key = usize::try_from(key).map_err(|_| Error::OutOfRange)?;
        enter(|frames, books| frames.dpf_insert(&by, parent, key, atoms, to, books))
    })
}

pub(super) fn delete(by: &Subject, filter: Target<'_>, keep: u64) -> Progress {
    let by = network::by(by);
    progress(
        claim(filter).and_then(|filter| {
            enter(|frames, books| frames.dpf_delete(&by, filter, keep != 0, books))
        }),
    )
}

pub(super) fn refer(by: &Subject, filter: Target<'_>, to: Target<'_>) -> Result<(), Error> {
    let (by, filter, to) = (network::by(by), claim(filter)?, ring(to)?);
    enter(|frames, books| frames.dpf_ref(&by, filter, to, books))
}

pub(super) fn unrefer(by: &Subject, filter: Target<'_>, to: Target<'_>) -> Result<(), Error> {
    let (by, to) = (network::by(by), ring(to)?);
    let filter = match claim(filter)? {
        Claim::Owned(name) => name,
        Claim::Verified(verified) => ObjectName {
            index: verified.index() as u16,
            epoch: verified.epoch(),
        },
    };
    enter(|frames, books| frames.dpf_unref(&by, filter, to, books))
}

pub(super) fn route(by: &Subject, filter: Target<'_>, to: Target<'_>) -> Result<(), Error> {
    let (by, filter, to) = (network::by(by), claim(filter)?, ring(to)?);
    enter(|frames, books| frames.dpf_pktring(&by, filter, to, books))
}

pub(super) fn set_ring(
    by: &Subject,
    entry: u64,
    pages: &UserBytes<'_>,
    notice: u64,
) -> Result<ObjectName, Error> {
    let mut place = [0; MAX_RING_PAGES];
    let words = words(pages, &mut place)?;
    let mut numbers = [PageNumber::new(0); MAX_RING_PAGES];
    for (number, word) in numbers.iter_mut().zip(words) {
        let word = u32::try_from(*word).map_err(|_| Error::OutOfRange)?;
        *number = PageNumber::new(word);
    }
    let numbers = numbers.get(..words.len()).unwrap_or_default();
    let by = network::by(by);
    enter(|frames, books| frames.pktring_setring(&by, entry, numbers, notice, books))
}

pub(super) fn mod_ring(
    by: &Subject,
    of: Target<'_>,
    at: u64,
    page: PageNumber,
) -> Result<(), Error> {
    let (by, of) = (network::by(by), ring(of)?);
    enter(|frames, books| frames.pktring_modring(&by, of, at, page, books))
}

pub(super) fn del_ring(by: &Subject, of: Target<'_>) -> Progress {
    let by = network::by(by);
    progress(ring(of).and_then(|of| enter(|frames, books| frames.pktring_delring(&by, of, books))))
}

pub(super) fn tap(by: &Subject, root: Target<'_>, to: Target<'_>) -> Result<(), Error> {
    let (by, root, to) = (network::by(by), claim(root)?, ring(to)?);
    enter(|frames, _| frames.nettap(&by, root, to))
}

pub(super) fn refine(
    by: &Subject,
    from: Target<'_>,
    atoms: &UserBytes<'_>,
) -> Result<ObjectName, Error> {
    with_atoms(atoms, |atoms| {
        let (by, from) = (network::by(by), claim(from)?);
        enter(|frames, books| frames.send_refine(&by, from, atoms, books))
    })
}

pub(super) fn delete_send(by: &Subject, send: Target<'_>) -> Progress {
    let by = network::by(by);
    let ended = match send {
        Target::Owned(name) => enter(|frames, books| frames.send_delete(&by, name, books)),
        _ => Err(Error::NotYours),
    };
    progress(ended)
}

pub(super) fn transmit(
    by: &Subject,
    send: Target<'_>,
    pieces: &UserBytes<'_>,
    completion: Completion,
) -> Progress {
    let mut place = [0; MOST_PIECES];
    let (send, mut left) = match claim(send).and_then(|send| Ok((send, words(pieces, &mut place)?)))
    {
        Ok(found) => found,
        Err(error) => return Progress::refused(error),
    };
    let by = network::by(by);
    let all = left.len();
    let stopped = enter(|frames, books| {
        let mut stopped = None;
        for _ in 0..MOST_FRAMES {
            let done = all - left.len();
            if left.is_empty() && all > 0 || done > ENOUGH_PIECES {
                break;
            }
            match frames.net_xmit(&by, send, left, completion, &Linear::new(), books) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
        }
        network::depart(frames, books);
        stopped
    });
    Progress {
        done: (all - left.len()) as u64,
        stopped,
    }
}
