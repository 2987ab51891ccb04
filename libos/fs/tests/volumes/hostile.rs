//! Volumes that mean harm: errors, no panic, and no more reading than the size of the volume explains.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;

use exopi_fs::device::Memory;
use exopi_fs::{
    BLOCK_SIZE, Block, BlockDevice, DeviceError, Error, Fat, FileSystem, Kind, VolumeError,
};

use crate::support::{CLOCK, Random, Shape, TIGHT, at, mount, pattern, read, write};

/// A device that counts what is read, and breaks off what goes on for ever.
struct Counted {
    memory: Memory,
    reads: Rc<Cell<u64>>,
}

/// Reads of blocks for all that is done with one volume.
const PATIENCE: u64 = 3_000_000;

impl BlockDevice for Counted {
    fn blocks(&self) -> u64 {
        self.memory.blocks()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read(&mut self, first: u64, into: &mut [&mut Block]) -> Result<(), DeviceError> {
        self.reads.set(self.reads.get() + into.len() as u64);
        assert!(self.reads.get() < PATIENCE, "this goes on for ever");
        self.memory.read(first, into)
    }

    fn write(&mut self, first: u64, from: &[&Block]) -> Result<(), DeviceError> {
        self.memory.write(first, from)
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// A volume with something of everything.
fn furnished(shape: Shape) -> Memory {
    let mut fat = mount(shape.make());
    for folder in ["/a", "/a/b", "/a/b/c", "/long directory name"] {
        fat.mkdir(at(folder).path()).unwrap();
    }
    for (number, folder) in ["", "/a", "/a/b", "/a/b/c"].iter().enumerate() {
        for size in [0, 10, 600, 5000, 20_000] {
            let path = format!("{folder}/a long name {size}.bin");
            write(&mut fat, &path, &pattern(size, number as u64)).unwrap();
        }
    }
    fat.unmount().unwrap()
}

/// The volume with other bytes at its begin.
fn with_head(volume: &Memory, head: &[u8]) -> Memory {
    let mut memory = volume.clone();
    for (number, chunk) in (0..).zip(head.chunks(BLOCK_SIZE)) {
        let mut block = Block::zeroed();
        memory.read(number, &mut [&mut block]).unwrap();
        block.0[..chunk.len()].copy_from_slice(chunk);
        memory.write(number, &[&block]).unwrap();
    }
    memory
}

/// Everything that can be done, with whatever is found.
fn use_up(memory: Memory, random: &mut Random) -> Result<(), Error> {
    let device = Counted {
        memory,
        reads: Rc::default(),
    };
    let mut fat = Fat::mount_with(device, TIGHT, CLOCK)?;
    let (mut paths, mut next) = (vec![String::new()], 0);
    while next < paths.len() && paths.len() < 60 {
        let folder = paths[next].clone();
        let mut found = Vec::new();
        let listed = fat.list(at(&format!("{folder}/")).path(), &mut |entry| {
            found.push((format!("{folder}/{}", entry.name), entry.metadata.kind));
            ControlFlow::Continue(())
        });
        for (path, kind) in found {
            if path.matches('/').count() < 8 && path.len() < 900 {
                if kind == Kind::File {
                    let _ = read(&mut fat, &path);
                }
                paths.push(path);
            }
        }
        let _ = listed;
        next += 1;
    }
    for _ in 0..40 {
        let path = random.pick(&paths).unwrap().clone();
        let other = random.pick(&paths).unwrap().clone();
        let (path, other) = (at(&format!("/{path}")), at(&format!("/{other}")));
        let new = at(&format!("{other}/new {}", random.below(5)));
        let _ = match random.below(8) {
            0 => write(&mut fat, path.as_str(), &pattern(random.below(9000), 1)),
            1 => write(&mut fat, new.as_str(), &pattern(random.below(9000), 2)),
            2 => fat.remove(path.path()),
            3 => fat.rename(path.path(), other.path()),
            4 => fat.rename(path.path(), new.path()),
            5 => fat.mkdir(new.path()),
            6 => fat.rmdir(path.path()),
            _ => fat.statfs().map(|_| ()),
        };
    }
    fat.sync()
}

/// Where what decides is: boot sector, FATs, directories.
fn parts(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let half = |at: usize| usize::from(bytes[at]) | usize::from(bytes[at + 1]) << 8;
    let (reserved, entries) = (half(14), half(17));
    let fat = match half(22) {
        0 => half(36) | half(38) << 16,
        fat => fat,
    };
    let begin = reserved * 512;
    let end = begin + 2 * fat * 512;
    let root = end + entries * 32;
    // Clusters in use begin with those of directories and small files.
    vec![
        0..512,
        begin..begin + 600,
        begin + fat * 512..begin + fat * 512 + 600,
        end..root + 16_384,
    ]
}

#[test]
fn flipped_bits_do_no_harm() {
    for shape in [Shape::SMALL, Shape::PAGES, Shape::FAT32] {
        let volume = furnished(shape);
        let mut good = volume.to_bytes();
        let parts = parts(&good);
        // All that is changed is at the begin.
        good.truncate(parts[3].end);
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let mut bytes = good.clone();
            for _ in 0..=random.below(12) {
                let part = random.pick(&parts).unwrap().clone();
                let place = part.start + random.below(part.len());
                bytes[place] ^= 1 << random.below(8);
            }
            // The boot sector stays a boot sector more often than not.
            if seed % 4 > 0 {
                bytes[..512].copy_from_slice(&good[..512]);
            }
            eprintln!("{shape:?}, seed {seed}");
            let _ = use_up(with_head(&volume, &bytes), &mut random);
        }
    }
}

#[test]
fn random_structures_do_no_harm() {
    for shape in [Shape::SMALL, Shape::PAGES, Shape::FAT32] {
        let volume = furnished(shape);
        let mut good = volume.to_bytes();
        let parts = parts(&good);
        // All that is changed is at the begin.
        good.truncate(parts[3].end);
        for seed in 1000..1300 {
            let mut random = Random::new(seed);
            let mut bytes = good.clone();
            for _ in 0..=random.below(30) {
                if random.below(2) == 0 {
                    // Both FATs alike: any entry leads anywhere near, so that there are circles and meetings.
                    let (entry, value) = (random.below(120), random.below(140) as u32);
                    let value = [value, value, 0, 1, 0xfff7, 0xffff_fff8][random.below(6)];
                    for part in &parts[1..3] {
                        if shape.width == exopi_fs::fat::Width::Fat16 {
                            let at = part.start + 2 * entry;
                            bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
                        } else {
                            let at = part.start + 4 * entry;
                            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
                        }
                    }
                } else {
                    // A directory entry with a field of nonsense.
                    let slot = parts[3].start + 32 * random.below(parts[3].len() / 32);
                    let (at, length) =
                        [(0, 1), (11, 1), (20, 2), (26, 2), (28, 4), (0, 32), (1, 10)]
                            [random.below(7)];
                    let cluster = random.below(140) as u8;
                    for byte in &mut bytes[slot + at..slot + at + length] {
                        *byte = random.word() as u8;
                    }
                    if at == 26 {
                        bytes[slot + 26..slot + 28].copy_from_slice(&[cluster, 0]);
                    }
                }
            }
            eprintln!("{shape:?}, seed {seed}");
            let _ = use_up(with_head(&volume, &bytes), &mut random);
        }
    }
}

/// What mounting says to a boot sector that is changed so.
fn mounted(shape: Shape, change: impl Fn(&mut [u8])) -> Result<(), Error> {
    let mut bytes = shape.make().to_bytes();
    change(&mut bytes);
    Fat::mount(Memory::from_bytes(&bytes)).map(|_| ())
}

#[test]
fn each_lie_of_a_boot_sector_has_its_error() {
    let (small, large) = (Shape::SMALL, Shape::FAT32);
    let set = |at: usize, value: u8| move |bytes: &mut [u8]| bytes[at] = value;
    for (found, expected) in [
        (mounted(small, set(511, 0)), VolumeError::Signature),
        (mounted(small, set(12, 4)), VolumeError::SectorSize),
        (mounted(small, set(13, 0)), VolumeError::ClusterSize),
        (mounted(small, set(13, 3)), VolumeError::ClusterSize),
        (mounted(small, set(13, 2)), VolumeError::Fat12),
        (mounted(small, set(16, 0)), VolumeError::TableCount),
        (mounted(small, set(16, 3)), VolumeError::TableCount),
        (mounted(small, set(15, 0xff)), VolumeError::Layout),
        (mounted(small, set(20, 0xff)), VolumeError::Truncated),
        (mounted(small, set(22, 1)), VolumeError::TableSize),
        (mounted(small, set(17, 1)), VolumeError::Root),
        (mounted(large, set(17, 16)), VolumeError::Contradiction),
        (mounted(large, set(42, 1)), VolumeError::Version),
        (mounted(large, set(40, 0x80)), VolumeError::Unmirrored),
        (mounted(large, set(44, 1)), VolumeError::Root),
        (mounted(large, set(47, 0xff)), VolumeError::Root),
        (mounted(large, set(36, 1)), VolumeError::TableSize),
        (mounted(large, set(39, 0xff)), VolumeError::Layout),
    ] {
        assert_eq!(found, Err(Error::Volume(expected)));
    }
    assert_eq!(
        Fat::mount(Memory::new(0)).err(),
        Some(Error::Volume(VolumeError::Truncated))
    );
    assert_eq!(mounted(small, |_| ()), Ok(()));
    // FSInfo may be anywhere, or nowhere: it is not believed.
    assert_eq!(mounted(large, set(48, 0)), Ok(()));
    assert_eq!(mounted(large, set(49, 0xff)), Ok(()));
    assert_eq!(mounted(large, |bytes| bytes[512..1024].fill(0x55)), Ok(()));
}

/// A long name of which the last half of a pair is alone, and thirteen units before it: the crate's own listing
/// panics on that.
#[test]
fn halves_of_pairs_do_no_harm() {
    let mut bytes = Shape::SMALL.make().to_bytes();
    let root = parts(&bytes)[3].start + 32;
    let short = b"NAME    TXT";
    let sum = short
        .iter()
        .fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    for (slot, number, units) in [
        (0, 0x42, [0xdc00u16, 0, 0xffff, 0xffff, 0xffff]),
        (1, 0x01, [0x61; 5]),
    ] {
        let slot = &mut bytes[root + 32 * slot..][..32];
        slot.fill(0x61);
        for (at, unit) in (0..32).step_by(2).zip([0x61u16; 16]) {
            slot[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        for (place, unit) in units.into_iter().enumerate() {
            slot[1 + 2 * place..3 + 2 * place].copy_from_slice(&unit.to_le_bytes());
        }
        (slot[0], slot[11], slot[12], slot[13]) = (number, 0x0f, 0, sum);
    }
    bytes[root + 64..root + 75].copy_from_slice(short);
    let mut fat = mount(Memory::from_bytes(&bytes));
    let mut names = Vec::new();
    let listed = fat.list(at("/").path(), &mut |entry| {
        names.push(entry.name.clone());
        ControlFlow::Continue(())
    });
    assert_eq!((listed, names), (Ok(()), vec!["NAME.TXT".to_owned()]));
}

/// Two files that share clusters: when one goes, the other one's chain runs into clusters that are free, and then
/// somebody's.
#[test]
fn files_that_share_clusters_do_no_harm() {
    let shape = Shape::SMALL;
    let mut fat = mount(shape.make());
    write(&mut fat, "/one", &pattern(5000, 1)).unwrap();
    write(&mut fat, "/two", &pattern(5000, 2)).unwrap();
    let mut bytes = fat.unmount().unwrap().to_bytes();
    // Clusters 2 to 11, and 12 to 21: the first one goes on with the second one's.
    for part in &parts(&bytes)[1..3] {
        bytes[part.start + 2 * 3..][..2].copy_from_slice(&14u16.to_le_bytes());
    }
    let mut fat = mount(Memory::from_bytes(&bytes));
    let file = fat.open(at("/one").path()).unwrap();
    // Of one's ten clusters the last eight go.
    fat.remove(at("/two").path()).unwrap();
    let mut into = [0; 5000];
    assert_eq!(fat.read_at(file, 0, &mut into), Err(Error::Corrupt));
    for offset in [0, 2000] {
        // It is in memory, and has no place on the volume: who has it written hears so, each time.
        assert_eq!(fat.write_at(file, offset, &pattern(5000, 4)), Ok(5000));
        assert_eq!(fat.sync(), Err(Error::Corrupt));
    }
    // The clusters become somebody else's, who can be read to the end.
    write(&mut fat, "/three", &pattern(9000, 3)).unwrap();
    let _ = fat.close(file);
    assert_eq!(read(&mut fat, "/three").unwrap().len(), 9000);
}
