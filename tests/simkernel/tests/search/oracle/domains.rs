//! What follows from calls on accounts, spaces and environments.
//!
//! What is being destroyed may be gone at any time after that has begun, since the kernel goes on by itself: until
//! somebody is told that it is over, or something else has its place, it may be there or not.

use exopi_abi::Call;
use exopi_abi::capability::{AccountRights, EnvironmentRights, Kind, SpaceRights};
use exopi_abi::domain::ObjectName;

use super::authority::Caller;
use super::{Account, Environment, Made, Oracle, Page, Space, Verdict};

impl Oracle {
    /// Calls on accounts, spaces and environments.
    pub(super) fn domain(
        &mut self,
        caller: &Caller<'_>,
        call: Call,
        made: &Made<'_>,
        done: u64,
    ) -> Verdict {
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
            Call::account_allow => {
                let account = self.account_of(caller, word, AccountRights::DESTROY)?;
                let facts = self.accounts[&account];
                if word == 0 || facts.parent != Some(caller.facts.bound) || facts.dying {
                    return Err(format!(
                        "{account:?} was allowed something by {:?}",
                        made.by
                    ));
                }
                Ok(())
            }
            Call::slice_alloc | Call::slice_bind | Call::slice_move | Call::slice_free => {
                self.time(caller, call, made)
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
                self.spaces
                    .insert(new, Space::new(caller.facts.bound, word as u32));
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
            Call::env_run | Call::env_stop => self
                .environment_of(caller, word, Rights::SCHEDULE)
                .map(drop),
            Call::env_yield if word == 0 => Ok(()),
            Call::env_yield => self
                .environment_of(caller, word, Rights::SCHEDULE)
                .map(drop),
            Call::gate_bind => {
                let to = self.environment_of(caller, made.words[1], Rights::empty())?;
                let rights = self.rights_of(caller, made.words[1])?;
                if (rights & (Rights::CALL | Rights::SCHEDULE)).is_empty() {
                    return Err(format!("a gate to {to:?} was bound by no right"));
                }
                self.gates.insert((made.by, word), (to, rights));
                Ok(())
            }
            Call::gate_unbind => match self.gates.remove(&(made.by, word)) {
                Some(_) => Ok(()),
                None => Err("a gate was unbound that nobody had bound".into()),
            },
            Call::gate_yield => self.through(made.by, word, Rights::SCHEDULE).map(drop),
            Call::pct_call => {
                let to = self.through(made.by, word, Rights::CALL)?;
                self.entered(made, to)?;
                self.calls.insert(made.by, to);
                Ok(())
            }
            Call::pct_send => {
                let to = self.through(made.by, word, Rights::CALL)?;
                self.entered(made, to)
            }
            Call::pct_reply => self.answered(made),
            Call::env_keep => self.environment_of(caller, word, Rights::KEEP).map(drop),
            Call::env_debug | Call::env_write => self
                .environment_of(caller, word, Rights::WRITE_STATE)
                .map(drop),
            Call::env_read => self
                .environment_of(caller, word, Rights::READ_STATE)
                .map(drop),
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
            // Nobody is asked for anything here.
            Call::revoke_setup => {
                let [first, count, order, ..] = made.words;
                let order = Some(order as u32).filter(|order| *order != 0);
                let vector = (0..count as u32).map(|n| first as u32 + n);
                self.are_homes(caller, vector.chain(order))
            }
            Call::msgring_set => self.ring_set(caller, made),
            Call::msgring_clear => {
                self.rings.remove(&made.by);
                Ok(())
            }
            Call::msgring_send => {
                let to = self.through(made.by, word, Rights::CALL)?;
                let there = self.environments.contains_key(&to) && self.rings.contains(&to);
                if there && made.words[2] <= 240 {
                    Ok(())
                } else {
                    Err(format!(
                        "{to:?}, which has no ring, has a message of {:?}",
                        made.by
                    ))
                }
            }
            Call::console_write | Call::console_read => self.has_console(made.by),
            Call::board_exit | Call::board_reset if self.board == Some(made.by) => Ok(()),
            _ => Err(format!("{call:?} was carried out for {:?}", made.by)),
        }
    }

    /// Whether pages are those of the account that the caller is charged to.
    fn are_homes(&self, caller: &Caller<'_>, mut pages: impl Iterator<Item = u32>) -> Verdict {
        let home = Caller {
            facts: Environment {
                bound: caller.facts.account,
                ..caller.facts
            },
            name: caller.name,
            words: caller.words,
        };
        pages.try_for_each(|page| self.is_owned(&home, page))
    }

    /// A ring was set up: from now on the kernel writes in its pages, which are the caller's.
    fn ring_set(&mut self, caller: &Caller<'_>, made: &Made<'_>) -> Verdict {
        let [first, count, ..] = made.words;
        let pages = (0..count as u32).map(|n| first as u32 + n);
        self.are_homes(caller, pages.clone())?;
        for page in pages {
            self.pages[page as usize].contents = None;
        }
        self.rings.insert(made.by);
        Ok(())
    }

    /// Whom a gate leads to that was bound with this right.
    fn through(&self, by: ObjectName, gate: u64, right: EnvironmentRights) -> Verdict<ObjectName> {
        match self.gates.get(&(by, gate)) {
            Some((to, rights)) if rights.contains(right) => Ok(*to),
            other => Err(format!("{by:?} has used gate {gate}, which is {other:?}")),
        }
    }

    /// A message has entered `to`: it must be whom the core has gone to, and there.
    fn entered(&self, made: &Made<'_>, to: ObjectName) -> Verdict {
        let there = self.environments.contains_key(&to);
        if there && made.then == Some(to) {
            Ok(())
        } else {
            Err(format!("a call to {to:?} has entered {:?}", made.then))
        }
    }

    /// An answer: whoever has the core by it must have waited for this very environment.
    fn answered(&mut self, made: &Made<'_>) -> Verdict {
        match made.then {
            Some(to) if self.calls.get(&to) == Some(&made.by) => {
                self.calls.remove(&to);
                Ok(())
            }
            Some(to) => Err(format!(
                "{to:?} has an answer of {:?}, whom it has not called",
                made.by
            )),
            None => Ok(()),
        }
    }

    fn environment_mut(&mut self, name: ObjectName) -> &mut Environment {
        self.environments
            .get_mut(&name)
            .expect("an environment that is known")
    }

    fn has_console(&self, who: ObjectName) -> Verdict {
        // When its owner dies it is the first environment's again.
        let owner = self.console.filter(|owner| {
            self.environments
                .get(owner)
                .is_some_and(|facts| !facts.dying)
        });
        if owner == Some(who) || (owner.is_none() && self.board == Some(who)) {
            Ok(())
        } else {
            Err(format!("{who:?} used the console of {owner:?}"))
        }
    }

    fn environment_made(
        &mut self,
        caller: &Caller<'_>,
        made: &Made<'_>,
        new: ObjectName,
    ) -> Verdict {
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
        let Environment {
            space, uarea, at, ..
        } = *facts;
        let others = self
            .environments
            .values()
            .filter(|other| other.space == space && !other.dying);
        if others.count() == 0 {
            self.space_ends(space, space_over);
        }
        if let Some(space) = self.spaces.get_mut(&space).filter(|_| over) {
            space.uareas.remove(&at);
        }
        if over {
            self.environments.remove(&name);
            self.slices.retain(|_, slice| slice.environment != name);
            self.back(uarea);
        }
    }

    fn space_ends(&mut self, name: ObjectName, over: bool) {
        let Some(space) = self.spaces.get_mut(&name) else {
            return;
        };
        space.dying = true;
        if over {
            let tables = space
                .tables
                .iter()
                .flat_map(|(table, links)| [*table, *links]);
            let pages: Vec<u32> = tables.chain([space.root]).collect();
            self.spaces.remove(&name);
            pages.into_iter().for_each(|page| self.back(page));
        }
    }

    fn account_ends(&mut self, name: ObjectName, over: bool) {
        let children = self
            .accounts
            .iter()
            .filter(|(_, facts)| facts.parent == Some(name));
        let children: Vec<ObjectName> = children.map(|(child, _)| *child).collect();
        children
            .into_iter()
            .for_each(|child| self.account_ends(child, over));
        let spaces = self.spaces.iter().filter(|(_, facts)| facts.owner == name);
        let spaces: Vec<ObjectName> = spaces.map(|(name, _)| *name).collect();
        let ending = self
            .environments
            .iter()
            .filter(|(_, facts)| facts.account == name || spaces.contains(&facts.space));
        let ending: Vec<ObjectName> = ending.map(|(name, _)| *name).collect();
        ending
            .into_iter()
            .for_each(|environment| self.environment_ends(environment, over, false));
        spaces
            .into_iter()
            .for_each(|space| self.space_ends(space, over));
        if !over {
            if let Some(facts) = self.accounts.get_mut(&name) {
                facts.dying = true;
            }
            return;
        }
        self.accounts.remove(&name);
        self.slices.retain(|_, slice| slice.account != name);
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
