//! Sizes of files around those of sectors, pages, clusters and windows; a card that is full.

use exopi_fs::{Error, Fat, FileSystem};

use crate::foreign::Image;
use crate::model::gathered;
use crate::support::{Random, Shape, at, mount, pattern, read, write};

/// Sizes around the limits of everything that has one.
fn sizes(shape: &Shape) -> Vec<usize> {
    let cluster = shape.cluster();
    let mut sizes = vec![0, 1];
    for unit in [512, 4096, cluster, 2 * cluster, 3 * cluster, 8 * 4096] {
        sizes.extend([unit - 1, unit, unit + 1]);
    }
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

#[test]
fn files_of_every_size_are_read_as_written() {
    for shape in Shape::ALL {
        let mut fat = mount(shape.make());
        for size in sizes(&shape) {
            let bytes = pattern(size, size as u64);
            write(&mut fat, &format!("/size {size}.bin"), &bytes).unwrap();
        }
        for size in sizes(&shape) {
            let path = format!("/size {size}.bin");
            assert_eq!(read(&mut fat, &path).unwrap(), pattern(size, size as u64));
            assert_eq!(fat.stat(at(&path).path()).unwrap().size, size as u64);
        }
        let memory = fat.unmount().unwrap();
        let image = Image::of(&memory);
        image.is_clean();
        assert_eq!(image.tree(), gathered(&mut mount(memory)), "{shape:?}");
    }
}

#[test]
fn a_file_changes_its_size_to_any_other() {
    for shape in [Shape::SMALL, Shape::PAGES, Shape::FAT32] {
        let mut fat = mount(shape.make());
        let file = fat.create(at("/file").path()).unwrap();
        let (mut random, mut model) = (Random::new(1), Vec::new());
        let sizes = sizes(&shape);
        for round in 0..200 {
            let size = *random.pick(&sizes).unwrap();
            if round % 2 == 0 {
                fat.truncate(file, size as u64).unwrap();
                model.resize(size, 0);
            } else {
                // From somewhere, perhaps beyond the end, which leaves zeros.
                let bytes = pattern(random.below(600) + 1, round);
                assert_eq!(fat.write_at(file, size as u64, &bytes), Ok(bytes.len()));
                model.resize(model.len().max(size + bytes.len()), 0);
                model[size..size + bytes.len()].copy_from_slice(&bytes);
            }
            if round % 7 == 0 {
                fat.sync().unwrap();
                Image::of(&peek(&mut fat, &shape)).is_clean();
            }
            assert_eq!(read(&mut fat, "/file").unwrap(), model, "{shape:?} {round}");
        }
        fat.close(file).unwrap();
        let memory = fat.unmount().unwrap();
        Image::of(&memory).is_clean();
        assert_eq!(read(&mut mount(memory), "/file").unwrap(), model);
    }
}

/// What is on the medium now.
fn peek(fat: &mut Fat<exopi_fs::device::Memory>, shape: &Shape) -> exopi_fs::device::Memory {
    let fresh = mount(shape.make());
    let old = std::mem::replace(fat, fresh);
    let memory = old.into_device();
    // Open files are lost with it: the file is opened again, as number 0.
    *fat = mount(memory.clone());
    fat.open(at("/file").path()).unwrap();
    memory
}

#[test]
fn a_full_card_says_so_and_loses_nothing() {
    for shape in [Shape::SMALL, Shape::PAGES, Shape::FAT32] {
        let mut fat = mount(shape.make());
        let free = fat.statfs().unwrap().free;
        write(&mut fat, "/kept", b"kept").unwrap();
        let file = fat.create(at("/large").path()).unwrap();
        let bytes = pattern(100_000, 3);
        let mut offset = 0;
        let refused = loop {
            match fat.write_at(file, offset, &bytes) {
                Ok(count) => offset += count as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, Error::NoSpace);
        let space = fat.statfs().unwrap();
        assert_eq!(space.free, 0, "{shape:?}");
        // All but the clusters of the other file, and of a directory that became longer.
        assert!(
            offset + 8 * u64::from(space.unit) >= free,
            "{offset} of {free}"
        );
        for error in [
            fat.mkdir(at("/folder").path()),
            write(&mut fat, "/more", b"more"),
            fat.truncate(file, offset + 100_000),
            fat.write_at(file, offset + 5000, b"beyond").map(|_| ()),
        ] {
            assert_eq!(error, Err(Error::NoSpace));
        }
        fat.close(file).unwrap();
        // An empty file takes no cluster, but it was made.
        assert_eq!(read(&mut fat, "/more"), Ok(Vec::new()));
        let memory = fat.unmount().unwrap();
        Image::of(&memory).is_clean();
        let mut fat = mount(memory);
        let large = read(&mut fat, "/large").unwrap();
        assert_eq!(large.len() as u64, offset);
        let expected = |place: usize| bytes[place % bytes.len()];
        assert!(
            large
                .iter()
                .enumerate()
                .all(|(place, byte)| *byte == expected(place))
        );
        assert_eq!(read(&mut fat, "/kept").unwrap(), b"kept");
        // And there is room again.
        fat.remove(at("/large").path()).unwrap();
        write(&mut fat, "/more", &bytes).unwrap();
        Image::of(&fat.unmount().unwrap()).is_clean();
    }
}

#[test]
fn the_root_directory_of_fat16_has_an_end() {
    let mut fat = mount(Shape::SMALL.make());
    let mut made = 0;
    let refused = loop {
        match write(&mut fat, &format!("/F{made}"), b"") {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
    };
    // 512 entries, of which the volume's name has one.
    assert_eq!((made, refused), (511, Error::DirectoryFull));
    fat.remove(at("/F7").path()).unwrap();
    fat.mkdir(at("/SUB").path()).unwrap();
    for number in 0..200 {
        write(&mut fat, &format!("/SUB/a long name number {number}"), b"x").unwrap();
    }
    let memory = fat.unmount().unwrap();
    Image::of(&memory).is_clean();
    assert_eq!(gathered(&mut mount(memory)).len(), 511 + 200);
}

#[test]
fn offsets_end_where_fat_does() {
    let mut fat = mount(Shape::SMALL.make());
    let file = fat.create(at("/file").path()).unwrap();
    let end = u64::from(u32::MAX);
    assert_eq!(fat.write_at(file, end, b"x"), Err(Error::FileTooLarge));
    assert_eq!(fat.write_at(file, end + 1, b"x"), Err(Error::FileTooLarge));
    assert_eq!(fat.write_at(file, end - 1, b"x"), Err(Error::NoSpace));
    assert_eq!(fat.truncate(file, end + 1), Err(Error::FileTooLarge));
    assert_eq!(fat.truncate(file, end), Err(Error::NoSpace));
    assert_eq!(fat.read_at(file, u64::MAX, &mut [0]), Ok(0));
    assert_eq!(fat.stat_open(file).unwrap().size, 0);
    fat.close(file).unwrap();
    Image::of(&fat.unmount().unwrap()).is_clean();
}
