//! A line as it is typed: bytes in, echo out, and a line at the end.
//!
//! It knows the keys that nobody can do without and no more; a shell is another program.

use alloc::string::String;

/// Longest line in bytes. What is typed beyond is not taken and not echoed.
const LONGEST: usize = 256;

/// What a byte that was typed means for whoever waits for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Nothing yet; this is to be echoed.
    Echo(&'static str),
    /// The byte itself is to be echoed.
    Itself,
    /// The line is complete.
    Done,
    /// The line was given up.
    Cancelled,
}

/// A line that is being typed.
#[derive(Debug, Default)]
pub struct Line {
    text: String,
    /// Whether the last byte was a carriage return: a line feed behind it is no second end.
    returned: bool,
}

impl Line {
    /// Takes a byte.
    pub fn take(&mut self, byte: u8) -> Typed {
        let after_return = core::mem::replace(&mut self.returned, byte == b'\r');
        match byte {
            b'\n' if after_return => Typed::Echo(""),
            b'\r' | b'\n' => Typed::Done,
            // Backspace and delete: terminals send the one or the other.
            0x08 | 0x7f => match self.text.pop() {
                Some(_) => Typed::Echo("\x08 \x08"),
                None => Typed::Echo(""),
            },
            // Ctrl-C and Ctrl-U.
            0x03 | 0x15 => Typed::Cancelled,
            b' '..=b'~' if self.text.len() < LONGEST => {
                self.text.push(char::from(byte));
                Typed::Itself
            }
            _ => Typed::Echo(""),
        }
    }

    /// What was typed, leaving an empty line.
    pub fn finish(&mut self) -> String {
        core::mem::take(&mut self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// The lines that come out of `bytes`.
    fn typed(bytes: &[u8]) -> Vec<String> {
        let mut line = Line::default();
        let mut lines = Vec::new();
        for byte in bytes {
            match line.take(*byte) {
                Typed::Done => lines.push(line.finish()),
                Typed::Cancelled => drop(line.finish()),
                Typed::Echo(_) | Typed::Itself => {}
            }
        }
        lines
    }

    #[test]
    fn each_way_to_end_a_line_ends_one() {
        assert_eq!(
            typed(b"one\rtwo\nthree\r\nfour\n\n"),
            ["one", "two", "three", "four", ""]
        );
    }

    #[test]
    fn what_is_taken_back_is_gone() {
        assert_eq!(typed(b"abx\x7fc\x08\x08\x08\x08\x08d\r"), ["d"]);
        assert_eq!(typed(b"wrong\x15right\r"), ["right"]);
        assert_eq!(typed(b"wrong\x03right\r"), ["right"]);
    }

    #[test]
    fn nothing_but_text_gets_in() {
        assert_eq!(typed(b"\x1b\x00a\xff\xc3\xa4b\t\r"), ["ab"]);
        let mut long = [b'x'; LONGEST + 100];
        long[LONGEST + 99] = b'\r';
        assert_eq!(typed(&long)[0].len(), LONGEST);
    }
}
