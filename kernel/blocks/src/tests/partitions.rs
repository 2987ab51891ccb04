//! Partition tables: good ones are read, others refused.

use std::vec::Vec;

use exopi_abi::disk::BlockRange;
use proptest::prelude::*;

use crate::mbr::{Error, MOST, Partition, SECTOR, parse};

const MEDIUM: u64 = 1 << 20;

/// A table of these entries: status, type, first sector, sectors.
fn table(entries: &[(u8, u8, u32, u32)]) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    for (place, (status, kind, first, sectors)) in entries.iter().enumerate() {
        let entry = &mut sector[446 + 16 * place..][..16];
        // Cylinders, heads and sectors, which mean nothing.
        entry.fill(0xfe);
        entry[0] = *status;
        entry[4] = *kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..].copy_from_slice(&sectors.to_le_bytes());
    }
    sector
}

#[test]
fn partitions_come_in_the_tables_order() {
    let sector = table(&[
        (0x80, 0x0c, 2048, 131_072),
        (0, 0, 0, 0),
        (0, 0x7f, 133_120, 915_456),
    ]);
    let partitions = parse(&sector, MEDIUM).unwrap();
    let boot = Partition {
        kind: 0x0c,
        boots: true,
        first: 2048,
        sectors: 131_072,
    };
    assert_eq!(partitions[0], Some(boot));
    assert_eq!((partitions[1], partitions[3]), (None, None));
    assert_eq!(partitions[2].unwrap().end(), MEDIUM);
    let blocks = BlockRange {
        first: 256,
        count: 16_384,
    };
    assert_eq!(boot.blocks(), Some(blocks));
}

#[test]
fn nonsense_is_refused() {
    let refusal = |entries: &[_]| parse(&table(entries), MEDIUM).unwrap_err();
    let good = (0, 0x0c, 2048, 1000);
    for (entry, error) in [
        ((1, 0x0c, 8, 8), Error::Malformed),
        ((0x80, 0, 8, 8), Error::Malformed),
        ((0x80, 0, 0, 0), Error::Malformed),
        ((0, 0x0c, 8, 0), Error::Malformed),
        ((0, 0x05, 8, 8), Error::Unsupported),
        ((0, 0x0f, 8, 8), Error::Unsupported),
        ((0, 0xee, 1, u32::MAX), Error::Unsupported),
        ((0, 0x0c, 0, 8), Error::OutOfRange),
        ((0, 0x0c, MEDIUM as u32, 1), Error::OutOfRange),
        ((0, 0x0c, MEDIUM as u32 - 7, 8), Error::OutOfRange),
        ((0, 0x0c, u32::MAX, u32::MAX), Error::OutOfRange),
        ((0, 0x0c, 3047, 1), Error::Overlap),
        ((0, 0x0c, 1, 2048), Error::Overlap),
        ((0, 0x0c, 2048, 1000), Error::Overlap),
        ((0, 0x0c, 2100, 1), Error::Overlap),
    ] {
        assert_eq!(refusal(&[good, entry]), error, "{entry:?}");
        assert_eq!(refusal(&[entry, good]), error, "{entry:?}");
    }
    assert_eq!(parse(&[0; SECTOR], MEDIUM), Err(Error::NoTable));
}

#[test]
fn only_whole_blocks_are_blocks() {
    let blocks = |first, sectors| {
        Partition {
            kind: 1,
            boots: false,
            first,
            sectors,
        }
        .blocks()
    };
    let range = |first, count| Some(BlockRange { first, count });
    assert_eq!(blocks(8, 8), range(1, 1));
    assert_eq!(blocks(8, 23), range(1, 2));
    assert_eq!(blocks(8, 7), None);
    assert_eq!(blocks(63, 800), None);
    assert_eq!(
        blocks(u32::MAX - 7, u32::MAX),
        range((1 << 29) - 1, (1 << 29) - 1)
    );
}

proptest! {
    #[test]
    fn no_table_names_a_sector_twice_or_one_that_is_not_there(
        bytes in prop::collection::vec(any::<u8>(), 64),
        small in prop::collection::vec((0..3u8, 0..9u8, 0..60u32, 0..60u32), 0..5),
        medium in 0..100u64,
        random: bool,
    ) {
        let small: Vec<_> = small.into_iter().take(MOST).collect();
        let mut sector = table(&small);
        if random {
            sector[446..510].copy_from_slice(&bytes);
        }
        if let Ok(partitions) = parse(&sector, medium) {
            let mut used = std::collections::BTreeSet::new();
            for partition in partitions.iter().flatten() {
                prop_assert!(partition.sectors > 0);
                for sector in u64::from(partition.first)..partition.end() {
                    prop_assert!((1..medium).contains(&sector));
                    prop_assert!(used.insert(sector));
                }
                if let Some(blocks) = partition.blocks() {
                    prop_assert!(u64::from(partition.first) <= u64::from(blocks.first) * 8);
                    prop_assert!(blocks.end() * 8 <= partition.end());
                }
            }
        }
    }
}
