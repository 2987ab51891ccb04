//! What is made of the rows of the call table: see [`calls`](super).

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
            first_register: first_register!($($safety)?),
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
                #[inline(never)]
                pub(super) extern "C" fn $name<C: Ambient>(
                    x0: u64, x1: u64, x2: u64, x3: u64, x4: u64, x5: u64,
                ) -> Reply {
                    let arguments = [x0, x1, x2, x3, x4, x5];
                    let reply = C::with(
                        Call::$name,
                        #[inline(always)]
                        |calls| decoded::$name(calls, arguments),
                    );
                    C::observe(Call::$name, arguments, reply);
                    reply
                }
            )*
        }

        /// The same for calls that are taken apart by their first argument: with a constant there, the compiler
        /// leaves out whatever the argument's other values need.
        mod apart {
            use super::*;
            $(
                pub(super) extern "C" fn $name<C: Ambient>(
                    x0: u64, x1: u64, x2: u64, x3: u64, x4: u64, x5: u64,
                ) -> Reply {
                    match first_usual(&[$(<$ty as Argument>::USUAL),*]) {
                        Some(usual) if x0 == usual => {
                            let arguments = [usual, x1, x2, x3, x4, x5];
                            let reply = C::with_usual(
                                Call::$name,
                                #[inline(always)]
                                |calls| decoded::$name(calls, arguments),
                            );
                            C::observe(Call::$name, arguments, reply);
                            reply
                        }
                        _ => ambient::$name::<C>(x0, x1, x2, x3, x4, x5),
                    }
                }
            )*
        }

        /// The kernel's table: element n serves call number n + 1.
        pub const fn entries<C: Ambient>() -> [Entry; Call::ALL.len()] {
            [$(
                if is_among(Call::$name, C::APART) { apart::$name::<C> } else { ambient::$name::<C> }
            ),*]
        }

        /// Makes call `number` on `calls`, from registers to registers.
        pub fn dispatch<C: Calls + ?Sized>(calls: &mut C, number: u16, from: [u64; 6]) -> Reply {
            match Call::from_number(number) {
                $( Some(Call::$name) => decoded::$name(calls, from), )*
                None => Reply::refusal(Error::NoSuchCall),
            }
        }

        /// [`Calls`] out of one function, which sees registers as a kernel does: each call, with its arguments
        /// put back into the registers that they were decoded from, and zeros behind them.
        ///
        /// It is what tests install that stand for a kernel or watch one.
        #[cfg(not(target_os = "none"))]
        impl<F: FnMut(Call, [u64; 6]) -> Reply> Calls for crate::host::Served<F> {
            $(
                fn $name(&mut self, $($arg: $ty),*) -> $result {
                    let into = &mut Arguments::new([0; 6]);
                    $( $arg.encode(into); )*
                    Outcome::from_reply((self.0)(Call::$name, into.words()))
                }
            )*
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

/// The register of a row's first argument: those of a row that moves a message come behind it.
macro_rules! first_register {
    (moves_message) => {
        crate::transfer::MESSAGE_WORDS
    };
    ($($other:ident)?) => {
        0
    };
}

macro_rules! stub {
    // A message is in the registers of the arguments: `transfer` has these.
    ($(#[doc = $doc:literal])+ [moves_message] $number:literal $name:ident($($arg:ident: $ty:ty),*) -> $result:ty) => {};
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
