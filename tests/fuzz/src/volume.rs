//! FAT volumes: a good one with changed bytes, mounted and used.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use exopi_fs::device::Memory;
use exopi_fs::fat::{Format, Limits, Width, format};
use exopi_fs::{
    Block, BlockDevice, DeviceError, Error, Fat, FileSystem, Files, Kind, Location, OpenFlags,
    Stamp, mbr,
};

use crate::input::Input;

/// Little memory, all of it used.
const LIMITS: Limits = Limits {
    pages: 12,
    changed: 4,
    blocks: 32,
};
/// Blocks that may be read for one input: more means that something goes on for ever.
const PATIENCE: u64 = 400_000;
/// Most changes of bytes, and calls.
const CHANGES: usize = 40;
const CALLS: usize = 30;

/// Memory that breaks off what reads for ever.
struct Patient {
    memory: Memory,
    reads: u64,
}

impl BlockDevice for Patient {
    fn blocks(&self) -> u64 {
        self.memory.blocks()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read(&mut self, first: u64, into: &mut [&mut Block]) -> Result<(), DeviceError> {
        self.reads += into.len() as u64;
        assert!(self.reads < PATIENCE, "this goes on for ever");
        self.memory.read(first, into)
    }

    fn write(&mut self, first: u64, from: &[&Block]) -> Result<(), DeviceError> {
        self.memory.write(first, from)
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// Small volumes of both widths with directories and files in them.
fn furnished() -> &'static [Memory; 2] {
    static VOLUMES: OnceLock<[Memory; 2]> = OnceLock::new();
    VOLUMES.get_or_init(|| {
        [(540, Width::Fat16), (8400, Width::Fat32)].map(|(blocks, width)| {
            let mut memory = Memory::new(blocks);
            let wanted = Format {
                width: Some(width),
                sectors_per_cluster: Some(1),
                ..Format::default()
            };
            format(&mut memory, &wanted).expect("it fits");
            furnish(&mut memory).expect("there is room");
            memory
        })
    })
}

fn furnish(memory: &mut Memory) -> Result<(), Error> {
    let mut fat = Fat::mount(memory)?;
    for folder in ["/a", "/a/b", "/a long directory"] {
        fat.mkdir(Location::root().join(folder)?.path())?;
        for size in [10, 2000] {
            let path = format!("{folder}/a long name {size}");
            let file = fat.create(Location::root().join(&path)?.path())?;
            fat.write_at(file, 0, &[7; 2000][..size])?;
            fat.close(file)?;
        }
    }
    fat.unmount().map(|_| ())
}

/// Sets one byte.
fn set(memory: &mut Memory, place: usize, value: u8) -> Result<(), DeviceError> {
    let mut block = Block::zeroed();
    let number = (place / block.0.len()) as u64;
    memory.read(number, &mut [&mut block])?;
    block.0[place % exopi_fs::BLOCK_SIZE] = value;
    memory.write(number, &[&block])
}

/// Where the boot sector, both FATs and the first directory begin, by the boot sector.
fn starts(memory: &mut Memory) -> [usize; 4] {
    let mut block = Block::zeroed();
    memory.read(0, &mut [&mut block]).expect("it is there");
    let half = |at: usize| usize::from(block.0[at]) | usize::from(block.0[at + 1]) << 8;
    let sectors = match half(22) {
        0 => half(36),
        sectors => sectors,
    };
    let first = half(14);
    [0, first, first + sectors, first + 2 * sectors].map(|sector| sector * mbr::SECTOR_SIZE)
}

/// A volume whose boot sector, FATs and directories are changed is mounted, or not, and used; a first sector is a partition
/// table, or none.
///
/// # Panics
/// Something is wrong.
pub fn volume(bytes: &[u8]) {
    if let Some((first, _)) = bytes.split_first_chunk() {
        let _ = mbr::parse(first, 1 << 20);
    }
    let mut input = Input::new(bytes);
    let number = input.below(2);
    let mut memory = furnished()[number].clone();
    let starts = starts(&mut memory);
    for _ in 0..input.below(CHANGES) {
        let start = starts[input.below(4)];
        let place = start + input.below(256) + 256 * input.below(24);
        let value = input.byte();
        set(&mut memory, place, value).expect("it is there");
    }
    let device = Patient { memory, reads: 0 };
    if let Ok(fat) = Fat::mount_with(device, LIMITS, || Stamp::EPOCH) {
        let mut files = Files::new();
        files.mount("/", Box::new(fat)).expect("nothing is there");
        use_up(&mut files, &mut input);
    }
}

/// Calls of all kinds, on what is found.
fn use_up(files: &mut Files, input: &mut Input<'_>) {
    let (mut paths, mut next) = (vec![String::new()], 0);
    while next < paths.len() && paths.len() < 30 {
        let folder = paths[next].clone();
        let _ = files.list(&format!("{folder}/"), |entry| {
            if folder.len() < 100 && paths.len() < 30 {
                paths.push(format!("{folder}/{}", entry.name));
            }
            ControlFlow::Continue(())
        });
        next += 1;
    }
    for _ in 0..CALLS {
        let path = format!("/{}", paths[input.below(paths.len())]);
        let other = format!("/{}/x{}", paths[input.below(paths.len())], input.below(4));
        let _ = match input.below(8) {
            0 | 1 => touch(files, &path, input),
            2 => touch(files, &other, input),
            3 => files.remove(&path),
            4 => files.rename(&path, &other),
            5 => files.mkdir(&other),
            6 => files.rmdir(&path),
            _ => files.sync(),
        };
    }
    let _ = files.unmount("/");
}

/// Opens a file, reads, writes, cuts and closes it.
fn touch(files: &mut Files, path: &str, input: &mut Input<'_>) -> Result<(), Error> {
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE;
    let file = files.open(path, flags)?;
    let mut bytes = [0; 700];
    let _ = files.read(file, &mut bytes);
    let _ = files.write(file, &bytes[..usize::from(input.byte()) * 2]);
    let _ = files.truncate(file, u64::from(input.byte()) * 20);
    assert_eq!(files.stat_open(file)?.kind, Kind::File);
    files.close(file)
}
