//! A server that answers calls, and a program that calls it through a gate.

use exopi_rt::stubs;
use exopi_rt::transfer::{self, FOREVER};

use crate::area::Area;
use crate::harness::Outcome;
use crate::other::serving;
use crate::suites::transfers::server;

pub(super) fn a_server_answers() -> Outcome {
    let area = Area::new()?;

    // An environment whose entry for calls is `serving::answer`, and which has rested by `pct_reply`: whoever gives its
    // core away itself can be called. That code is two instructions: `add x0, x0, #1` and `svc` pct_reply.
    let server = server(&area, 0, serving::answer)?;

    // From now on the number of the gate suffices. By ownership no capability is needed.
    stubs::gate_bind(0, server.object())?;
    let mut message = [41, 0, 0, 0, 0, 0, 0, 0];
    transfer::call(0, FOREVER, &mut message)?;
    check_eq!(message, [42, 0, 0, 0, 0, 0, 0, 0]);

    stubs::gate_unbind(0)?;
    server.destroy()?;
    area.close()
}
