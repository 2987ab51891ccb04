//! The boot arguments: one line of words, some of them `key=value`.

use core::str::{FromStr, SplitAsciiWhitespace};

use spin::Once;

static LINE: Once<&'static str> = Once::new();

/// Notes the arguments as the program was given them. What is not UTF-8, and all after it, is left out.
pub(crate) fn set(bytes: &'static [u8]) {
    LINE.call_once(|| match core::str::from_utf8(bytes) {
        Ok(line) => line,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    });
}

/// The program's arguments.
pub fn args() -> Args<'static> {
    Args::new(LINE.get().copied().unwrap_or(""))
}

/// The words of a line: an iterator over them, and a look-up by key.
#[derive(Clone, Debug)]
pub struct Args<'a> {
    line: &'a str,
    words: SplitAsciiWhitespace<'a>,
}

impl<'a> Args<'a> {
    /// The words of `line`.
    pub fn new(line: &'a str) -> Self {
        Self {
            line,
            words: line.split_ascii_whitespace(),
        }
    }

    /// The whole line.
    pub fn line(&self) -> &'a str {
        self.line
    }

    /// What follows `key=` in the first word that begins so, wherever the iteration stands.
    pub fn value(&self, key: &str) -> Option<&'a str> {
        Self::new(self.line).find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The value of `key` as a `T`; none if it is missing or is no `T`.
    pub fn parsed<T: FromStr>(&self, key: &str) -> Option<T> {
        self.value(key)?.parse().ok()
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.words.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_separated_by_any_blanks() {
        let words: Vec<_> = Args::new("  one two\t three=3 \n").collect();
        assert_eq!(words, ["one", "two", "three=3"]);
        assert_eq!(Args::new("").count(), 0);
    }

    #[test]
    fn a_value_belongs_to_its_whole_key() {
        let mut args = Args::new("suite exit=7 exit=8 suites=all empty=");
        assert_eq!(args.next(), Some("suite"));
        assert_eq!(args.value("suite"), None);
        assert_eq!(args.value("suites"), Some("all"));
        assert_eq!(args.value("empty"), Some(""));
        assert_eq!(args.parsed::<u8>("exit"), Some(7));
        assert_eq!(args.parsed::<u8>("suites"), None);
        assert_eq!(args.value("exi"), None);
    }
}
