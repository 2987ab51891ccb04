//! Boot arguments from a device tree, which on a board is the usual way, and a boot that no damage to
//! the tree stops.
//!
//! The emulator only takes a tree that its own library can read. Any other one is written by a debugger
//! into the machine that has not begun to run, and its address to where the emulator's boot stub loads
//! x0 from.

use exopi_e2e::Run;
use exopi_e2e::debugger::Debugger;
use exopi_e2e::session::Session;
use exopi_e2e::tree::{HEADER, Tree};

/// Where the emulator puts a tree; without one there is nothing.
const TREE_AT: u64 = 0x0800_0000;
/// The boot stub: its first instruction loads x0 from the word behind its six.
const STUB: u64 = 0;
const LOAD_X0: [u8; 4] = 0x5800_00c0_u32.to_le_bytes();
const POINTER: u64 = 0x18;

const FROM_TREE: &str = "from=tree and more";
const FROM_ATAGS: &str = "from=atags";

/// Boots with a tree that the emulator loads.
fn loaded(tree: &[u8], append: &[&str]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("board.dtb");
    std::fs::write(&file, tree).unwrap();
    let mut command = Run::of_minimal();
    command.args(append);
    Run::from(command.env("QEMU_EXTRA", format!("-dtb '{}'", file.display())))
}

/// Boots with ATAGs, and with x0 pointing to `at`, where these bytes are put.
fn planted(at: u64, bytes: &[u8]) -> Run {
    let mut command = Run::of_minimal();
    command.args(["--append", FROM_ATAGS, "--gdb"]);
    let mut session = Session::start(&mut command);
    let mut debugger = Debugger::attach(&mut session);
    assert_eq!(debugger.read(STUB, 4), LOAD_X0, "another boot stub");
    debugger.write(at, bytes);
    debugger.write(POINTER, &at.to_le_bytes());
    debugger.let_go();
    session.end()
}

/// Checks that the first program ran, and that kernel and program tell these arguments.
#[track_caller]
fn has_arguments(run: &Run, arguments: &str) {
    booted(run)
        .prints(&format!("] boot arguments: \"{arguments}\""))
        .prints(&format!("\nminimal: my boot arguments are \"{arguments}\""));
}

#[track_caller]
fn booted(run: &Run) -> &Run {
    run.ends_with(0)
        .prints("minimal: done")
        .never_prints("warning:")
        .never_prints("KERNEL")
}

#[test]
fn arguments_come_from_the_tree() {
    let run = loaded(&Tree::of_machine(Some(FROM_TREE)), &[]);
    has_arguments(&run, FROM_TREE);
    // The mailbox knows better than the tree, which says 512 MiB.
    run.prints("memory: 960 MiB, says the mailbox");
}

#[test]
fn what_the_emulator_appends_is_in_the_tree() {
    // It puts them into the tree, in place of what is there.
    let run = loaded(
        &Tree::of_machine(Some(FROM_TREE)),
        &["--append", "from=append"],
    );
    has_arguments(&run, "from=append");
}

#[test]
fn tree_without_arguments() {
    has_arguments(&loaded(&Tree::of_machine(None), &[]), "");
}

#[test]
fn tree_without_arguments_leaves_those_of_the_atags() {
    let run = planted(TREE_AT, &Tree::of_machine(None));
    has_arguments(&run, FROM_ATAGS);
}

#[test]
fn tree_goes_before_atags() {
    let run = planted(TREE_AT, &Tree::of_machine(Some(FROM_TREE)));
    has_arguments(&run, FROM_TREE);
}

#[test]
fn what_is_no_tree_leaves_the_atags() {
    let tree = Tree::of_machine(Some(FROM_TREE));
    let with_word = |index: usize, word: u32| {
        let mut tree = tree.clone();
        tree[index * 4..][..4].copy_from_slice(&word.to_be_bytes());
        tree
    };
    let trees = [
        ("nothing", vec![0; 64]),
        ("another magic", with_word(0, 0xd00d_feee)),
        ("nothing but the magic", tree[..4].to_vec()),
        ("smaller than its header", with_word(1, HEADER as u32 - 1)),
        ("of 4 GiB", with_word(1, u32::MAX)),
    ];
    for (what, bytes) in trees {
        println!("{what}");
        has_arguments(&planted(TREE_AT, &bytes), FROM_ATAGS);
    }
}

#[test]
fn damaged_tree_stops_no_boot() {
    let tree = Tree::of_machine(Some(FROM_TREE));
    let garbled = |from: usize, with: &mut dyn FnMut(usize) -> u8| {
        let mut tree = tree.clone();
        for (index, byte) in tree.iter_mut().enumerate().skip(from) {
            *byte = with(index);
        }
        tree
    };
    // Xorshift, with a fixed seed.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |_: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    for (what, bytes) in [
        ("cut off in the header", tree[..20].to_vec()),
        ("cut off behind the header", tree[..HEADER].to_vec()),
        ("cut off in the middle", tree[..tree.len() / 2].to_vec()),
        ("ones behind magic and size", garbled(8, &mut |_| 0xff)),
        ("ones behind the header", garbled(HEADER, &mut |_| 0xff)),
        (
            "begins of nodes without end",
            garbled(HEADER, &mut |at| u8::from(at % 4 == 3)),
        ),
        ("noise behind magic and size", garbled(8, &mut random)),
        ("noise behind the header", garbled(HEADER, &mut random)),
    ] {
        println!("{what}");
        booted(&planted(TREE_AT, &bytes));
    }
}

#[test]
fn pointer_to_anywhere_stops_no_boot() {
    let start = &Tree::of_machine(Some(FROM_TREE))[..HEADER];
    for (what, at, bytes) in [
        ("not aligned", TREE_AT + 4, start),
        (
            "at the end of the processor's memory",
            0x3c00_0000 - 40,
            start,
        ),
        ("at the graphics processor's memory", 0x3c00_0000, start),
        ("at the kernel", 0x8_0000, &[]),
        ("just before the kernel", 0x8_0000 - 8, &start[..8]),
        ("at the serial port", 0x3f20_1000, &[]),
        ("at the local controller", 0x4000_0000, &[]),
        ("above everything", 0x1_0000_0000, &[]),
        ("beyond all addresses", u64::MAX - 7, &[]),
    ] {
        println!("{what}");
        booted(&planted(at, bytes));
    }
}
