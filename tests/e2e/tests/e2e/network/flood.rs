//! A flood of frames that nobody wants, and who runs meanwhile.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};

use exopi_e2e::session::Session;
use exopi_e2e::{Run, kernel};

use super::{Cable, LEAST, MOST, frame, number_before};

/// The emulator counts instructions, so that a share is one, and nothing of the host's time is in it.
#[test]
fn a_flood_leaves_three_quarters_of_the_core() {
    let (cable, net) = Cable::new();
    let extra = env::var("QEMU_EXTRA").unwrap_or_default();
    let mut command = Run::command();
    command
        .arg(kernel())
        .args(["--program", "bench", "--append", "rows=flood", "--icount"])
        .env("QEMU_EXTRA", format!("{extra} {net}"));
    let mut session = Session::start(&mut command);
    let quiet = session.wait_for("flood: begin");
    assert!(number_before(&quiet, " permille without frames") >= 990);
    let over = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            let frames = [LEAST, 200, MOST].map(|length| frame(length, length));
            // What the emulator has no room for, the host drops, and once it has ended, refuses.
            while !over.load(Ordering::Relaxed) {
                for frame in &frames {
                    let _ = cable.0.send(frame);
                }
            }
        });
        let run = session.end();
        over.store(true, Ordering::Relaxed);
        run
    });
    said.ends_with(0);
    let came = number_before(&said.console, " frames came");
    assert!(came > 500, "{said}");
    assert_eq!(number_before(&said.console, " for nobody"), came, "{said}");
    let left = number_before(&said.console, " permille while");
    assert!(left >= 750, "{said}");
    println!("{left} of 1000 instructions were the program's, while {came} frames came");
}
