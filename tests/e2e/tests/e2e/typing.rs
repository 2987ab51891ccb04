//! Typed bytes reach a program: the receiving side of the console, interrupts and the kernel's queue
//! included, with a program that sends back what it reads.
//!
//! The kernel tells nobody to stop sending, as a serial line cannot: up to its queue's size may be on
//! the way before the program reads. So more than that at once is a test of its own.

use std::time::Duration;

use exopi_e2e::debugger::Debugger;
use exopi_e2e::session::Session;
use exopi_e2e::{Run, kernel, program};

/// Bytes that the kernel keeps for a program that does not read.
const QUEUE: usize = 4096;
const PACKAGE: &str = "exopi-echo";
const LISTENING: &str = "echo: listening\n";

/// Boots the program, which first leaves what is typed in the queue for so many milliseconds.
fn booting(wait: u64) -> std::process::Command {
    let mut command = Run::command();
    command.arg(kernel()).arg("--program").arg(program(PACKAGE));
    command.args(["--append", &format!("wait={wait}")]);
    command
}

/// Text in which no two stretches of five bytes are the same, so that a lost, doubled or moved byte shows.
fn text(length: usize) -> Vec<u8> {
    let lines = (0..).flat_map(|number: u32| format!("{number:04}\n").into_bytes());
    lines.take(length).collect()
}

/// Sends `text` in pieces, each after the one before has come back.
#[track_caller]
fn comes_back(session: &mut Session, text: &[u8], piece: usize) {
    for (number, piece) in text.chunks(piece).enumerate() {
        session.send(piece);
        let back = session.receive(piece.len());
        assert_eq!(
            String::from_utf8_lossy(&back),
            String::from_utf8_lossy(piece),
            "piece {number}"
        );
    }
}

/// Ends the program by the word that it understands: it is alive.
#[track_caller]
fn quits(mut session: Session) {
    session.send(b"\nquit\n");
    let run = session.end();
    run.ends_with(0)
        .prints("\nquit\n")
        .prints("echo: bye\n")
        .never_prints("KERNEL");
}

#[test]
fn bursts_as_long_as_the_queue() {
    let mut session = Session::start(&mut booting(0));
    session.wait_for(LISTENING);
    comes_back(&mut session, &text(20_000), QUEUE);
    quits(session);
}

#[test]
fn as_fast_as_the_emulator_takes_them() {
    // More than the queue holds at once; but the emulator hands over no more than the port's FIFO
    // before the guest runs on, so the program keeps up.
    let mut session = Session::start(&mut booting(0));
    session.wait_for(LISTENING);
    comes_back(&mut session, &text(20_000), 20_000);
    quits(session);
}

#[test]
fn pieces_of_every_length() {
    // Around the sizes of the port's FIFO, its trigger, and what one call reads.
    let mut session = Session::start(&mut booting(0));
    session.wait_for(LISTENING);
    for length in [1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 255, 256, 257] {
        comes_back(&mut session, &text(20 * length), length);
    }
    quits(session);
}

#[test]
fn typed_slowly() {
    // As somebody types, and does not wait for what comes back.
    let mut session = Session::start(&mut booting(0));
    session.wait_for(LISTENING);
    let text = text(20_000);
    for piece in text.chunks(100) {
        session.send(piece);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(session.receive(text.len()), text);
    quits(session);
}

#[test]
fn typed_before_the_program_reads() {
    let mut session = Session::start(&mut booting(1000));
    session.wait_for("echo: listening in 1000 ms\n");
    let text = text(QUEUE);
    session.send(&text);
    session.wait_for(LISTENING);
    assert_eq!(session.receive(QUEUE), text);
    quits(session);
}

#[test]
fn too_much_loses_what_does_not_fit() {
    let text = text(QUEUE + 1500);
    // A busy host may take longer to deliver than the program waits: then it is given more time.
    for wait in [1000, 5000, 20_000] {
        let mut session = Session::start(&mut booting(wait));
        session.wait_for(&format!("echo: listening in {wait} ms\n"));
        session.send(&text);
        let unread = session.unread(Duration::from_millis(wait / 2));
        session.wait_for(LISTENING);
        if unread > 0 {
            continue;
        }
        let back = session.listen(Duration::from_millis(500));
        assert_eq!(back.len(), QUEUE);
        assert_eq!(back, text[..QUEUE]);
        // The queue works on.
        comes_back(&mut session, &text, QUEUE);
        return quits(session);
    }
    panic!(
        "the emulator does not take {} bytes within 10 s",
        text.len()
    );
}

#[test]
fn over_a_pseudo_terminal() {
    let mut session = Session::on_terminal(Debugger::waited_for(&mut booting(0)));
    Debugger::attach(&mut session).let_go();
    session.wait_for(LISTENING);
    comes_back(&mut session, &text(20_000), QUEUE);
    session.send(b"\nquit\n");
    session.wait_for("echo: bye\n");
    session.end().ends_with(0);
}
