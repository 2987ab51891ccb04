//! A console's bytes as lines, in bounded memory, whatever the guest prints.

/// Longer lines are cut here and said to be too long.
pub const LONGEST: usize = 4096;

/// A finished line, or what there was instead of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Text, without its line end.
    Text(String),
    /// Bytes that are no text, made printable.
    Noise(String),
    /// The begin of a line that went on beyond [`LONGEST`] bytes; what follows of it is dropped.
    Overlong(String),
}

impl Line {
    /// What there is of it.
    pub fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Noise(text) | Self::Overlong(text) => text,
        }
    }
}

/// Collects lines out of pieces.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    /// The line was too long; the rest of it is being dropped.
    dropping: bool,
}

impl Lines {
    /// The lines that end in `bytes`.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut found = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                if !std::mem::take(&mut self.dropping) {
                    found.push(self.take());
                }
            } else if self.dropping {
            } else if self.line.len() == LONGEST {
                let text = String::from_utf8_lossy(&self.line).into_owned();
                found.push(Line::Overlong(printable(&text)));
                self.line.clear();
                self.dropping = true;
            } else {
                self.line.push(byte);
            }
        }
        found
    }

    /// What there is of a line that never ended.
    pub fn rest(&mut self) -> Option<Line> {
        (!self.line.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> Line {
        while self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let line = String::from_utf8(std::mem::take(&mut self.line));
        match line {
            Ok(text) if !text.chars().any(is_noise) => Line::Text(text),
            Ok(text) => Line::Noise(printable(&text)),
            Err(error) => Line::Noise(printable(&String::from_utf8_lossy(error.as_bytes()))),
        }
    }
}

/// A line without the time that the kernel's boot log begins with.
pub fn without_time(line: &str) -> &str {
    line.strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .filter(|(time, _)| {
            time.bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b' '))
        })
        .map_or(line, |(_, rest)| rest.trim_start())
}

/// Terminals are told colours and positions by escape sequences, which are no noise.
fn is_noise(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\x1b' | '\r')
}

fn printable(text: &str) -> String {
    let escape = |character: char| {
        if character.is_control() {
            character.escape_default().collect()
        } else {
            String::from(character)
        }
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(line: &str) -> Line {
        Line::Text(line.to_owned())
    }

    #[test]
    fn lines_end_with_or_without_carriage_return() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"one\r\ntw"), [text("one")]);
        assert_eq!(lines.feed(b"o\n\nthree"), [text("two"), text("")]);
        assert_eq!(lines.rest(), Some(text("three")));
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn noise_is_told_from_text() {
        let mut lines = Lines::default();
        let found = lines.feed(b"\xff\xfe\nbell\x07\n\x1b[1mbold\n");
        assert!(matches!(&found[0], Line::Noise(_)));
        assert_eq!(found[1], Line::Noise("bell\\u{7}".to_owned()));
        assert_eq!(found[2], text("\x1b[1mbold"));
    }

    #[test]
    fn overlong_lines_are_cut_once() {
        let mut lines = Lines::default();
        let mut found = lines.feed(&[b'x'; 3 * LONGEST]);
        assert_eq!(found.len(), 1);
        assert!(matches!(found.remove(0), Line::Overlong(begin) if begin.len() == LONGEST));
        assert!(lines.line.is_empty());
        assert_eq!(lines.feed(b"xxx\nnext\n"), [text("next")]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0..200usize,
        ) {
            let whole = Lines::default().feed(&bytes);
            let mut lines = Lines::default();
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut found = lines.feed(first);
            found.extend(lines.feed(second));
            prop_assert_eq!(found, whole);
        }
    }
}
