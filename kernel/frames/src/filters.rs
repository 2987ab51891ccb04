//! Filters as capabilities: splitting, refining, sharing, and where frames go.

use exopi_abi::Error;
use exopi_abi::capability::FilterRights;
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{FilterRecord, FilterState, MAX_KEYS, MAX_REFERENCES, Program, filter_index};
use exopi_filter::{Error as FilterError, FilterId, KeyId};

use crate::bindings::NONE;
use crate::claim::{Place, is_named};
use crate::{By, Claim, Code, Frames, Holding, Ledger};

/// Most filters above one, the root counted. With [`MAX_KEY_ATOMS`] it bounds what classification looks at, whatever the
/// frame and whoever made the filters.
pub const MAX_DEPTH: u8 = 8;
/// Most atoms of all keys of one filter together.
pub const MAX_KEY_ATOMS: usize = 64;
/// Where in the index of a capability for a filter the number of a key stands, plus one.
pub const KEY_SHIFT: u32 = 16;

/// What the caller of a call is told.
fn told(error: FilterError) -> Error {
    match error {
        FilterError::Malformed | FilterError::NotCanonical | FilterError::WrongKey => {
            Error::Malformed
        }
        FilterError::BadCount => Error::BadCount,
        FilterError::Unknown => Error::OutOfRange,
        FilterError::Leaving => Error::Stale,
        FilterError::TooManyKeys | FilterError::TooManyTargets => Error::LimitReached,
        FilterError::Overlap => Error::Overlap,
        FilterError::Present => Error::Occupied,
        FilterError::Absent => Error::Vacant,
        FilterError::Root => Error::MissingRight,
        _ => Error::Exhausted,
    }
}

impl Frames<'_> {
    /// Splits a filter by one key more, as the row `dpf_split` of the call table says. Gives the key's position, 0 to 3.
    ///
    /// # Errors
    /// In the order in which they are looked for: those of a claim with the right to split;
    /// [`Error::LimitReached`] for too many keys, or too many atoms in all of them; of the filter's account
    /// [`Error::Stale`], [`Error::OverAllowance`]; [`Error::Malformed`] for values that are not 0;
    /// [`Error::Exhausted`].
    pub fn dpf_split(
        &mut self,
        by: &By,
        filter: Claim<'_>,
        key: Program<'_>,
        ledger: &mut impl Ledger,
        code: &mut impl Code,
    ) -> Result<usize, Error> {
        let (place, record) = self.live_filter(by, filter, FilterRights::SPLIT)?;
        let atoms = usize::from(record.key_atoms) + key.atoms().len();
        if usize::from(record.keys) >= MAX_KEYS || atoms > MAX_KEY_ATOMS {
            return Err(Error::LimitReached);
        }
        ledger.room(record.account, Holding::Key)?;
        let found = self.interface_mut(place.interface).ok_or(Error::Stale)?;
        let interned = loop {
            match found.trie.intern(key) {
                Ok(interned) => break interned,
                Err(FilterError::NoKey) => match found.trie.reclaim() {
                    Some(_) => {}
                    None => return Err(Error::Exhausted),
                },
                Err(error) => return Err(told(error)),
            }
        };
        self.compile(place.interface, interned, code)?;
        let found = self.interface_mut(place.interface).ok_or(Error::Stale)?;
        let position = found.trie.declare(place.id, interned).map_err(told)?;
        if let Some(record) = found.filters.get_mut(place.number()) {
            record.keys += 1;
            record.key_atoms = atoms as u8;
        }
        ledger.charge(record.account, Holding::Key);
        Ok(position)
    }

    /// Makes the code of a key, if it has none.
    fn compile(&mut self, interface: usize, key: KeyId, code: &mut impl Code) -> Result<(), Error> {
        let scratch = &mut *self.scratch;
        let found = self.interfaces.get_mut(interface).and_then(Option::as_mut);
        let trie = &mut found.ok_or(Error::Stale)?.trie;
        let known = trie.key(key).ok_or(Error::Exhausted)?;
        if known.code().is_some() {
            return Ok(());
        }
        let words = trie.emit(key, scratch).map_err(told)?;
        let offset = code.place(interface, key, words).ok_or(Error::Exhausted)?;
        trie.set_code(key, offset).map_err(told)
    }

    /// Makes a filter below one that the caller may refine, as the row `dpf_insert` of the call table says. Frames go to
    /// `ring`, if one is named.
    ///
    /// # Errors
    /// In the order in which they are looked for: those of a claim with the right to refine;
    /// [`Error::MissingRight`] for a key that the capability does not name; of the ring [`Error::NotYours`],
    /// [`Error::Stale`]; [`Error::LimitReached`] for too long a line; of the account [`Error::Stale`],
    /// [`Error::OverAllowance`]; [`Error::Exhausted`]; [`Error::OutOfRange`] for no such key, [`Error::Stale`],
    /// [`Error::Malformed`] if the atoms are not the key's, [`Error::BadCount`] of a line's atoms,
    /// [`Error::Overlap`], [`Error::Exhausted`].
    pub fn dpf_insert(
        &mut self,
        by: &By,
        parent: Claim<'_>,
        key: usize,
        atoms: Program<'_>,
        ring: Option<ObjectName>,
        ledger: &mut impl Ledger,
    ) -> Result<ObjectName, Error> {
        let (place, above) = self.live_filter(by, parent, FilterRights::REFINE)?;
        if place.key.is_some_and(|only| only != key) {
            return Err(Error::MissingRight);
        }
        let ring = ring.map(|ring| self.live_ring(by, ring)).transpose()?;
        if above.depth >= MAX_DEPTH {
            return Err(Error::LimitReached);
        }
        ledger.room(by.owner, Holding::Filter)?;
        if ring.is_some() {
            ledger.room(by.owner, Holding::Reference)?;
            self.bindings.vacant().ok_or(Error::Exhausted)?;
        }
        let found = self.interface_mut(place.interface).ok_or(Error::Stale)?;
        let epoch = ledger.stamp().ok_or(Error::Exhausted)?;
        let inserted = found.trie.insert(place.id, key, atoms, epoch.bits());
        let id = inserted.map_err(told)?;
        let count = found.trie.filter(id).map_or(0, |made| made.chain_length());
        let record = FilterRecord {
            epoch: epoch.bits(),
            account: by.owner,
            environment: by.name.word(),
            parent: place.id.0 as u16,
            key: key as u8,
            state: FilterState::Live,
            atoms: count as u16,
            depth: above.depth + 1,
            route: NONE,
            ..FilterRecord::FREE
        };
        if let Some(made) = found.filters.get_mut(id.0 as usize) {
            *made = record;
        }
        self.note_made(by.name);
        ledger.charge(by.owner, Holding::Filter);
        self.count(place.interface, |record| record.filters += 1);
        let made = Place { id, ..place };
        if let Some(ring) = ring {
            self.route(made, ring, ledger)?;
        }
        let index = filter_index(place.interface, made.number()).ok_or(Error::Exhausted)?;
        Ok(ObjectName { index, epoch })
    }

    /// Adds a reference to a ring, for which there is room everywhere, and makes it the filter's own.
    fn route(&mut self, place: Place, ring: u16, ledger: &mut impl Ledger) -> Result<(), Error> {
        let number = self.refer(place, ring, ledger)?;
        let found = self.interface_mut(place.interface).ok_or(Error::Stale)?;
        if let Some(record) = found.filters.get_mut(place.number()) {
            record.route = number;
        }
        Ok(())
    }

    /// Adds a reference to a ring, for which there is room everywhere.
    fn refer(&mut self, place: Place, ring: u16, ledger: &mut impl Ledger) -> Result<u16, Error> {
        let number = self.bindings.vacant().ok_or(Error::Exhausted)?;
        let found = self.interface_mut(place.interface).ok_or(Error::Stale)?;
        found
            .trie
            .add_target(place.id, number.into())
            .map_err(told)?;
        if let Some(record) = found.filters.get_mut(place.number()) {
            record.references += 1;
        }
        let bound = self.bind(place.interface, place.id, ring, ledger);
        debug_assert_eq!(bound, number);
        Ok(number)
    }

    /// Has a copy of each of a filter's frames put into a ring of the caller's, as the row `dpf_ref` of the call table
    /// says. Whose copies others get is left as it is.
    ///
    /// # Errors
    /// In the order in which they are looked for: those of a claim with the right to share; of the ring
    /// [`Error::NotYours`], [`Error::Stale`]; [`Error::Occupied`] if the ring has that already;
    /// [`Error::LimitReached`]; of the ring's account [`Error::Stale`], [`Error::OverAllowance`];
    /// [`Error::Exhausted`].
    pub fn dpf_ref(
        &mut self,
        by: &By,
        filter: Claim<'_>,
        ring: ObjectName,
        ledger: &mut impl Ledger,
    ) -> Result<(), Error> {
        let (place, record) = self.live_filter(by, filter, FilterRights::SHARE)?;
        let ring = self.live_ring(by, ring)?;
        if self.binding_of(place.interface, place.id, ring).is_some() {
            return Err(Error::Occupied);
        }
        if usize::from(record.references) >= MAX_REFERENCES {
            return Err(Error::LimitReached);
        }
        ledger.room(by.owner, Holding::Reference)?;
        self.refer(place, ring, ledger).map(|_| ())
    }

    /// Takes the reference of a filter to a ring of the caller's away, as the row `dpf_unref` of the call table says. The
    /// filter goes with its last reference, if the environment that made it has gone.
    ///
    /// # Errors
    /// [`Error::NotYours`] of the ring; [`Error::Vacant`] if there is no such reference.
    pub fn dpf_unref(
        &mut self,
        by: &By,
        filter: ObjectName,
        ring: ObjectName,
        ledger: &mut impl Ledger,
    ) -> Result<(), Error> {
        let ring = self.any_ring(by, ring)?;
        let (interface, number) = exopi_abi::net::filter_place(filter.index);
        let id = FilterId(number as u32);
        let record = self.filter_at(interface, id);
        let same = record.is_some_and(|record| is_named(record.epoch, filter));
        let binding = self
            .binding_of(interface, id, ring)
            .filter(|_| same)
            .ok_or(Error::Vacant)?;
        self.cut(binding, ledger);
        Ok(())
    }

    /// Has a filter's frames put into a ring of the caller's from now on, in place of the ring that had them by this call
    /// or by `dpf_insert`, as the row `dpf_pktring` of the call table says. References by `dpf_ref` stay.
    ///
    /// # Errors
    /// In the order in which they are looked for: those of a claim with the right to receive; of the ring
    /// [`Error::NotYours`], [`Error::Stale`]; [`Error::Occupied`] if the ring has them already;
    /// [`Error::LimitReached`] if there was none before, and references are as many as may be; of the ring's account
    /// [`Error::Stale`], [`Error::OverAllowance`]; [`Error::Exhausted`].
    pub fn dpf_pktring(
        &mut self,
        by: &By,
        filter: Claim<'_>,
        ring: ObjectName,
        ledger: &mut impl Ledger,
    ) -> Result<(), Error> {
        let (place, record) = self.live_filter(by, filter, FilterRights::RECEIVE)?;
        let ring = self.live_ring(by, ring)?;
        if self.binding_of(place.interface, place.id, ring).is_some() {
            return Err(Error::Occupied);
        }
        if record.route == NONE && usize::from(record.references) >= MAX_REFERENCES {
            return Err(Error::LimitReached);
        }
        ledger.room(by.owner, Holding::Reference)?;
        let number = self.bindings.vacant().ok_or(Error::Exhausted)?;
        if record.route == NONE {
            return self.route(place, ring, ledger);
        }
        let found = self.interface_mut(place.interface).ok_or(Error::Stale)?;
        found
            .trie
            .replace_target(place.id, record.route.into(), number.into())
            .map_err(told)?;
        if let Some(record) = found.filters.get_mut(place.number()) {
            record.route = number;
        }
        let bound = self.bind(place.interface, place.id, ring, ledger);
        debug_assert_eq!(bound, number);
        self.unbind(record.route, ledger);
        Ok(())
    }
}
