//! Who holds capabilities: every value in a program's memory whose seal is genuine.
//!
//! Capabilities are plain data, of which the kernel keeps no list. But whoever has the kernel's key can tell
//! them from all other data, and this command, which reads all memory, has it. So what programs hold is found
//! by looking at each word, and compared with what was granted.
//!
//! A capability is *live* while an object that it covers carries its epoch. One that is not live is worth
//! nothing, and stays about in freed memory and on stacks: it is counted, not judged. A holder caveat can be
//! verified only for environments that there are; one for another is worth nothing either.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use exopi_abi::capability::siphash::{Initial, Start};
use exopi_abi::capability::{
    CAPABILITY_WORDS, Capability, Epoch, Identity, Kind, Restriction, Rights,
};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::page::{FrameType, Owner};

use super::kernel::Kernel;
use super::memory::{Memory, words};
use super::report::{Law, Report};
use super::spaces::Mapping;
use super::state::State;

/// What somebody was given, by a suite's own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Kind of the objects.
    pub kind: Kind,
    /// The first object.
    pub index: u32,
    /// How many.
    pub count: u32,
    /// The rights, after all caveats.
    pub rights: Rights,
}

impl Grant {
    /// The kind that a suite calls so: its name in small letters.
    pub fn kind_named(name: &str) -> Option<Kind> {
        let mut kinds = Kind::ALL.iter().copied();
        kinds.find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name))
    }

    /// Whether it allows all that `other` does.
    fn covers(&self, other: &Grant) -> bool {
        let end = |grant: &Grant| u64::from(grant.index) + u64::from(grant.count);
        self.kind == other.kind
            && self.index <= other.index
            && end(other) <= end(self)
            && self.rights.contains(other.rights)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            index,
            count,
            rights,
        } = self;
        let kind = format!("{kind:?}").to_lowercase();
        write!(f, "{kind} {index:#x}+{count} {rights:?}")
    }
}

/// Whose memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// That of all environments in a space.
    Space(u16),
    /// Pages of an account that are mapped nowhere.
    Account(u16),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Space(index) => write!(f, "space {index}"),
            Self::Account(index) => write!(f, "unmapped pages of account {index}"),
        }
    }
}

/// A genuine capability in memory.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// In whose memory.
    pub holder: Holder,
    /// The address, or the physical one if it is mapped nowhere.
    pub at: u64,
    /// What it allows.
    pub allows: Grant,
    /// Caveats that it carries.
    pub caveats: usize,
    /// Whether an object that it covers still carries its epoch.
    pub live: bool,
}

/// What an account owns and its environments have bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Whether the space is being destroyed.
    pub dying: bool,
    /// Environments that are in the space.
    pub environments: usize,
    /// Pages that are charged to the space's account.
    pub owned: usize,
    /// Pages that are mapped in the space.
    pub mapped: u64,
    /// Those of them that are another account's.
    pub foreign: u64,
}

/// Who holds what.
#[derive(Debug)]
pub struct Census {
    /// Every genuine capability.
    pub held: Vec<Held>,
    /// By space.
    pub holdings: BTreeMap<u16, Holdings>,
}

impl Census {
    /// Looks through the memory of all programs. None if the kernel has no key.
    pub fn take(
        memory: &Memory,
        kernel: &Kernel,
        state: &State,
        mappings: &[Mapping],
    ) -> Option<Self> {
        let mut search = Search {
            memory,
            state,
            key: Start::under(state.image.key(memory, kernel)?, Initial::KNOWN),
            held: Vec::new(),
        };
        let mut mapped = HashSet::new();
        let mut by_space: BTreeMap<u16, Vec<&Mapping>> = BTreeMap::new();
        for mapping in mappings {
            by_space.entry(mapping.space).or_default().push(mapping);
            mapped.extend(mapping.frame..mapping.frame + mapping.pages());
        }
        for (space, mappings) in &mut by_space {
            mappings.sort_by_key(|mapping| mapping.at);
            let pages = mappings.iter().flat_map(|mapping| {
                let pages = 0..mapping.pages();
                pages.map(|page| (mapping.at + page * PAGE_SIZE, mapping.frame + page))
            });
            search.pages(Holder::Space(*space), pages);
        }
        for (number, frame) in state.numbered() {
            if frame.is(FrameType::Plain) && !mapped.contains(&number) {
                let holder = Holder::Account(frame.owner.index());
                search.pages(holder, [(number * PAGE_SIZE, number)]);
            }
        }
        Some(Self {
            held: search.held,
            holdings: holdings(state, &by_space),
        })
    }

    /// Reports what is live and nobody was granted.
    pub(super) fn compare(&self, grants: &[Grant], report: &mut Report) {
        let live = self.held.iter().filter(|held| held.live);
        for held in live {
            let granted = grants.iter().any(|grant| grant.covers(&held.allows));
            report.require(granted, Law::Capability, || {
                format!(
                    "{} has at {:#x} a capability that no suite declared: {}",
                    held.holder, held.at, held.allows
                )
            });
        }
    }

    /// Capabilities that are worth something.
    pub fn live(&self) -> usize {
        self.held.iter().filter(|held| held.live).count()
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (space, holdings) in &self.holdings {
            writeln!(
                f,
                "space {space}{}: {} environments; {} pages owned; {} mapped, {} of them others'",
                if holdings.dying { " (dying)" } else { "" },
                holdings.environments,
                holdings.owned,
                holdings.mapped,
                holdings.foreign
            )?;
        }
        for held in self.held.iter().filter(|held| held.live) {
            writeln!(
                f,
                "{} at {:#x}: {}, {} caveats",
                held.holder, held.at, held.allows, held.caveats
            )?;
        }
        let stale = self.held.len() - self.live();
        writeln!(
            f,
            "capabilities: {} live, {stale} worth nothing any more",
            self.live()
        )
    }
}

fn holdings(state: &State, by_space: &BTreeMap<u16, Vec<&Mapping>>) -> BTreeMap<u16, Holdings> {
    let mut owned: BTreeMap<u64, usize> = BTreeMap::new();
    for owner in state.frames.iter().filter_map(|frame| frame.charged_to()) {
        *owned.entry(owner.word()).or_default() += 1;
    }
    let foreign = |owner: Owner, number: u64| {
        let frame = state.frame(number);
        frame.is_none_or(|frame| frame.owner != owner)
    };
    let spaces = state.live_spaces().map(|(index, space)| {
        let mappings = by_space.get(&index).map_or(&[][..], Vec::as_slice);
        let frames = mappings
            .iter()
            .flat_map(|mapping| mapping.frame..mapping.frame + mapping.pages());
        let environments = state.live_environments();
        let holdings = Holdings {
            dying: space.dying != 0,
            environments: environments.filter(|(_, one)| one.space == index).count(),
            owned: owned.get(&space.owner.word()).copied().unwrap_or(0),
            mapped: mappings.iter().map(|mapping| mapping.pages()).sum(),
            foreign: frames
                .filter(|number| foreign(space.owner, *number))
                .count() as u64,
        };
        (index, holdings)
    });
    spaces.collect()
}

struct Search<'a> {
    memory: &'a Memory,
    state: &'a State,
    key: Start,
    held: Vec<Held>,
}

impl Search<'_> {
    /// Looks through pages in the order of their addresses. A capability may lie across two that are neighbours.
    fn pages(&mut self, holder: Holder, pages: impl IntoIterator<Item = (u64, u64)>) {
        const OVERLAP: usize = CAPABILITY_WORDS - 1;
        // The last words of the page before, and the address behind them.
        let mut tail: (Vec<u64>, u64) = (Vec::new(), 0);
        for (at, frame) in pages {
            let bytes = self.memory.read(frame * PAGE_SIZE, PAGE_SIZE as usize);
            let Some(page) = bytes.map(|bytes| words(&bytes)) else {
                continue;
            };
            let mut all = if tail.1 == at { tail.0 } else { Vec::new() };
            let begin = at - 8 * all.len() as u64;
            all.extend(page);
            for (index, window) in (0..).zip(all.windows(CAPABILITY_WORDS)) {
                self.look(holder, begin + 8 * index, window);
            }
            let rest = all.split_off(all.len() - OVERLAP);
            tail = (rest, at + PAGE_SIZE);
        }
    }

    fn look(&mut self, holder: Holder, at: u64, window: &[u64]) {
        // Almost everything is told from a capability by its kind.
        let Ok(words) = <[u64; CAPABILITY_WORDS]>::try_from(window) else {
            return;
        };
        if let Ok(capability) = Capability::from_words(words)
            && let Some(rights) = self.genuine(&capability)
        {
            let body = capability.body();
            let allows = Grant {
                kind: body.kind(),
                index: body.index(),
                count: body.count(),
                rights,
            };
            self.held.push(Held {
                holder,
                at,
                allows,
                caveats: capability.caveats().count(),
                live: self.is_live(&allows, body.epoch()),
            });
        }
    }

    /// What a capability allows, if its seal is genuine for anybody: for an environment that there is, or,
    /// without a holder caveat, for everybody.
    fn genuine(&self, capability: &Capability) -> Option<Rights> {
        let environments = self
            .state
            .live_environments()
            .map(|(index, environment)| Identity {
                index: index.into(),
                epoch: Epoch::from_low_bits(environment.epoch),
            });
        let nobody = Identity {
            index: u32::MAX,
            epoch: Epoch::NONE,
        };
        if capability.caveats().is_empty() {
            return self.presented(capability, nobody);
        }
        environments
            .chain([nobody])
            .find_map(|presenter| self.presented(capability, presenter))
    }

    /// What a capability allows if `presenter` presents it.
    fn presented(&self, capability: &Capability, presenter: Identity) -> Option<Rights> {
        let body = capability.body();
        let mut seal = body.seal(self.key);
        let mut rights = body.rights();
        let mut caveats = capability.caveats();
        while let Some((next, restriction)) =
            caveats.follow(seal, presenter, Initial::KNOWN).ok()?
        {
            seal = next;
            if let Restriction::Rights(mask) = restriction {
                rights = rights.intersection(mask);
            }
        }
        (seal == capability.seal()).then_some(rights)
    }

    /// Whether an object that it covers still carries the epoch. Kinds without records cannot be judged.
    fn is_live(&self, allows: &Grant, epoch: Epoch) -> bool {
        let begin = u64::from(allows.index);
        let indices = begin..begin + u64::from(allows.count);
        let object = |epochs: Option<u64>| epochs == Some(epoch.bits());
        let at = allows.index as usize;
        match allows.kind {
            Kind::Page => indices
                .map_while(|number| self.state.frame(number))
                .any(|frame| frame.is(FrameType::Plain) && frame.stamp.epoch() == epoch),
            Kind::Space => object(self.state.spaces.get(at).map(|space| space.epoch)),
            Kind::Environment => object(self.state.environments.get(at).map(|one| one.epoch)),
            Kind::Account => object(self.state.accounts.get(at).map(|account| account.epoch)),
            Kind::Slice => object(self.state.slices.get(at).map(|slice| slice.epoch)),
            Kind::Filter => object(self.state.network.filter(at as u16).map(|one| one.epoch)),
            Kind::Send => object(self.state.network.sends.get(at).map(|one| one.epoch)),
            _ => true,
        }
    }
}
