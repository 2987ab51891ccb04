//! Well-formed lists and trees are read back; anything else ends without panic.

use proptest::prelude::*;

use super::{Handover, MAX_DEVICE_TREE, atag_list, device_tree, device_tree_size};
use crate::traits::MemoryRange;

const RAM: MemoryRange = MemoryRange {
    start: 0,
    length: 0x3c00_0000,
};

fn atag(tag: u32, values: &[u8]) -> Vec<u8> {
    let words = 2 + values.len().div_ceil(4);
    let mut bytes = [(words as u32).to_le_bytes(), tag.to_le_bytes()].concat();
    bytes.extend(values);
    bytes.resize(words * 4, 0);
    bytes
}

fn atag_memory(range: MemoryRange) -> Vec<u8> {
    let values = [range.length as u32, range.start as u32].map(u32::to_le_bytes);
    atag(0x5441_0002, values.as_flattened())
}

fn atag_line(line: &[u8]) -> Vec<u8> {
    atag(0x5441_0009, &[line, b"\0"].concat())
}

/// CORE, the tags, NONE, and something that is none of the list's.
fn list(tags: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = atag(0x5441_0001, &[0; 12]);
    bytes.extend(tags.concat());
    bytes.extend([0; 8]);
    bytes.extend(atag_line(b"behind the end"));
    bytes
}

/// Writes a tree token by token.
#[derive(Default)]
struct Tree {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Tree {
    fn words(mut self, words: &[u32]) -> Self {
        self.structure
            .extend(words.iter().flat_map(|word| word.to_be_bytes()));
        self
    }

    fn padded(mut self, bytes: &[u8]) -> Self {
        self.structure.extend(bytes);
        let length = self.structure.len().next_multiple_of(4);
        self.structure.resize(length, 0);
        self
    }

    fn begin(self, name: &str) -> Self {
        self.words(&[1]).padded(&[name.as_bytes(), b"\0"].concat())
    }

    fn end(self) -> Self {
        self.words(&[2])
    }

    fn property(mut self, name: &str, value: &[u8]) -> Self {
        let offset = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        self.words(&[3, value.len() as u32, offset]).padded(value)
    }

    fn cells(self, name: &str, cells: &[u32]) -> Self {
        let value: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.property(name, &value)
    }

    /// Header, empty reservation map, structure, strings.
    fn blob(&self) -> Vec<u8> {
        let (structure, strings) = (56, 56 + self.structure.len());
        let header = [
            0xd00d_feed,
            (strings + self.strings.len()) as u32,
            structure,
            strings as u32,
            40,
            17,
            16,
            0,
            self.strings.len() as u32,
            self.structure.len() as u32,
        ];
        let header = header.map(u32::to_be_bytes);
        [
            header.as_flattened(),
            &[0; 16],
            &self.structure,
            &self.strings,
        ]
        .concat()
    }
}

/// What a Raspberry Pi's tree looks like to us, with `line`.
fn pi(line: &[u8]) -> Tree {
    Tree::default()
        .begin("")
        .property("compatible", b"raspberrypi,3-model-b\0brcm,bcm2837\0")
        .cells("#address-cells", &[1])
        .words(&[4])
        .cells("#size-cells", &[1])
        .begin("chosen")
        .property("bootargs", &[line, b"\0"].concat())
        .end()
        .begin("soc")
        .cells("#address-cells", &[2])
        .begin("memory@0")
        .cells("reg", &[1, 2, 3, 4])
        .end()
        .begin("chosen")
        .property("bootargs", b"not these\0")
        .end()
        .end()
        .begin("memory@0")
        .property("device_type", b"memory\0")
        .cells("reg", &[0, 0, 0, 0x3c00_0000])
        .end()
        .end()
        .words(&[9])
}

#[test]
fn the_emulator_s_list_is_read() {
    let bytes = list(&[atag_memory(RAM), atag_line(b"quiet run=init")]);
    let expected = Handover {
        memory: Some(RAM),
        command_line: Some(b"quiet run=init"),
    };
    assert_eq!(atag_list(&bytes), expected);
}

#[test]
fn memory_without_a_list_holds_none() {
    let tags = [atag_memory(RAM), atag_line(b"line")].concat();
    for bytes in [&[][..], &[0; 64], &[0xff; 64], &tags] {
        assert_eq!(atag_list(bytes), Handover::default());
    }
}

#[test]
fn a_malformed_list_gives_what_came_before() {
    let good = [atag(0x5441_0001, &[]), atag_memory(RAM)].concat();
    let found = Handover {
        memory: Some(RAM),
        command_line: None,
    };
    // Lengths of no, one and too many words; a second beginning; an end that has a length.
    let endings = [
        (0u32, 0x5441_0009u32),
        (1, 0x5441_0009),
        (u32::MAX, 0x5441_0009),
        (2, 0x5441_0001),
        (2, 0),
    ];
    for (words, tag) in endings {
        let ending = [words.to_le_bytes(), tag.to_le_bytes()].concat();
        let bytes = [good.clone(), ending, atag_line(b"not reached")].concat();
        assert_eq!(atag_list(&bytes), found);
    }
    let whole = [good.clone(), atag_line(b"cut off")].concat();
    for length in good.len()..whole.len() {
        assert_eq!(atag_list(&whole[..length]), found);
    }
}

#[test]
fn a_board_s_tree_is_read() {
    let expected = Handover {
        memory: Some(RAM),
        command_line: Some(b"console=serial0"),
    };
    let blob = pi(b"console=serial0").blob();
    assert_eq!(device_tree(&blob), expected);
    assert_eq!(device_tree(&[&blob[..], b"behind"].concat()), expected);
}

#[test]
fn a_tree_without_arguments_or_memory_has_none() {
    assert_eq!(device_tree(&pi(b"").blob()).command_line, None);
    let empty = Tree::default().begin("").end().words(&[9]);
    assert_eq!(device_tree(&empty.blob()), Handover::default());
}

#[test]
fn ranges_follow_the_root_s_cells() {
    let tree = |address, size, reg: &[u32]| {
        Tree::default()
            .begin("")
            .cells("#address-cells", &[address])
            .cells("#size-cells", &[size])
            .begin("memory")
            .cells("reg", reg)
            .end()
            .end()
            .words(&[9])
            .blob()
    };
    let range = |start, length| Some(MemoryRange { start, length });
    assert_eq!(
        device_tree(&tree(2, 2, &[1, 2, 3, 4])).memory,
        range(0x1_0000_0002, 0x3_0000_0004)
    );
    assert_eq!(
        device_tree(&tree(2, 1, &[1, 2, 3])).memory,
        range(0x1_0000_0002, 3)
    );
    assert_eq!(device_tree(&tree(1, 2, &[1, 0, 3])).memory, range(1, 3));
    for (address, size) in [(0, 1), (1, 0), (3, 1), (1, 3), (u32::MAX, 1), (1, u32::MAX)] {
        assert_eq!(device_tree(&tree(address, size, &[1; 16])).memory, None);
    }
    // Without cells the specification's defaults count.
    let plain = Tree::default()
        .begin("")
        .begin("memory")
        .cells("reg", &[0, 5, 6]);
    assert_eq!(device_tree(&plain.blob()).memory, range(5, 6));
}

#[test]
fn a_tree_is_known_by_its_first_bytes() {
    let first = |magic: u32, size: u32| [magic.to_be_bytes(), size.to_be_bytes()].concat();
    assert_eq!(device_tree_size(&first(0xd00d_feed, 0x7ab1)), Some(0x7ab1));
    assert_eq!(
        device_tree_size(&first(0xd00d_feed, 2 << 20)),
        Some(MAX_DEVICE_TREE)
    );
    assert_eq!(device_tree_size(&first(0xd00d_feed, 39)), None);
    assert_eq!(device_tree_size(&first(0xd00d_feed, (2 << 20) + 1)), None);
    assert_eq!(device_tree_size(&first(0xedfe_0dd0, 100)), None);
    assert_eq!(device_tree_size(&first(0xd00d_feed, 100)[..7]), None);
}

#[test]
fn the_greatest_inputs_end() {
    for token in [1, 2, 3, 4, 9] {
        let tree = Tree::default()
            .begin("")
            .words(&vec![token; MAX_DEVICE_TREE / 4 - 16]);
        device_tree(&tree.blob());
    }
    let smallest = list(&vec![atag(0x5441_0007, &[]); 0x1_0000]);
    assert_eq!(atag_list(&smallest), Handover::default());
}

proptest! {
    #[test]
    fn lists_are_read_back(
        start in any::<u32>(),
        length in 1..=u32::MAX,
        line in "[ -~]{1,80}",
        swapped in any::<bool>(),
        others in prop::collection::vec((0x5441_0003u32..0x5441_0009, any::<[u8; 8]>()), 0..4),
    ) {
        let range = MemoryRange { start: start.into(), length: length.into() };
        let mut tags: Vec<_> = others.iter().map(|(tag, values)| atag(*tag, values)).collect();
        tags.extend([atag_memory(range), atag_line(line.as_bytes())]);
        if swapped {
            tags.reverse();
        }
        let bytes = list(&tags);
        let expected = Handover { memory: Some(range), command_line: Some(line.as_bytes()) };
        prop_assert_eq!(atag_list(&bytes), expected);
    }

    #[test]
    fn trees_are_read_back(line in "[ -~]{1,200}", start in any::<u64>(), length in 1..=u64::MAX) {
        let halves = |n: u64| [(n >> 32) as u32, n as u32];
        let blob = Tree::default()
            .begin("")
            .cells("#size-cells", &[2])
            .begin("memory@0")
            .cells("reg", &[halves(start), halves(length)].concat())
            .end()
            .begin("chosen")
            .property("bootargs", line.as_bytes())
            .end()
            .end()
            .words(&[9])
            .blob();
        let memory = Some(MemoryRange { start, length });
        let expected = Handover { memory, command_line: Some(line.as_bytes()) };
        prop_assert_eq!(device_tree(&blob), expected);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        atag_list(&bytes);
        device_tree(&bytes);
        device_tree_size(&bytes);
    }

    /// Words rather than bytes, so that lengths and tokens are often small enough to matter.
    #[test]
    fn hostile_lists_are_survived(
        words in prop::collection::vec(prop_oneof![
            0..8u32, 0x5441_0000..0x5441_000a_u32, any::<u32>(),
        ], 0..64),
    ) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        atag_list(&[atag(0x5441_0001, &[]), bytes].concat());
    }

    #[test]
    fn damaged_trees_are_survived(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        words in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![0..16u32, any::<u32>()]), 0..4),
        cut in any::<prop::sample::Index>(),
        shorten in any::<bool>(),
    ) {
        let mut blob = pi(b"console=serial0").blob();
        for (place, byte) in damage {
            let place = place.index(blob.len());
            blob[place] = byte;
        }
        for (place, word) in words {
            let place = place.index(blob.len() / 4) * 4;
            blob[place..place + 4].copy_from_slice(&word.to_be_bytes());
        }
        if shorten {
            blob.truncate(cut.index(blob.len()));
        }
        device_tree(&blob);
        // The same, with a header that is believed.
        let whole = pi(b"console=serial0").blob();
        let keep = blob.len().min(40);
        blob[..keep].copy_from_slice(&whole[..keep]);
        blob.resize(whole.len(), 0xa5);
        device_tree(&blob);
    }
}
