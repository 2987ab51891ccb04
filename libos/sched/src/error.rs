//! Why something could not be done with threads.

use crate::policy::Refused;

/// Why something could not be done with threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No scheduler runs.
    NotRunning,
    /// A scheduler runs already.
    Running,
    /// There are as many threads, or environments that run them, as there can be.
    Full,
    /// The policy has not taken the thread.
    Policy(Refused),
    /// There is no memory for the stack.
    Memory(exopi_vm::Error),
    /// The stack is too small for what the thread begins with.
    NoRoom,
    /// The thread waits for itself.
    Deadlock,
    /// The deadline has passed.
    TimedOut,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Overload | Refused::Malformed => Self::Policy(refused),
        }
    }
}

impl From<exopi_vm::Error> for Error {
    fn from(error: exopi_vm::Error) -> Self {
        Self::Memory(error)
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotRunning => f.write_str("no scheduler runs"),
            Self::Running => f.write_str("a scheduler runs already"),
            Self::Full => f.write_str("too many threads or environments"),
            Self::Policy(refused) => write!(f, "refused by the policy: {refused:?}"),
            Self::Memory(error) => write!(f, "no stack: {error}"),
            Self::NoRoom => f.write_str("the stack is too small"),
            Self::Deadlock => f.write_str("it would wait for itself"),
            Self::TimedOut => f.write_str("the deadline has passed"),
        }
    }
}

impl core::error::Error for Error {}
