//! The console takes what it is given, in bounds, and reaches no memory that it should not.

use exopi_rt::layout::{EXPOSED_BASE, FIRST_STACK_PAGES, FIRST_STACK_TOP, PAGE_SIZE, USER_END};
use exopi_rt::registers::Outcome as _;
use exopi_rt::{Access, Call, Error, Progress, Reply, memory, stubs};

use crate::area::{Area, RW};
use crate::catch;
use crate::harness::{Outcome, Suite};
use crate::machine::{self, Registers};

pub(crate) const SUITE: Suite = Suite {
    name: "console",
    cases: &[
        ("writes_are_bounded", writes_are_bounded),
        ("nothing_is_lost", nothing_is_lost),
        ("empty_ranges", empty_ranges),
        ("bad_addresses_are_refused", bad_addresses_are_refused),
        (
            "writes_stop_where_memory_ends",
            writes_stop_where_memory_ends,
        ),
        ("reads_never_wait", reads_never_wait),
        ("reads_leave_the_rest_alone", reads_leave_the_rest_alone),
    ],
};

/// Makes a call with raw words.
fn raw(call: Call, address: u64, length: u64) -> Result<Progress, crate::harness::Failure> {
    machine::write_stub(0, call.number())?;
    machine::publish_stubs()?;
    let mut registers = Registers::with_arguments([address, length, 0, 0, 0, 0]);
    // SAFETY: console calls take no memory away; cases that read pass memory of their own.
    unsafe { machine::run_stub(0, &mut registers) };
    let reply: Reply = registers.reply();
    Ok(Progress::from_reply(reply))
}

fn writes_are_bounded() -> Outcome {
    let line = [b'\n'; 300];
    let progress = stubs::console_write(line.as_slice().into());
    check_eq!(progress.stopped, None);
    check!(progress.done <= 256, "{} bytes at once", progress.done);
    Ok(())
}

/// 20,000 bytes, more than any queue holds, arrive; the runner sees the lines.
fn nothing_is_lost() -> Outcome {
    for line in 0..250 {
        exopi_rt::println!("# line {line:03} of 250, {:.<56}", "");
    }
    Ok(())
}

fn empty_ranges() -> Outcome {
    let nothing = Progress {
        done: 0,
        stopped: None,
    };
    check_eq!(stubs::console_write([].as_slice().into()), nothing);
    check_eq!(stubs::console_read([].as_mut_slice().into()), nothing);
    Ok(())
}

/// Not mapped, the kernel's, beyond user space, wrapping around.
fn bad_addresses_are_refused() -> Outcome {
    const STACK_END: u64 = FIRST_STACK_TOP - FIRST_STACK_PAGES * PAGE_SIZE;
    const KERNEL: u64 = 0xffff_ff80_0008_0000;
    let refused = Progress::refused(Error::BadAddress);
    for (address, length) in [
        (0, 1),
        (Area::address(0), 1),
        (STACK_END - 4, 4),
        (USER_END - 1, 2),
        (USER_END, 1),
        (KERNEL, 1),
        (KERNEL, 4096),
        (1 << 47, 8),
        (u64::MAX, 1),
        (u64::MAX, 2),
        (u64::MAX - 4, u64::MAX),
        (0x20_0000, u64::MAX),
        (0x20_0000, USER_END),
    ] {
        let write = raw(Call::console_write, address, length)?;
        check_eq!(
            write,
            refused,
            "a write of {length:#x} bytes at {address:#x}"
        );
    }
    for address in [USER_END, KERNEL, u64::MAX - 1] {
        let read = raw(Call::console_read, address, 2)?;
        check_eq!(read, refused, "a read of 2 bytes at {address:#x}");
    }
    Ok(())
}

/// Bytes before the hole may be taken; none from it.
fn writes_stop_where_memory_ends() -> Outcome {
    let mut area = Area::new()?;
    area.map(0, RW)?;
    let end = Area::address(1);
    for at in end - 3..end {
        // SAFETY: the page is the case's own.
        unsafe { catch::write(at, b'\n') }?;
    }
    let progress = raw(Call::console_write, end - 3, 10)?;
    let three = Progress {
        done: 3,
        stopped: None,
    };
    check_eq!(progress, three);
    check_eq!(
        raw(Call::console_write, end, 7)?,
        Progress::refused(Error::BadAddress)
    );
    area.close()
}

fn reads_never_wait() -> Outcome {
    let mut bytes = [0; 300];
    let progress = stubs::console_read(bytes.as_mut_slice().into());
    check_eq!(progress.stopped, None);
    check!(progress.done <= 256);
    Ok(())
}

/// Memory that EL0 cannot write is not written for it either. If somebody types meanwhile the call is
/// refused; if not there is nothing to write.
fn reads_leave_the_rest_alone() -> Outcome {
    let mut area = Area::new()?;
    let page = memory::take_page()?;
    area.map_page(0, page, Access::READ)?;
    let at = Area::address(0);
    let before = catch::read(at)?;
    for address in [at, 0x20_0000, EXPOSED_BASE, Area::address(5)] {
        let progress = raw(Call::console_read, address, 16)?;
        check_eq!(progress.done, 0, "bytes read to {address:#x}");
        check!(matches!(progress.stopped, None | Some(Error::BadAddress)));
    }
    check_eq!(catch::read(at)?, before);
    area.close()
}
