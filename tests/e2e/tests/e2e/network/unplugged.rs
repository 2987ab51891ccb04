//! The adapter is pulled out while a program uses it.

use exo::check::qmp::Qmp;
use exopi_e2e::selftest_kernel;
use tempfile::TempDir;

use super::{FROM, LEAST, MOST, Reflector, TO, TYPE, WINDOW, frame};

/// Frames on their way are lost, and nothing else: the same filter, ring and send capability go on with the adapter that is
/// plugged in at its place. No transfer is armed when it is pulled out: the emulator would end itself.
#[test]
fn a_program_goes_on_when_its_adapter_is_back() {
    let dir = TempDir::with_prefix("exopi-").unwrap();
    let control = dir.path().join("control");
    let more = format!(
        ",id=adapter -qmp unix:{},server=on,wait=off",
        control.display()
    );
    let mut reflector = Reflector::with(selftest_kernel(), &more);
    let mut monitor = Qmp::connect(&control).unwrap();
    let mut say = |line: &str| {
        let said = monitor.monitor(line).unwrap();
        assert!(!said.contains("Error"), "{line}: {said}");
    };
    for _ in 0..2 {
        reflector.in_a_row(200);
        // One behind the other, and both come back, as all frames of the type do.
        for _ in 0..2 {
            reflector.say(b"rest");
            assert!(reflector.cable.receive()[14..].starts_with(b"rest"));
        }
        reflector.session.wait_for("network: rests");
        // One that the device takes along, and some that wait for the next.
        for number in 0..WINDOW {
            reflector.cable.send(&frame(MOST, number));
        }
        say("device_del adapter");
        for number in 0..WINDOW {
            reflector.cable.send(&frame(LEAST, number));
        }
        say("device_add usb-net,netdev=cable,id=adapter");
        reflector.session.wait_for("network: goes on");
        let mark = [&TO[..], &FROM, &TYPE, b"mark", &[7; 1000]].concat();
        reflector.cable.send(&mark);
        while reflector.cable.receive()[12..] != mark[12..] {}
    }
    reflector.in_a_row(200);
    let said = reflector.end();
    assert!(said.contains(" 0 refused, 0 lost"), "{said}");
}
