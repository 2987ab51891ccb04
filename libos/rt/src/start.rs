//! A program's begin and its end: first Rust code, exit, panic.

use crate::{args, environment, stubs};

/// How a program ended: the machine's exit status, 0 for success. A program has 0 to 62 for its own
/// use (see [`exopi_abi::exit`] for what the kernel uses).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(u8);

impl ExitCode {
    /// All went well.
    pub const SUCCESS: ExitCode = ExitCode(0);
    /// Something did not.
    pub const FAILURE: ExitCode = ExitCode(1);
    /// The program panicked.
    pub const PANICKED: ExitCode = ExitCode(63);

    /// The status.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl From<u8> for ExitCode {
    fn from(status: u8) -> Self {
        Self(status)
    }
}

/// So that a program's `main` is a `main` off target as well.
#[cfg(not(target_os = "none"))]
impl std::process::Termination for ExitCode {
    fn report(self) -> std::process::ExitCode {
        self.0.into()
    }
}

/// Ends the program and, as it is the first environment's, the machine.
///
/// Who has no right to stop the machine ends alone: the calling environment is destroyed.
pub fn exit(status: impl Into<ExitCode>) -> ! {
    let _refused = stubs::board_exit(status.into().get().into());
    environment::leave()
}

/// The first Rust code, which [`entry!`](crate::entry) calls: notes the arguments and runs `main`.
///
/// # Safety
/// `arguments` and `length` must describe memory that stays as it is while the program runs.
#[expect(unsafe_code, reason = "the arguments are a raw range of memory")]
pub unsafe fn run(arguments: *const u8, length: usize, main: fn() -> ExitCode) -> ! {
    let bytes = if arguments.is_null() {
        &[]
    } else {
        // SAFETY: the caller says that the range is readable and never changes.
        unsafe { core::slice::from_raw_parts(arguments, length) }
    };
    args::set(bytes);
    exit(main())
}

/// Prints what went wrong and where, and ends the program.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use core::sync::atomic::Ordering;

    // A panic while a panic is printed must not print again.
    let panicking = &crate::local::own().panicking;
    if panicking.swap(1, Ordering::Relaxed) == 0 {
        crate::println!("{info}");
    }
    exit(ExitCode::PANICKED)
}
