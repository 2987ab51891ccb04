//! A service that counts for its clients: what is asked, who answers, who asks.

use exopi_ipc::{Client, Server, Service};
use exopi_rt::capability::{Badge, EnvironmentRights};
use exopi_rt::domain::EnvironmentState;
use exopi_rt::environment::{self, Builder};
use exopi_rt::transfer::Call;
use exopi_rt::{Error, memory};

use crate::area::{AREA, place};
use crate::harness::Outcome;

exopi_ipc::messages! {
    /// What is asked: at most eight words.
    enum Request {
        /// Adds to the client's sum.
        1 => Add { amount: u64 },
        /// Asks for the sums of all clients.
        2 => Sum {},
    }
}

/// The service itself is a type that names both sides of a call.
struct Counting;

impl Service for Counting {
    type Request = Request;
    type Answer = u64;
}

/// What the server runs. It keeps its sums without a lock: one call at a time is served.
fn serve(_: u64) {
    let mut sums = [0u64; 4];
    let count = |request, from: &Call| match request {
        Request::Add { amount } => match sums.get_mut(from.badge as usize) {
            Some(sum) => {
                *sum = sum.wrapping_add(amount);
                *sum
            }
            None => 0,
        },
        Request::Sum {} => sums.iter().sum(),
    };
    Server::<Counting, _>::new(count).serve()
}

pub(super) fn a_service() -> Outcome {
    let at = place(AREA)?;
    let server = Builder::new(serve, 0, at).start(0)?;
    // It is on its way to its first call.
    while server.environment().state() != EnvironmentState::Asleep {
        environment::yield_now();
    }

    // Two clients, told apart by the badges of their capabilities. Each may call, and nothing else.
    let may_call = server.environment().mint(EnvironmentRights::CALL)?;
    let badge = |number| Badge::new(number).ok_or(Error::OutOfRange);
    let [one, two] = [may_call.badge(badge(1)?)?, may_call.badge(badge(2)?)?];
    let one = Client::<Counting>::bind((&one).into())?;
    let two = Client::<Counting>::bind((&two).into())?;

    check_eq!(one.call(&Request::Add { amount: 5 }), Ok(5));
    check_eq!(two.call(&Request::Add { amount: 7 }), Ok(7));
    check_eq!(one.call(&Request::Add { amount: 5 }), Ok(10));
    check_eq!(two.call(&Request::Sum {}), Ok(17));

    server.end()?;
    Ok(memory::remove_tables(at)?)
}
