//! What a medium says of itself: its partition table, and the registers of a card.

use exopi_blocks::mbr::{SECTOR, parse};
use exopi_bsp::drivers::sd::decode::{Cid, Csd, Scr, chose_high_speed};

use crate::input::Input;

/// A table names sectors that are there, each once, and blocks that are its own; a card has sectors.
pub fn disk(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let medium = input.word() & 0xff_ffff;
    let mut sector = [0; SECTOR];
    for entry in sector[446..510].chunks_exact_mut(16) {
        entry.fill_with(|| input.byte());
        // Hardly any random entry is one that is believed.
        if entry[1] & 1 == 0 {
            entry[0] &= 0x80;
            (entry[11], entry[14], entry[15]) = (0, 0, 0);
        }
    }
    sector[..446].fill_with(|| input.byte());
    // Nor does any random sector end as a table does.
    sector[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
    if let Ok(partitions) = parse(&sector, medium) {
        let mut used: Vec<_> = partitions
            .iter()
            .flatten()
            .map(|one| (u64::from(one.first), one.end()))
            .collect();
        used.sort_unstable();
        let mut end = 1;
        for (first, behind) in used {
            assert!(end <= first && first < behind && behind <= medium);
            end = behind;
        }
        for one in partitions.iter().flatten() {
            let Some(blocks) = one.blocks() else { continue };
            assert!(u64::from(one.first) <= 8 * u64::from(blocks.first));
            assert!(blocks.count > 0 && 8 * blocks.end() <= one.end());
        }
    }
    registers(&sector);
}

fn registers(bytes: &[u8; SECTOR]) {
    let Some((register, rest)) = bytes.split_first_chunk::<16>() else {
        return;
    };
    let register = u128::from_le_bytes(*register);
    if let Some(csd) = Csd::decode(register) {
        // No register of 22 bits, in units of 512 KiB, can say more.
        assert!((1..=1 << 32).contains(&csd.sectors));
        csd.kind();
    }
    let product = Cid::new(register).product();
    assert!(product.iter().all(u8::is_ascii_graphic));
    let (Some(scr), Some(switch)) = (rest.first_chunk(), rest.first_chunk()) else {
        return;
    };
    Scr::decode(*scr);
    chose_high_speed(switch);
}
