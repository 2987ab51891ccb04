//! The call table. Each row is a system call; all else about calls is made from the rows.
//!
//! A row is written as a function with a number. From it come:
//!
//! * [`Call`]: number and name, for dispatch, traces and counters;
//! * a method of [`Calls`], which the kernel (and a simulated kernel) must implement, so that a
//!   forgotten handler does not compile;
//! * typed decoding: [`dispatch`], and [`entries`] for the kernel's table of functions;
//! * a stub in [`stubs`], by which EL0 makes the call;
//! * a [`Row`] for the reference page.
//!
//! Numbers are dense from 1 on, never used again for something else. `svc #0` is nobody's number: it
//! goes to the environment's fault upcall, like every exception that the kernel has no use for.

use crate::registers::{Argument, Arguments, Outcome, Reply};
use crate::types::{
    Access, Allocation, PageNumber, PageSelect, PageSource, Space, TableLevel, UserBytes,
    UserBytesMut, VirtAddr,
};
use crate::uarea::UpcallClass;
use crate::{Error, Progress};

/// A call as the reference page shows it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The call.
    pub call: Call,
    /// What it does, in Markdown.
    pub doc: &'static str,
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

/// The kernel's table holds one of these for each call: registers in, registers out.
pub type Entry = extern "C" fn(u64, u64, u64, u64, u64, u64) -> Reply;

/// A [`Calls`] that can be found from nowhere: how an [`Entry`], which gets registers and nothing
/// else, reaches the state that it works on.
pub trait Ambient: Calls {
    /// Runs `call` on the caller's state.
    fn with(call: impl FnOnce(&mut Self) -> Reply) -> Reply;

    /// Hears of each call that came back, for tracing.
    fn observe(call: Call, arguments: [u64; 6], reply: Reply) {
        let _ = (call, arguments, reply);
    }
}

macro_rules! calls {
    ($(
        $(#[doc = $doc:literal])+
        #[errors($($error:ident),*)]
        $(#[$safety:ident])?
        $number:literal => fn $name:ident($($arg:ident: $ty:ty),*) -> $result:ty;
    )*) => {
        /// A system call, by number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[expect(non_camel_case_types, reason = "names are those of the calls")]
        pub enum Call {
            $( $(#[doc = $doc])+ $name = $number, )*
        }

        impl Call {
            /// Every call, in the order of the numbers.
            pub const ALL: &'static [Call] = &[$(Call::$name),*];

            /// The call with this number.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $( $number => Some(Self::$name), )*
                    _ => None,
                }
            }

            /// The immediate of its `svc`.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }
        }

        /// Every row, in the order of the numbers.
        pub const ROWS: &[Row] = &[$( Row {
            call: Call::$name,
            doc: concat!($($doc, "\n"),+),
            arguments: &[$( Parameter {
                name: stringify!($arg),
                type_name: stringify!($ty),
                words: <$ty as Argument>::WORDS,
                refusals: <$ty as Argument>::REFUSALS,
            } ),*],
            result: stringify!($result),
            errors: &[$( Error::$error ),*],
        } ),*];

        /// What a kernel does for each call. Arguments are decoded, and still hostile: a page number
        /// names a page that may not exist, a byte range may be unmapped.
        pub trait Calls {
            $( $(#[doc = $doc])+ fn $name(&mut self, $($arg: $ty),*) -> $result; )*
        }

        /// One function for each call: registers to typed arguments, handler, result to registers.
        mod decoded {
            use super::*;
            $(
                #[inline(always)]
                pub(super) fn $name<C: Calls + ?Sized>(calls: &mut C, from: [u64; 6]) -> Reply {
                    let from = &mut Arguments::new(from);
                    $(
                        let $arg = match <$ty as Argument>::decode(from) {
                            Ok(value) => value,
                            Err(error) => return <$result as Outcome>::refused(error).into_reply(),
                        };
                    )*
                    debug_assert!(from.consumed() <= crate::registers::ARGUMENTS);
                    calls.$name($($arg),*).into_reply()
                }
            )*
        }

        /// One function for each call that finds its own state.
        mod ambient {
            use super::*;
            $(
                pub(super) extern "C" fn $name<C: Ambient>(
                    x0: u64, x1: u64, x2: u64, x3: u64, x4: u64, x5: u64,
                ) -> Reply {
                    let arguments = [x0, x1, x2, x3, x4, x5];
                    let reply = C::with(
                        #[inline(always)]
                        |calls| decoded::$name(calls, arguments),
                    );
                    C::observe(Call::$name, arguments, reply);
                    reply
                }
            )*
        }

        /// The kernel's table: element n serves call number n + 1.
        pub const fn entries<C: Ambient>() -> [Entry; Call::ALL.len()] {
            [$( ambient::$name::<C> ),*]
        }

        /// Makes call `number` on `calls`, from registers to registers.
        pub fn dispatch<C: Calls + ?Sized>(calls: &mut C, number: u16, from: [u64; 6]) -> Reply {
            match Call::from_number(number) {
                $( Some(Call::$name) => decoded::$name(calls, from), )*
                None => Reply::refusal(Error::NoSuchCall),
            }
        }

        /// How EL0 makes the calls. Off target they go to the [`Calls`] that `host::install` set for the
        /// thread.
        ///
        /// Calls that change what memory is there are `unsafe`: not for the kernel, which guards
        /// itself, but for the program, whose references the kernel knows nothing of.
        pub mod stubs {
            #[cfg(not(target_os = "none"))]
            use crate::host::call;
            #[cfg(target_os = "none")]
            use crate::svc::call;

            use super::*;
            $( stub! {
                $(#[doc = $doc])+
                $([$safety])?
                $number $name($($arg: $ty),*) -> $result
            } )*
        }

        const _: () = {
            // Numbers are dense, and no row takes more registers than there are.
            let mut index = 0;
            while index < Call::ALL.len() {
                assert!(Call::ALL[index] as usize == index + 1);
                index += 1;
            }
            $( assert!(sum(&[$( <$ty as Argument>::WORDS ),*]) <= crate::registers::ARGUMENTS); )*
        };
    };
}

const fn sum(words: &[usize]) -> usize {
    match words {
        [] => 0,
        [first, rest @ ..] => *first + sum(rest),
    }
}

macro_rules! stub {
    ($(#[doc = $doc:literal])+ $number:literal $name:ident($($arg:ident: $ty:ty),*) -> $result:ty) => {
        $(#[doc = $doc])+
        #[inline(always)]
        pub fn $name($($arg: $ty),*) -> $result {
            let into = &mut Arguments::new([0; 6]);
            $( $arg.encode(into); )*
            Outcome::from_reply(call::<$number>(into.words()))
        }
    };
    ($(#[doc = $doc:literal])+ [changes_memory] $number:literal $name:ident($($arg:ident: $ty:ty),*) -> $result:ty) => {
        $(#[doc = $doc])+
        ///
        /// # Safety
        /// No reference, pointer in use or running code of the program may depend on what was at the
        /// addresses or in the pages that the call changes.
        #[expect(unsafe_code, reason = "the program's memory changes under it")]
        #[inline(always)]
        pub unsafe fn $name($($arg: $ty),*) -> $result {
            let into = &mut Arguments::new([0; 6]);
            $( $arg.encode(into); )*
            Outcome::from_reply(call::<$number>(into.words()))
        }
    };
}

calls! {
    /// Does nothing but return the version of the interface, [`VERSION`](crate::VERSION).
    #[errors()]
    1 => fn null() -> Result<u64, Error>;

    /// Allocates `count` pages for the caller: exactly `which` and the ones that follow it, or the
    /// head of the free list (then `count` is 1). The kernel never searches; the page array shows
    /// which pages are free. A page that last held another owner's contents is zeroed.
    ///
    /// Stops at the first page that is not free, and after at most 16 pages.
    #[errors(BadCount, Taken, Exhausted)]
    2 => fn page_alloc(which: PageSelect, count: u64) -> Allocation;

    /// Gives `count` plain pages of the caller back, from `first` on. A page that is still mapped is
    /// refused. Contents stay until somebody else gets the page.
    ///
    /// Stops at the first refusal, and after at most 64 pages.
    #[errors(BadCount, NotYours, WrongType, InUse)]
    3 => fn page_free(first: PageNumber, count: u64) -> Progress;

    /// Makes `table`, a plain page of the caller that nothing refers to, the table of `level` that
    /// covers `at`, all its entries invalid. A level-3 table comes with `links`, a second such page,
    /// in which the kernel keeps what leads from a page to its mappings; a level-2 table comes
    /// without. The table of the level above must be there.
    #[errors(NotYours, WrongType, InUse, NoTable, Occupied)]
    #[changes_memory]
    4 => fn table_insert(
        space: Space,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: Option<PageNumber>
    ) -> Result<(), Error>;

    /// Takes the empty table of `level` that covers `at` out of the space. The table page and, at
    /// level 3, its links page are plain pages of the caller again, filled with zeros. Returns the
    /// table's page number; the links' page can be read in the page array beforehand.
    #[errors(Vacant, NoTable, NotEmpty, NotYours)]
    #[changes_memory]
    5 => fn table_remove(space: Space, at: VirtAddr, level: TableLevel) -> Result<PageNumber, Error>;

    /// Maps `count` pages from `source` on at `at` and the pages of address space that follow it.
    /// Only plain pages can be mapped, only where there is no mapping yet, and only where the
    /// tables have been inserted.
    ///
    /// Stops at the first refusal, and after at most 128 pages, or 32 if they are executable: those are
    /// made visible to instruction fetches first.
    #[errors(BadCount, NotYours, WrongType, NoTable, Occupied)]
    #[changes_memory]
    6 => fn insert_pte(
        space: Space,
        at: VirtAddr,
        source: PageSource,
        count: u64,
        access: Access
    ) -> Progress;

    /// Removes the mappings of `count` pages of address space from `at` on, and with them every
    /// trace in any core's TLB, before it returns.
    ///
    /// Stops at the first page that has no mapping, and after at most 64 pages.
    #[errors(BadCount, Vacant, NoTable, WrongType)]
    #[changes_memory]
    7 => fn remove_pte(space: Space, at: VirtAddr, count: u64) -> Progress;

    /// Goes on with the state in the u-area's frame of `class`, which is released: registers, SP, PC
    /// and condition flags come from the frame. Returns only to refuse.
    #[errors(NoFrame)]
    #[changes_memory]
    8 => fn resume(class: UpcallClass) -> Result<(), Error>;

    /// Sends bytes to the console. The caller must own it: the first environment does. Returns how
    /// many were taken; fewer than all if the transmitter's queue is full, or after 256.
    #[errors(MissingRight)]
    9 => fn console_write(bytes: UserBytes<'_>) -> Progress;

    /// Takes bytes that the console has received and nobody has read. The caller must own it.
    /// Returns how many there were, at most 256; never waits.
    #[errors(MissingRight)]
    10 => fn console_read(into: UserBytesMut<'_>) -> Progress;

    /// Stops the machine. In the emulator its exit status is the lowest 8 bits of `status`; a board
    /// turns itself off. Only for the holder of the board: the first environment. Returns only to
    /// refuse.
    #[errors(MissingRight)]
    11 => fn board_exit(status: u64) -> Result<(), Error>;

    /// Starts the machine anew. Only for the holder of the board: the first environment. Returns
    /// only to refuse.
    #[errors(MissingRight)]
    12 => fn board_reset() -> Result<(), Error>;
}

#[cfg(test)]
mod tests;
