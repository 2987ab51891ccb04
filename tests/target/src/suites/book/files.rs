//! A card in memory: made, mounted, used by paths and descriptors; and a pipe that is a file.

use alloc::boxed::Box;
use alloc::string::String;
use core::ops::ControlFlow;
use core::sync::atomic::AtomicU64;

use exopi_fs::device::Memory;
use exopi_fs::fat::{self, Fat, Format};
use exopi_fs::stream::{Sink, Source};
use exopi_fs::{Error, Files, OpenFlags, Ram, SeekFrom};
use exopi_ipc::pipe::{self, Reader, Writer};
use exopi_ipc::wait::Yielding;

use crate::harness::Outcome;

/// Words that a pipe is made of: here both its ends are in one program.
static WORDS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

pub(crate) fn a_card_and_a_pipe() -> Outcome {
    // Any blocks will do: here 540 of memory, of which only those that are written take any.
    let mut card = Memory::new(540);
    fat::format(&mut card, &Format::default())?;

    let mut files = Files::new();
    files.mount("/", Box::new(Ram::new(16)))?;
    files.mount("/card", Box::new(Fat::mount(card)?))?;

    // Names are long, and found without regard to case.
    files.mkdir("/card/Notes")?;
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE;
    let note = files.open("/card/Notes/the first of many.text", flags)?;
    files.write_all(note, b"written once")?;
    files.seek(note, SeekFrom::End(-4))?;
    files.write_all(note, b"twice")?;
    files.close(note)?;
    files.rename("/card/NOTES/The First of Many.text", "/card/note.text")?;
    check_eq!(files.stat("/card/note.text")?.size, 13);

    // The other mount is another file system: what lies there is copied, not renamed.
    let refused = files.rename("/card/note.text", "/note.text");
    check_eq!(refused, Err(Error::CrossMount));
    let mut names = String::new();
    files.list("/card", |entry| {
        names.push_str(&entry.name);
        names.push(' ');
        ControlFlow::Continue(())
    })?;
    check_eq!(names, "Notes note.text ");

    // A pipe's ends are descriptors like others.
    pipe::format(&WORDS)?;
    let begin = files.attach(Box::new(Sink(Writer::new(&WORDS, Yielding)?)))?;
    let end = files.attach(Box::new(Source(Reader::new(&WORDS, Yielding)?)))?;
    let note = files.open("/card/note.text", OpenFlags::READ)?;
    let mut bytes = [0; 32];
    let count = files.read(note, &mut bytes)?;
    files.write_all(begin, &bytes[..count])?;
    files.close(begin)?;
    let mut came = [0; 32];
    let count = files.read(end, &mut came)?;
    check_eq!(&came[..count], b"written twice");
    // Who wrote has closed: there is no more.
    check_eq!(files.read(end, &mut came)?, 0);
    files.close(end)?;
    files.close(note)?;

    // All is on the card before it is given back.
    files.unmount("/card")?;
    Ok(())
}
