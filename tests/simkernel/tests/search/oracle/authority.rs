//! Whether the caller may do what a call names.

use exopi_abi::capability::{AccountRights, EnvironmentRights, Kind, PageRights, SpaceRights};
use exopi_abi::domain::ObjectName;

use super::{Environment, Oracle, Token, Verdict, Words};

/// A call's caller, and what it presents.
pub(crate) struct Caller<'a> {
    pub(crate) name: ObjectName,
    pub(crate) facts: Environment,
    /// The words at an address in its memory, before the call.
    pub(crate) words: &'a dyn Fn(u64) -> Option<Words>,
}

const FORM: u32 = 56;
const FORMLESS: u64 = (1 << FORM) - 1;

impl Oracle {
    /// What a caller presents at `address`, as far as it may present it.
    fn presented(&self, caller: &Caller<'_>, address: u64) -> Verdict<&Token> {
        let words = (caller.words)(address).ok_or("a capability that cannot be read was used")?;
        let token = self.tokens.get(&words);
        let token =
            token.ok_or_else(|| format!("a capability nobody made was used: {words:x?}"))?;
        let me = caller.name.identity();
        if token.holders.iter().any(|holder| *holder != me) {
            return Err(format!("{me:?} used what only {:?} may", token.holders));
        }
        match token.until {
            Some(until) if self.seconds >= u64::from(until) => {
                Err(format!("{token:?} was used after its end"))
            }
            _ => Ok(token),
        }
    }

    /// The same for what must be of a kind, with rights.
    fn token(&self, caller: &Caller<'_>, address: u64, kind: Kind, rights: u16) -> Verdict<&Token> {
        let token = self.presented(caller, address)?;
        if token.kind != kind || token.rights & rights != rights {
            return Err(format!(
                "{token:?} was used as {kind:?} with rights {rights:#x}"
            ));
        }
        Ok(token)
    }

    /// What may be narrowed: the token, whatever it is for.
    pub(super) fn to_narrow(&self, caller: &Caller<'_>, address: u64) -> Verdict<Token> {
        self.presented(caller, address).cloned()
    }

    /// The pages from the one in the first word on, by the right in both words: whether each of `done` may be
    /// used with `rights`.
    pub(super) fn may_use(
        &self,
        caller: &Caller<'_>,
        words: [u64; 2],
        done: u64,
        rights: PageRights,
        binds: bool,
    ) -> Verdict<Vec<u32>> {
        let first = words[0] & u64::from(u32::MAX);
        let pages = (first..first + done).map(|page| page as u32);
        let pages: Vec<u32> = pages.collect();
        if words[0] >> FORM == 0 {
            for page in &pages {
                self.is_owned(caller, *page)?;
            }
            return Ok(pages);
        }
        let token = self.token(caller, words[1], Kind::Page, rights.bits())?;
        if binds && token.until.is_some() {
            return Err(format!("{token:?} was bound for ever"));
        }
        for page in &pages {
            let facts = &self.pages[*page as usize];
            let at = page.wrapping_sub(token.index) as usize;
            if token.generations.get(at) != Some(&facts.generation) || facts.owner.is_none() {
                return Err(format!("{token:?} was used for page {page}, now {facts:?}"));
            }
        }
        Ok(pages)
    }

    /// Whether `page` belongs to the account that the caller draws on.
    pub(super) fn is_owned(&self, caller: &Caller<'_>, page: u32) -> Verdict {
        let facts = self
            .pages
            .get(page as usize)
            .ok_or("no such page was used")?;
        if facts.owner == Some(caller.facts.bound) {
            Ok(())
        } else {
            let who = caller.facts.bound;
            Err(format!(
                "page {page} was used as {who:?}'s, and is {facts:?}"
            ))
        }
    }

    /// The space that a word means, of which the caller may do what `rights` say.
    pub(super) fn space_of(
        &self,
        caller: &Caller<'_>,
        word: u64,
        rights: SpaceRights,
    ) -> Verdict<ObjectName> {
        let own = caller.facts.space;
        let owned = |name: &ObjectName| self.spaces[name].owner == caller.facts.bound;
        let known = self.spaces.keys();
        self.object(caller, word, own, known, owned, Kind::Space, rights.bits())
    }

    /// The same for an environment.
    pub(super) fn environment_of(
        &self,
        caller: &Caller<'_>,
        word: u64,
        rights: EnvironmentRights,
    ) -> Verdict<ObjectName> {
        let owned = |name: &ObjectName| self.environments[name].account == caller.facts.bound;
        let known = self.environments.keys();
        let kind = Kind::Environment;
        self.object(caller, word, caller.name, known, owned, kind, rights.bits())
    }

    /// What rights to an environment a word gives, if it may be used.
    pub(super) fn rights_of(&self, caller: &Caller<'_>, word: u64) -> Verdict<EnvironmentRights> {
        if word == 0 || word >> FORM != 0 {
            return Ok(EnvironmentRights::all());
        }
        let token = self.token(caller, word, Kind::Environment, 0)?;
        if token.until.is_some() {
            return Err(format!("{token:?} was bound for ever"));
        }
        Ok(EnvironmentRights::from_bits_truncate(token.rights))
    }

    /// The same for an account.
    pub(super) fn account_of(
        &self,
        caller: &Caller<'_>,
        word: u64,
        rights: AccountRights,
    ) -> Verdict<ObjectName> {
        let own = caller.facts.account;
        let owned = |name: &ObjectName| self.accounts[name].parent == Some(caller.facts.bound);
        let known = self.accounts.keys();
        self.object(
            caller,
            word,
            own,
            known,
            owned,
            Kind::Account,
            rights.bits(),
        )
    }

    #[expect(clippy::too_many_arguments, reason = "what the three kinds differ in")]
    fn object<'a>(
        &self,
        caller: &Caller<'_>,
        word: u64,
        own: ObjectName,
        mut known: impl Iterator<Item = &'a ObjectName>,
        owned: impl Fn(&ObjectName) -> bool,
        kind: Kind,
        rights: u16,
    ) -> Verdict<ObjectName> {
        if word == 0 {
            return Ok(own);
        }
        if word >> FORM != 0 {
            // An epoch travels with its lowest 40 bits; no sequence gives out as many.
            let told = |name: &&ObjectName| (name.word() ^ word) & FORMLESS == 0;
            let name = known.find(told).copied();
            let name = name.ok_or_else(|| format!("{kind:?} {word:#x} is none"))?;
            return if owned(&name) {
                Ok(name)
            } else {
                Err(format!("{kind:?} {name:?} was used as owned"))
            };
        }
        let token = self.token(caller, word, kind, rights)?;
        let is_meant = |name: &&ObjectName| {
            u32::from(name.index) == token.index && token.generations == [name.epoch.bits()]
        };
        let name = known.find(is_meant).copied();
        name.ok_or_else(|| format!("{token:?} was used, and its object is gone"))
    }

    /// Whether everything of an account may be gone at any time.
    pub(super) fn is_ending(&self, account: ObjectName) -> bool {
        self.accounts.get(&account).is_none_or(|facts| facts.dying)
    }
}
