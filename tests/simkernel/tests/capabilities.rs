//! Capabilities through the call path as it is: what a chain of caveats leaves is exactly what can be done, by
//! whoever presents it, and no bit of one can be changed.

use exopi_abi::capability::{
    Badge, CAPABILITY_WORDS, Capability, Identity, Kind, Restriction, Rights, Second,
};
use exopi_abi::domain::ObjectName;
use exopi_abi::page::DEFAULT_LIMIT;
use exopi_abi::{Access, Call, Error, Reply};
use exopi_sequence::stage::{AREA, slot_address};
use exopi_simkernel::{Board, Founded, Kernel, Storage, found, owned};
use proptest::prelude::*;

type Words = [u64; CAPABILITY_WORDS];

/// Pages that the first environment lends out.
const LENT: u64 = 3;

/// Two environments: the first, on core 0, with pages in a row, and one on core 1.
struct Pair<'m> {
    kernel: Kernel<'m>,
    other: Founded,
    first_page: u64,
}

impl<'m> Pair<'m> {
    fn new(storage: &'m mut Storage) -> Self {
        let board = Board {
            frames: 64,
            ..Board::SMALL
        };
        let mut kernel = Kernel::boot(&board, storage);
        let other = found(1, 4, |call, words| value(kernel.call(call.number(), words)));
        kernel.schedule();
        let mut pair = Self {
            kernel,
            other: other.unwrap(),
            first_page: 50,
        };
        for level in [2, 3] {
            let pages = [0; 2].map(|_| pair.call(Call::page_alloc, [1 << 56, 1, 0, 0, 0, 0]).unwrap());
            pair.call(Call::table_insert, [0, AREA, level, pages[0], pages[1], 0]).unwrap();
        }
        pair.call(Call::page_alloc, [pair.first_page, LENT, 0, 0, 0, 0]).unwrap();
        pair
    }

    fn call(&mut self, call: Call, words: [u64; 6]) -> Result<u64, Error> {
        value(self.kernel.call(call.number(), words))
    }

    fn me(&self) -> Identity {
        self.kernel.running().identity()
    }

    fn put(&mut self, slot: usize, words: Words) {
        for (at, word) in (slot_address(slot)..).step_by(8).zip(words) {
            self.kernel.store(at, word).unwrap();
        }
    }

    fn get(&self, slot: usize) -> Words {
        core::array::from_fn(|word| self.kernel.load(slot_address(slot) + 8 * word as u64).unwrap())
    }

    fn mint(&mut self, kind: Kind, index: u64, count: u64, rights: u16) -> Words {
        let words = [kind as u64, index, count, rights.into(), slot_address(0), 0];
        self.call(Call::cap_mint, words).unwrap();
        self.get(0)
    }

    /// Presents a capability for what its kind allows most simply; undone if it was carried out.
    fn present(&mut self, kind: Kind, words: Words) -> Result<u64, Error> {
        self.put(0, words);
        let at = slot_address(0);
        match kind {
            Kind::Page => self.map(self.first_page, words, Access::READ),
            Kind::Space => self.call(Call::pte_note, [at, AREA, 0, 0, 0, 0]),
            Kind::Environment => self.call(Call::env_keep, [at, 3, 0, 0, 0, 0]),
            _ => {
                let bound = self.call(Call::account_bind, [at, 0, 0, 0, 0, 0]);
                self.call(Call::account_bind, [0; 6]).unwrap();
                bound
            }
        }
    }

    fn map(&mut self, page: u64, words: Words, access: Access) -> Result<u64, Error> {
        self.put(0, words);
        let bits = access.bits().into();
        let mapped = [0, AREA, 1 << 56 | page, slot_address(0), 1, bits];
        self.call(Call::insert_pte, mapped)?;
        self.call(Call::remove_pte, [0, AREA, 1, 0, 0, 0])
    }

    /// A genuine capability of each kind, for something of the first environment's.
    fn one_of_each(&mut self) -> [(Kind, Words); 4] {
        self.kernel.select(0);
        let page = self.first_page;
        let first = self.kernel.first();
        [
            (Kind::Page, page, LENT),
            (Kind::Space, first.space.index.into(), 1),
            (Kind::Environment, first.environment.index.into(), 1),
            (Kind::Account, self.other.account.index.into(), 1),
        ]
        .map(|(kind, index, count)| {
            let rights = kind.rights().bits();
            (kind, self.mint(kind, index, count, rights))
        })
    }
}

fn value(reply: Reply) -> Result<u64, Error> {
    match reply.error() {
        None => Ok(reply.value),
        Some(error) => Err(error),
    }
}

fn attenuated(words: Words, restriction: Restriction) -> Words {
    let capability = Capability::from_words(words).unwrap();
    capability.attenuate(restriction).unwrap().words()
}

#[test]
fn every_single_bit_change_is_refused() {
    let mut storage = Storage::new(&Board {
        frames: 64,
        ..Board::SMALL
    });
    let mut pair = Pair::new(&mut storage);
    let me = pair.me();
    for (kind, plain) in pair.one_of_each() {
        let caveats = [
            Restriction::Rights(kind.rights()),
            Restriction::Holder(me),
            Restriction::Badge(Badge::MAX),
        ];
        let full = caveats.into_iter().fold(plain, attenuated);
        for words in [plain, attenuated(plain, Restriction::Holder(me)), full] {
            assert_eq!(pair.present(kind, words).err(), None, "{kind:?}");
            let before = pair.kernel.snapshot();
            for bit in 0..8 * size_of::<Words>() {
                let mut forged = words;
                forged[bit / 64] ^= 1 << (bit % 64);
                let refused = pair.present(kind, forged);
                assert!(refused.is_err(), "{kind:?} with bit {bit} changed was taken");
                assert_eq!(before.difference(&pair.kernel.snapshot()), None, "bit {bit}");
            }
        }
    }
}

#[test]
fn the_same_hint_is_not_the_same_environment() {
    let mut storage = Storage::new(&Board {
        frames: 64,
        ..Board::SMALL
    });
    let mut pair = Pair::new(&mut storage);
    pair.kernel.select(1);
    let held = pair.me();
    let capabilities = pair.one_of_each();
    // A successor at the same index, in an account and a space at the same places.
    pair.kernel.select(0);
    let account = owned(pair.other.account);
    let mut gone = pair.kernel.call(Call::account_destroy.number(), [account, 0, 0, 0, 0, 0]);
    while gone.error() == Some(Error::Busy) || gone.status == 0 {
        gone = pair.kernel.call(Call::account_destroy.number(), [account, 0, 0, 0, 0, 0]);
    }
    let kernel = &mut pair.kernel;
    let next = found(1, 4, |call, words| value(kernel.call(call.number(), words))).unwrap();
    pair.kernel.schedule();
    assert_eq!(next.environment.index, pair.other.environment.index);
    assert_ne!(next.environment, pair.other.environment);
    for (kind, words) in capabilities.into_iter().filter(|(kind, _)| *kind != Kind::Account) {
        pair.kernel.select(1);
        assert_eq!(pair.present(kind, words).err(), None, "{kind:?} is for everybody");
        for stranger in [held, Identity { index: held.index + (1 << 24), ..pair.me() }] {
            let words = attenuated(words, Restriction::Holder(stranger));
            assert_eq!(pair.present(kind, words), Err(Error::WrongSeal), "{kind:?}");
        }
        let words = attenuated(words, Restriction::Holder(pair.me()));
        assert_eq!(pair.present(kind, words).err(), None, "{kind:?} is its own");
        pair.kernel.select(0);
        assert_eq!(pair.present(kind, words), Err(Error::WrongHolder), "{kind:?}");
    }
}

/// A step of a chain.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// By the holder.
    Rights(u16),
    /// For the first environment or the other.
    Holder(bool),
    Badge,
    /// It has ended, or not for long.
    Until(bool),
    /// By the kernel: a part of the range, and rights.
    Narrow(u64, u64, u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u16>().prop_map(|mask| Step::Rights(mask | 1)),
        any::<bool>().prop_map(Step::Holder),
        Just(Step::Badge),
        any::<bool>().prop_map(Step::Until),
        (0..LENT, 1..=LENT, any::<u16>()).prop_map(|(offset, count, rights)| Step::Narrow(
            offset,
            count,
            rights | 1
        )),
    ]
}

/// What a chain leaves, worked out by hand.
#[derive(Clone, Copy, Debug)]
struct Left {
    first: u64,
    count: u64,
    rights: u16,
    /// Which of the two may present it.
    holders: [bool; 2],
    ended: bool,
    timed: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    /// Nobody gains a right, a page, or another holder's use; and what was left can be used.
    #[test]
    fn a_chain_allows_what_it_leaves_and_no_more(
        rights in 0..64u16,
        steps in prop::collection::vec(step(), 0..6),
    ) {
        let mut storage = Storage::new(&Board { frames: 64, ..Board::SMALL });
        let mut pair = Pair::new(&mut storage);
        let names: [ObjectName; 2] = [pair.kernel.first().environment, pair.other.environment];
        let first_page = pair.first_page;
        let mut words = pair.mint(Kind::Page, first_page, LENT, rights);
        let mut left = Left {
            first: first_page,
            count: LENT,
            rights,
            holders: [true; 2],
            ended: false,
            timed: false,
        };
        for step in steps {
            words = match apply(&mut pair, words, step, &names, &mut left) {
                Some(words) => words,
                None => continue,
            };
        }
        let me = usize::from(pair.kernel.core());
        prop_assert_eq!(me, 0);
        for presenter in [0, 1] {
            pair.kernel.select(presenter as u8);
            for page in first_page - 1..=first_page + LENT {
                for access in Access::POSSIBLE {
                    let covered = page.wrapping_sub(left.first) < left.count;
                    let allowed = left.rights & u16::from(access.bits()) == u16::from(access.bits());
                    let may = covered && allowed && left.holders[presenter] && !left.timed;
                    let mapped = pair.map(page, words, access);
                    prop_assert_eq!(mapped.is_ok(), may, "{:?} {:?} {:?}", left, access, mapped);
                }
            }
        }
        prop_assert!(DEFAULT_LIMIT > 0);
    }
}

/// Makes a step; what the kernel or the form refuses leaves all as it was.
fn apply(
    pair: &mut Pair<'_>,
    words: Words,
    step: Step,
    names: &[ObjectName; 2],
    left: &mut Left,
) -> Option<Words> {
    let restriction = match step {
        Step::Rights(mask) => Restriction::Rights(Rights::from_bits(mask)),
        Step::Holder(other) => Restriction::Holder(names[usize::from(other)].identity()),
        Step::Badge => Restriction::Badge(Badge::MAX),
        Step::Until(ended) => Restriction::Until(if ended { Second::new(1)? } else { Second::MAX }),
        Step::Narrow(offset, count, rights) => {
            let index = left.first + offset;
            pair.put(0, words);
            let at = slot_address(0);
            let narrowed = pair.call(Call::cap_narrow, [at, index, count, rights.into(), at, 0]);
            let may = left.holders[0] && !left.ended && offset + count <= left.count;
            assert_eq!(narrowed.is_ok(), may, "{left:?} {step:?} {narrowed:?}");
            narrowed.ok()?;
            (left.first, left.count) = (index, count);
            left.rights &= rights;
            return Some(pair.get(0));
        }
    };
    let narrowed = Capability::from_words(words).ok()?.attenuate(restriction).ok()?;
    match step {
        Step::Rights(mask) => left.rights &= mask,
        Step::Holder(other) => left.holders[usize::from(!other)] = false,
        Step::Until(ended) => (left.ended, left.timed) = (left.ended || ended, true),
        Step::Badge | Step::Narrow(..) => {}
    }
    Some(narrowed.words())
}
