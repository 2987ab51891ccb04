//! What the protocol asks of a controller: one *job* at a time, looked at until it has ended.

use super::commands::Command;
use crate::block::{MOST_SEGMENTS, Segment};

/// Most bytes of a block that the controller keeps itself.
pub const MOST_SMALL: usize = 64;

/// The memory of a request, in order.
#[derive(Clone, Copy, Debug)]
pub struct Segments {
    list: [Segment; MOST_SEGMENTS],
    count: usize,
}

impl Segments {
    /// No memory.
    pub const NONE: Self = Self {
        list: [Segment { at: 0, sectors: 0 }; MOST_SEGMENTS],
        count: 0,
    };

    /// Takes these over; more than there is room for are left out.
    pub fn set(&mut self, from: &[Segment]) {
        self.count = 0;
        for (place, segment) in self.list.iter_mut().zip(from) {
            *place = *segment;
            self.count += 1;
        }
    }

    /// The segments.
    pub fn list(&self) -> &[Segment] {
        self.list.get(..self.count).unwrap_or(&[])
    }

    /// Physical address of a sector's memory.
    pub fn sector(&self, index: u32) -> Option<u64> {
        let mut index = index;
        for segment in self.list() {
            match index.checked_sub(segment.sectors) {
                None => return Some(segment.at + u64::from(index) * crate::block::SECTOR as u64),
                Some(rest) => index = rest,
            }
        }
        None
    }
}

/// What a controller is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Forget everything: reset, one data line, and the clock for identification (400 kHz at most).
    Reset,
    /// Run the card's clock at no more than this many hertz.
    Clock(u32),
    /// Use four data lines.
    FourLines,
    /// Send a command, take its answer, move its data, wait while the card is busy.
    Exchange(Command),
}

/// What a command brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The 32 bits of a short response.
    pub short: u32,
    /// The 128 bits of a long one, the lowest eight being 0.
    pub long: u128,
    /// The short response to the command by which the controller ended a transfer of several blocks.
    pub stopped: u32,
}

/// Why a job failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The card did not answer.
    NoAnswer,
    /// The answer was damaged, or was one to another command.
    AnswerDamaged,
    /// The answer has one of the command's bits for refusals; this is it.
    Refused(u32),
    /// Data did not come, or nothing went on, or the card stayed busy.
    DataLate,
    /// Data was damaged.
    DataDamaged,
    /// The controller could not end the transfer.
    StopFailed,
    /// The DMA engine failed, or does not reach the memory. The same can be tried again without it.
    Engine,
    /// The controller itself does not do what it should.
    Controller,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on; look again on an interrupt, or at this time.
    Until(u64),
    /// It is done.
    Done(Answer),
    /// It has failed.
    Failed(Failure),
}

/// A controller for one card.
///
/// Once a job is [`Progress::Done`] or [`Progress::Failed`], no hardware touches the request's memory any more, and the
/// controller takes the next job. While that is not certain, the job goes on.
pub trait Controller {
    /// Begins a job. The one before has ended.
    fn begin(&mut self, job: Job, now: u64);
    /// Goes on with it as far as it can. After an end, `Failed(Controller)`.
    fn look(&mut self, segments: &Segments, now: u64) -> Progress;
    /// What a block of at most [`MOST_SMALL`] bytes brought, in the order in which it came.
    fn small(&self) -> &[u8; MOST_SMALL];
    /// How many transfers the processor has moved.
    fn by_processor(&self) -> u64;
    /// Clears what makes the controller interrupt while it has no job, or one that is not looked at.
    fn hush(&mut self, now: u64);
}
