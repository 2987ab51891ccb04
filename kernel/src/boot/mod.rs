//! Boot order, on one screen: from the first Rust instruction to the first environment.

mod firmware;
mod first;
mod memory;
#[cfg(feature = "selftest")]
pub(super) mod network;
mod random;
#[cfg(feature = "selftest")]
mod selftest;

use exopi_abi::boot::Archive;
use exopi_abi::slice::DEFAULT_SLICE_US;
use exopi_abi::{VERSION, exit};
use exopi_bsp::boards::{self, Generator};
use exopi_bsp::traits::{DeviceError, Random};
use exopi_domains::Subject;
use exopi_slices::Lengths;

use crate::arch::cache::Geometry;
use crate::arch::{mmu, smp, timer};
use crate::console::{self, log};
use crate::environment::{self, Start};
use crate::network::Room;
use crate::{card, exposed, interrupts, kernel, power, seals};

use firmware::Found;
use first::Refusal;
use random::Drawn;

/// How many seconds a core or a timer may take to answer: far more than it should, since an emulator
/// on a busy host is late, and only a machine that is broken waits so long.
const PATIENCE: u64 = 5;

/// Where the boot code arrives on core 0, with the MMU on: what the firmware gave, the counter at the
/// first instruction, and where the image was loaded.
#[expect(unsafe_code, reason = "the boot code calls it by name")]
#[unsafe(no_mangle)]
pub(super) extern "C" fn kernel_main(handover: u64, entry_ticks: u64, loaded_at: u64) -> ! {
    smp::init_this_core();
    mmu::init(loaded_at);
    mmu::leave_lower_half();
    exposed::describe(|machine| {
        machine.entry_ticks = entry_ticks;
        machine.ticks_per_second = timer::frequency();
    });
    let (found, devices) = start_devices(handover);
    let mut generator = devices.random;
    memory::map(&found.memory);
    start_cores();
    check_timer();
    #[cfg(feature = "selftest")]
    let asked = selftest::run(found.arguments());
    #[cfg(feature = "selftest")]
    selftest::run_card(found.arguments(), &found.memory);
    start_network(found.arguments(), devices.usb, devices.firmware);
    #[cfg(not(feature = "selftest"))]
    let asked = None;
    let Ok(secrets) = draw_key(&mut generator, asked) else {
        console::print(format_args!(
            "no key for capabilities: the random generator gives no numbers\n"
        ));
        power::off(exit::NO_KEY)
    };
    match make_first(&found).and_then(|made| open_network(made, secrets)) {
        Ok((first, start)) => {
            #[cfg(feature = "selftest")]
            selftest::run_with_network(found.arguments(), &first);
            environment::begin(kernel::lock(), first, start)
        }
        Err(refusal) => {
            console::print(format_args!("boot image refused: {refusal}\n"));
            power::off(exit::BAD_IMAGE)
        }
    }
}

/// Devices that nobody has taken over when the console speaks.
struct Rest {
    random: Generator,
    usb: boards::UsbController,
    firmware: boards::FirmwareMailbox<firmware::Message>,
}

/// Turns on console, interrupts, power switch and random generator, and asks the firmware what there is.
fn start_devices(handover: u64) -> (Found, Rest) {
    let (mut board, console_works) = firmware::board();
    board.random.init();
    console::init(board.console);
    interrupts::init(board.interrupts);
    power::init(board.power);
    log!("exopi {}, interface {VERSION}", env!("CARGO_PKG_VERSION"));
    if console_works.is_err() {
        log!("warning: no divisor makes the console's speed out of its clock");
    }
    let found = firmware::ask(&mut board.firmware, handover);
    let revision = found.board_revision;
    exposed::describe(|machine| machine.board_revision = u64::from(revision));
    log!("board: {}", boards::Name(revision));
    let memory = found.memory.length >> 20;
    log!("memory: {memory} MiB, says the {}", found.memory_source);
    log!("boot arguments: {:?}", found.arguments_text());
    card::begin(board.card, &mut board.pins, &mut board.firmware);
    let rest = Rest {
        random: board.random,
        usb: board.usb,
        firmware: board.firmware,
    };
    (found, rest)
}

/// Has the network's interface come up meanwhile, unless a self-test has used it.
#[inline(never)]
#[expect(unsafe_code, reason = "memory that a device writes to")]
#[cfg_attr(
    not(feature = "selftest"),
    expect(unused_variables, reason = "arguments are for self-tests")
)]
fn start_network(
    arguments: &[u8],
    usb: boards::UsbController,
    mut firmware: boards::FirmwareMailbox<firmware::Message>,
) {
    // SAFETY: this runs once, on the core that boots.
    let memory = unsafe { crate::network::memory::Memory::take() };
    #[cfg(feature = "selftest")]
    let Some((usb, memory)) = network::run(arguments, usb, &mut firmware, memory) else {
        return;
    };
    crate::network::begin(usb, &mut firmware, memory);
    interrupts::enable(crate::network::INTERRUPT);
}

/// Draws the key of all seals, and what tells this boot from others, and gives what filters are hashed with, unless a self-test has it `drawn` already.
///
/// # Errors
/// The generator does not do its work: there is no key.
fn draw_key(
    generator: &mut Generator,
    drawn: Option<Result<Drawn, DeviceError>>,
) -> Result<[u64; 2], DeviceError> {
    let patience = random::PATIENCE * timer::frequency();
    let drawn = drawn.unwrap_or_else(|| random::draw(generator, patience))?;
    seals::init(drawn.key);
    exposed::describe(|machine| machine.boot_id = drawn.boot_id);
    let boot = random::hex(drawn.boot_id);
    log!(
        "key: drawn; boot {}",
        str::from_utf8(&boot).unwrap_or_default()
    );
    Ok(drawn.secrets)
}

/// Brings up the other cores.
fn start_cores() {
    let cores = smp::start_others(PATIENCE * timer::frequency());
    exposed::describe(|machine| machine.cores = cores as u64);
    log!("cores: {cores} running, each answered an interrupt");
    if cores < exposed::MAX_CORES {
        log!("warning: not all cores came up");
    }
}

/// Sees that the timer interrupts: all waiting will rest on it.
fn check_timer() {
    let start = timer::now();
    // 2 µs.
    timer::set_deadline(start + timer::frequency() / 500_000);
    let seen = loop {
        interrupts::serve();
        if interrupts::timer_seen() {
            break true;
        }
        if timer::now() > start + PATIENCE * timer::frequency() {
            timer::cancel();
            break false;
        }
    };
    let frequency = timer::frequency();
    if seen {
        log!("timer: {frequency} Hz, interrupts");
    } else {
        log!("warning: the timer ({frequency} Hz) does not interrupt");
    }
}

/// How long slices are: as the boot argument `slice=` says, in microseconds.
fn slice_lengths(arguments: &str) -> Lengths {
    let mut words = arguments.split_ascii_whitespace();
    let asked = words.find_map(|word| word.strip_prefix("slice="));
    let microseconds = asked.and_then(|word| word.parse().ok());
    if asked.is_some() && microseconds.is_none() {
        log!("warning: boot argument slice= takes microseconds");
    }
    let microseconds = microseconds.unwrap_or(DEFAULT_SLICE_US);
    let lengths = Lengths::new(microseconds, timer::frequency());
    exposed::describe(|machine| {
        machine.slice_ticks = lengths.slice();
        machine.epilogue_ticks = lengths.limit();
    });
    log!("slices: {} us", timer::microseconds(lengths.slice()));
    lengths
}

/// Makes the page array and the first environment, and puts all in the kernel's state. What it keeps on the stack
/// meanwhile is large, and is not there while anything else of the boot runs.
#[inline(never)]
fn make_first(found: &Found) -> Result<(Subject, Start, Room), Refusal> {
    let caches = Geometry::find();
    exposed::describe(|machine| {
        machine.colours = caches.colours.into();
        machine.cache_bytes = caches.bytes;
        machine.cache_line = caches.line;
    });
    let (kib, colours) = (caches.bytes >> 10, caches.colours);
    log!("last cache: {kib} KiB, {colours} colours of pages");
    let archive = Archive::parse(memory::archive(&found.memory)?)?;
    for program in archive.programs() {
        log!("program: {}, {} bytes", program.name, program.elf.len());
    }
    let memory = memory::describe(&found.memory, archive.length(), colours)?;
    #[cfg(feature = "selftest")]
    selftest::run_with_memory(found.arguments());
    let program = archive.first()?;
    let lengths = slice_lengths(found.arguments_text());
    let arguments = found.arguments();
    let cores = exposed::cores();
    let (made, free, frames) = kernel::init(|domains| {
        let made = first::make(domains, memory, lengths, cores, &program, arguments)?;
        let pages = &domains.pages;
        Ok::<_, Refusal>((made, pages.free_pages(), pages.len()))
    })?;
    exposed::set_free_pages(free);
    card::report();
    console::set_owner(made.first.name);
    log!("pages: {free} free of {frames}; starting {}", program.name);
    Ok((made.first, made.start, made.network))
}

/// Makes the interfaces of the network, which are the first environment's.
#[inline(never)]
fn open_network(
    (first, start, room): (Subject, Start, Room),
    secrets: [u64; 2],
) -> Result<(Subject, Start), Refusal> {
    let made = crate::network::init(&first, room, secrets);
    made.ok_or(Refusal::TooLarge)?;
    Ok((first, start))
}
