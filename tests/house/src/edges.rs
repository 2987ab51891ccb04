//! Who may depend on whom.
//!
//! ```text
//!   userland -> libos -> kernel/abi <- kernel -> bsp
//!                            ^            |
//!                       logic crates <----'        tools, tests -> every library; nothing -> them
//! ```
//!
//! Dev- and build-dependencies are edges too: what tests of a libOS need from above lives in `tests/`.

/// Logic crates that know another logic crate, downwards only.
const LOGIC: [(&str, &str); 20] = [
    ("filter", "a64"),
    ("predicate", "a64"),
    ("bytecode", "a64"),
    ("pages", "cap"),
    ("domains", "cap"),
    ("domains", "pages"),
    ("domains", "slices"),
    ("slices", "cap"),
    ("blocks", "cap"),
    ("filter", "cap"),
    ("frames", "cap"),
    ("frames", "domains"),
    ("frames", "filter"),
    ("predicate", "cap"),
    ("xn", "cap"),
    ("predicate", "pages"),
    ("filter", "pages"),
    ("xn", "pages"),
    ("xn", "bytecode"),
    ("xn", "blocks"),
];

/// A dependency between two members, by their folders (`kernel/pages`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Folder of the crate that depends.
    pub from: String,
    /// Folder of the crate that it depends on.
    pub to: String,
}

/// Where a crate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer<'a> {
    Kernel,
    Abi,
    Logic(&'a str),
    Bsp,
    Libos,
    Userland(&'a str),
    Tools,
    Tests(&'a str),
    Unknown,
}

impl<'a> Layer<'a> {
    fn of(folder: &'a str) -> Self {
        let (top, rest) = folder.split_once('/').unwrap_or((folder, ""));
        match (top, rest) {
            ("kernel", "") => Self::Kernel,
            ("kernel", "abi") => Self::Abi,
            ("kernel", name) => Self::Logic(name),
            ("bsp", "") => Self::Bsp,
            ("libos", _) => Self::Libos,
            ("userland", name) => Self::Userland(name),
            ("tools", _) => Self::Tools,
            ("tests", name) => Self::Tests(name),
            _ => Self::Unknown,
        }
    }

    fn may_use(self, other: Self) -> bool {
        use Layer::*;
        match (self, other) {
            (Unknown, _) | (_, Unknown) => false,
            (Kernel, Abi | Logic(_) | Bsp) => true,
            (Logic(from), Logic(to)) => LOGIC.contains(&(from, to)),
            (Logic(_), Abi) => true,
            (Libos | Userland(_), Libos) => true,
            (Libos | Userland(_), Abi) => true,
            // The wire form of suites and benchmarks is a tests crate, and the program that measures
            // must speak it; the form is written once.
            (Userland("bench"), Tests("protocol")) => true,
            // The kernel and the programs are binaries for the target, not libraries to look at.
            (Tools | Tests(_), Kernel | Userland(_)) => false,
            (Tools | Tests(_), Abi | Logic(_) | Bsp | Libos | Tools | Tests(_)) => true,
            _ => false,
        }
    }
}

/// The edges that the house forbids.
pub fn violations(edges: &[Edge]) -> Vec<String> {
    let forbidden = |edge: &&Edge| !Layer::of(&edge.from).may_use(Layer::of(&edge.to));
    let tell = |edge: &Edge| format!("{} must not depend on {}", edge.from, edge.to);
    edges.iter().filter(forbidden).map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbidden(from: &str, to: &str) -> bool {
        let (from, to) = (from.to_owned(), to.to_owned());
        !violations(&[Edge { from, to }]).is_empty()
    }

    #[test]
    fn edges_downwards_are_good() {
        for (from, to) in [
            ("kernel", "kernel/abi"),
            ("kernel", "kernel/pages"),
            ("kernel", "bsp"),
            ("kernel/pages", "kernel/abi"),
            ("kernel/pages", "kernel/cap"),
            ("kernel/xn", "kernel/bytecode"),
            ("kernel/xn", "kernel/blocks"),
            ("kernel/blocks", "kernel/cap"),
            ("kernel/domains", "kernel/pages"),
            ("kernel/domains", "kernel/cap"),
            ("libos/rt", "kernel/abi"),
            ("libos/net", "libos/rt"),
            ("libos/vm", "libos/rt"),
            ("libos/sched", "libos/vm"),
            ("userland/sh", "libos/rt"),
            ("userland/sh", "kernel/abi"),
            ("userland/bench", "tests/protocol"),
            ("tests/target", "libos/rt"),
            ("tests/target", "tests/protocol"),
            ("tests/simkernel", "kernel/xn"),
            ("tests/e2e", "tools/exo"),
            ("tools/exo", "kernel/abi"),
            ("tools/exo", "tests/protocol"),
        ] {
            assert!(!forbidden(from, to), "{from} -> {to}");
        }
    }

    #[test]
    fn every_other_edge_is_bad() {
        for (from, to) in [
            // The kernel trusts nothing above it.
            ("kernel", "libos/rt"),
            ("kernel", "userland/sh"),
            ("kernel", "tests/protocol"),
            ("kernel", "tools/exo"),
            // The interface and the board layer stand alone.
            ("kernel/abi", "kernel/cap"),
            ("kernel/abi", "bsp"),
            ("bsp", "kernel/abi"),
            ("bsp", "kernel"),
            // Logic crates know no machine, and each other downwards only.
            ("kernel/pages", "kernel"),
            ("kernel/pages", "bsp"),
            ("kernel/cap", "kernel/pages"),
            ("kernel/pages", "kernel/domains"),
            ("kernel/a64", "kernel/filter"),
            ("kernel/bytecode", "kernel/xn"),
            ("kernel/slices", "kernel/pages"),
            ("kernel/blocks", "bsp"),
            ("kernel/blocks", "kernel/pages"),
            ("kernel/blocks", "kernel/xn"),
            ("kernel/cap", "tests/simkernel"),
            // Programs reach the kernel through its interface only.
            ("libos/rt", "kernel"),
            ("libos/rt", "kernel/pages"),
            ("libos/rt", "bsp"),
            ("libos/rt", "userland/sh"),
            ("libos/rt", "tests/protocol"),
            ("userland/sh", "kernel/filter"),
            ("userland/sh", "bsp"),
            ("userland/sh", "userland/init"),
            ("userland/sh", "tests/protocol"),
            ("userland/bench", "tests/target"),
            // Binaries are no libraries.
            ("tools/exo", "kernel"),
            ("tests/e2e", "userland/sh"),
            // A folder that the house does not know.
            ("drivers/usb", "kernel/abi"),
            ("kernel", "drivers/usb"),
        ] {
            assert!(forbidden(from, to), "{from} -> {to}");
        }
    }

    #[test]
    fn a_violation_names_both_ends() {
        let edge = Edge {
            from: "bsp".into(),
            to: "kernel".into(),
        };
        assert_eq!(violations(&[edge]), ["bsp must not depend on kernel"]);
    }
}
