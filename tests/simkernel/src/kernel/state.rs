//! States of environments: what lies in their u-areas while they have no core, and notices.

use exopi_abi::msgring::MESSAGE_BYTES;
use exopi_abi::uarea::{UArea, UpcallClass};
use exopi_abi::{Error, Object, PageNumber, Progress, UserBytes, UserBytesMut};
use exopi_domains::Window;
use exopi_pages::Index;

use super::Kernel;
use crate::el0::word;

/// Index of the word in the u-area that says whether its state is saved there.
const SAVED_HELD: usize = (core::mem::offset_of!(UArea, saved)
    + core::mem::offset_of!(exopi_abi::uarea::Frame, held))
    / 8;

impl Kernel<'_> {
    /// Who runs here leaves the core. It has no registers here: what it does is the test's to know.
    pub(super) fn save(&mut self) {
        self.set_saved(1);
    }

    /// Who runs here has come back.
    pub(super) fn restore(&mut self) {
        self.set_saved(0);
    }

    fn set_saved(&mut self, held: u64) {
        if let Some(page) = self.uarea() {
            self.machine
                .write(page, Index::truncate(SAVED_HELD as u64), held);
        }
    }

    /// Delivers notices that wait for who runs here, or tells it that they wait.
    pub(crate) fn deliver_notices(&mut self) {
        let index = self.running().index;
        let waits = self
            .domains
            .environment(index)
            .is_some_and(|record| record.notices != 0);
        if !waits {
            return;
        }
        if self.must_wait() {
            self.set_waiting(true);
            return;
        }
        let bits = self.domains.take_notices(index);
        self.set_waiting(false);
        let _ = self.upcall(UpcallClass::Notice, 0, bits.into(), 0);
    }

    /// What of a u-area may be moved, for a call.
    fn window(
        &mut self,
        environment: Object<'_>,
        offset: u64,
        length: u64,
        write: bool,
    ) -> Result<Window, Error> {
        let mut place = None;
        let environment = self.target(environment, &mut place)?;
        self.enter(|domains, _, by| {
            if write {
                domains.env_write(by, environment, offset, length)
            } else {
                domains.env_read(by, environment, offset, length)
            }
        })
    }

    pub(crate) fn state_read(
        &mut self,
        environment: Object<'_>,
        offset: u64,
        into: &UserBytesMut<'_>,
    ) -> Progress {
        let window = match self.window(environment, offset, into.length(), false) {
            Ok(window) => window,
            Err(error) => return Progress::refused(error),
        };
        let byte = |at: u64| {
            let word = word(&self.machine, window.page, Index::truncate(at / 8));
            word.to_le_bytes()[(at % 8) as usize]
        };
        let bytes: Vec<u8> = (window.offset..window.offset + window.length)
            .map(byte)
            .collect();
        let done = self.user(|user| user.write(into.address(), &bytes));
        moved(done, bytes.len())
    }

    pub(crate) fn state_write(
        &mut self,
        environment: Object<'_>,
        offset: u64,
        from: &UserBytes<'_>,
    ) -> Progress {
        let window = match self.window(environment, offset, from.length(), true) {
            Ok(window) => window,
            Err(error) => return Progress::refused(error),
        };
        let mut bytes = vec![0; window.length as usize];
        let done = self.user(|user| user.read(from.address(), &mut bytes));
        for (at, byte) in (window.offset..).zip(&bytes[..done]) {
            self.put_byte(window.page, at, *byte);
        }
        moved(done, bytes.len())
    }

    /// Sends a message through a gate.
    pub(crate) fn message(&mut self, gate: u64, from: &UserBytes<'_>) -> Result<(), Error> {
        if from.length() > MESSAGE_BYTES as u64 {
            return Err(Error::TooLong);
        }
        let mut bytes = vec![0; from.length() as usize];
        if self.user(|user| user.read(from.address(), &mut bytes)) != bytes.len() {
            return Err(Error::BadAddress);
        }
        self.enter(|domains, machine, by| domains.msgring_send(machine, by, gate, &bytes))
    }

    fn put_byte(&mut self, page: PageNumber, at: u64, byte: u8) {
        let index = Index::truncate(at / 8);
        let mut bytes = word(&self.machine, page, index).to_le_bytes();
        bytes[(at % 8) as usize] = byte;
        self.machine.write(page, index, u64::from_le_bytes(bytes));
    }

    pub(crate) fn give_console(&mut self, to: Object<'_>) -> Result<(), Error> {
        if !self.has_console() {
            return Err(Error::MissingRight);
        }
        let mut place = None;
        let to = self.target(to, &mut place)?;
        let to = self.enter(|domains, _, by| domains.console_give(by, to))?;
        self.set_console(to);
        Ok(())
    }
}

/// How far a copy came: a short one means that memory was not there.
fn moved(done: usize, wanted: usize) -> Progress {
    let stopped = (done == 0 && wanted > 0).then_some(Error::BadAddress);
    Progress {
        done: done as u64,
        stopped,
    }
}
