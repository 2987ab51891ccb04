//! Generated code on the processor itself: boot argument `selftest=generated-code`.
//!
//! Predicates go into the arena and are looked at there, before and after a store to the word that one of them waits
//! for; the processor's own translation says who could write code, and where. What it finds is logged, and a wrong finding
//! is a panic.

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_abi::PageNumber;
use exopi_abi::predicate::{Comparison, Predicate, Tag, Terms, Width, Word};
use exopi_predicate::{
    Code, Entry, MAX_CODE_WORDS, Place, Program, STUB_WORDS, Step, Table, entries_for, stubs,
};

use crate::arch::core_data::CoreNumber;
use crate::arch::{arena, mmu, timer};
use crate::console::log;

/// Sleepers whose predicates are false, and one behind them.
const OTHERS: u16 = 64;
const ALL: usize = OTHERS as usize + 1;
/// Bytes of the arena for each piece of code: whole lines, and a page is no multiple of it, so that some lie over the end
/// of one.
const PIECE: usize = 64 * 3;

/// Words that predicates are about: they stand for a page.
#[repr(C, align(4096))]
struct Words([AtomicU64; 512]);

static WORDS: Words = Words([const { AtomicU64::new(0) }; 512]);

/// What a look comes back with, in x0 and x1.
#[repr(C)]
struct Ended {
    behind: u64,
    told: u64,
}

/// A look, as `exopi-predicate` lays it down.
type Enter = extern "C" fn(*const Entry, u64) -> Ended;

/// Code as it goes into the arena, one piece behind the other.
struct Writer {
    next: usize,
}

impl Writer {
    /// Writes a piece; gives back where it runs.
    fn put(&mut self, words: &[u32]) -> usize {
        assert!(size_of_val(words) <= PIECE);
        let offset = self.next;
        self.next += PIECE;
        // SAFETY: core 0 alone is awake in the kernel, with interrupts masked, and goes to no piece before it has its place.
        match unsafe { arena::write(offset, words) } {
            Some(address) => address,
            None => panic!("no room for code at {offset:#x}"),
        }
    }

    /// The entry of a sleeper that waits for a word of [`WORDS`]. Its large frame is on the stack while it runs, and no
    /// longer.
    #[inline(never)]
    fn sleeper(&mut self, word: u16, tag: u32) -> Option<Entry> {
        let mut wait = Predicate::any();
        // Words that never change make the code long.
        for word in (500..506).chain([word]) {
            let word = Word::owned(PageNumber::new(0), word * 8, Width::Eight);
            wait = wait.product(Tag::new(tag)?).and(word, Comparison::Equal, 7);
        }
        let program = Program::new(Terms::decode(wait.terms().ok()?).ok()?);
        let mut buffer = [0; MAX_CODE_WORDS];
        let place = |_: Place| WORDS.0.as_ptr() as u64;
        let Code { words, argument } = program.compile(place, &mut buffer).ok()?;
        let code = self.put(words) as u64;
        Some(Entry { code, argument })
    }
}

/// Looks at all sleepers, up to the first that is to be woken.
fn look(table: &mut Table<'_>, enter: Enter) -> Step {
    table.begin();
    while let Some(slot) = table.next_slot() {
        let entries = table.entries().as_ptr();
        let ended = enter(entries.wrapping_add(slot), timer::now());
        let behind = (ended.behind as usize - entries as usize) / size_of::<Entry>();
        match table.came(behind, ended.told) {
            Step::Pause => {}
            step => return step,
        }
    }
    Step::Done
}

/// Nobody can write what runs, and nobody reaches it by another name.
fn check_names(code: usize) {
    let linear = mmu::linear(arena::physical() + (code - arena::ARENA) as u64);
    let alias = arena::alias(CoreNumber::current());
    for (name, address, expected) in [
        ("where it runs", code, (true, false)),
        ("linear window", linear, (false, false)),
        ("alias", alias, (false, false)),
    ] {
        let (read, written) = mmu::kernel_can(address);
        log!("generated code, {name}: read {read}, written {written}");
        assert_eq!((read, written), expected);
    }
}

/// Runs the test.
///
/// # Panics
/// If anything is not as it should be.
#[inline(never)]
pub(super) fn run() {
    let mut writer = Writer { next: 0 };
    let mut buffer = [0; STUB_WORDS];
    let Ok((words, stubs)) = stubs(&mut buffer) else {
        panic!("no stubs");
    };
    let begin = writer.put(words);
    // SAFETY: the stub `enter` has this signature (`exopi-predicate`, "Convention"), and runs there.
    let enter = unsafe { core::mem::transmute::<usize, Enter>(begin + stubs.enter as usize) };
    let mut entries = [Entry::default(); entries_for(ALL)];
    let (mut sleepers, mut positions) = ([0; ALL], [0; ALL]);
    let table = Table::new(
        &mut entries,
        &mut sleepers,
        &mut positions,
        begin as u64,
        stubs,
    );
    let Some(mut table) = table else {
        panic!("no table");
    };
    for sleeper in 0..=OTHERS {
        let entry = writer.sleeper(sleeper, u32::from(sleeper) + 1);
        let put = entry.is_some_and(|entry| table.insert(sleeper, entry));
        assert!(put, "sleeper {sleeper}");
    }
    check_names(begin);
    let before = look(&mut table, enter);
    if let Some(word) = WORDS.0.get(usize::from(OTHERS)) {
        word.store(7, Ordering::Relaxed);
    }
    let after = look(&mut table, enter);
    log!("generated code, {ALL} sleepers: {before:?}, then {after:?}");
    let last = Tag::new(u32::from(OTHERS) + 1).map(|tag| Step::Woken(OTHERS, tag));
    assert_eq!((before, Some(after)), (Step::Done, last));
    // Beyond the end, and off a line: nothing is written.
    for offset in [arena::BYTES as usize - 4, arena::BYTES as usize, 4] {
        // SAFETY: as above.
        assert_eq!(unsafe { arena::write(offset, &[0; 2]) }, None);
    }
    log!("generated code: good");
}
