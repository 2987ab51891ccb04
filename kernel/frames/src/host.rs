//! What is asked of whoever has the pages, the accounts and the arena of generated code.

use exopi_abi::capability::Epoch;
use exopi_abi::domain::ObjectName;
use exopi_abi::page::Owner;
use exopi_abi::{Error, PageNumber};
use exopi_filter::KeyId;

/// What accounts have allowances of here. A pool as large as the sum of all allowances is never found empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holding {
    /// Filters.
    Filter,
    /// Keys of filters, charged to the filter's account.
    Key,
    /// References of filters to rings, charged to the ring's account.
    Reference,
    /// Packet rings.
    Ring,
    /// Send capabilities.
    Send,
    /// Frames that wait or are in a device.
    Frame,
}

impl Holding {
    /// Every one.
    pub const ALL: [Holding; 6] = [
        Self::Filter,
        Self::Key,
        Self::Reference,
        Self::Ring,
        Self::Send,
        Self::Frame,
    ];
}

/// Accounts, stamps and pins.
pub trait Ledger {
    /// A new stamp; [`None`] when there are no more.
    fn stamp(&mut self) -> Option<Epoch>;

    /// Whether one more may be charged to an account.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::OverAllowance`].
    fn room(&self, owner: Owner, holding: Holding) -> Result<(), Error>;

    /// Charges one, for which there is room.
    fn charge(&mut self, owner: Owner, holding: Holding);

    /// Takes one off an account that it was charged to; nothing happens if that has gone.
    fn release(&mut self, owner: Owner, holding: Holding);

    /// Pins a plain page of `owner`: it stays what it is, and that owner's, until it is unpinned as often.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::OutOfRange`], [`Error::NotYours`],
    /// [`Error::WrongType`], [`Error::Leaving`], [`Error::LimitReached`].
    fn pin(&mut self, owner: Owner, page: PageNumber) -> Result<(), Error>;

    /// Takes away a pin.
    fn unpin(&mut self, page: PageNumber);
}

/// The octets of pinned pages, and who is told of them. Offset and length lie within a page, always.
///
/// Programs write there at any time. Each octet is read once for what is decided by it.
pub trait Memory {
    /// The word at an offset that is a multiple of 4. What its writer has stored before it is seen afterwards.
    fn load(&self, page: PageNumber, offset: usize) -> u32;

    /// Stores such a word behind all that was written before. Whoever waits for the word is to look at it again.
    fn store(&mut self, page: PageNumber, offset: usize, word: u32);

    /// Writes octets.
    fn write(&mut self, page: PageNumber, offset: usize, octets: &[u8]);

    /// Reads octets.
    fn read(&self, page: PageNumber, offset: usize, into: &mut [u8]);

    /// Copies octets from a place of a page to one of another. The two places do not overlap, or it does not matter what
    /// is written.
    fn copy(&mut self, from: (PageNumber, usize), to: (PageNumber, usize), length: usize);

    /// Adds 1 to the 64-bit word at an offset that is a multiple of 8, behind all that was written before, and has it
    /// looked at by whoever waits for it.
    fn count(&mut self, page: PageNumber, offset: usize);

    /// A frame has come for an environment, which may have ended, and wants to be told by notice number `notice`, 0
    /// to 31.
    fn tell(&mut self, environment: ObjectName, notice: u8);
}

/// The arena in which generated code lies.
pub trait Code {
    /// Puts the code of an interface's key where it can run, and gives its offset there: a multiple of 4, not 0. What the
    /// key of this number had before is not run any more. [`None`] if there is no room: there always is where each
    /// key has [`MAX_CODE_WORDS`](exopi_filter::MAX_CODE_WORDS) of its own.
    fn place(&mut self, interface: usize, key: KeyId, words: &[u32]) -> Option<u32>;
}
