//! Names that clash: case, long and short ones, renaming over, across and into.

use exopi_fs::{Error, FileSystem, Kind};

use crate::foreign::Image;
use crate::model::gathered;
use crate::support::{Shape, at, mount, read, write};

#[test]
fn case_makes_no_difference_but_is_kept() {
    let mut fat = mount(Shape::SMALL.make());
    write(&mut fat, "/Config.Txt", b"one").unwrap();
    assert_eq!(read(&mut fat, "/CONFIG.TXT").unwrap(), b"one");
    assert_eq!(fat.create(at("/config.txt").path()), Err(Error::Exists));
    assert_eq!(fat.mkdir(at("/config.TXT").path()), Err(Error::Exists));
    let rename =
        |fat: &mut dyn FileSystem, from: &str, to: &str| fat.rename(at(from).path(), at(to).path());
    rename(&mut fat, "/config.txt", "/config.txt").unwrap();
    assert!(gathered(&mut fat).contains_key("/config.txt"));
    rename(&mut fat, "/config.txt", "/CONFIG.TXT").unwrap();
    assert!(gathered(&mut fat).contains_key("/CONFIG.TXT"));
    Image::of(&fat.unmount().unwrap()).is_clean();
}

#[test]
fn a_short_name_of_a_long_one_is_taken() {
    let mut fat = mount(Shape::SMALL.make());
    write(&mut fat, "/a long name.txt", b"one").unwrap();
    assert_eq!(read(&mut fat, "/ALONGN~1.TXT").unwrap(), b"one");
    assert_eq!(fat.create(at("/alongn~1.txt").path()), Err(Error::Exists));
    write(&mut fat, "/a long name too.txt", b"two").unwrap();
    assert_eq!(read(&mut fat, "/alongn~2.txt").unwrap(), b"two");
    // The other way round: the short name is there first.
    write(&mut fat, "/OTHERN~1.TXT", b"three").unwrap();
    write(&mut fat, "/other names.txt", b"four").unwrap();
    assert_eq!(read(&mut fat, "/othern~1.txt").unwrap(), b"three");
    assert_eq!(read(&mut fat, "/othern~2.txt").unwrap(), b"four");
    // By its short name it is renamed as a whole.
    fat.rename(at("/ALONGN~1.TXT").path(), at("/short").path())
        .unwrap();
    assert_eq!(
        fat.stat(at("/a long name.txt").path()).err(),
        Some(Error::NotFound)
    );
    assert_eq!(read(&mut fat, "/short").unwrap(), b"one");
    let image = Image::of(&fat.unmount().unwrap());
    image.is_clean();
    assert_eq!(image.tree().len(), 4);
}

#[test]
fn renaming_moves_replaces_and_refuses() {
    let mut fat = mount(Shape::PAGES.make());
    for folder in ["/one", "/two", "/one/sub", "/one/sub/deep", "/empty"] {
        fat.mkdir(at(folder).path()).unwrap();
    }
    write(&mut fat, "/one/sub/file", b"file").unwrap();
    write(&mut fat, "/two/other", &[7; 9000]).unwrap();
    let mut rename = |from: &str, to: &str| fat.rename(at(from).path(), at(to).path());
    for (from, to, error) in [
        ("/one", "/one/sub/deep/one", Error::IntoItself),
        ("/one", "/ONE/x", Error::IntoItself),
        ("/one", "/one/one", Error::IntoItself),
        ("/one", "/two", Error::NotEmpty),
        ("/one", "/two/other", Error::NotDirectory),
        ("/two/other", "/one", Error::IsDirectory),
        ("/nobody", "/x", Error::NotFound),
        ("/one", "/nobody/x", Error::NotFound),
        ("/one", "/two/other/x", Error::NotDirectory),
        ("/", "/x", Error::Busy),
        ("/one", "/", Error::Busy),
        ("/one", "/a:b", Error::BadName),
    ] {
        assert_eq!(rename(from, to), Err(error), "{from} {to}");
    }
    rename("/one/sub", "/two/a new name for it").unwrap();
    rename("/two/other", "/two/a new name for it/FILE").unwrap();
    rename("/two/a new name for it/deep", "/empty").unwrap();
    let image = Image::of(&fat.unmount().unwrap());
    image.is_clean();
    let tree = image.tree();
    let expected = [
        ("/empty", None),
        ("/one", None),
        ("/two", None),
        ("/two/a new name for it", None),
        ("/two/a new name for it/file", Some(vec![7; 9000])),
    ];
    let expected = expected.map(|(path, bytes)| (path.to_owned(), bytes));
    assert_eq!(tree, expected.into());
}

#[test]
fn what_is_open_may_be_renamed_and_not_removed() {
    let mut fat = mount(Shape::PAGES.make());
    fat.mkdir(at("/sub").path()).unwrap();
    let file = fat.create(at("/file").path()).unwrap();
    fat.write_at(file, 0, b"before").unwrap();
    assert_eq!(fat.remove(at("/file").path()), Err(Error::Busy));
    write(&mut fat, "/other", b"other").unwrap();
    assert_eq!(
        fat.rename(at("/other").path(), at("/file").path()),
        Err(Error::Busy)
    );
    fat.rename(at("/file").path(), at("/sub/moved").path())
        .unwrap();
    fat.rename(at("/sub").path(), at("/sub2").path()).unwrap();
    fat.write_at(file, 6, b" after").unwrap();
    assert_eq!(read(&mut fat, "/sub2/moved").unwrap(), b"before after");
    let again = fat.open(at("/sub2/MOVED").path()).unwrap();
    assert_eq!(again, file);
    fat.close(again).unwrap();
    fat.close(file).unwrap();
    assert_eq!(fat.close(file), Err(Error::BadDescriptor));
    assert_eq!(fat.read_at(file, 0, &mut [0]), Err(Error::BadDescriptor));
    fat.remove(at("/sub2/moved").path()).unwrap();
    fat.rmdir(at("/sub2").path()).unwrap();
    assert_eq!(fat.rmdir(at("/").path()), Err(Error::Busy));
    Image::of(&fat.unmount().unwrap()).is_clean();
}

#[test]
fn what_mtools_writes_is_read() {
    for arguments in [["-F", "16", "-s", "2"], ["-F", "32", "-s", "1"]] {
        let image = Image::mkfs(9000, &arguments);
        let bytes: Vec<u8> = (0..70_000u32).map(|number| (number / 3) as u8).collect();
        image.mcopy("a long name with ümlauts.text", &bytes);
        image.mcopy("small.txt", b"small");
        image.mcopy("LARGE.TXT", b"large");
        let mut fat = mount(image.memory());
        let tree = gathered(&mut fat);
        assert_eq!(
            tree["/a long name with ümlauts.text"].as_deref(),
            Some(&bytes[..])
        );
        assert_eq!(tree["/small.txt"].as_deref(), Some(&b"small"[..]));
        assert_eq!(tree["/LARGE.TXT"].as_deref(), Some(&b"large"[..]));
        // Changed by us, it is what mtools reads.
        fat.rename(at("/small.txt").path(), at("/renamed in place.txt").path())
            .unwrap();
        fat.remove(at("/a long name with ümlauts.text").path())
            .unwrap();
        write(&mut fat, "/large.txt", &bytes).unwrap();
        let tree = gathered(&mut fat);
        let image = Image::of(&fat.unmount().unwrap());
        image.is_clean();
        assert_eq!(image.tree(), tree);
    }
}

#[test]
fn a_protected_volume_is_read_alone() {
    let mut fat = mount(Shape::PAGES.make());
    write(&mut fat, "/file", b"file").unwrap();
    let mut memory = fat.unmount().unwrap();
    memory.set_read_only(true);
    let before = memory.to_bytes();
    let mut fat = mount(memory);
    assert_eq!(read(&mut fat, "/file").unwrap(), b"file");
    let file = fat.open(at("/file").path()).unwrap();
    for refused in [
        fat.write_at(file, 0, b"x").map(|_| ()),
        fat.truncate(file, 0),
        fat.create(at("/new").path()).map(|_| ()),
        fat.mkdir(at("/new").path()),
        fat.rename(at("/file").path(), at("/new").path()),
    ] {
        assert_eq!(refused, Err(Error::ReadOnly));
    }
    fat.close(file).unwrap();
    assert_eq!(fat.remove(at("/file").path()), Err(Error::ReadOnly));
    assert_eq!(fat.stat(at("/").path()).unwrap().kind, Kind::Directory);
    assert_eq!(fat.unmount().unwrap().to_bytes(), before);
}
