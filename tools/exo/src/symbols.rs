//! Names for addresses: symbols of the kernel and of the first program, and backtrace lines that
//! get them appended on their way to the terminal.

use std::io::{self, Write};

use anyhow::Context;
use object::{Object, ObjectSymbol, SymbolKind};

/// First address of the kernel's half of the address space.
const KERNEL_HALF: u64 = 1 << 63;

#[derive(Clone, Debug)]
struct Symbol {
    start: u64,
    size: u64,
    name: String,
}

/// Functions by address.
#[derive(Clone, Debug, Default)]
pub struct Symbols(Vec<Symbol>);

impl Symbols {
    /// The functions of an ELF file, names demangled. None if it was stripped.
    ///
    /// # Errors
    /// It is no ELF file.
    pub fn of(elf: &[u8]) -> anyhow::Result<Self> {
        let file = object::File::parse(elf).context("not an ELF file")?;
        let mut symbols: Vec<_> = file
            .symbols()
            .filter(|symbol| {
                symbol.is_definition()
                    && matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Label)
            })
            .filter_map(|symbol| {
                let name = symbol.name().ok()?;
                // Mapping symbols ($x, $d) and the assembler's own labels say nothing.
                if name.is_empty() || name.starts_with(['$', '.']) {
                    return None;
                }
                Some(Symbol {
                    start: symbol.address(),
                    size: symbol.size(),
                    name: demangled(name),
                })
            })
            .collect();
        // Of several names for one place the one with a size counts.
        symbols.sort_by_key(|symbol| (symbol.start, symbol.size));
        Ok(Self(symbols))
    }

    /// `name+0x12` for an address in a function, if it is in one.
    pub fn name(&self, address: u64) -> Option<String> {
        let after = self.0.partition_point(|symbol| symbol.start <= address);
        let symbol = self.0[..after].last()?;
        let offset = address - symbol.start;
        // A return address may lie just behind a function that ends in a call.
        let inside = symbol.size == 0 || offset <= symbol.size;
        inside.then(|| format!("{}+{offset:#x}", symbol.name))
    }

    /// The line with a name appended, if it is one of a backtrace.
    pub fn annotate(&self, line: String) -> String {
        match backtrace_address(line.as_bytes()).and_then(|at| self.name(at)) {
            Some(name) => format!("{line} <{name}>"),
            None => line,
        }
    }

    /// Adds what `other` has in the program's half of the address space.
    pub fn add_program(&mut self, other: Self) {
        let programs = other.0.into_iter();
        self.0
            .extend(programs.filter(|symbol| symbol.start < KERNEL_HALF));
        self.0.sort_by_key(|symbol| (symbol.start, symbol.size));
    }
}

/// A symbol's name without its hash, as people write it.
pub fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// The address that a line of a backtrace holds: two blanks, `at`, a blank, and 16 digits after 0x.
fn backtrace_address(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"  at 0x")?;
    if digits.len() != 16 {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Copies a console and appends names to the lines of a backtrace. Everything else passes through
/// at once and unchanged; only a line's end waits until it is certain that it is one.
#[derive(Debug)]
pub struct Namer<W> {
    symbols: Symbols,
    out: W,
    /// The line so far, as long as it may be one of a backtrace.
    line: Vec<u8>,
    /// A carriage return that is held back, since the name goes before it.
    held: bool,
}

impl<W: Write> Namer<W> {
    /// No line of a backtrace is longer.
    const LONGEST: usize = 32;

    /// Copies to `out`.
    pub fn new(symbols: Symbols, out: W) -> Self {
        Self {
            symbols,
            out,
            line: Vec::new(),
            held: false,
        }
    }

    /// Copies these bytes.
    ///
    /// # Errors
    /// Those of the place that they are copied to.
    pub fn copy(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut pass = Vec::with_capacity(bytes.len() + 64);
        for &byte in bytes {
            if self.held && byte != b'\n' {
                pass.push(b'\r');
                self.held = false;
                self.line.clear();
            }
            match byte {
                b'\r' => {
                    self.held = true;
                    continue;
                }
                b'\n' => {
                    let name = backtrace_address(&self.line).and_then(|at| self.symbols.name(at));
                    if let Some(name) = name {
                        pass.extend_from_slice(format!(" <{name}>").as_bytes());
                    }
                    if self.held {
                        pass.push(b'\r');
                        self.held = false;
                    }
                    self.line.clear();
                }
                _ if self.line.len() <= Self::LONGEST => self.line.push(byte),
                _ => {}
            }
            pass.push(byte);
        }
        self.out.write_all(&pass)?;
        self.out.flush()
    }

    /// Lets go what is held back.
    ///
    /// # Errors
    /// Those of the place that bytes are copied to.
    pub fn finish(mut self) -> io::Result<W> {
        if self.held {
            self.out.write_all(b"\r")?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: u64 = 0xffff_ffff_8000_1000;

    fn symbols() -> Symbols {
        let symbol = |start, size, name: &str| Symbol {
            start,
            size,
            name: name.to_owned(),
        };
        Symbols(vec![
            symbol(0x20_0000, 0x10, "program::main"),
            symbol(AT, 0x40, "kernel::trap"),
            symbol(AT + 0x100, 0, "vectors"),
        ])
    }

    fn named(pieces: &[&[u8]]) -> String {
        let mut namer = Namer::new(symbols(), Vec::new());
        for piece in pieces {
            namer.copy(piece).unwrap();
        }
        String::from_utf8(namer.finish().unwrap()).unwrap()
    }

    #[test]
    fn addresses_in_functions_have_names() {
        let symbols = symbols();
        assert_eq!(symbols.name(AT + 4).as_deref(), Some("kernel::trap+0x4"));
        assert_eq!(symbols.name(AT + 0x50), None);
        assert_eq!(symbols.name(AT + 0x180).as_deref(), Some("vectors+0x80"));
        assert_eq!(symbols.name(0), None);
    }

    #[test]
    fn backtraces_get_names_before_the_line_ends() {
        assert_eq!(
            named(&[
                b"  at 0xffffffff80001004\r\n  at 0xffffff",
                b"ff80001008\nx\r\n"
            ]),
            "  at 0xffffffff80001004 <kernel::trap+0x4>\r\n  \
             at 0xffffffff80001008 <kernel::trap+0x8>\nx\r\n"
        );
        assert_eq!(
            named(&[b"  at 0x0000000000200008\r", b"\n"]),
            "  at 0x0000000000200008 <program::main+0x8>\r\n"
        );
    }

    #[test]
    fn nearly_backtraces_pass_unchanged() {
        for text in [
            " at 0xffffffff80001004\n",
            "  at 0xffffffff80001004 and more\n",
            "  at 0xffffffff80001\n",
            "  at 0xffffffff80001004",
            "  at 0xffffffff80001004\r.\n",
        ] {
            assert_eq!(named(&[text.as_bytes()]), text);
        }
    }

    proptest! {
        #[test]
        fn any_console_passes_unchanged_in_any_pieces(
            bytes in prop::collection::vec(prop::sample::select(b"\r\n at0xf".to_vec()), 0..80),
            cut in 0..80usize,
        ) {
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(named(&[first, second]).into_bytes(), bytes);
        }
    }
}
