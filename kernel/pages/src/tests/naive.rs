//! What the call table says, done the obvious way: maps, one page at a time, no tables.

use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;

use exopi_abi::capability::{Epoch, PageRights};
use exopi_abi::page::{
    ALLOC_BOUND, DEFAULT_LIMIT, FREE_BOUND, FrameType, MINT_BOUND, RECORD_BOUND,
};
use exopi_abi::registers::Outcome;
use exopi_abi::{Access, Allocation, Breaking, Error, PageNumber, PageSelect, Progress, Reply};

use super::{By, COLOURS, FIRMWARE, FIRST_FREE, Op, ROOTS, World, page};

mod references;
mod spaces;

use spaces::Mapped;
pub(super) use spaces::Mappings;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Of a free frame: whose contents it holds.
    pub(super) owner: Option<usize>,
    pub(super) kind: FrameType,
    pub(super) epoch: Epoch,
    pub(super) limit: u16,
    /// Words that are not zero, of a plain, free or u-area frame.
    pub(super) contents: BTreeMap<usize, u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Naive {
    pub(super) frames: BTreeMap<u32, Frame>,
    /// By colour.
    pub(super) free: [VecDeque<u32>; COLOURS as usize],
    turn: usize,
    pub(super) epoch: Epoch,
    pub(super) spaces: [Option<Mappings>; 2],
}

impl Naive {
    pub(super) fn new(free: u32) -> Self {
        let frame = |number| {
            let root = ROOTS.iter().position(|root| *root == number);
            let kind = match number {
                0 => FrameType::Kernel,
                _ if root.is_some() => FrameType::Root,
                _ => FrameType::Free,
            };
            Frame {
                owner: root,
                kind,
                epoch: Epoch::NONE,
                limit: 0,
                contents: BTreeMap::from([(0, FIRMWARE)]),
            }
        };
        let numbers = FIRST_FREE..FIRST_FREE + free;
        let of_colour = |colour| {
            let numbers = numbers.clone();
            numbers.filter(move |n| n % u32::from(COLOURS) == colour)
        };
        Self {
            frames: (0..FIRST_FREE + free).map(|n| (n, frame(n))).collect(),
            free: [of_colour(0).collect(), of_colour(1).collect()],
            turn: 0,
            // One for each root.
            epoch: Epoch::from_low_bits(2),
            spaces: ROOTS.map(|root| Some(Mappings::new(root))),
        }
    }

    pub(super) fn apply(&mut self, who: usize, place: usize, op: Op) -> Reply {
        match op {
            Op::Alloc(which, count, allowed) => self.alloc(who, which, count, allowed).into_reply(),
            Op::Free(by, first, count) => {
                let items = |this: &mut Self, i| this.free(who, by, number(first, i)?);
                self.by(by, PageRights::FREE, count, FREE_BOUND, items)
                    .into_reply()
            }
            Op::Retire(by, first, count) => {
                let epoch = next(self.epoch);
                let items = |this: &mut Self, i| {
                    let number = number(first, i)?;
                    this.plain(who, by, number)?;
                    this.epoch = epoch;
                    this.frame(number).epoch = epoch;
                    Ok(())
                };
                self.by(by, PageRights::RETIRE, count, RECORD_BOUND, items)
                    .into_reply()
            }
            Op::Break(by, first, count) => self.break_all(who, by, first, count).into_reply(),
            Op::Give(first, count, to, accepted) => {
                let epoch = next(self.epoch);
                items(count, RECORD_BOUND, |i| {
                    self.give(who, number(first, i)?, to, accepted, i, epoch)
                })
                .into_reply()
            }
            Op::Limit(first, count, limit) => items(count, RECORD_BOUND, |i| {
                let number = number(first, i)?;
                self.plain(who, By::Owner, number)?;
                self.frame(number).limit = limit;
                Ok(())
            })
            .into_reply(),
            Op::Mintable(first, count) => {
                let epoch = self.mintable(who, first, count);
                epoch.map(Epoch::bits).into_reply()
            }
            Op::RemoveUArea(page) => self.remove_uarea(who, page.get()).into_reply(),
            Op::Reclaim => self.reclaim(who).into_reply(),
            Op::MakeRoot(root) => self.make_root(who, root.get()).into_reply(),
            Op::Write(page, index, word) => {
                if let Some(frame) = self.frames.get_mut(&page.get())
                    && frame.owner == Some(who)
                    && frame.kind == FrameType::Plain
                {
                    frame.contents.insert(index.get(), word);
                    frame.contents.retain(|_, word| *word != 0);
                }
                Ok(()).into_reply()
            }
            _ if self.spaces[place].is_none() => Err::<(), _>(Error::NotYours).into_reply(),
            _ => self.apply_to_space(who, place, op),
        }
    }

    /// Takes over the epochs that ending something has given, of which no call says how many there are: newer
    /// ones than there were.
    pub(super) fn adopt(&mut self, world: &World) {
        for (number, frame) in &mut self.frames {
            let stamp = world.records[*number as usize].stamp;
            if frame.epoch == Epoch::LAST {
                assert!(stamp.epoch() > self.epoch && stamp.epoch() <= world.epoch);
                frame.epoch = stamp.epoch();
            }
        }
        self.epoch = world.epoch;
    }

    fn alloc(&mut self, who: usize, which: PageSelect, count: u64, allowed: u64) -> Allocation {
        let mut first = match which {
            PageSelect::Exact(first) => first,
            _ => page(0),
        };
        let epoch = next(self.epoch);
        let progress = items(count, ALLOC_BOUND, |i| {
            let number = self.check_alloc(which, i, allowed)?;
            if i == 0 {
                first = page(number);
            }
            self.take(who, number, which, epoch);
            Ok(())
        });
        Allocation { first, progress }
    }

    fn check_alloc(&self, which: PageSelect, i: u64, allowed: u64) -> Result<u32, Error> {
        if i >= allowed {
            return Err(Error::OverAllowance);
        }
        let head = |colour: usize| self.free[colour].front().copied();
        match which {
            PageSelect::Exact(first) => {
                let number = number(first, i)?;
                match self.frames.get(&number) {
                    None => Err(Error::OutOfRange),
                    Some(frame) if frame.kind != FrameType::Free => Err(Error::Taken),
                    Some(_) => Ok(number),
                }
            }
            PageSelect::Any => head(self.turn)
                .or(head(1 - self.turn))
                .ok_or(Error::Exhausted),
            PageSelect::Colour(colour) if colour >= COLOURS => Err(Error::OutOfRange),
            PageSelect::Colour(colour) => head(usize::from(colour)).ok_or(Error::Exhausted),
        }
    }

    fn take(&mut self, who: usize, number: u32, which: PageSelect, epoch: Epoch) {
        self.epoch = epoch;
        let frame = self.frame(number);
        if frame.owner != Some(who) {
            frame.contents.clear();
        }
        frame.owner = Some(who);
        frame.kind = FrameType::Plain;
        frame.epoch = epoch;
        frame.limit = DEFAULT_LIMIT;
        let colour = number as usize % 2;
        self.free[colour].retain(|free| *free != number);
        if which == PageSelect::Any {
            self.turn = 1 - colour;
        }
    }

    fn free(&mut self, who: usize, by: By, number: u32) -> Result<(), Error> {
        self.spare(who, by, number)?;
        self.release(number);
        Ok(())
    }

    fn release(&mut self, number: u32) {
        let frame = self.frame(number);
        frame.kind = FrameType::Free;
        frame.epoch = Epoch::NONE;
        frame.limit = 0;
        self.free[number as usize % 2].push_front(number);
    }

    fn give(
        &mut self,
        who: usize,
        number: u32,
        to: usize,
        accepted: u64,
        i: u64,
        epoch: Epoch,
    ) -> Result<(), Error> {
        self.spare(who, By::Owner, number)?;
        if i >= accepted {
            return Err(Error::OverAllowance);
        }
        self.epoch = epoch;
        let frame = self.frame(number);
        frame.owner = Some(to);
        frame.epoch = epoch;
        frame.limit = DEFAULT_LIMIT;
        Ok(())
    }

    fn mintable(&self, who: usize, first: PageNumber, count: u64) -> Result<Epoch, Error> {
        if count == 0 || count > MINT_BOUND {
            return Err(Error::BadCount);
        }
        let mut epochs = Vec::new();
        for i in 0..count {
            let number = number(first, i)?;
            self.plain(who, By::Owner, number)?;
            epochs.push(self.frames[&number].epoch);
            if epochs[0] != epochs[i as usize] {
                return Err(Error::Stale);
            }
        }
        Ok(epochs[0])
    }

    /// All at once: no random world has as many mappings as the bound.
    fn break_all(&mut self, who: usize, by: By, first: PageNumber, count: u64) -> Breaking {
        let mut superpages = 0;
        let progress = self.by(by, PageRights::RETIRE, count, RECORD_BOUND, |this, i| {
            let number = number(first, i)?;
            this.plain(who, by, number)?;
            superpages += this.break_page(number);
            Ok(())
        });
        Breaking {
            progress,
            superpages,
        }
    }

    fn reclaim(&mut self, who: usize) -> Result<u64, Error> {
        let mut frames = self.frames.values();
        if self.spaces[who].is_some() || frames.any(|frame| frame.kind == FrameType::UArea) {
            return Err(Error::NotEmpty);
        }
        let mine = |frame: &Frame| frame.kind == FrameType::Plain && frame.owner == Some(who);
        let frames = self.frames.iter();
        let mine: Vec<u32> = frames
            .filter(|(_, f)| mine(f))
            .map(|(number, _)| *number)
            .collect();
        for number in &mine {
            self.break_page(*number);
            self.release(*number);
        }
        Ok(mine.len() as u64)
    }

    /// Carries out items of a call that names pages by a right.
    fn by(
        &mut self,
        by: By,
        rights: PageRights,
        count: u64,
        bound: u64,
        mut item: impl FnMut(&mut Self, u64) -> Result<(), Error>,
    ) -> Progress {
        match allows(by, rights) {
            Ok(()) => items(count, bound, |i| item(self, i)),
            Err(error) => Progress::refused(error),
        }
    }

    fn plain(&self, who: usize, by: By, number: u32) -> Result<(), Error> {
        let frame = self.frames.get(&number).ok_or(Error::OutOfRange)?;
        let nobody = matches!(frame.kind, FrameType::Free | FrameType::Kernel);
        match by {
            By::Owner if nobody || frame.owner != Some(who) => return Err(Error::NotYours),
            By::Owner => {}
            By::Cap(cap) => {
                let end = u64::from(cap.first) + u64::from(cap.count);
                if number < cap.first || u64::from(number) >= end {
                    return Err(Error::OutOfRange);
                }
                if Some(frame.epoch) != cap.epoch {
                    return Err(Error::Stale);
                }
            }
        }
        match frame.kind {
            FrameType::Plain => Ok(()),
            _ => Err(Error::WrongType),
        }
    }

    fn spare(&self, who: usize, by: By, number: u32) -> Result<(), Error> {
        self.plain(who, by, number)?;
        match self.references(number) == 0 && self.superpages(number) == 0 {
            true => Ok(()),
            false => Err(Error::InUse),
        }
    }

    /// Makes something plain again, or a table or the like of it, with nothing in it.
    fn retype(&mut self, number: u32, kind: FrameType, epoch: Epoch) {
        let frame = self.frame(number);
        frame.kind = kind;
        frame.contents.clear();
        frame.epoch = epoch;
        frame.limit = if kind == FrameType::Plain {
            DEFAULT_LIMIT
        } else {
            0
        };
    }

    fn frame(&mut self, number: u32) -> &mut Frame {
        self.frames.get_mut(&number).expect("found before")
    }
}

fn next(epoch: Epoch) -> Epoch {
    Epoch::from_low_bits(epoch.bits() + 1)
}

/// Whether a right is one for pages, with these rights.
fn allows(by: By, rights: PageRights) -> Result<(), Error> {
    match by {
        By::Cap(cap) if !cap.for_pages => Err(Error::WrongKind),
        By::Cap(cap) if !cap.rights.contains(rights) => Err(Error::MissingRight),
        _ => Ok(()),
    }
}

/// Whether a right is one to map pages.
fn allows_mapping(by: By, access: Access) -> Result<(), Error> {
    let rights = [
        (Access::READ, PageRights::READ),
        (Access::WRITE, PageRights::WRITE),
        (Access::EXECUTE, PageRights::EXECUTE),
    ];
    for (_, right) in rights.into_iter().filter(|(a, _)| access.contains(*a)) {
        allows(by, right)?;
    }
    match by {
        By::Cap(cap) if cap.timed => Err(Error::TimeLimited),
        _ => Ok(()),
    }
}

fn number(first: PageNumber, offset: u64) -> Result<u32, Error> {
    let number = u64::from(first.get()) + offset;
    u32::try_from(number).map_err(|_| Error::OutOfRange)
}

fn items(count: u64, bound: u64, mut item: impl FnMut(u64) -> Result<(), Error>) -> Progress {
    if count == 0 {
        return Progress::refused(Error::BadCount);
    }
    for i in 0..count.min(bound) {
        if let Err(error) = item(i) {
            return Progress {
                done: i,
                stopped: Some(error),
            };
        }
    }
    Progress {
        done: count.min(bound),
        stopped: None,
    }
}
