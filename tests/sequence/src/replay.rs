//! A sequence that is made in the same way on the target and on the simulated kernel, and told in the same
//! lines.
//!
//! What is there at the start differs: which frames are free and in what order, what the page tables of the
//! program hold, how many epochs were given. It is not carried over but made alike:
//!
//! ```text
//!   arena   1536 frames in a row from a multiple of 512 on, all allocated by the program
//!     +0      named at the borders of superpages; all the program's
//!     +1152   64 frames, freed again: they head the free lists of their colours, lowest last
//!     +1300   the store, its tables, and tables for the area
//! ```
//!
//! The names that a sequence chooses from are frames of the arena by their offsets, and what the sequence makes; a
//! frame that a free list gives in spite of the arena gets a name when it comes up. Which colour "any" takes next
//! is brought to the same point by allocating until the last colour came.
//!
//! What other cores do cannot be told beforehand: nothing is run on them, and what is destroyed is destroyed
//! again and again until it is gone, which the kernel may have done by itself meanwhile. So at the end nothing is
//! left, and the frames are free again.

use exopi_abi::capability::Kind;
use exopi_abi::domain::ObjectName;
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::page::FrameType;
use exopi_abi::slice::MAX_SLICES;
use exopi_abi::{Call, Operation, PageNumber, Reply};

use crate::stage::{AREA, PLACES, STORE, operations_address, slot_address, slot_word};
use crate::{
    Chooser, Edit, Names, Outcome, Purpose, Step, Transcript, World, is_unfinished, learn,
};

/// Frames of the arena.
pub const ARENA: u64 = 1536;
/// Offset of the frames that are free.
const FREE: u64 = 1152;
/// How many.
const FREE_COUNT: u64 = 64;
/// Offset of the frames that no sequence names.
const HELD: u64 = 1300;
/// Most calls that the destruction of one object takes before that is a failure.
const PATIENCE: u32 = 10_000;

/// Who makes the steps.
pub trait Actor: World {
    /// Makes a call.
    fn call(&mut self, number: u16, words: [u64; 6]) -> Reply;
    /// Loads 8 bytes, unless that faults.
    fn load(&mut self, at: u64) -> Option<u64>;
    /// Stores 8 bytes; whether it did not fault.
    fn store(&mut self, at: u64, value: u64) -> bool;
    /// The number of frames.
    fn frames(&self) -> u32;
    /// The number of colours.
    fn colours(&self) -> u64;
}

/// Why a sequence could not be made or cleared up: what was done, and what it replied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was done.
    pub what: &'static str,
    /// What it replied, if it was a call.
    pub reply: Option<Reply>,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.reply {
            Some(reply) => write!(f, "{}: {:?} {reply:x?}", self.what, reply.error()),
            None => f.write_str(self.what),
        }
    }
}

/// A sequence under way.
#[derive(Debug)]
pub struct Replay<A> {
    actor: A,
    names: Names,
    transcript: Transcript,
    arena: PageNumber,
}

impl<A: Actor> Replay<A> {
    /// Makes the stage.
    ///
    /// # Errors
    /// There is no room for it, or a call that must not be refused is.
    pub fn new(actor: A) -> Result<Self, Failure> {
        let arena = find_arena(&actor).ok_or(Failure {
            what: "no frames for an arena",
            reply: None,
        })?;
        let mut replay = Self {
            actor,
            names: Names::new(),
            transcript: Transcript::new(),
            arena,
        };
        for offset in (0..ARENA).step_by(16) {
            let first = replay.frame(offset);
            replay.must("page_alloc", Call::page_alloc, [first, 16, 0, 0, 0, 0])?;
        }
        replay.supply_tables()?;
        replay.name_everything();
        replay.clear_frames()?;
        for offset in FREE..FREE + FREE_COUNT {
            let frame = replay.frame(offset);
            replay.must("page_free", Call::page_free, [frame, 0, 1, 0, 0, 0])?;
        }
        replay.turn_colours()?;
        Ok(replay)
    }

    /// Makes `steps` steps of the sequence of `seed`, and tells each in lines.
    ///
    /// # Errors
    /// Something cannot be destroyed to the end.
    pub fn run(
        &mut self,
        seed: u64,
        steps: u64,
        mut print: impl FnMut(&str),
    ) -> Result<(), Failure> {
        let mut chooser = Chooser::new(seed, Purpose::Replay);
        self.transcript
            .tell_changes(&self.actor, &mut self.names, &mut print);
        for _ in 0..steps {
            let step = chooser.step(&self.actor, &self.names);
            let outcome = self.perform(&step)?;
            if let (Step::Call { number, words, .. }, Outcome::Reply(reply)) = (&step, outcome) {
                learn(&mut self.names, &self.actor, *number, words, reply);
            }
            let (transcript, names) = (&mut self.transcript, &mut self.names);
            transcript.tell(&step, outcome, &self.actor, names, &mut print);
        }
        Ok(())
    }

    /// Gives back everything, the stage included; and the actor.
    ///
    /// # Errors
    /// Something cannot be given back.
    pub fn close(mut self) -> Result<A, Failure> {
        self.call(Call::account_bind, [0; 6]);
        self.must("page_accept", Call::page_accept, [0; 6])?;
        for kind in [
            Kind::Environment,
            Kind::Slice,
            Kind::Space,
            Kind::Account,
            Kind::Space,
        ] {
            self.destroy_all(kind)?;
        }
        for offset in 0..ARENA {
            self.break_frame(self.arena.get() + offset as u32);
        }
        for index in 0..self.names.pages().len() {
            self.break_frame(self.names.pages()[index].get());
        }
        for level in [3, 2] {
            for at in PLACES
                .into_iter()
                .filter(|at| *at >= AREA && *at < AREA + (2 << 30))
            {
                self.call(Call::table_remove, [0, at, level, 0, 0, 0]);
            }
        }
        self.must("remove_pte", Call::remove_pte, [0, STORE, 1, 0, 0, 0])?;
        for level in [3, 2] {
            self.must(
                "table_remove",
                Call::table_remove,
                [0, STORE, level, 0, 0, 0],
            )?;
        }
        for offset in 0..ARENA {
            self.free_frame(self.arena.get() + offset as u32);
        }
        for index in 0..self.names.pages().len() {
            self.free_frame(self.names.pages()[index].get());
        }
        Ok(self.actor)
    }

    fn frame(&self, offset: u64) -> u64 {
        u64::from(self.arena.get()) + offset
    }

    fn call(&mut self, call: Call, words: [u64; 6]) -> Reply {
        self.actor.call(call.number(), words)
    }

    fn must(&mut self, what: &'static str, call: Call, words: [u64; 6]) -> Result<u64, Failure> {
        let reply = self.call(call, words);
        match reply.error() {
            None => Ok(reply.value),
            Some(_) => Err(Failure {
                what,
                reply: Some(reply),
            }),
        }
    }

    /// Maps the store, and puts tables where most of a sequence happens.
    fn supply_tables(&mut self) -> Result<(), Failure> {
        let mut next = HELD;
        let mut frame = |replay: &Self| {
            next += 1;
            replay.frame(next - 1)
        };
        for at in [STORE, AREA] {
            for level in [2, 3] {
                let words = [0, at, level, frame(self), frame(self), 0];
                self.must("table_insert", Call::table_insert, words)?;
            }
        }
        let store = frame(self);
        self.must("insert_pte", Call::insert_pte, [0, STORE, store, 0, 1, 3])?;
        self.zero(STORE)
    }

    fn zero(&mut self, at: u64) -> Result<(), Failure> {
        let mut words = (at..at + PAGE_SIZE).step_by(8);
        if words.all(|at| self.actor.store(at, 0)) {
            Ok(())
        } else {
            Err(Failure {
                what: "a store faults",
                reply: None,
            })
        }
    }

    fn name_everything(&mut self) {
        let borders = [0..5, 511..516, 1023..1031, FREE..FREE + FREE_COUNT / 2];
        for offset in borders.into_iter().flatten() {
            let frame = self.frame(offset);
            self.names.add_page(PageNumber::new(frame as u32));
        }
        let me = self.actor.me();
        let owner = self.actor.charged();
        let account = ObjectName {
            index: owner.index(),
            epoch: owner.epoch(),
        };
        self.names.add(Kind::Account, account);
        self.names.add(Kind::Environment, me);
        for number in 0..MAX_SLICES as u16 {
            let record = self.actor.slice(number);
            if let Some(record) = record.filter(|record| record.environment == me.word()) {
                let epoch = exopi_abi::capability::Epoch::from_low_bits(record.epoch);
                let index = number;
                self.names.add(Kind::Slice, ObjectName { index, epoch });
            }
        }
        let space = self
            .actor
            .environment(me.index)
            .map_or(0, |record| record.space);
        if let Some(record) = self.actor.space(space) {
            let epoch = exopi_abi::capability::Epoch::from_low_bits(record.epoch);
            self.names.add(
                Kind::Space,
                ObjectName {
                    index: space,
                    epoch,
                },
            );
        }
    }

    /// Fills every named frame with zeros: what the program had in it before differs.
    fn clear_frames(&mut self) -> Result<(), Failure> {
        for index in 0..self.names.pages().len() {
            let frame = self.names.pages()[index].get().into();
            self.must("insert_pte", Call::insert_pte, [0, AREA, frame, 0, 1, 3])?;
            self.zero(AREA)?;
            self.must("remove_pte", Call::remove_pte, [0, AREA, 1, 0, 0, 0])?;
        }
        Ok(())
    }

    /// Allocates from any list until the last colour came, and gives back what came.
    fn turn_colours(&mut self) -> Result<(), Failure> {
        let colours = self.actor.colours().max(1);
        for _ in 0..2 * colours {
            let frame = self.must("page_alloc", Call::page_alloc, [1 << 56, 1, 0, 0, 0, 0])?;
            self.must("page_free", Call::page_free, [frame, 0, 1, 0, 0, 0])?;
            if frame % colours == colours - 1 {
                return Ok(());
            }
        }
        Err(Failure {
            what: "free lists do not take turns",
            reply: None,
        })
    }

    fn perform(&mut self, step: &Step) -> Result<Outcome, Failure> {
        Ok(match *step {
            Step::Call {
                number,
                words,
                operations,
            } => {
                for (index, operation) in operations.iter().flatten().enumerate() {
                    self.write_operation(index, operation);
                }
                Outcome::Reply(self.call_to_the_end(number, words)?)
            }
            Step::Load { at } => {
                let is_memory = self.is_memory(at);
                match self.actor.load(at) {
                    Some(_) if !is_memory => Outcome::Done,
                    Some(value) => Outcome::Loaded(value),
                    None => Outcome::Fault,
                }
            }
            Step::Store { at, value } => match self.actor.store(at, value) {
                true => Outcome::Done,
                false => Outcome::Fault,
            },
            // What the target would fetch are random words.
            Step::Fetch { .. } => Outcome::Done,
            Step::Edit(edit) => self.edit(&edit),
        })
    }

    /// Whether the words at an address are stored by nobody but sequences: named memory, and no u-area, in
    /// which the kernel leaves what it finds in registers.
    fn is_memory(&self, at: u64) -> bool {
        let entry = self.actor.entry(at);
        let frame = PageNumber::new((entry >> 12) as u32);
        let named = self.names.pages().contains(&frame);
        let record = self.actor.page(frame);
        entry & 1 == 1 && named && record.is_some_and(|record| record.kind == FrameType::Plain)
    }

    /// Makes a call; one that destroys something, again until that is gone.
    fn call_to_the_end(&mut self, number: u16, words: [u64; 6]) -> Result<Reply, Failure> {
        let mut reply = self.actor.call(number, words);
        if !is_unfinished(number, reply) {
            return Ok(reply);
        }
        for _ in 0..PATIENCE {
            reply = self.actor.call(number, words);
            let gone = reply
                .error()
                .is_some_and(|error| error != exopi_abi::Error::Busy);
            if gone || reply.status >> 16 > 0 {
                // Whoever has done the last bit of it.
                return Ok(Reply {
                    status: 1 << 16,
                    value: 0,
                });
            }
        }
        Err(Failure {
            what: "a destruction does not end",
            reply: Some(reply),
        })
    }

    fn write_operation(&mut self, index: usize, operation: &Operation) {
        let [a, b, c, d, e] = operation.arguments;
        let words = [operation.call, a, b, c, d, e, 0, 0];
        let at = operations_address() + (index * size_of::<Operation>()) as u64;
        for (at, word) in (at..).step_by(8).zip(words) {
            self.actor.store(at, word);
        }
    }

    fn edit(&mut self, edit: &Edit) -> Outcome {
        let [source, target] = [edit.source(), edit.target()].map(|slot| self.actor.slot(slot));
        match edit.apply(source, target) {
            Ok(words) => {
                for (index, word) in words.into_iter().enumerate() {
                    self.actor.store(slot_word(edit.target(), index), word);
                }
                Outcome::Done
            }
            Err(error) => Outcome::Refused(error),
        }
    }

    /// Destroys everything of a kind that the sequence has made, and that is the first account's or was made
    /// its own again by a capability; what is other accounts' goes with them.
    fn destroy_all(&mut self, kind: Kind) -> Result<(), Failure> {
        let call = match kind {
            Kind::Environment => Call::env_destroy,
            Kind::Space => Call::space_destroy,
            Kind::Slice => Call::slice_free,
            _ => Call::account_destroy,
        };
        // The first of each is the program's own.
        for index in 1..self.names.objects(kind).len() {
            let name = self.names.objects(kind)[index];
            if self.actor.is_alive(kind, name) {
                let word = 1 << 56 | name.word() & ((1 << 56) - 1);
                self.call_to_the_end(call.number(), [word, 0, 0, 0, 0, 0])?;
            }
        }
        Ok(())
    }

    fn break_frame(&mut self, frame: u32) {
        let record = self.actor.page(PageNumber::new(frame));
        let mapped = |record: exopi_abi::page::PageRecord| {
            record.kind == FrameType::Plain && record.owner == self.actor.charged()
        };
        if frame != self.store_frame() && record.is_some_and(mapped) {
            for _ in 0..PATIENCE {
                let reply = self.call(Call::page_break, [frame.into(), 0, 1, 0, 0, 0]);
                if reply.error().is_some() || reply.status >> 16 > 0 {
                    return;
                }
            }
        }
    }

    fn store_frame(&self) -> u32 {
        (self.frame(HELD) + 8) as u32
    }

    fn free_frame(&mut self, frame: u32) {
        self.call(Call::page_free, [frame.into(), 0, 1, 0, 0, 0]);
    }
}

/// The highest frames that will do.
fn find_arena<A: Actor>(actor: &A) -> Option<PageNumber> {
    let mut length = 0;
    for frame in (0..actor.frames()).rev() {
        let record = actor.page(PageNumber::new(frame));
        let free = record.is_some_and(|record| record.kind == FrameType::Free);
        length = if free { length + 1 } else { 0 };
        if length >= ARENA && frame % 512 == 0 {
            return Some(PageNumber::new(frame));
        }
    }
    None
}

const _: () = assert!(HELD + 16 < ARENA && FREE + FREE_COUNT < HELD && slot_address(0) == STORE);
