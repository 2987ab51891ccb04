//! A naive account of who was ever given what, kept beside the kernel and out of nothing but the calls that
//! were made and what they replied.
//!
//! It looks at no record of the kernel's, shares no code with it but the forms that cross the line, and knows
//! nothing of epochs, links, counts or free lists: pages have owners and generations, capabilities are
//! genuine or not, and a mapping is there because somebody who was allowed to has made it. What the kernel lets an
//! environment do beyond that is the finding that a search looks for.
//!
//! * `authority`: whether the caller may do what a call names, by what it is and by what it presents.
//! * `effects`: what follows from a call that was carried out; `domains`, `times` and `issued` of those on accounts,
//!   spaces and environments, on slices, and on capabilities.
//! * `reach`: what every core could reach now, against what was given.
//! * `digest`: all that as a number, for explorations.

use std::collections::{BTreeMap, HashMap, HashSet};

use exopi_abi::Access;
use exopi_abi::capability::{
    CAPABILITY_WORDS, Capability, EnvironmentRights, Identity, Kind, Restriction,
};
use exopi_abi::domain::ObjectName;

mod authority;
mod digest;
mod domains;
mod effects;
mod issued;
mod reach;
mod times;

pub(crate) use digest::renamed;
pub(crate) use effects::Made;
pub(crate) use reach::Reach;

/// The words of a capability.
pub(crate) type Words = [u64; CAPABILITY_WORDS];

/// What there is to say against the kernel.
pub(crate) type Verdict<T = ()> = Result<T, String>;

/// What is known of a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// Whose it is; none if it is free or the kernel's.
    pub(crate) owner: Option<ObjectName>,
    /// Raised whenever capabilities for it end.
    pub(crate) generation: u64,
    /// Whether it is memory; otherwise a table, links, a root or a u-area, if it is anybody's.
    pub(crate) plain: bool,
    /// Whose contents it holds.
    last: Option<ObjectName>,
    /// Words that were stored, by index; others are zero. None if nobody knows what it holds.
    contents: Option<BTreeMap<u64, u64>>,
}

/// What a genuine capability says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    kind: Kind,
    index: u32,
    count: u32,
    rights: u16,
    /// Who may present it: all of them at once.
    holders: Vec<Identity>,
    /// When it ends, if it does.
    until: Option<u32>,
    /// Generations of its pages, or the epoch of its object.
    generations: Vec<u64>,
}

/// A mapping that somebody was allowed to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The first page.
    page: u32,
    /// What it was made with.
    bound: Access,
    /// What is left of it at present.
    now: Access,
    /// 1 or 512.
    pages: u64,
}

/// What is known of an account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    parent: Option<ObjectName>,
    /// Its destruction has begun, and may be over.
    dying: bool,
    /// How many pages it takes from others.
    accepts: u64,
}

/// What is known of a space.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    owner: ObjectName,
    dying: bool,
    /// Mappings by address.
    bindings: BTreeMap<u64, Binding>,
    /// Where u-areas are.
    uareas: BTreeMap<u64, u32>,
    /// Its root.
    root: u32,
    /// Its tables, each with its links.
    tables: BTreeMap<u32, u32>,
}

/// What is known of an environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environment {
    pub(crate) account: ObjectName,
    pub(crate) bound: ObjectName,
    pub(crate) space: ObjectName,
    uarea: u32,
    at: u64,
    dying: bool,
}

/// What is known of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    account: ObjectName,
    environment: ObjectName,
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) pages: Vec<Page>,
    accounts: HashMap<ObjectName, Account>,
    spaces: HashMap<ObjectName, Space>,
    pub(crate) environments: HashMap<ObjectName, Environment>,
    slices: HashMap<ObjectName, Slice>,
    tokens: HashMap<Words, Token>,
    /// Whom gates lead to, by who has bound them and their number, and what they were bound with.
    gates: HashMap<(ObjectName, u64), (ObjectName, EnvironmentRights)>,
    /// Who has a ring for messages.
    rings: HashSet<ObjectName>,
    /// Whom callers have called, and may have an answer of.
    calls: HashMap<ObjectName, ObjectName>,
    /// Seconds since boot.
    pub(crate) seconds: u64,
    /// Who owns the console.
    console: Option<ObjectName>,
    /// Who owns the board.
    board: Option<ObjectName>,
}

impl Oracle {
    /// A machine of so many pages, all the kernel's, and nobody on it.
    pub(crate) fn new(pages: usize) -> Self {
        Self {
            pages: vec![Page::default(); pages],
            ..Self::default()
        }
    }

    /// Boot: an account without a parent, its space, its environment, which has console and board, and its slice.
    pub(crate) fn boot(
        &mut self,
        account: ObjectName,
        space: ObjectName,
        root: u32,
        environment: ObjectName,
        slice: ObjectName,
    ) {
        let first = Account {
            parent: None,
            dying: false,
            accepts: 0,
        };
        self.accounts.insert(account, first);
        self.spaces.insert(space, Space::new(account, root));
        self.pages[root as usize] = Page::of(account, false);
        let environment_facts = Environment {
            account,
            bound: account,
            space,
            uarea: 0,
            at: 0,
            dying: false,
        };
        self.environments.insert(environment, environment_facts);
        let facts = Slice {
            account,
            environment,
        };
        self.slices.insert(slice, facts);
        (self.console, self.board) = (Some(environment), Some(environment));
    }

    /// Boot: `page` is the first account's memory, mapped at `at` in the first space.
    pub(crate) fn boot_mapping(&mut self, space: ObjectName, at: u64, page: u32, access: Access) {
        let owner = self.spaces[&space].owner;
        self.pages[page as usize] = Page::of(owner, true);
        let binding = Binding {
            page,
            bound: access,
            now: access,
            pages: 1,
        };
        self.space_mut(space).bindings.insert(at, binding);
    }

    /// Boot: these are a table of the first space and its links.
    pub(crate) fn boot_table(&mut self, space: ObjectName, table: u32, links: u32) {
        let owner = self.spaces[&space].owner;
        for page in [table, links] {
            self.pages[page as usize] = Page::of(owner, false);
        }
        self.space_mut(space).tables.insert(table, links);
    }

    /// Boot: `page` is the u-area of the first environment.
    pub(crate) fn boot_uarea(&mut self, environment: ObjectName, at: u64, page: u32) {
        let space = self.environments[&environment].space;
        let owner = self.spaces[&space].owner;
        self.pages[page as usize] = Page::of(owner, false);
        self.space_mut(space).uareas.insert(at, page);
        if let Some(facts) = self.environments.get_mut(&environment) {
            (facts.uarea, facts.at) = (page, at);
        }
    }

    /// Somebody hands bytes of a capability over by other means than calls: nothing changes, since what
    /// counts is who presents them. What was made of a genuine one without the kernel is genuine, too: so is
    /// what is made of one whose seal is genuine and whose body is not, once its body is put back.
    pub(crate) fn attenuated(&mut self, from: &Words, restriction: Restriction) {
        let [.., low, high] = *from;
        let same = |words: &&Words| words.ends_with(&[low, high]);
        let genuine: Vec<Words> = self.tokens.keys().filter(same).copied().collect();
        for words in genuine {
            let made = Capability::from_words(words).and_then(|it| it.attenuate(restriction));
            if let (Ok(made), Some(token)) = (made, self.tokens.get(&words)) {
                let token = token.restricted(restriction);
                self.tokens.insert(made.words(), token);
            }
        }
    }

    fn space_mut(&mut self, name: ObjectName) -> &mut Space {
        self.spaces.get_mut(&name).expect("a space that is known")
    }
}

impl Token {
    /// The same with a caveat more.
    fn restricted(&self, restriction: Restriction) -> Token {
        let mut token = self.clone();
        match restriction {
            Restriction::Rights(mask) => token.rights &= mask.bits(),
            Restriction::Holder(identity) => token.holders.push(identity),
            Restriction::Badge(_) => {}
            Restriction::Until(second) => {
                token.until = Some(token.until.map_or(second.get(), |at| at.min(second.get())));
            }
        }
        token
    }
}

impl Page {
    fn of(owner: ObjectName, plain: bool) -> Self {
        Self {
            owner: Some(owner),
            generation: 1,
            plain,
            last: Some(owner),
            contents: None,
        }
    }
}

impl Space {
    fn new(owner: ObjectName, root: u32) -> Self {
        Self {
            owner,
            dying: false,
            bindings: BTreeMap::new(),
            uareas: BTreeMap::new(),
            root,
            tables: BTreeMap::new(),
        }
    }
}
