//! The monitor: a console on which to look at the machine, and to run the other programs of the boot image.
//!
//! It has no rights that another program in its place would not have: it is the first one. It looks at
//! exposed records, calls what every program can call, and waits for typed lines.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

extern crate alloc;

mod hold;
mod line;
mod load;
mod net;
mod revocations;
mod show;

use alloc::string::String;

use exopi_rt::environment::yield_now;
use exopi_rt::{Args, ExitCode, print, println, stubs, time};

use hold::{Held, Refusal};
use line::{Line, Typed};

exopi_rt::entry!(main);

/// What can be typed.
const HELP: &str = "\
machine              board, caches, time since boot
pages [FIRST COUNT]  frames by type and owner, or the records of some
mine                 what is mapped in the monitor's own space
envs, spaces, accounts, counters
revocations          what environments were asked for, and what came of it
net                  interfaces, packet filters, rings, send capabilities
programs             what is in the boot image
run NAME [ARGUMENT]  run one; it has the console until it ends
caps                 the capabilities that the monitor keeps
mint FIRST COUNT RIGHTS   make one for own pages (rights: r w x, p pin, t retire, f free)
keep NUMBER RIGHTS   a copy with fewer rights (needs no call)
until NUMBER SECOND  a copy that ends (needs no call)
part NUMBER FIRST COUNT RIGHTS   a copy for fewer pages (the kernel makes it)
hex NUMBER, parse DIGITS, forget NUMBER
off, reset           end the machine, start it anew
";

fn main() -> ExitCode {
    println!("Exopi monitor. `help` lists what can be typed.");
    let mut held = Held::default();
    loop {
        let line = read_line();
        match command(&line, &mut held) {
            Ok(Next::Line) => {}
            Ok(Next::Off) => return ExitCode::SUCCESS,
            Err(Refusal::Kernel(error)) => println!("refused: {error}: {}", error.explanation()),
            Err(Refusal::Usage(wanted)) => println!("not understood; wanted: {wanted}"),
        }
    }
}

/// What comes after a command.
enum Next {
    /// Another line.
    Line,
    /// The end.
    Off,
}

/// Carries a line out.
fn command(line: &str, held: &mut Held) -> Result<Next, Refusal> {
    let mut words = Args::new(line);
    let words = &mut words;
    match words.next() {
        None => {}
        Some("help") => print!("{HELP}"),
        Some("machine") => show::machine(),
        Some("pages") => match words.next() {
            None => show::pages(),
            Some(first) => show::page_records(given(first)?, number(words)?),
        },
        Some("mine") => hold::own_pages(),
        Some("envs") => show::environments(),
        Some("spaces") => show::spaces(),
        Some("accounts") => show::accounts(),
        Some("counters") => show::counters(),
        Some("revocations") => revocations::show(),
        Some("net") => net::show(),
        Some("programs") => ran(load::list())?,
        Some("run") => {
            let name = words
                .next()
                .ok_or(Refusal::Usage("a name that `programs` lists"))?;
            ran(load::run(
                name,
                line.split_once(name).map_or("", |(_, rest)| rest.trim()),
            ))?;
        }
        Some("off") => return Ok(Next::Off),
        Some("reset") => stubs::board_reset()?,
        Some(other) => return capabilities(other, words, held),
    }
    Ok(Next::Line)
}

/// Commands on the capabilities that are kept.
fn capabilities(name: &str, words: &mut Args<'_>, held: &mut Held) -> Result<Next, Refusal> {
    match name {
        "caps" => held.list(),
        "mint" => held.mint(number(words)?, number(words)?.into(), rights(words)?)?,
        "keep" => {
            let (from, rights) = (number(words)?, rights(words)?);
            held.attenuate(from as usize, |from| from.keep(rights))?;
        }
        "until" => {
            let from = number(words)?;
            let second = words.next().and_then(hold::second);
            let second = second.ok_or(Refusal::Usage("a second since boot"))?;
            held.attenuate(from as usize, |from| from.until(second))?;
        }
        "part" => {
            let (from, first, count) = (number(words)?, number(words)?, number(words)?);
            let rights = rights(words)?;
            held.attenuate(from as usize, |from| {
                from.narrow(first.into(), count.into(), rights)
            })?;
        }
        "hex" => held.hex(number(words)? as usize)?,
        "parse" => held.parse(words.next().unwrap_or(""))?,
        "forget" => held.forget(number(words)? as usize)?,
        _ => return Err(Refusal::Usage("a command that `help` lists")),
    }
    Ok(Next::Line)
}

/// The next word as a number, decimal or 0x.
fn number(words: &mut Args<'_>) -> Result<u32, Refusal> {
    given(words.next().unwrap_or(""))
}

fn given(word: &str) -> Result<u32, Refusal> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| Refusal::Usage("a number"))
}

fn rights(words: &mut Args<'_>) -> Result<exopi_rt::capability::PageRights, Refusal> {
    let rights = words.next().and_then(hold::rights);
    rights.ok_or(Refusal::Usage("rights, as letters of rwxptf"))
}

fn ran(outcome: Result<(), load::Refusal>) -> Result<(), Refusal> {
    outcome.map_err(|refusal| match refusal {
        load::Refusal::Unknown => Refusal::Usage("a name that `programs` lists"),
        load::Refusal::NotLoadable => Refusal::Usage("a program that can be loaded"),
        load::Refusal::Kernel(error) => Refusal::Kernel(error),
    })
}

/// Waits for a line, with a prompt and an echo. Others have the core meanwhile.
fn read_line() -> String {
    let mut line = Line::default();
    print!("> ");
    loop {
        let mut byte = [0];
        if stubs::console_read(byte.as_mut_slice().into()).done == 0 {
            yield_now();
            time::relax();
            continue;
        }
        match line.take(byte[0]) {
            Typed::Echo(text) => print!("{text}"),
            Typed::Itself => print!("{}", char::from(byte[0])),
            Typed::Done => {
                println!();
                return line.finish();
            }
            Typed::Cancelled => {
                drop(line.finish());
                print!("^C\n> ");
            }
        }
    }
}
