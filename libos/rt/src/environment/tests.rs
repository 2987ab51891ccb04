//! What goes through calls in pieces comes out whole, and an environment begins with all that it needs.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use super::*;
use crate::capability::Epoch;
use crate::registers::Outcome;
use crate::{Call, Progress, Reply, host};

const NAME: ObjectName = ObjectName {
    index: 3,
    epoch: Epoch::LAST,
};

/// A kernel with one environment that does not run: its u-area's page, read and written 512 bytes at a time.
fn kernel() -> Rc<RefCell<Vec<u8>>> {
    let page = Rc::new(RefCell::new(std::vec![0; 4096]));
    let served = page.clone();
    host::serve(move |call, [_, offset, address, length, ..]| {
        let done = length.min(512);
        let from = offset as usize..(offset + done) as usize;
        let mut page = served.borrow_mut();
        let page = page.get_mut(from).expect("inside the page");
        #[expect(
            unsafe_code,
            reason = "a kernel's copy to and from where the caller says"
        )]
        match call {
            Call::env_read => {
                // SAFETY: the stub's argument is a borrow that lasts for the call.
                unsafe { core::slice::from_raw_parts_mut(address as *mut u8, done as usize) }
                    .copy_from_slice(page);
            }
            Call::env_write => {
                // SAFETY: as above.
                page.copy_from_slice(unsafe {
                    core::slice::from_raw_parts(address as *const u8, done as usize)
                });
            }
            other => panic!("{other:?}"),
        }
        Progress {
            done,
            stopped: None,
        }
        .into_reply()
    });
    page
}

#[test]
fn a_state_is_written_and_read_back_word_by_word() {
    let page = kernel();
    let environment = Environment::Owned(NAME);
    let frame = Frame {
        x: core::array::from_fn(|n| n as u64 + 1),
        sp: 101,
        pc: 102,
        pstate: 103,
        esr: 104,
        far: 105,
        held: 106,
    };
    environment.set_saved(&frame).unwrap();
    assert_eq!(environment.saved(), Ok(frame));
    let at = offset_of!(UArea, saved) + offset_of!(Frame, pc);
    assert_eq!(page.borrow()[at..at + 8], 102_u64.to_le_bytes());
    host::install(None);
}

#[test]
fn ranges_longer_than_a_call_take_several() {
    kernel();
    let environment = Environment::Owned(NAME);
    let bytes: Vec<u8> = (0..1500).map(|n| n as u8).collect();
    environment.write(100, &bytes).unwrap();
    let mut read = std::vec![0; 1500];
    environment.read(100, &mut read).unwrap();
    assert_eq!(read, bytes);
    assert_eq!(environment.read(0, &mut []), Ok(()));
    host::install(None);
}

#[test]
fn a_kernel_that_does_nothing_is_not_asked_for_ever() {
    host::serve(|_, _| Reply::success(0));
    let environment = Environment::Owned(NAME);
    assert_eq!(environment.write(0, &[1]), Err(Error::OutOfRange));
    host::install(None);
}
