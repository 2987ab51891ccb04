//! Calls on frames of a network, on a machine that has no interface: what they check before they find that there is
//! nothing that they name.

use exopi_abi::domain::ObjectName;
use exopi_abi::net::{Atom, AtomError, Completion, MAX_ATOMS, MAX_RING_PAGES, Program};
use exopi_abi::{Error, Object, PageNumber, Progress, UserBytes};
use exopi_domains::Target;
use exopi_filter::KeyId;
use exopi_frames::{Books, By, Claim, Code, Frames, Memory, Step};

use crate::kernel::Kernel;

/// Most pieces that one call looks at.
const MOST_PIECES: usize = 16;

/// Nothing is ever placed here, and no frame is read.
struct Nothing;

impl Code for Nothing {
    fn place(&mut self, _: usize, _: KeyId, _: &[u32]) -> Option<u32> {
        None
    }
}

impl Memory for Nothing {
    fn load(&self, _: PageNumber, _: usize) -> u32 {
        unreachable!("there is no interface")
    }

    fn store(&mut self, _: PageNumber, _: usize, _: u32) {
        unreachable!("there is no interface")
    }

    fn write(&mut self, _: PageNumber, _: usize, _: &[u8]) {
        unreachable!("there is no interface")
    }

    fn read(&self, _: PageNumber, _: usize, _: &mut [u8]) {
        unreachable!("there is no interface")
    }

    fn copy(&mut self, _: (PageNumber, usize), _: (PageNumber, usize), _: usize) {
        unreachable!("there is no interface")
    }

    fn count(&mut self, _: PageNumber, _: usize) {
        unreachable!("there is no interface")
    }

    fn tell(&mut self, _: ObjectName, _: u8) {
        unreachable!("there is no interface")
    }
}

fn claim(target: Target<'_>) -> Result<Claim<'_>, Error> {
    match target {
        Target::Own => Err(Error::NotYours),
        Target::Owned(name) => Ok(Claim::Owned(name)),
        Target::Verified(verified) => Ok(Claim::Verified(verified)),
    }
}

fn ring(target: Target<'_>) -> Result<ObjectName, Error> {
    match target {
        Target::Owned(name) => Ok(name),
        _ => Err(Error::NotYours),
    }
}

fn progress(step: Result<Step, Error>) -> Progress {
    match step {
        Ok(step) => Progress {
            done: (step == Step::Done).into(),
            stopped: None,
        },
        Err(error) => Progress::refused(error),
    }
}

impl<'m> Kernel<'m> {
    /// Copies words in.
    fn words(&mut self, bytes: &UserBytes<'_>, most: usize) -> Result<Vec<u64>, Error> {
        let length = usize::try_from(bytes.length()).map_err(|_| Error::BadCount)?;
        if length / 8 > most || !length.is_multiple_of(8) {
            return Err(Error::BadCount);
        }
        let mut octets = vec![0; length];
        if self.user(|user| user.read(bytes.address(), &mut octets)) != length {
            return Err(Error::BadAddress);
        }
        let (words, _) = octets.as_chunks::<8>();
        Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    fn atoms(&mut self, bytes: &UserBytes<'_>) -> Result<Vec<Atom>, Error> {
        let words = self.words(bytes, 3 * MAX_ATOMS)?;
        let (words, rest) = words.as_chunks::<3>();
        let atoms: Vec<Atom> = words.iter().map(|words| Atom::from_words(*words)).collect();
        if !rest.is_empty() {
            return Err(Error::BadCount);
        }
        Program::new(&atoms).map_err(AtomError::told)?;
        Ok(atoms)
    }

    fn on_frames<R>(
        &mut self,
        call: impl FnOnce(&mut Frames<'m>, &mut Books<'_, 'm>, &By) -> R,
    ) -> R {
        let mut frames = core::mem::replace(&mut self.frames, Frames::none());
        let result = self.enter(|domains, _, subject| {
            let by = By {
                name: subject.name,
                owner: subject.owner,
            };
            call(&mut frames, &mut Books(domains), &by)
        });
        self.frames = frames;
        result
    }

    pub(super) fn split(
        &mut self,
        filter: Object<'_>,
        atoms: &UserBytes<'_>,
    ) -> Result<u64, Error> {
        let mut place = None;
        let filter = self.target(filter, &mut place)?;
        let atoms = self.atoms(atoms)?;
        let (key, filter) = (
            Program::new(&atoms).map_err(AtomError::told)?,
            claim(filter)?,
        );
        let position = self
            .on_frames(|frames, books, by| frames.dpf_split(by, filter, key, books, &mut Nothing));
        position.map(|position| position as u64)
    }

    pub(super) fn insert_filter(
        &mut self,
        parent: Object<'_>,
        key: u64,
        atoms: &UserBytes<'_>,
        to: Object<'_>,
    ) -> Result<ObjectName, Error> {
        let (mut place, mut other) = (None, None);
        let parent = self.target(parent, &mut place)?;
        let to = self.target(to, &mut other)?;
        let atoms = self.atoms(atoms)?;
        let (atoms, parent) = (
            Program::new(&atoms).map_err(AtomError::told)?,
            claim(parent)?,
        );
        let to = match to {
            Target::Own => None,
            _ => Some(ring(to)?),
        };
        let key = usize::try_from(key).map_err(|_| Error::OutOfRange)?;
        self.on_frames(|frames, books, by| frames.dpf_insert(by, parent, key, atoms, to, books))
    }

    pub(super) fn delete_filter(&mut self, filter: Object<'_>, keep: u64) -> Progress {
        let mut place = None;
        let filter = self.target(filter, &mut place).and_then(claim);
        progress(filter.and_then(|filter| {
            self.on_frames(|frames, books, by| frames.dpf_delete(by, filter, keep != 0, books))
        }))
    }

    pub(super) fn refer(&mut self, filter: Object<'_>, to: Object<'_>) -> Result<(), Error> {
        let (mut place, mut other) = (None, None);
        let filter = self.target(filter, &mut place)?;
        let to = self.target(to, &mut other)?;
        let (filter, to) = (claim(filter)?, ring(to)?);
        self.on_frames(|frames, books, by| frames.dpf_ref(by, filter, to, books))
    }

    pub(super) fn unrefer(&mut self, filter: Object<'_>, to: Object<'_>) -> Result<(), Error> {
        let (mut place, mut other) = (None, None);
        let filter = self.target(filter, &mut place)?;
        let to = ring(self.target(to, &mut other)?)?;
        let filter = match claim(filter)? {
            Claim::Owned(name) => name,
            Claim::Verified(verified) => ObjectName {
                index: verified.index() as u16,
                epoch: verified.epoch(),
            },
        };
        self.on_frames(|frames, books, by| frames.dpf_unref(by, filter, to, books))
    }

    pub(super) fn route(&mut self, filter: Object<'_>, to: Object<'_>) -> Result<(), Error> {
        let (mut place, mut other) = (None, None);
        let filter = self.target(filter, &mut place)?;
        let to = self.target(to, &mut other)?;
        let (filter, to) = (claim(filter)?, ring(to)?);
        self.on_frames(|frames, books, by| frames.dpf_pktring(by, filter, to, books))
    }

    pub(super) fn set_ring(
        &mut self,
        entry: u64,
        pages: &UserBytes<'_>,
        notice: u64,
    ) -> Result<ObjectName, Error> {
        let words = self.words(pages, MAX_RING_PAGES)?;
        let numbers: Result<Vec<_>, _> = words.iter().map(|word| u32::try_from(*word)).collect();
        let numbers = numbers.map_err(|_| Error::OutOfRange)?;
        let numbers: Vec<_> = numbers.into_iter().map(PageNumber::new).collect();
        self.on_frames(|frames, books, by| {
            frames.pktring_setring(by, entry, &numbers, notice, books)
        })
    }

    pub(super) fn mod_ring(
        &mut self,
        of: Object<'_>,
        at: u64,
        page: PageNumber,
    ) -> Result<(), Error> {
        let mut place = None;
        let of = ring(self.target(of, &mut place)?)?;
        self.on_frames(|frames, books, by| frames.pktring_modring(by, of, at, page, books))
    }

    pub(super) fn del_ring(&mut self, of: Object<'_>) -> Progress {
        let mut place = None;
        let of = self.target(of, &mut place).and_then(ring);
        progress(of.and_then(|of| {
            self.on_frames(|frames, books, by| frames.pktring_delring(by, of, books))
        }))
    }

    pub(super) fn tap(&mut self, root: Object<'_>, to: Object<'_>) -> Result<(), Error> {
        let (mut place, mut other) = (None, None);
        let root = self.target(root, &mut place)?;
        let to = self.target(to, &mut other)?;
        let (root, to) = (claim(root)?, ring(to)?);
        self.on_frames(|frames, _, by| frames.nettap(by, root, to))
    }

    pub(super) fn refine_send(
        &mut self,
        from: Object<'_>,
        atoms: &UserBytes<'_>,
    ) -> Result<ObjectName, Error> {
        let mut place = None;
        let from = self.target(from, &mut place)?;
        let atoms = self.atoms(atoms)?;
        let (atoms, from) = (Program::new(&atoms).map_err(AtomError::told)?, claim(from)?);
        self.on_frames(|frames, books, by| frames.send_refine(by, from, atoms, books))
    }

    pub(super) fn delete_send(&mut self, send: Object<'_>) -> Progress {
        let mut place = None;
        let send = self.target(send, &mut place).and_then(ring);
        progress(send.and_then(|send| {
            self.on_frames(|frames, books, by| frames.send_delete(by, send, books))
        }))
    }

    pub(super) fn transmit(
        &mut self,
        send: Object<'_>,
        pieces: &UserBytes<'_>,
        completion: Completion,
    ) -> Progress {
        let mut place = None;
        let send = self.target(send, &mut place).and_then(claim);
        let found = send.and_then(|send| Ok((send, self.words(pieces, MOST_PIECES)?)));
        let sent = found.and_then(|(send, words)| {
            self.on_frames(|frames, books, by| {
                frames.net_xmit(by, send, &words, completion, &Nothing, books)
            })
        });
        match sent {
            Ok(_) => unreachable!("there is no interface"),
            Err(error) => Progress::refused(error),
        }
    }
}
