//! Gates: the places through which an environment names those that it calls.
//!
//! Binding is where rights are looked at; a call through a bound gate costs no capability. Each environment has
//! sixteen, which nobody else sees. Which of them are taken is kept in one of the words that an environment has for
//! itself, so that environments of one space do not meet there.

use core::marker::PhantomData;

use exopi_rt::local::Word;
use exopi_rt::transfer::{GATES, Message};
use exopi_rt::{Environment, Error, stubs, upcall};

use crate::call::{Transfer, instruction};

/// Where it is kept which gates are taken: bit n is gate n. The first of the words for libraries.
const TAKEN: Option<Word> = Word::new(0);

/// Changes what is kept, with no handler of a notice between looking and writing.
fn change<T>(change: impl FnOnce(&mut u64) -> T) -> T {
    upcall::masked(|| {
        let mut taken = TAKEN.map_or(0, Word::get);
        let outcome = change(&mut taken);
        if let Some(word) = TAKEN {
            word.set(taken);
        }
        outcome
    })
}

/// Takes the first gate that is free.
fn take_slot() -> Option<u8> {
    change(|taken| {
        let slot = taken.trailing_ones();
        if (slot as usize) < GATES {
            *taken |= 1 << slot;
            Some(slot as u8)
        } else {
            None
        }
    })
}

fn give_slot(slot: u8) {
    change(|taken| *taken &= !(1 << slot));
}

/// Keeps gate `slot` from being taken here, for a program that binds it by itself. `false` if it is taken already, or
/// there is none.
pub fn reserve(slot: u64) -> bool {
    slot < GATES as u64
        && change(|taken| {
            let free = *taken & 1 << slot == 0;
            *taken |= 1 << slot;
            free
        })
}

/// A gate that is bound, until it is dropped.
///
/// It is the environment's that made it: another one's gate of the same number leads elsewhere.
#[derive(Debug)]
pub struct Gate {
    slot: u8,
    own: PhantomData<*mut ()>,
}

impl Gate {
    /// Binds a free gate to an environment: by ownership, or by a capability with the right to call or to
    /// schedule, whose badge the callee is told with each call.
    ///
    /// # Errors
    /// [`Error::NoGate`] if all are taken; those of `gate_bind`.
    pub fn bind(environment: Environment<'_>) -> Result<Self, Error> {
        let slot = take_slot().ok_or(Error::NoGate)?;
        match stubs::gate_bind(slot.into(), environment.object()) {
            Ok(()) => Ok(Self {
                slot,
                own: PhantomData,
            }),
            Err(error) => {
                give_slot(slot);
                Err(error)
            }
        }
    }

    /// Its number.
    pub const fn slot(&self) -> u64 {
        self.slot as u64
    }

    /// Gives the core to the one that it leads to. It comes back when the caller has a core again.
    ///
    /// # Errors
    /// Those of `gate_yield`.
    #[inline(always)]
    pub fn yield_to(&self) -> Result<(), Error> {
        instruction::yield_to(self.slot())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // It is bound: that is not refused.
        let _unbound = stubs::gate_unbind(self.slot.into());
        give_slot(self.slot);
    }
}

impl Transfer for Gate {
    #[inline(always)]
    fn call(&self, deadline: u64, message: &mut Message) -> Result<(), Error> {
        instruction::call(self.slot(), deadline, message)
    }

    #[inline(always)]
    fn send(&self, message: &Message) -> Result<(), Error> {
        instruction::send(self.slot(), message)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::vec::Vec;

    use exopi_rt::domain::ObjectName;
    use exopi_rt::{Call, Reply, host};

    use super::*;

    /// A kernel that notes what is bound, and refuses what is named by word 13.
    fn kernel() -> Rc<RefCell<Vec<(Call, u64)>>> {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let log = calls.clone();
        host::serve(move |call, words| {
            log.borrow_mut().push((call, words[0]));
            match call {
                Call::gate_bind if words[1] & 0xffff == 13 => Reply::refusal(Error::Stale),
                _ => Reply::success(0),
            }
        });
        calls
    }

    fn named(word: u64) -> Environment<'static> {
        Environment::Owned(ObjectName::from_word(word))
    }

    #[test]
    fn gates_are_taken_from_below_and_come_back() {
        let calls = kernel();
        assert!(reserve(1));
        assert!(!reserve(1));
        assert!(!reserve(16));
        let mut gates: Vec<_> = (0..15).map(|_| Gate::bind(named(7)).unwrap()).collect();
        assert_eq!(
            gates.iter().map(Gate::slot).collect::<Vec<_>>(),
            [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
        );
        assert_eq!(Gate::bind(named(7)).err(), Some(Error::NoGate));
        gates.remove(3);
        assert_eq!(calls.borrow().last(), Some(&(Call::gate_unbind, 4)));
        assert_eq!(Gate::bind(named(7)).unwrap().slot(), 4);
        drop(gates);
        host::install(None);
    }

    #[test]
    fn a_refused_gate_is_free_again() {
        kernel();
        assert_eq!(Gate::bind(named(13)).err(), Some(Error::Stale));
        assert_eq!(Gate::bind(named(7)).unwrap().slot(), 0);
        host::install(None);
    }
}
