//! The u-area of the environment that runs here, word by word, and bytes of others.
//!
//! EL0 may write it at any time, from this core's environment or another one of the same space: each
//! word is read and written by itself, and what is read is data.
#![expect(unsafe_code, reason = "memory that EL0 writes")]

use core::mem::offset_of;

use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::uarea::{Frame, UArea, UpcallClass, Vectors};
use exopi_domains::{Failed, Window};

use super::mmu;
use super::switch::SS;

/// Where the kernel sees a u-area: a page of the linear window.
#[derive(Clone, Copy, Debug)]
pub struct OwnUArea(*mut UArea);

/// The byte offset of a word in [`UArea`].
#[derive(Clone, Copy, Debug)]
pub struct Word(usize);

/// Words in a frame.
const FRAME_WORDS: usize = size_of::<Frame>() / size_of::<u64>();

const SAVED: usize = offset_of!(UArea, saved);
const NOTICE: usize = offset_of!(UArea, frames) + UpcallClass::Notice as usize * size_of::<Frame>();

impl OwnUArea {
    /// Not zero while asynchronous upcalls must wait.
    pub const MASKED: Word = Word(offset_of!(UArea, masked));
    /// Not zero if one has waited.
    pub const WAITING: Word = Word(offset_of!(UArea, waiting));
    /// `TPIDR_EL0`.
    pub const THREAD: Word = Word(offset_of!(UArea, thread));
    /// Where notices enter; 0 for nowhere.
    pub const NOTICE_PC: Word = Word(entry(UpcallClass::Notice));
    /// The stack pointer there.
    pub const NOTICE_SP: Word = Word(entry(UpcallClass::Notice) + 8);
    /// Whether the frame of notices waits to be resumed.
    pub const NOTICE_HELD: Word = Word(NOTICE + offset_of!(Frame, held));
    /// The bits in it.
    pub const NOTICE_ESR: Word = Word(NOTICE + offset_of!(Frame, esr));
    /// The address in it, which a notice has none of.
    pub const NOTICE_FAR: Word = Word(NOTICE + offset_of!(Frame, far));
    /// Stack pointer to go on with.
    pub const SAVED_SP: Word = Word(SAVED + offset_of!(Frame, sp));
    /// Where to go on.
    pub const SAVED_PC: Word = Word(SAVED + offset_of!(Frame, pc));
    /// Processor state to go on with.
    pub const SAVED_PSTATE: Word = Word(SAVED + offset_of!(Frame, pstate));
    /// Why it does not go on.
    pub const SAVED_ESR: Word = Word(SAVED + offset_of!(Frame, esr));
    /// The address to that.
    pub const SAVED_FAR: Word = Word(SAVED + offset_of!(Frame, far));
    /// Whether it is on no core.
    pub const SAVED_HELD: Word = Word(SAVED + offset_of!(Frame, held));

    /// x`n` (0 to 30) to go on with.
    pub const fn saved_x(n: usize) -> Word {
        assert!(n < 31);
        Word(SAVED + offset_of!(Frame, x) + n * 8)
    }

    /// The u-area at `place`.
    ///
    /// # Safety
    /// For as long as this is used, a u-area must lie at `place` in the linear window.
    #[inline(always)]
    pub const unsafe fn new(place: *mut UArea) -> Self {
        Self(place)
    }

    /// What a word holds.
    #[inline(always)]
    pub fn read(self, word: Word) -> u64 {
        // SAFETY: `new`'s caller has promised the page, in which all words lie.
        unsafe {
            self.0
                .wrapping_byte_add(word.0)
                .cast::<u64>()
                .read_volatile()
        }
    }

    /// Changes a word.
    #[inline(always)]
    pub fn write(self, word: Word, value: u64) {
        // SAFETY: as above.
        unsafe {
            self.0
                .wrapping_byte_add(word.0)
                .cast::<u64>()
                .write_volatile(value)
        }
    }

    /// The frame of `class`.
    #[inline(always)]
    pub fn frame(self, class: UpcallClass) -> *mut Frame {
        let frames = self.0.wrapping_byte_add(offset_of!(UArea, frames));
        frames.cast::<Frame>().wrapping_add(class as usize)
    }

    /// Where upcalls of `class` enter: first instruction, 0 for none, and stack pointer.
    pub fn entry(self, class: UpcallClass) -> [u64; 2] {
        let at = entry(class);
        [self.read(Word(at)), self.read(Word(at + 8))]
    }

    /// Whether the frame of `class` waits to be resumed.
    #[inline(always)]
    pub fn holds(self, class: UpcallClass) -> bool {
        let frame = offset_of!(UArea, frames) + class as usize * size_of::<Frame>();
        self.read(Word(frame + offset_of!(Frame, held))) != 0
    }

    /// The state to go on with.
    #[inline(always)]
    pub fn saved(self) -> *mut Frame {
        self.0.wrapping_byte_add(SAVED).cast()
    }

    /// The vector registers.
    #[inline(always)]
    pub fn vectors(self) -> *mut Vectors {
        self.0.wrapping_byte_add(offset_of!(UArea, vectors)).cast()
    }

    /// Makes the state to go on with that behind a transfer: this PC and SP, `status` in x8, zeros; `steps`: one
    /// single step is due.
    pub fn save_behind(self, [pc, sp]: [u64; 2], status: u64, steps: bool) {
        for n in 0..31 {
            self.write(Self::saved_x(n), if n == 8 { status } else { 0 });
        }
        self.write(Self::SAVED_SP, sp);
        self.write(Self::SAVED_PC, pc);
        self.write(Self::SAVED_PSTATE, if steps { SS } else { 0 });
        self.write(Self::SAVED_ESR, 0);
        self.write(Self::SAVED_FAR, 0);
    }

    /// Copies the state to go on with to the frame of notices.
    pub fn copy_saved_to_notice(self) {
        for word in 0..FRAME_WORDS {
            let offset = word * size_of::<u64>();
            self.write(Word(NOTICE + offset), self.read(Word(SAVED + offset)));
        }
    }
}

const fn entry(class: UpcallClass) -> usize {
    offset_of!(UArea, entries) + class as usize * size_of::<exopi_abi::uarea::Entry>()
}

/// Copies a part of a u-area, as far as there is room; gives what was copied. Only under the kernel lock that
/// `window` was got under: after it the frame may be anything.
pub fn read_frame<'b>(window: &Window, into: &'b mut [u8]) -> &'b [u8] {
    let mut copied = 0;
    for (byte, place) in into.iter_mut().zip(bytes(window)) {
        // SAFETY: `bytes` stays in the frame, which is RAM in the linear window.
        *byte = unsafe { place.read_volatile() };
        copied += 1;
    }
    into.get(..copied).unwrap_or_default()
}

/// Copies `from` to a part of a u-area, as far as that goes; gives how many bytes were. As [`read_frame`].
pub fn write_frame(window: &Window, from: &[u8]) -> usize {
    let mut copied = 0;
    for (byte, place) in from.iter().zip(bytes(window)) {
        // SAFETY: as above.
        unsafe { place.write_volatile(*byte) };
        copied += 1;
    }
    copied
}

/// Writes the state of an environment that goes on behind a call that has failed into its `saved`, which is held from
/// now on. Only under the kernel lock in which that was decided, as [`read_frame`].
pub fn write_failed(failed: &Failed) {
    let place = mmu::linear_page(failed.uarea) as *mut UArea;
    // SAFETY: the environment is there, so that its u-area lies in that frame.
    let area = unsafe { OwnUArea::new(place) };
    area.save_behind([failed.pc, failed.sp], failed.code, failed.steps);
    area.write(OwnUArea::SAVED_HELD, 1);
}

/// The places of the bytes of a window, none of which is beyond the frame.
fn bytes(window: &Window) -> impl Iterator<Item = *mut u8> {
    let first = mmu::linear_page(window.page);
    let end = (window.offset + window.length).min(PAGE_SIZE);
    (window.offset..end).map(move |offset| (first + offset as usize) as *mut u8)
}
