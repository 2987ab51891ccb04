//! The call table for whoever reads it: a [`Row`] for each call.

use super::Call;
use crate::Error;

/// A call as the reference page shows it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The call.
    pub call: Call,
    /// What it does, in Markdown.
    pub doc: &'static str,
    /// The register that its first argument is in: 0, or 8 if x0..x7 are a message.
    pub first_register: usize,
    /// Its arguments, in the order of the registers.
    pub arguments: &'static [Parameter],
    /// Type of its result.
    pub result: &'static str,
    /// Errors that the call itself can give, besides those of its arguments' decoding.
    pub errors: &'static [Error],
}

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub type_name: &'static str,
    /// How many registers it takes.
    pub words: usize,
    /// The errors that its decoding can give.
    pub refusals: &'static [Error],
}

impl Row {
    /// Whether the call can give `error`, by itself or while its arguments are decoded.
    pub fn can_give(&self, error: Error) -> bool {
        let refuses = |parameter: &Parameter| parameter.refusals.contains(&error);
        self.errors.contains(&error) || self.arguments.iter().any(refuses)
    }

    /// Every error that the call can give, each once, in the order of the codes.
    pub fn all_errors(&self) -> impl Iterator<Item = Error> {
        Error::ALL
            .iter()
            .copied()
            .filter(|error| self.can_give(*error))
    }
}
