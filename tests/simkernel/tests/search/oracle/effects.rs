//! What follows from calls that were carried out; and whether they may have been.

use exopi_abi::capability::{PageRights, SpaceRights};
use exopi_abi::domain::ObjectName;
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::{Access, Call, Error, Operation, Reply};

use super::authority::Caller;
use super::{Account, Binding, Oracle, Space, Verdict, Words};

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
    /// Who has the core right after the call, before whoever is to leave it has.
    pub(crate) then: Option<ObjectName>,
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
        // Who makes calls waits for no answer.
        self.calls.remove(&made.by);
        let done = made.reply.status >> 16;
        let whole = made.reply.error().is_none();
        let Some(call) = Call::from_number(made.number) else {
            return if whole {
                Err("an unknown call was carried out".into())
            } else {
                Ok(())
            };
        };
        match call {
            Call::page_alloc => {}
            Call::insert_pte | Call::pte_batch => {
                let pages = made.fresh.iter();
                pages
                    .copied()
                    .try_for_each(|page| self.take(page, facts.bound))?;
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
                let pages = self.may_use(
                    &caller,
                    [made.words[0], made.words[1]],
                    done,
                    PageRights::FREE,
                    false,
                )?;
                self.give_back(&pages)
            }
            Call::page_retire => {
                let pages = self.may_use(
                    &caller,
                    [made.words[0], made.words[1]],
                    done,
                    PageRights::RETIRE,
                    false,
                )?;
                pages
                    .iter()
                    .for_each(|page| self.pages[*page as usize].generation += 1);
                Ok(())
            }
            Call::page_break => {
                let pages = self.may_use(
                    &caller,
                    [made.words[0], made.words[1]],
                    done,
                    PageRights::RETIRE,
                    false,
                )?;
                self.broken(&pages, made.reply.value > 0);
                Ok(())
            }
            Call::page_give => self.given(&caller, made, done),
            Call::page_limit => (0..done)
                .try_for_each(|offset| self.is_owned(&caller, (made.words[0] + offset) as u32)),
            Call::page_accept => {
                self.account_mut(facts.bound)?.accepts = made.words[0];
                Ok(())
            }
            Call::insert_pte | Call::remove_pte | Call::protect_pte | Call::insert_superpage => {
                let [space, arguments @ ..] = made.words;
                self.mapping(&caller, call, space, arguments, done, made)
            }
            Call::pte_note => self
                .space_of(&caller, made.words[0], SpaceRights::MAP)
                .map(drop),
            Call::table_insert | Call::table_remove => self.table(&caller, call, made),
            Call::cap_mint | Call::cap_narrow => self.issued(&caller, call, made),
            _ => self.domain(&caller, call, made, done),
        }
    }

    fn batch(&mut self, caller: &Caller<'_>, made: &Made<'_>) -> Verdict {
        let carried_out = (made.reply.status >> 16) as usize;
        for operation in made.operations.iter().take(carried_out) {
            let done = operation.status >> 16;
            let call = u16::try_from(operation.call)
                .ok()
                .and_then(Call::from_number);
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
        self.accounts
            .get_mut(&name)
            .ok_or_else(|| format!("{name:?} is no account"))
    }

    /// Pages that were free are the caller's, with nothing in them that it did not put there.
    fn take(&mut self, page: u32, who: ObjectName) -> Verdict {
        let facts = self
            .pages
            .get(page as usize)
            .ok_or("no such page was allocated")?;
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
            return Err(format!(
                "page {:#x} was allocated instead",
                made.reply.value
            ));
        }
        // Of several from free lists only the first is told: who looks at the page array knows the others.
        if made.fresh.len() as u64 != done || !made.fresh.contains(&(made.reply.value as u32)) {
            return Err(format!("{done} pages were allocated: {:?}", made.fresh));
        }
        let run = made.reply.value..made.reply.value + done;
        if exact
            && made
                .fresh
                .iter()
                .any(|page| !run.contains(&u64::from(*page)))
        {
            return Err(format!("{:?} were allocated instead", made.fresh));
        }
        let pages = made.fresh.iter();
        pages
            .copied()
            .try_for_each(|page| self.take(page, caller.facts.bound))
    }

    fn give_back(&mut self, pages: &[u32]) -> Verdict {
        for page in pages {
            let references = self.bindings_of(*page);
            let plain = self.pages[*page as usize].plain || self.is_let_go(*page);
            if references > 0 || !plain {
                return Err(format!(
                    "page {page} was freed with {references} references"
                ));
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
            return Err(format!(
                "{to:?} accepts {} and was given {done}",
                account.accepts
            ));
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
    pub(super) fn broken(&mut self, pages: &[u32], superpages: bool) {
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
        let step = if call == Call::insert_superpage {
            SUPERPAGE
        } else {
            1
        };
        match call {
            Call::insert_pte | Call::insert_superpage => {
                let access = Access::from_bits_truncate(access as u8);
                if !access.contains(Access::READ) || (step > 1 && access.contains(Access::EXECUTE))
                {
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
    fn new_pages(space: ObjectName, select: u64, at: u64, done: u64, made: &Made<'_>) -> Vec<u32> {
        let (entry, fresh) = (made.entry, &made.fresh);
        let mut pages = Vec::new();
        for offset in 0..done {
            // Later operations of a batch may have taken it away again.
            let told = if select >> 56 == 0 {
                Some((select + offset) as u32)
            } else {
                entry(space.index, at + offset * PAGE_SIZE)
            };
            pages.push(
                told.filter(|page| fresh.contains(page))
                    .unwrap_or(NOBODY_KNOWS),
            );
        }
        pages
    }

    fn bound(
        &mut self,
        space: ObjectName,
        at: u64,
        page: u32,
        access: Access,
        step: u64,
    ) -> Verdict {
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
    pub(super) fn make_way(&mut self, space: ObjectName, at: u64) {
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
    pub(super) fn retyped(&mut self, page: u32, owner: ObjectName) -> Verdict {
        let references = self.bindings_of(page);
        let let_go = self.is_let_go(page);
        let facts = self
            .pages
            .get_mut(page as usize)
            .ok_or("no such page changed its type")?;
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
    pub(super) fn back(&mut self, page: u32) {
        let facts = &mut self.pages[page as usize];
        facts.plain = facts.owner.is_some();
        facts.contents = None;
    }

    /// Whether a page that was a table or a u-area may be memory by now, since its space is coming apart,
    /// or its environment.
    fn is_let_go(&self, page: u32) -> bool {
        let table = self
            .spaces
            .values()
            .any(|space| !space.dying && space.has(page));
        let living = self.environments.values().filter(|facts| !facts.dying);
        let uarea = living.into_iter().any(|facts| {
            let space = self.spaces.get(&facts.space);
            facts.uarea == page && space.is_some_and(|space| !space.dying)
        });
        !table && !uarea
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
        self.root == page
            || tables.contains_key(&page)
            || tables.values().any(|links| *links == page)
    }

    /// Where the mapping begins that covers `at`.
    pub(super) fn covering(&self, at: u64) -> Option<u64> {
        let (begin, binding) = self.bindings.range(..=at).next_back()?;
        (at - begin < binding.pages * PAGE_SIZE).then_some(*begin)
    }
}
