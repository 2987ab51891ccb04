//! One channel of the DMA engine, following its chain.

/// What goes wrong with the channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ills {
    /// The channel reports an error instead of moving its first word.
    pub error: bool,
    /// It stops being active in the middle, without an end.
    pub lost: bool,
    /// It does not move anything.
    pub stuck: bool,
    /// How many looks it takes until a paused channel is no longer active.
    pub slow_stop: u32,
}

/// The run of memory that is under way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    pub(crate) ti: u32,
    pub(crate) source: u32,
    pub(crate) destination: u32,
    pub(crate) length: u32,
    pub(crate) next: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Engine {
    pub(crate) enable: u32,
    pub(crate) control: u32,
    pub(crate) block: u32,
    pub(crate) run: Option<Run>,
    pub(crate) ills: Ills,
    /// All is moved; memory has answered at this time.
    pub(crate) settles_at: Option<u64>,
    /// The last word, which is on its way to memory until then.
    pub(crate) last: Option<(u32, u32)>,
    pausing: u32,
}

pub(crate) const ACTIVE: u32 = 1;
pub(crate) const END: u32 = 2;
const OUTSTANDING: u32 = 1 << 6;
const ERROR: u32 = 1 << 8;

impl Engine {
    pub(crate) fn is_active(&self) -> bool {
        self.control & ACTIVE != 0
    }

    pub(crate) fn read_control(&mut self) -> u32 {
        if self.pausing > 0 {
            self.pausing -= 1;
            if self.pausing == 0 {
                self.control &= !ACTIVE;
            }
        }
        match self.settles_at {
            Some(_) => self.control | OUTSTANDING,
            None => self.control,
        }
    }

    /// Whether the channel has just been set going.
    pub(crate) fn write_control(&mut self, value: u32) -> bool {
        if value >> 31 != 0 {
            assert!(!self.is_active(), "reset while it is active");
            assert!(
                self.settles_at.is_none(),
                "reset while writes are on their way"
            );
            let ills = self.ills;
            *self = Self {
                enable: self.enable,
                ills,
                ..Self::default()
            };
            return false;
        }
        let was_active = self.is_active();
        self.control &= !(value & (END | 4));
        if value & ACTIVE != 0 && !was_active {
            assert_eq!(self.enable >> 2 & 1, 1, "channel 2 is not enabled");
            self.control = value & !(END | 4);
            return true;
        }
        if value & ACTIVE == 0 && was_active {
            match self.ills.slow_stop {
                0 => self.control &= !ACTIVE,
                looks => self.pausing = looks,
            }
        }
        false
    }

    pub(crate) fn fail(&mut self) {
        self.control |= ERROR;
        self.control &= !ACTIVE;
        self.run = None;
    }

    pub(crate) fn lose(&mut self) {
        self.control &= !ACTIVE;
        self.run = None;
    }

    /// All is moved.
    pub(crate) fn finish(&mut self, at: u64) {
        self.run = None;
        self.settles_at = Some(at);
    }

    /// What arrives in memory now.
    pub(crate) fn pass(&mut self, now: u64) -> Option<(u32, u32)> {
        if self.settles_at.is_some_and(|at| now >= at) {
            self.settles_at = None;
            self.control &= !ACTIVE;
            self.control |= END;
            return self.last.take();
        }
        None
    }
}
