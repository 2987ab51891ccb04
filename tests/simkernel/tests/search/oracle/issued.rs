//! Capabilities that are minted and narrowed: whether they may be, and what they say then.

use exopi_abi::Call;
use exopi_abi::capability::{Capability, Kind};
use exopi_abi::domain::ObjectName;

use super::authority::Caller;
use super::{Made, Oracle, Token, Verdict};

impl Oracle {
    pub(super) fn issued(&mut self, caller: &Caller<'_>, call: Call, made: &Made<'_>) -> Verdict {
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
        let told = (
            u64::from(body.index()),
            u64::from(body.count()),
            body.kind(),
        );
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
                pages
                    .map(|page| self.pages[page as usize].generation)
                    .collect()
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
            Kind::Slice => {
                let owned = |name: &&ObjectName| self.slices[name].account == who;
                self.slices.keys().filter(at).find(owned)
            }
            _ => None,
        };
        let name = found.copied();
        name.ok_or_else(|| format!("{kind:?} {index} was minted by {who:?}, whose it is not"))
    }
}

impl Token {
    /// What narrowing by a call leaves.
    fn part(&self, made: &Made<'_>) -> Verdict<Token> {
        let [_, index, count, rights, ..] = made.words;
        let offset = index.wrapping_sub(self.index.into());
        let end = offset
            .checked_add(count)
            .filter(|end| *end <= self.count.into());
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
