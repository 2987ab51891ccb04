//! What the boot firmware leaves in memory: an ATAG list, or a flattened device tree.
//!
//! Sources: Devicetree Specification 0.4, section 5, for the tree; the ARM Linux boot protocol for
//! ATAGs. Both parsers are total: they take bytes that anybody may have written, never panic, never
//! look outside, and end, since each step consumes input. What is malformed ends the reading; what was
//! found up to there is the result.
//!
//! The tree is walked here, by some hundred lines, because no crate fits: `hermit-dtb` has the right
//! licence, but panics on an unknown token, a truncated block or a name that is not UTF-8, and its
//! only constructor trusts a raw pointer; `fdt` has a licence that we do not use.

#[cfg(test)]
mod tests;

use crate::traits::MemoryRange;

/// What a boot firmware says that the kernel has a use for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handover<'a> {
    /// The first range of memory. It is not checked against anything: the board knows better.
    pub memory: Option<MemoryRange>,
    /// Boot arguments without the terminating zero; an empty line is none.
    pub command_line: Option<&'a [u8]>,
}

impl<'a> Handover<'a> {
    fn set_command_line(&mut self, value: &'a [u8]) {
        let line = value.split(|byte| *byte == 0).next().unwrap_or(value);
        if self.command_line.is_none() && !line.is_empty() {
            self.command_line = Some(line);
        }
    }
}

/// The four bytes from `offset`.
fn bytes_at(bytes: &[u8], offset: usize) -> Option<[u8; 4]> {
    bytes.get(offset..)?.first_chunk().copied()
}

const ATAG_CORE: u32 = 0x5441_0001;
const ATAG_MEM: u32 = 0x5441_0002;
const ATAG_CMDLINE: u32 = 0x5441_0009;
const ATAG_NONE: u32 = 0;

/// Reads the ATAG list at the start of `bytes`, which may go on behind it.
///
/// A tag is its length in 32-bit words, a number, and values; the list starts with a CORE tag and ends
/// with a NONE tag. Words are little-endian. A list without CORE is none: that is how memory which was
/// never written looks.
pub fn atag_list(bytes: &[u8]) -> Handover<'_> {
    let mut found = Handover::default();
    let mut rest = bytes;
    while let Some((tag, values, after)) = next_atag(rest) {
        let first = rest.len() == bytes.len();
        match tag {
            ATAG_NONE => break,
            _ if first != (tag == ATAG_CORE) => break,
            ATAG_MEM => {
                let size = bytes_at(values, 0).map(u32::from_le_bytes);
                let start = bytes_at(values, 4).map(u32::from_le_bytes);
                if let (None, Some(size @ 1..), Some(start)) = (found.memory, size, start) {
                    found.memory = Some(MemoryRange {
                        start: start.into(),
                        length: size.into(),
                    });
                }
            }
            ATAG_CMDLINE => found.set_command_line(values),
            _ => {}
        }
        rest = after;
    }
    found
}

/// The tag at the start of `bytes`: its number, its values, and what follows it.
fn next_atag(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let words = u32::from_le_bytes(bytes_at(bytes, 0)?);
    let tag = u32::from_le_bytes(bytes_at(bytes, 4)?);
    // The length counts these two words; with less the reading would not get on. The end is such a tag.
    if words < 2 {
        return None;
    }
    let length = usize::try_from(words).ok()?.checked_mul(4)?;
    let (whole, after) = bytes.split_at_checked(length)?;
    Some((tag, whole.get(8..)?, after))
}

/// First word of a flattened device tree, big-endian as all of them.
const TREE_MAGIC: u32 = 0xd00d_feed;
/// The version whose header has the sizes of both blocks; all later ones are compatible with it.
const TREE_VERSION: u32 = 17;
const TREE_HEADER: usize = 40;

/// The greatest tree that is believed: the arm64 boot protocol allows no more.
pub const MAX_DEVICE_TREE: usize = 2 << 20;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;

/// How many bytes the device tree occupies that starts with `first` (8 bytes suffice); none if it is
/// no device tree, or one of an impossible size (less than its header, more than [`MAX_DEVICE_TREE`]).
pub fn device_tree_size(first: &[u8]) -> Option<usize> {
    let magic = u32::from_be_bytes(bytes_at(first, 0)?);
    let size = u32::from_be_bytes(bytes_at(first, 4)?) as usize;
    (magic == TREE_MAGIC && (TREE_HEADER..=MAX_DEVICE_TREE).contains(&size)).then_some(size)
}

/// Reads the flattened device tree at the start of `bytes`: the first range of the first `/memory` node
/// that has one, and `/chosen/bootargs`.
pub fn device_tree(bytes: &[u8]) -> Handover<'_> {
    let mut found = Handover::default();
    if let Some(mut walk) = Walk::new(bytes) {
        while let Some(property) = walk.next_property() {
            found.take_property(property);
        }
    }
    found
}

/// The nodes that have something for us. Deeper ones of the same name are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Memory,
    Chosen,
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Property<'a> {
    node: Node,
    name: &'a [u8],
    value: &'a [u8],
    cells: Cells,
}

/// How many words the root's children use for an address and for a size.
#[derive(Clone, Copy, Debug)]
struct Cells {
    address: u32,
    size: u32,
}

/// A walk through the structure block in its order: a node's properties come before its children.
struct Walk<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    /// Nodes around the current place; the root is 1.
    depth: usize,
    node: Node,
    cells: Cells,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let size = device_tree_size(bytes)?;
        let tree = bytes.get(..size)?;
        let field = |index: usize| bytes_at(tree, index * 4).map(u32::from_be_bytes);
        let (version, compatible_back_to) = (field(5)?, field(6)?);
        if version < TREE_VERSION || compatible_back_to > TREE_VERSION {
            return None;
        }
        let block = |offset: u32, length: u32| {
            let (offset, length) = (offset as usize, length as usize);
            tree.get(offset..offset.checked_add(length)?)
        };
        Some(Self {
            structure: block(field(2)?, field(9)?)?,
            strings: block(field(3)?, field(8)?)?,
            depth: 0,
            node: Node::Other,
            // The specification's defaults, section 2.3.5.
            cells: Cells {
                address: 2,
                size: 1,
            },
        })
    }

    /// The next property of any node but the root, whose cells are taken note of.
    fn next_property(&mut self) -> Option<Property<'a>> {
        loop {
            match self.take_word()? {
                BEGIN_NODE => self.begin_node()?,
                END_NODE => {
                    self.depth = self.depth.checked_sub(1)?;
                    self.node = Node::Other;
                }
                PROPERTY => {
                    let property = self.property()?;
                    match (self.depth, property.name, bytes_at(property.value, 0)) {
                        (1, b"#address-cells", Some(cells)) => {
                            self.cells.address = u32::from_be_bytes(cells);
                        }
                        (1, b"#size-cells", Some(cells)) => {
                            self.cells.size = u32::from_be_bytes(cells);
                        }
                        _ => return Some(property),
                    }
                }
                NOP => {}
                _ => return None,
            }
        }
    }

    fn begin_node(&mut self) -> Option<()> {
        let length = self.structure.iter().position(|byte| *byte == 0)?;
        let name = self.take(length + 1)?.get(..length)?;
        self.depth += 1;
        // A unit address may follow the name.
        let base = name.split(|byte| *byte == b'@').next()?;
        self.node = match (self.depth, base) {
            (2, b"memory") => Node::Memory,
            (2, b"chosen") => Node::Chosen,
            _ => Node::Other,
        };
        Some(())
    }

    fn property(&mut self) -> Option<Property<'a>> {
        let length = self.take_word()? as usize;
        let name = self.strings.get(self.take_word()? as usize..)?;
        let end = name.iter().position(|byte| *byte == 0)?;
        Some(Property {
            node: self.node,
            name: name.get(..end)?,
            value: self.take(length)?,
            cells: self.cells,
        })
    }

    fn take_word(&mut self) -> Option<u32> {
        let (word, rest) = self.structure.split_first_chunk()?;
        self.structure = rest;
        Some(u32::from_be_bytes(*word))
    }

    /// Takes `length` bytes and what fills the last word up.
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let padded = length.checked_next_multiple_of(4)?;
        let (taken, rest) = self.structure.split_at_checked(padded)?;
        self.structure = rest;
        taken.get(..length)
    }
}

impl<'a> Handover<'a> {
    fn take_property(&mut self, property: Property<'a>) {
        match (property.node, property.name) {
            (Node::Memory, b"reg") if self.memory.is_none() => {
                self.memory = first_range(property.value, property.cells);
            }
            (Node::Chosen, b"bootargs") => self.set_command_line(property.value),
            _ => {}
        }
    }
}

/// The first range of a `reg` property that is not empty.
fn first_range(mut reg: &[u8], cells: Cells) -> Option<MemoryRange> {
    loop {
        let start = take_cells(&mut reg, cells.address)?;
        let length = take_cells(&mut reg, cells.size)?;
        if length != 0 {
            return Some(MemoryRange { start, length });
        }
    }
}

/// A number of one or two cells; others are not addresses of this machine.
fn take_cells(reg: &mut &[u8], cells: u32) -> Option<u64> {
    if !(1..=2).contains(&cells) {
        return None;
    }
    let mut number = 0;
    for _ in 0..cells {
        let (cell, rest) = reg.split_first_chunk()?;
        number = number << 32 | u64::from(u32::from_be_bytes(*cell));
        *reg = rest;
    }
    Some(number)
}
