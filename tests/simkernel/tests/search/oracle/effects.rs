//! What follows from calls that were carried out; and whether they may have been.

use exopi_abi::capability::{
    AccountRights, Capability, EnvironmentRights, Kind, PageRights, SpaceRights,
};
use exopi_abi::domain::ObjectName;
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::{Access, Call, Error, Operation, Reply};

use super::authority::Caller;
use super::{Account, Binding, Environment, Oracle, Page, Space, Token, Verdict, Words};

/// A call that was made.
pub(crate) struct Made<'a> {
    /// By whom.
    pub(crate) by: ObjectName,
    /// Its number.
    pub(crate) number: u16,
    /// Its arguments.
    pub(crate) words: [u64; 6],
    /// What it replied.
    pub(crate) reply: Reply,
    /// A batch's operations, with their results.
    pub(crate) operations: Vec<Operation>,
    /// The words at an address in the caller's memory, before the call.
    pub(crate) before: &'a dyn Fn(u64) -> Option<Words>,
    /// The same after it.
    pub(crate) after: &'a dyn Fn(u64) -> Option<Words>,
    /// The page that the entry at an address in a space names, after the call: index of the space, address.
    pub(crate) entry: &'a dyn Fn(u16, u64) -> Option<u32>,
    /// Pages that the page array has shown as free before the call, and does not any more.
    pub(crate) fresh: Vec<u32>,
}

/// A page that was allocated and mapped by one operation of a batch and unmapped by a later one. Its owner
/// is not known until somebody uses it.
const NOBODY_KNOWS: u32 = u32::MAX;

/// Pages in a superpage.
const SUPERPAGE: u64 = 512;

impl Oracle {
    /// Judges a call, and takes note of what it did.
    pub(crate) fn call(&mut self, made: &Made<'_>) -> Verdict {
        let Some(facts) = self.environments.get(&made.by).copied() else {
            return Err("somebody who is gone made a call".into());
        };
        let caller = Caller {
            name: made.by,
            facts,
            words: made.before,
        };
        let done = made.reply.status >> 16;
        let whole = made.reply.error().is_none();
        let Some(call) = Call::from_number(made.number) else {
            return if whole { Err("an unknown call was carried out".into()) } else { Ok(()) };
        };
        match call {
            Call::page_alloc => {}
            Call::insert_pte | Call::pte_batch => {
                let pages = made.fresh.iter();
                pages.copied().try_for_each(|page| self.take(page, facts.bound))?;
            }
            _ if made.fresh.is_empty() => {}
            _ => return Err(format!("{call:?} has allocated {:?}", made.fresh)),
        }
        match call {
            Call::pte_batch => self.batch(&caller, made),
            // It has begun, and goes on when somebody has left a core.
            Call::account_destroy | Call::env_destroy
                if made.reply.error() == Some(Error::Busy) =>
            {
                self.domain(&caller, call, made, 0)
            }
            _ if !whole && done == 0 => Ok(()),
            Call::page_alloc => self.allocated(&caller, made, done),
            Call::page_free => {
                let pages = self.may_use(&caller, [made.words[0], made.words[1]], done, PageRights::FREE, false)?;
                self.give_back(&pages)
            }
            Call::page_retire => {
                let pages = self.may_use(&caller, [made.words[0], made.words[1]], done, PageRights::RETIRE, false)?;
                pages.iter().for_each(|page| self.pages[*page as usize].generation += 1);
                Ok(())
            }
            Call::page_break => {
                let pages = self.may_use(&caller, [made.words[0], made.words[1]], done, PageRights::RETIRE, false)?;
                self.broken(&pages, made.reply.value > 0);
                Ok(())
            }
            Call::page_give => self.given(&caller, made, done),
            Call::page_limit => (0..done).try_for_each(|offset| {
                self.is_owned(&caller, (made.words[0] + offset) as u32)
            }),
            Call::page_accept => {
                self.account_mut(facts.bound)?.accepts = made.words[0];
                Ok(())
            }
            Call::insert_pte | Call::remove_pte | Call::protect_pte | Call::insert_superpage => {
                let [space, arguments @ ..] = made.words;
                self.mapping(&caller, call, space, arguments, done, made)
            }
            Call::pte_note => self.space_of(&caller, made.words[0], SpaceRights::MAP).map(drop),
            Call::table_insert | Call::table_remove => self.table(&caller, call, made),
            Call::cap_mint | Call::cap_narrow => self.issued(&caller, call, made),
            _ => self.domain(&caller, call, made, done),
        }
    }

    fn batch(&mut self, caller: &Caller<'_>, made: &Made<'_>) -> Verdict {
        let carried_out = (made.reply.status >> 16) as usize;
        for operation in made.operations.iter().take(carried_out) {
            let done = operation.status >> 16;
            let call = u16::try_from(operation.call).ok().and_then(Call::from_number);
            match call {
                _ if operation.status & 0xffff != 0 && done == 0 => {}
                Some(Call::pte_note) => {
                    self.space_of(caller, made.words[0], SpaceRights::MAP)?;
                }
                Some(
                    call @ (Call::insert_pte
                    | Call::remove_pte
                    | Call::protect_pte
                    | Call::insert_superpage),
                ) => self.mapping(caller, call, made.words[0], operation.arguments, done, made)?,
                _ => return Err(format!("a batch has carried out {operation:?}")),
            }
        }
        Ok(())
    }

    fn account_mut(&mut self, name: ObjectName) -> Verdict<&mut Account> {
        self.accounts.get_mut(&name).ok_or_else(|| format!("{name:?} is no account"))
    }

    /// Pages that were free are the caller's, with nothing in them that it did not put there.
    fn take(&mut self, page: u32, who: ObjectName) -> Verdict {
        let facts = self.pages.get(page as usize).ok_or("no such page was allocated")?;
        if let Some(owner) = facts.owner {
            if !self.is_ending(owner) {
                return Err(format!("page {page} was allocated, and is {owner:?}'s"));
            }
            self.broken(&[page], true);
        }
        let facts = &mut self.pages[page as usize];
        if facts.last != Some(who) {
            facts.contents = Some(Default::default());
        }
        facts.owner = Some(who);
        facts.last = Some(who);
        facts.plain = true;
        facts.generation += 1;
        Ok(())
    }

    fn allocated(&mut self, caller: &Caller<'_>, made: &Made<'_>, done: u64) -> Verdict {
        let exact = made.words[0] >> 56 == 0;
        if exact && made.words[0] != made.reply.value {
            return Err(format!("page {:#x} was allocated instead", made.reply.value));
        }
        // Of several from free lists only the first is told: who looks at the page array knows the others.
        if made.fresh.len() as u64 != done || !made.fresh.contains(&(made.reply.value as u32)) {
            return Err(format!("{done} pages were allocated: {:?}", made.fresh));
        }
        let run = made.reply.value..made.reply.value + done;
        if exact && made.fresh.iter().any(|page| !run.contains(&u64::from(*page))) {
            return Err(format!("{:?} were allocated instead", made.fresh));
        }
        let pages = made.fresh.iter();
        pages.copied().try_for_each(|page| self.take(page, caller.facts.bound))
    }

    fn give_back(&mut self, pages: &[u32]) -> Verdict {
        for page in pages {
            let references = self.bindings_of(*page);
            let plain = self.pages[*page as usize].plain || self.is_let_go(*page);
            if references > 0 || !plain {
                return Err(format!("page {page} was freed with {references} references"));
            }
            self.broken(&[*page], true);
            let facts = &mut self.pages[*page as usize];
            facts.owner = None;
            facts.plain = false;
            facts.generation += 1;
        }
        Ok(())
    }

    fn given(&mut self, caller: &Caller<'_>, made: &Made<'_>, done: u64) -> Verdict {
        let to = ObjectName::from_word(made.words[2]);
        if self.is_ending(to) {
            return Err(format!("pages were given to {to:?}, which is no account"));
        }
        let account = self.account_mut(to)?;
        if account.accepts < done {
            return Err(format!("{to:?} accepts {} and was given {done}", account.accepts));
        }
        account.accepts -= done;
        for offset in 0..done {
            let page = (made.words[0] + offset) as u32;
            self.is_owned(caller, page)?;
            if self.bindings_of(page) > 0 {
                return Err(format!("page {page} was given away while it was mapped"));
            }
            self.broken(&[page], true);
            let facts = &mut self.pages[page as usize];
            facts.owner = Some(to);
            facts.last = Some(to);
            facts.generation += 1;
        }
        Ok(())
    }

    /// How many mappings of a page there are, those not counted in spaces that are coming apart: they may be gone,
    /// and are once the page is let go.
    fn bindings_of(&self, page: u32) -> usize {
        let spaces = self.spaces.values().filter(|space| !space.dying);
        let bindings = spaces.flat_map(|space| space.bindings.values());
        bindings.filter(|binding| binding.covers(page)).count()
    }

    /// Every mapping of these pages is gone, those of the superpages that they are in only if any went.
    fn broken(&mut self, pages: &[u32], superpages: bool) {
        for space in self.spaces.values_mut() {
            space.bindings.retain(|_, binding| {
                let hit = pages.iter().any(|page| binding.covers(*page));
                !hit || (binding.pages == SUPERPAGE && !superpages)
            });
        }
    }

    /// A call that makes, changes or removes mappings, with its arguments after the space.
    fn mapping(
        &mut self,
        caller: &Caller<'_>,
        call: Call,
        space: u64,
        arguments: [u64; 5],
        done: u64,
        made: &Made<'_>,
    ) -> Verdict {
        let name = self.space_of(caller, space, SpaceRights::MAP)?;
        if self.spaces[&name].dying {
            return Err(format!("{name:?} is being destroyed and was changed"));
        }
        let [at, first, second, _, access] = arguments;
        let step = if call == Call::insert_superpage { SUPERPAGE } else { 1 };
        match call {
            Call::insert_pte | Call::insert_superpage => {
                let access = Access::from_bits_truncate(access as u8);
                if !access.contains(Access::READ) || (step > 1 && access.contains(Access::EXECUTE)) {
                    return Err(format!("mapped with {access:?}"));
                }
                let pages = if first >> 56 >= 2 {
                    Self::new_pages(name, first - (2 << 56), at, done, made)
                } else {
                    let rights = PageRights::from_bits_truncate(access.bits().into());
                    self.may_use(caller, [first, second], done * step, rights, true)?
                };
                for (at, page) in (at..).step_by(PAGE_SIZE as usize).zip(&pages) {
                    self.bound(name, at, *page, access, step)?;
                }
                Ok(())
            }
            Call::remove_pte | Call::protect_pte => {
                let access = Access::from_bits_truncate(second as u8);
                let changed = (call == Call::protect_pte).then_some(access);
                self.changed(name, at, done, changed)
            }
            _ => Err(format!("{call:?} is no call on mappings")),
        }
    }

    /// Pages that were allocated on the way, in the order of the addresses.
    fn new_pages(
        space: ObjectName,
        select: u64,
        at: u64,
        done: u64,
        made: &Made<'_>,
    ) -> Vec<u32> {
        let (entry, fresh) = (made.entry, &made.fresh);
        let mut pages = Vec::new();
        for offset in 0..done {
            // Later operations of a batch may have taken it away again.
            let told = if select >> 56 == 0 {
                Some((select + offset) as u32)
            } else {
                entry(space.index, at + offset * PAGE_SIZE)
            };
            pages.push(told.filter(|page| fresh.contains(page)).unwrap_or(NOBODY_KNOWS));
        }
        pages
    }

    fn bound(&mut self, space: ObjectName, at: u64, page: u32, access: Access, step: u64) -> Verdict {
        if page != NOBODY_KNOWS && !self.pages[page as usize].plain && !self.is_let_go(page) {
            return Err(format!("page {page} is no memory and was mapped"));
        }
        let begins = step == 1 || u64::from(page) % SUPERPAGE == 0;
        self.make_way(space, at);
        let facts = self.space_mut(space);
        if begins {
            if facts.covering(at).is_some() || facts.uareas.contains_key(&at) {
                return Err(format!("{at:#x} was mapped twice"));
            }
            let binding = Binding {
                page,
                bound: access,
                now: access,
                pages: step,
            };
            facts.bindings.insert(at, binding);
        }
        Ok(())
    }

    /// What is at a place may be gone: the u-area of an environment whose destruction has begun, and pages of an
    /// account whose has.
    fn make_way(&mut self, space: ObjectName, at: u64) {
        if let Some(begin) = self.spaces[&space].covering(at)
            && self.may_be_gone(&self.spaces[&space].bindings[&begin])
        {
            self.space_mut(space).bindings.remove(&begin);
        }
        let mut living = self.environments.values().filter(|facts| !facts.dying);
        if !living.any(|facts| facts.space == space && facts.at == at) {
            self.space_mut(space).uareas.remove(&at);
        }
    }

    /// `done` pages of address space from `at` on have other rights, or no mapping any more.
    fn changed(
        &mut self,
        space: ObjectName,
        at: u64,
        done: u64,
        access: Option<Access>,
    ) -> Verdict {
        let facts = self.space_mut(space);
        for page in 0..done {
            let at = at + page * PAGE_SIZE;
            let Some(begin) = facts.covering(at) else {
                // A superpage went with its first page.
                if access.is_none() && page > 0 {
                    continue;
                }
                return Err(format!("{at:#x} is not mapped and was changed"));
            };
            match (facts.bindings.get_mut(&begin), access) {
                (Some(binding), Some(access)) if binding.bound.contains(access) => {
                    binding.now = access;
                }
                (Some(binding), Some(access)) => {
                    return Err(format!("{binding:?} at {at:#x} was given {access:?}"));
                }
                _ => {
                    facts.bindings.remove(&begin);
                }
            }
        }
        Ok(())
    }

    fn table(&mut self, caller: &Caller<'_>, call: Call, made: &Made<'_>) -> Verdict {
        let space = self.space_of(caller, made.words[0], SpaceRights::MAP)?;
        let owner = self.spaces[&space].owner;
        if call == Call::table_remove {
            let table = made.reply.value as u32;
            let Some(links) = self.space_mut(space).tables.remove(&table) else {
                return Err(format!("page {table} was no table of {space:?}"));
            };
            self.back(table);
            self.back(links);
            return Ok(());
        }
        let [table, links] = [made.words[3], made.words[4]].map(|page| page as u32);
        self.retyped(table, owner)?;
        self.retyped(links, owner)?;
        self.space_mut(space).tables.insert(table, links);
        Ok(())
    }

    /// A plain page of `owner` to which nothing refers has become something else.
    fn retyped(&mut self, page: u32, owner: ObjectName) -> Verdict {
        let references = self.bindings_of(page);
        let let_go = self.is_let_go(page);
        let facts = self.pages.get_mut(page as usize).ok_or("no such page changed its type")?;
        if facts.owner != Some(owner) || references > 0 || !(facts.plain || let_go) {
            return Err(format!(
                "page {page} of {owner:?} changed its type with {references} references: {facts:?}"
            ));
        }
        facts.plain = false;
        facts.contents = None;
        facts.generation += 1;
        self.broken(&[page], true);
        Ok(())
    }

    /// A page is memory again. Capabilities for it have ended when that began, and there were none in between.
    fn back(&mut self, page: u32) {
        let facts = &mut self.pages[page as usize];
        facts.plain = facts.owner.is_some();
        facts.contents = None;
    }

    /// Whether a page that was a table or a u-area may be memory by now, since its space is coming apart,
    /// or its environment.
    fn is_let_go(&self, page: u32) -> bool {
        let table = self.spaces.values().any(|space| !space.dying && space.has(page));
        let living = self.environments.values().filter(|facts| !facts.dying);
        let uarea = living.into_iter().any(|facts| {
            let space = self.spaces.get(&facts.space);
            facts.uarea == page && space.is_some_and(|space| !space.dying)
        });
        !table && !uarea
    }

    fn issued(&mut self, caller: &Caller<'_>, call: Call, made: &Made<'_>) -> Verdict {
        let into = made.words[4];
        let words = (made.after)(into).ok_or("a capability was issued into nowhere")?;
        let issued = Capability::from_words(words).map_err(|_| "what was issued is none")?;
        let body = issued.body();
        let (token, index, count) = if call == Call::cap_mint {
            (self.minted(caller, made)?, made.words[1], made.words[2])
        } else {
            let from = self.to_narrow(caller, made.words[0])?;
            (from.part(made)?, made.words[1], made.words[2])
        };
        let told = (u64::from(body.index()), u64::from(body.count()), body.kind());
        if told != (index, count, token.kind) || body.rights().bits() & !token.rights != 0 {
            return Err(format!("{issued:?} was issued, and was to be {token:?}"));
        }
        self.tokens.insert(words, token);
        Ok(())
    }

    fn minted(&self, caller: &Caller<'_>, made: &Made<'_>) -> Verdict<Token> {
        let [code, index, count, rights, ..] = made.words;
        let kind = Kind::from_code(code as u8).ok_or("a capability of no kind was minted")?;
        let owned = match kind {
            Kind::Page => {
                (index..index + count).try_for_each(|page| self.is_owned(caller, page as u32))?;
                let pages = index..index + count;
                pages.map(|page| self.pages[page as usize].generation).collect()
            }
            _ => vec![self.owned_at(caller, kind, index)?.epoch.bits()],
        };
        Ok(Token {
            kind,
            index: index as u32,
            count: count as u32,
            rights: rights as u16 & kind.rights().bits(),
            holders: Vec::new(),
            until: None,
            generations: owned,
        })
    }

    /// The living object of the caller's account at an index.
    fn owned_at(&self, caller: &Caller<'_>, kind: Kind, index: u64) -> Verdict<ObjectName> {
        let who = caller.facts.bound;
        let at = |name: &&ObjectName| u64::from(name.index) == index;
        let found = match kind {
            Kind::Space => {
                let owned = |name: &&ObjectName| self.spaces[name].owner == who;
                self.spaces.keys().filter(at).find(owned)
            }
            Kind::Environment => {
                let owned = |name: &&ObjectName| self.environments[name].account == who;
                self.environments.keys().filter(at).find(owned)
            }
            Kind::Account => {
                let owned = |name: &&ObjectName| self.accounts[name].parent == Some(who);
                self.accounts.keys().filter(at).find(owned)
            }
            _ => None,
        };
        let name = found.copied();
        name.ok_or_else(|| format!("{kind:?} {index} was minted by {who:?}, whose it is not"))
    }

    /// Calls on accounts, spaces and environments.
    fn domain(&mut self, caller: &Caller<'_>, call: Call, made: &Made<'_>, done: u64) -> Verdict {
        use EnvironmentRights as Rights;
        let word = made.words[0];
        let new = ObjectName::from_word(made.reply.value);
        match call {
            Call::null | Call::resume | Call::upcall_deliver => Ok(()),
            Call::account_create => {
                let account = Account {
                    parent: Some(caller.facts.bound),
                    dying: false,
                    accepts: 0,
                };
                self.succeeds(Kind::Account, new)?;
                self.accounts.insert(new, account);
                Ok(())
            }
            Call::account_bind => {
                let to = self.account_of(caller, word, AccountRights::DRAW)?;
                if self.is_ending(to) {
                    return Err(format!("{to:?} is ending and was bound"));
                }
                self.environment_mut(made.by).bound = to;
                Ok(())
            }
            Call::account_destroy => {
                if word == 0 {
                    return Err("somebody destroyed its own account".into());
                }
                let account = self.account_of(caller, word, AccountRights::DESTROY)?;
                self.account_ends(account, done > 0);
                Ok(())
            }
            Call::space_create => {
                self.succeeds(Kind::Space, new)?;
                self.is_owned(caller, word as u32)?;
                self.retyped(word as u32, caller.facts.bound)?;
                self.spaces.insert(new, Space::new(caller.facts.bound, word as u32));
                Ok(())
            }
            Call::space_destroy => {
                // For who owns it: no right of a capability says so.
                if word == 0 || word >> 56 == 0 {
                    return Err("a space was destroyed by a capability, or under its caller".into());
                }
                let space = self.space_of(caller, word, SpaceRights::empty())?;
                self.space_ends(space, done > 0);
                Ok(())
            }
            Call::env_create => self.environment_made(caller, made, new),
            Call::env_run | Call::env_stop => {
                self.environment_of(caller, word, Rights::SCHEDULE).map(drop)
            }
            Call::env_yield if word == 0 => Ok(()),
            Call::env_yield => self.environment_of(caller, word, Rights::SCHEDULE).map(drop),
            Call::env_keep => self.environment_of(caller, word, Rights::KEEP).map(drop),
            Call::env_debug | Call::env_write => {
                self.environment_of(caller, word, Rights::WRITE_STATE).map(drop)
            }
            Call::env_read => self.environment_of(caller, word, Rights::READ_STATE).map(drop),
            Call::env_destroy => {
                let environment = self.environment_of(caller, word, Rights::DESTROY)?;
                // Its own end nobody is told of, and its space's may take longer.
                let own = environment == made.by;
                self.environment_ends(environment, done > 0 || own, done > 0 && !own);
                Ok(())
            }
            Call::console_give => {
                self.has_console(made.by)?;
                let to = self.environment_of(caller, word, Rights::WRITE_STATE)?;
                self.console = Some(to);
                Ok(())
            }
            Call::console_write | Call::console_read => self.has_console(made.by),
            Call::board_exit | Call::board_reset if self.board == Some(made.by) => Ok(()),
            _ => Err(format!("{call:?} was carried out for {:?}", made.by)),
        }
    }

    fn environment_mut(&mut self, name: ObjectName) -> &mut Environment {
        self.environments.get_mut(&name).expect("an environment that is known")
    }

    fn has_console(&self, who: ObjectName) -> Verdict {
        // When its owner dies it is the first environment's again.
        let owner = self.console.filter(|owner| {
            self.environments.get(owner).is_some_and(|facts| !facts.dying)
        });
        if owner == Some(who) || (owner.is_none() && self.board == Some(who)) {
            Ok(())
        } else {
            Err(format!("{who:?} used the console of {owner:?}"))
        }
    }

    fn environment_made(&mut self, caller: &Caller<'_>, made: &Made<'_>, new: ObjectName) -> Verdict {
        let space = self.space_of(caller, made.words[0], SpaceRights::JOIN)?;
        self.succeeds(Kind::Environment, new)?;
        let (page, at) = (made.words[1] as u32, made.words[2]);
        self.is_owned(caller, page)?;
        self.retyped(page, caller.facts.bound)?;
        self.make_way(space, at);
        let facts = self.space_mut(space);
        if facts.covering(at).is_some() || facts.uareas.insert(at, page).is_some() || facts.dying {
            return Err(format!("{at:#x} was mapped and became a u-area's"));
        }
        let environment = Environment {
            account: caller.facts.bound,
            bound: caller.facts.bound,
            space,
            uarea: page,
            at,
            dying: false,
        };
        self.environments.insert(new, environment);
        Ok(())
    }

    /// A new object has the place of one that is gone by now.
    fn succeeds(&mut self, kind: Kind, new: ObjectName) -> Verdict {
        let at = |name: &&ObjectName| name.index == new.index;
        let (old, dying) = match kind {
            Kind::Account => {
                let old = self.accounts.keys().find(at).copied();
                (old, old.is_none_or(|old| self.accounts[&old].dying))
            }
            Kind::Space => {
                let old = self.spaces.keys().find(at).copied();
                (old, old.is_none_or(|old| self.spaces[&old].dying))
            }
            _ => {
                let old = self.environments.keys().find(at).copied();
                (old, old.is_none_or(|old| self.environments[&old].dying))
            }
        };
        let Some(old) = old else {
            return Ok(());
        };
        if !dying || old.epoch >= new.epoch {
            return Err(format!("{new:?} has the place of {old:?}"));
        }
        match kind {
            Kind::Account => self.account_ends(old, true),
            Kind::Space => self.space_ends(old, true),
            _ => self.environment_ends(old, true, false),
        }
        Ok(())
    }

    /// An environment ends, or has ended; and its space, if it was the last one there.
    fn environment_ends(&mut self, name: ObjectName, over: bool, space_over: bool) {
        let Some(facts) = self.environments.get_mut(&name) else {
            return;
        };
        facts.dying = true;
        let Environment { space, uarea, at, .. } = *facts;
        let others = self.environments.values().filter(|other| other.space == space && !other.dying);
        if others.count() == 0 {
            self.space_ends(space, space_over);
        }
        if let Some(space) = self.spaces.get_mut(&space).filter(|_| over) {
            space.uareas.remove(&at);
        }
        if over {
            self.environments.remove(&name);
            self.back(uarea);
        }
    }

    fn space_ends(&mut self, name: ObjectName, over: bool) {
        let Some(space) = self.spaces.get_mut(&name) else {
            return;
        };
        space.dying = true;
        if over {
            let tables = space.tables.iter().flat_map(|(table, links)| [*table, *links]);
            let pages: Vec<u32> = tables.chain([space.root]).collect();
            self.spaces.remove(&name);
            pages.into_iter().for_each(|page| self.back(page));
        }
    }

    fn account_ends(&mut self, name: ObjectName, over: bool) {
        let children = self.accounts.iter().filter(|(_, facts)| facts.parent == Some(name));
        let children: Vec<ObjectName> = children.map(|(child, _)| *child).collect();
        children.into_iter().for_each(|child| self.account_ends(child, over));
        let spaces = self.spaces.iter().filter(|(_, facts)| facts.owner == name);
        let spaces: Vec<ObjectName> = spaces.map(|(name, _)| *name).collect();
        let ending = self.environments.iter().filter(|(_, facts)| {
            facts.account == name || spaces.contains(&facts.space)
        });
        let ending: Vec<ObjectName> = ending.map(|(name, _)| *name).collect();
        ending.into_iter().for_each(|environment| self.environment_ends(environment, over, false));
        spaces.into_iter().for_each(|space| self.space_ends(space, over));
        if !over {
            if let Some(facts) = self.accounts.get_mut(&name) {
                facts.dying = true;
            }
            return;
        }
        self.accounts.remove(&name);
        let owned = |(_, page): &(usize, &Page)| page.owner == Some(name);
        let pages = self.pages.iter().enumerate().filter(owned);
        let pages: Vec<u32> = pages.map(|(page, _)| page as u32).collect();
        self.broken(&pages, true);
        for page in pages {
            let facts = &mut self.pages[page as usize];
            facts.owner = None;
            facts.plain = false;
            facts.generation += 1;
        }
    }
}

impl Binding {
    pub(super) fn covers(&self, page: u32) -> bool {
        u64::from(page.wrapping_sub(self.page)) < self.pages
    }
}

impl Space {
    /// Whether a page is its root, one of its tables or one's links.
    pub(super) fn has(&self, page: u32) -> bool {
        let tables = &self.tables;
        self.root == page || tables.contains_key(&page) || tables.values().any(|links| *links == page)
    }

    /// Where the mapping begins that covers `at`.
    pub(super) fn covering(&self, at: u64) -> Option<u64> {
        let (begin, binding) = self.bindings.range(..=at).next_back()?;
        (at - begin < binding.pages * PAGE_SIZE).then_some(*begin)
    }
}

impl Token {
    /// What narrowing by a call leaves.
    fn part(&self, made: &Made<'_>) -> Verdict<Token> {
        let [_, index, count, rights, ..] = made.words;
        let offset = index.wrapping_sub(self.index.into());
        let end = offset.checked_add(count).filter(|end| *end <= self.count.into());
        let end = end.ok_or_else(|| format!("{self:?} was narrowed to {index}, {count}"))?;
        let generations = match self.kind {
            Kind::Page => self.generations[offset as usize..end as usize].to_vec(),
            _ => self.generations.clone(),
        };
        Ok(Token {
            index: index as u32,
            count: count as u32,
            rights: self.rights & rights as u16,
            generations,
            ..self.clone()
        })
    }
}
