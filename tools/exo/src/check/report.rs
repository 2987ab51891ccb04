//! What is wrong, by the law that it breaks.

use std::collections::BTreeMap;
use std::fmt;

macro_rules! laws {
    ($( $(#[doc = $doc:literal])+ $law:ident = $name:literal, )+) => {
        /// What must hold whenever no core is in the middle of a change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Law {
            $( $(#[doc = $doc])+ $law, )+
        }

        impl Law {
            /// Every law.
            pub const ALL: &'static [Law] = &[$(Law::$law),+];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Law::$law => $name, )+
                }
            }
        }
    };
}

laws! {
    /// The kernel is found where it must lie, with an exposed region that describes itself.
    Region = "region",
    /// The exposed region shows its sections and nothing else, read-only, and nobody executes it.
    Exposed = "exposed",
    /// A record's type, flags and reserved fields have values that mean something.
    Record = "record",
    /// Frames of the kernel are nobody's, and what the kernel uses for itself is of that type.
    KernelFrame = "kernel frame",
    /// A free frame is on the list of its colour, once, and the lists' neighbours agree.
    FreeList = "free list",
    /// As many frames are free as the header says.
    FreeCount = "free count",
    /// Plain frames carry an epoch, all others none.
    Stamp = "stamp",
    /// A frame that is neither free nor the kernel's is charged to an account that there is.
    Owner = "owner",
    /// A frame is leaving only while its mappings are being broken.
    Leaving = "leaving",
    /// What an account has used is what is charged to it and what it gave to its children.
    Charge = "charge",
    /// No account has used more than it may.
    Allowance = "allowance",
    /// Accounts form one tree.
    Tree = "account tree",
    /// Epochs of objects are all different.
    Epoch = "epoch",
    /// A space has a root, an ASID and an owner of its own, and each root a space.
    Space = "space",
    /// A space has as many members as environments say that they are in it.
    Members = "members",
    /// An environment has a space, accounts, a core and a u-area that fit its state.
    Environment = "environment",
    /// The word of each environment is that of its record, and no core has two.
    Life = "life",
    /// A slice is charged to an account and bound to an environment, which counts its slices.
    Slice = "slice",
    /// A keeper is an environment, and told by one of 32 bits.
    Keeper = "keeper",
    /// The root's entry 510 names the root, readable and no more.
    SelfEntry = "self entry",
    /// The root's entry 511 names the exposed region's table.
    ExposedEntry = "exposed entry",
    /// Entries have the form of their level, and lead to frames of the type that belongs there.
    Entry = "entry",
    /// A table is named once, is its space's owner's, and knows how many of its entries are in use.
    Table = "table",
    /// Tables and links belong together, and a link that is not in use is zero.
    Links = "links",
    /// Attributes of a mapping are those that the kernel gives: EL0, not global, Normal, within the access
    /// that it was bound with.
    Attributes = "attributes",
    /// Only plain frames are mapped, and a u-area where its environment sees it.
    Mapped = "mapped",
    /// A frame's references, and those of other accounts, are the entries that name it.
    References = "references",
    /// A frame's pins are those that environments have set up, of plain pages of theirs, and those of packet rings.
    Pins = "pins",
    /// Each ring for messages is its environment's, in plain pages of the account that pays for it.
    MessageRings = "message-rings",
    /// An account is asked for what one open request to an environment of its says, and counts add up.
    Revocation = "revocation",
    /// Filters are trees of as many as interfaces say, and rings and send capabilities what the others say of them.
    Network = "network",
    /// Every entry that names a frame is on the frame's list, and nothing else is.
    List = "list",
    /// EL0 reads, writes and executes no frame whose type or whose space forbids it, by any way through the
    /// tables, and EL1 executes nothing there.
    Reach = "reach",
    /// The kernel's half: nothing for EL0, nothing both written and executed under any name, the image as it
    /// was linked, RAM Normal and devices Device.
    KernelMap = "kernel map",
    /// Nobody holds a capability that is worth something and was not declared.
    Capability = "capability",
}

/// A law that is broken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// What breaks it, with names and numbers.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law.name(), self.what)
    }
}

/// Most violations of one law that are told one by one: one wrong word can break it for every frame.
const TOLD: u64 = 12;

/// What is wrong. Counts everything, and tells the first violations of each law.
#[derive(Clone, Debug, Default)]
pub struct Report {
    violations: Vec<Violation>,
    counts: BTreeMap<Law, u64>,
}

impl Report {
    /// Adds a violation.
    pub fn add(&mut self, law: Law, what: impl FnOnce() -> String) {
        let count = self.counts.entry(law).or_default();
        *count += 1;
        if *count <= TOLD {
            let what = what();
            self.violations.push(Violation { law, what });
        }
    }

    /// Adds a violation unless the condition holds.
    pub fn require(&mut self, condition: bool, law: Law, what: impl FnOnce() -> String) {
        if !condition {
            self.add(law, what);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// Whether this law is broken.
    pub fn breaks(&self, law: Law) -> bool {
        self.counts.contains_key(&law)
    }

    /// How many violations there are, told or not.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// What is told, in the order in which it was found.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// One line for each violation that is told, and one for each law with more.
    pub fn lines(&self) -> Vec<String> {
        let told = self.violations.iter().map(Violation::to_string);
        let more = self.counts.iter().filter(|(_, count)| **count > TOLD);
        let more = more.map(|(law, count)| format!("{}: and {} more", law.name(), count - TOLD));
        told.chain(more).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines()
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}
