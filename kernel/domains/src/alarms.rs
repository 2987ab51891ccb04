//! Alarms: at most one time for each environment, and for each core the earliest of those that it sees to.
//!
//! An environment waits for one thing at a time: a sleeper for a time in its predicate, a caller for an answer
//! until a deadline. So the alarms of a core are a binary heap of environments, in which each one knows its
//! place and can be taken out of the middle:
//!
//! ```text
//!   order, one stretch for each core     alarms, by environment
//!     | 7 | 3 | 9 |  ...                   3: time, core, place 1
//!       0   1   2                          7: time, core, place 0      the earliest
//! ```
//!
//! Setting, taking back and taking the earliest cost as many steps as the heap is deep. Whose alarm is at the same
//! time as another's comes first or second: nothing rests on it.

use exopi_abi::exposed::MAX_CORES;

/// The alarm of one environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    time: u64,
    /// Where in its core's heap, if it is set.
    place: u16,
    core: u8,
    set: bool,
}

impl Alarm {
    /// Not set.
    pub const NONE: Alarm = Alarm {
        time: 0,
        place: 0,
        core: 0,
        set: false,
    };
}

/// All alarms.
#[derive(Debug)]
pub struct Alarms<'m> {
    alarms: &'m mut [Alarm],
    order: &'m mut [u16],
    lengths: [u16; MAX_CORES],
}

impl<'m> Alarms<'m> {
    /// How many entries [`Alarms::new`] needs of an order for so many environments.
    pub const fn order_length(environments: usize) -> usize {
        environments * MAX_CORES
    }

    /// No alarm can be set.
    pub const fn none() -> Self {
        Self {
            alarms: &mut [],
            order: &mut [],
            lengths: [0; MAX_CORES],
        }
    }

    /// None is set, and there can be one for each of `alarms`, if `order` is as long as
    /// [`Alarms::order_length`] says; for fewer environments if it is shorter.
    pub fn new(alarms: &'m mut [Alarm], order: &'m mut [u16]) -> Self {
        let room = (order.len() / MAX_CORES).min(usize::from(u16::MAX));
        let (alarms, _) = alarms.split_at_mut(alarms.len().min(room));
        alarms.fill(Alarm::NONE);
        Self {
            alarms,
            order,
            lengths: [0; MAX_CORES],
        }
    }

    /// Sets the alarm of `environment` to `time`, for `core` to see to, instead of the one that it had. Whether
    /// it is now the core's earliest.
    pub fn set(&mut self, environment: u16, core: u8, time: u64) -> bool {
        self.cancel(environment);
        let Some(length) = self.lengths.get_mut(usize::from(core)) else {
            return false;
        };
        let place = *length;
        let Some(alarm) = self.alarms.get_mut(usize::from(environment)) else {
            return false;
        };
        *length += 1;
        *alarm = Alarm {
            time,
            place,
            core,
            set: true,
        };
        self.put(core, place, environment);
        self.rise(core, place) == 0
    }

    /// Takes the alarm of `environment` back. Whether there was one.
    pub fn cancel(&mut self, environment: u16) -> bool {
        let Some(alarm) = self.alarms.get_mut(usize::from(environment)) else {
            return false;
        };
        let Alarm {
            place, core, set, ..
        } = *alarm;
        if !set {
            return false;
        }
        *alarm = Alarm::NONE;
        let length = self.lengths.get(usize::from(core));
        let last = length.map_or(0, |length| length.saturating_sub(1));
        let moved = self.at(core, last);
        if let Some(length) = self.lengths.get_mut(usize::from(core)) {
            *length = last;
        }
        // The last one takes the free place, and goes where it belongs from there.
        if let Some(moved) = moved.filter(|_| last != place) {
            self.put(core, place, moved);
            let place = self.rise(core, place);
            self.sink(core, place);
        }
        true
    }

    /// The time of the earliest alarm of `core`.
    #[inline]
    pub fn earliest(&self, core: u8) -> Option<u64> {
        self.at(core, 0).map(|first| self.time(first))
    }

    /// Takes an environment of `core` whose alarm is not after `now`: the earliest.
    pub fn take_due(&mut self, core: u8, now: u64) -> Option<u16> {
        let first = self.at(core, 0)?;
        if self.time(first) > now {
            return None;
        }
        self.cancel(first);
        Some(first)
    }

    /// The time that the alarm of `environment` is set to.
    pub fn of(&self, environment: u16) -> Option<u64> {
        let alarm = self.alarms.get(usize::from(environment))?;
        alarm.set.then_some(alarm.time)
    }

    fn time(&self, environment: u16) -> u64 {
        let alarm = self.alarms.get(usize::from(environment));
        alarm.map_or(u64::MAX, |alarm| alarm.time)
    }

    fn index(&self, core: u8, place: u16) -> usize {
        usize::from(core) * self.alarms.len() + usize::from(place)
    }

    /// Who is at `place` of a core's heap.
    fn at(&self, core: u8, place: u16) -> Option<u16> {
        let length = self.lengths.get(usize::from(core))?;
        if place >= *length {
            return None;
        }
        self.order.get(self.index(core, place)).copied()
    }

    fn put(&mut self, core: u8, place: u16, environment: u16) {
        let index = self.index(core, place);
        if let Some(entry) = self.order.get_mut(index) {
            *entry = environment;
        }
        if let Some(alarm) = self.alarms.get_mut(usize::from(environment)) {
            alarm.place = place;
        }
    }

    /// Lets the one at `place` rise above all that are later; gives its place then.
    fn rise(&mut self, core: u8, mut place: u16) -> u16 {
        while place > 0 {
            let above = (place - 1) / 2;
            if !self.exchange(core, above, place) {
                break;
            }
            place = above;
        }
        place
    }

    /// Lets the one at `place` sink below all that are earlier.
    fn sink(&mut self, core: u8, mut place: u16) {
        loop {
            // A heap has fewer places than there are environments, twice which is less than 2^16.
            let [left, right] = [2 * place + 1, 2 * place + 2];
            let earlier = match (self.at(core, left), self.at(core, right)) {
                (None, _) => return,
                (Some(l), Some(r)) if self.time(r) < self.time(l) => right,
                _ => left,
            };
            if !self.exchange(core, place, earlier) {
                return;
            }
            place = earlier;
        }
    }

    /// Exchanges those at two places, of which the first is above the second, if that is earlier.
    fn exchange(&mut self, core: u8, above: u16, below: u16) -> bool {
        let (Some(upper), Some(lower)) = (self.at(core, above), self.at(core, below)) else {
            return false;
        };
        if self.time(lower) >= self.time(upper) {
            return false;
        }
        self.put(core, above, lower);
        self.put(core, below, upper);
        true
    }
}
