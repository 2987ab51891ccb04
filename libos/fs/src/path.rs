//! Paths: text becomes a location once, and what is passed on after that is normal.
//!
//! A location begins at the root and has no empty part, no `.` and no `..`. These are resolved in the text and not on
//! the volume: a file system never sees them, and there are no symbolic links that would make a difference. `..` at
//! the root is the root.

use alloc::string::String;

use crate::Error;

/// Most bytes of a normal path.
pub const MAX_BYTES: usize = 1024;
/// Most parts of a normal path.
pub const MAX_DEPTH: usize = 32;
/// Most bytes of a part: 255 units of UTF-16, of at most three bytes of UTF-8 each.
pub const MAX_NAME: usize = 765;

/// A normal path from the root: `/`, or `/a/b` without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location(String);

impl Location {
    /// The root.
    pub fn root() -> Self {
        Self(String::from("/"))
    }

    /// What `text` names, from here if it does not begin with a slash.
    ///
    /// # Errors
    /// [`Error::NotFound`] for no text, [`Error::BadName`] for a zero byte, [`Error::NameTooLong`],
    /// [`Error::PathTooLong`], [`Error::PathTooDeep`].
    pub fn join(&self, text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::NotFound);
        }
        if text.contains('\0') {
            return Err(Error::BadName);
        }
        let mut normal = String::new();
        let from = if text.starts_with('/') { "" } else { &self.0 };
        for part in from.split('/').chain(text.split('/')) {
            match part {
                "" | "." => {}
                ".." => normal.truncate(normal.rfind('/').unwrap_or(0)),
                name => {
                    if name.len() > MAX_NAME {
                        return Err(Error::NameTooLong);
                    }
                    if normal.len() + 1 + name.len() > MAX_BYTES {
                        return Err(Error::PathTooLong);
                    }
                    normal.push('/');
                    normal.push_str(name);
                }
            }
        }
        if normal.matches('/').count() > MAX_DEPTH {
            return Err(Error::PathTooDeep);
        }
        if normal.is_empty() {
            normal.push('/');
        }
        Ok(Self(normal))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path from the root.
    pub fn path(&self) -> Path<'_> {
        Path(self.0.trim_start_matches('/'))
    }

    /// The path from `mount` on if this lies there.
    pub fn below(&self, mount: &Self) -> Option<Path<'_>> {
        if mount.path().is_root() {
            return Some(self.path());
        }
        let rest = self.0.strip_prefix(mount.as_str())?;
        if rest.is_empty() {
            return Some(Path(""));
        }
        rest.strip_prefix('/').map(Path)
    }
}

impl core::fmt::Display for Location {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A normal path below a mount: empty for its root, else names with slashes between them. Only a [`Location`] makes
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a>(&'a str);

impl<'a> Path<'a> {
    /// The root of a mount.
    pub const ROOT: Path<'static> = Path("");

    /// Whether it is the mount's root.
    pub const fn is_root(self) -> bool {
        self.0.is_empty()
    }

    /// The names, from the root on.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The directory that it is in, and its name there; `None` for the root.
    pub fn split(self) -> Option<(Self, &'a str)> {
        if self.is_root() {
            return None;
        }
        match self.0.rsplit_once('/') {
            Some((parent, name)) => Some((Self(parent), name)),
            None => Some((Path(""), self.0)),
        }
    }

    /// The text, without a slash before it.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn at(base: &str, text: &str) -> Result<String, Error> {
        let base = Location::root().join(base)?;
        base.join(text).map(|location| location.to_string())
    }

    #[test]
    fn dots_are_resolved_in_the_text() {
        for (base, text, normal) in [
            ("/", "/", "/"),
            ("/", "a", "/a"),
            ("/a", "b/../c/.", "/a/c"),
            ("/a/b", "..", "/a"),
            ("/a/b", "../..", "/"),
            ("/a", "../../..", "/"),
            ("/a", "/b//c///", "/b/c"),
            ("/a", "./../a/...", "/a/..."),
            ("/ä", "ö", "/ä/ö"),
        ] {
            assert_eq!(at(base, text).as_deref(), Ok(normal), "{base} {text}");
        }
    }

    #[test]
    fn bounds_are_exact() {
        let name = "n".repeat(MAX_NAME);
        assert!(at("/", &name).is_ok());
        assert_eq!(at("/", &format!("{name}n")), Err(Error::NameTooLong));
        let deep = "/a".repeat(MAX_DEPTH);
        assert!(at("/", &deep).is_ok());
        assert_eq!(at(&deep, "b"), Err(Error::PathTooDeep));
        // As deep in between, and not at the end.
        assert!(at(&deep, "../b").is_ok());
        let long = format!("/{}/{}", "a".repeat(700), "b".repeat(MAX_BYTES - 702));
        assert_eq!(at("/", &long).map(|text| text.len()), Ok(MAX_BYTES));
        assert_eq!(at("/", &format!("{long}b")), Err(Error::PathTooLong));
        assert_eq!(at("/", ""), Err(Error::NotFound));
        assert_eq!(at("/", "a\0b"), Err(Error::BadName));
    }

    #[test]
    fn a_mount_ends_between_names() {
        let mount = Location::root().join("/card").unwrap();
        let below = |text: &str| {
            let location = Location::root().join(text).unwrap();
            location.below(&mount).map(|path| path.as_str().to_string())
        };
        assert_eq!(below("/card").as_deref(), Some(""));
        assert_eq!(below("/card/a/b").as_deref(), Some("a/b"));
        assert_eq!(below("/cards/a"), None);
        assert_eq!(below("/"), None);
    }

    proptest! {
        #[test]
        fn what_is_normal_stays_so(text in "[a./]{0,40}", base in "[a./]{1,40}") {
            let base = Location::root().join(&base).unwrap();
            if let Ok(normal) = base.join(&text) {
                prop_assert!(normal.as_str().starts_with('/'));
                prop_assert!(normal.path().names().all(|name| name != "." && name != ".."));
                prop_assert_eq!(base.join(normal.as_str()), Ok(normal.clone()));
                prop_assert_eq!(normal.path().names().count(), normal.path().as_str().split('/').filter(|n| !n.is_empty()).count());
            }
        }
    }
}
