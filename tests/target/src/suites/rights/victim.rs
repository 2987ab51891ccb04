//! What belongs to the program and must not be touched, and capabilities for it that are good but for one
//! thing.
//!
//! ```text
//!   the program's account --- two pages
//!                         --- a space with an environment in it, stopped
//!                         --- an account with nothing
//!   the second environment's account --- what it runs on, nothing left
//! ```

mod network;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use exopi_rt::account::Allowance;
use exopi_rt::cap::{Cap, PageCap};
use exopi_rt::capability::{
    AccountRights, EnvironmentRights, FilterRights, Kind, KindRights, PageRights, Second as Time,
    SendRights, SliceRights, SpaceRights,
};
use exopi_rt::domain::{AccountRecord, EnvironmentRecord, LifeWord, ObjectName, SpaceRecord};
use exopi_rt::handle::{Handle, Owns};
use exopi_rt::layout::TABLES_BASE;
use exopi_rt::page::{Owner, PageRecord};
use exopi_rt::pages::Run;
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::slice::SliceRecord;
use exopi_rt::tables::{self, Mapping};
use exopi_rt::uarea::UArea;
use exopi_rt::{
    Account, Call, Capability, Environment, Error, Object, Operation, PageNumber, PageSelect,
    Reply, Slice, Space, TableLevel, UserCapability, VirtAddr, environment, exposed, memory, pages,
};

use crate::area::place;
use crate::harness::{Failure, Outcome};
use crate::second::{self, Second};
use network::{Network, named};

/// Where the victim's environment sees its u-area.
pub(crate) const AT: u64 = 0x34_0000_0000;

/// Something by a right that is none: how it is named, and the only error that this may give.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    /// As an object.
    pub(crate) object: u64,
    /// As pages: the capability's address, or 0 for owned ones.
    by: u64,
    /// Why it is refused.
    pub(crate) error: Error,
}

impl Refused {
    /// As pages from `first` on, in two registers.
    pub(crate) fn run(&self, first: PageNumber) -> [u64; 2] {
        let form = u64::from(self.by != 0) << 56;
        [form | u64::from(first.get()), self.by]
    }
}

/// Whether an error is about a capability alone, whatever it is for.
pub(crate) fn is_seals(error: Error) -> bool {
    matches!(
        error,
        Error::WrongSeal | Error::WrongHolder | Error::Expired
    )
}

/// A space with one environment, made of pages that are known.
struct Household {
    space: ObjectName,
    environment: ObjectName,
    pages: [PageNumber; 6],
}

impl Household {
    fn new() -> Result<Self, Failure> {
        let mut pages = [PageNumber::new(0); 6];
        for page in &mut pages {
            *page = pages::take(PageSelect::Any)?;
        }
        let [root, table2, links2, table3, links3, uarea] = pages;
        let at = place(AT)?;
        let space = Space::create(root)?;
        space.insert_table(at, TableLevel::Two, table2, links2)?;
        space.insert_table(at, TableLevel::Three, table3, links3)?;
        let environment = Environment::create(space, uarea, at)?;
        let name = |name: Option<ObjectName>| name.ok_or_else(|| Failure::new("it has no name"));
        Ok(Self {
            space: name(space.name())?,
            environment: name(environment.name())?,
            pages,
        })
    }

    fn close(&self) -> Outcome {
        Environment::Owned(self.environment).destroy()?;
        check!(
            Space::Owned(self.space).record().is_none(),
            "the space is there"
        );
        for page in self.pages {
            memory::give_page(page)?;
        }
        Ok(())
    }
}

/// One kind's capabilities: one with all rights, and one that has been good.
pub(super) struct Caps<R> {
    all: Cap<R>,
    stale: Cap<R>,
}

/// All of it.
pub(crate) struct Victim {
    pub(crate) second: Second,
    /// The first of two pages in a row.
    pub(crate) pages: PageNumber,
    /// All rights to them, for the second environment.
    pub(crate) page_cap: PageCap,
    closed: bool,
    household: Household,
    account: Account<'static>,
    page_caps: Caps<PageRights>,
    space_caps: Caps<SpaceRights>,
    environment_caps: Caps<EnvironmentRights>,
    account_caps: Caps<AccountRights>,
    slice: ObjectName,
    slice_caps: Caps<SliceRights>,
    network: Network,
    /// Capabilities that attempts name by address.
    #[expect(clippy::vec_box, reason = "their addresses stay while the list grows")]
    kept: RefCell<Vec<Box<Capability>>>,
    /// Where calls may read and write; bytes that mean nothing.
    buffer: Box<Cell<[u64; 8]>>,
    /// A batch of one operation, which removes the u-area's mapping.
    operation: Box<Cell<Operation>>,
}

/// What must be the same after calls that are refused.
#[derive(Debug)]
pub(crate) struct Snapshot {
    free_pages: u64,
    pages: u64,
    accounts: Vec<(ObjectName, AccountRecord)>,
    spaces: Vec<(ObjectName, SpaceRecord)>,
    environments: Vec<(ObjectName, EnvironmentRecord, LifeWord)>,
    slices: Vec<(ObjectName, SliceRecord)>,
    mappings: u64,
    network: Vec<[u64; 3]>,
    uarea: Vec<u8>,
    buffer: [u64; 8],
}

impl Snapshot {
    /// The first thing that is not as it was.
    pub(crate) fn change_to(&self, now: &Self) -> Option<&'static str> {
        let parts = [
            (
                "the number of free pages",
                self.free_pages == now.free_pages,
            ),
            ("a page's record", self.pages == now.pages),
            ("an account's record", self.accounts == now.accounts),
            ("a space's record", self.spaces == now.spaces),
            (
                "an environment's record",
                self.environments == now.environments,
            ),
            ("a slice's record", self.slices == now.slices),
            ("a mapping", self.mappings == now.mappings),
            (
                "a filter, ring or send capability",
                self.network == now.network,
            ),
            ("a u-area", self.uarea == now.uarea),
            ("memory", self.buffer == now.buffer),
        ];
        let changed = parts.into_iter().find(|(_, same)| !same);
        changed.map(|(part, _)| part)
    }
}

impl Victim {
    pub(crate) fn new() -> Result<Self, Failure> {
        let run = Run::take_row(2)?;
        let stale_page = run.mint(PageRights::all())?;
        run.retire().unless_stopped()?;
        let gone = Household::new()?;
        let stale_space = Space::Owned(gone.space).mint(SpaceRights::all())?;
        let stale_environment =
            Environment::Owned(gone.environment).mint(EnvironmentRights::all())?;
        let slice = Slice::alloc(0, None, Environment::Owned(gone.environment))?;
        let stale_slice = slice.mint(SliceRights::all())?;
        slice.free()?;
        gone.close()?;
        let gone = Account::create(Allowance::default())?;
        let stale_account = gone.mint(AccountRights::all())?;
        gone.destroy()?;

        let household = Household::new()?;
        let slice = Slice::alloc(0, None, Environment::Owned(household.environment))?;
        let slice_name = slice.name();
        let slice_name = slice_name.ok_or_else(|| Failure::new("it has no name"))?;
        let account = Account::create(Allowance::default())?;
        let second = Second::new()?;
        let page = run.mint(PageRights::all())?;
        Ok(Self {
            pages: run.first(),
            page_cap: page.only_for(second.name())?,
            page_caps: Caps {
                all: page,
                stale: stale_page,
            },
            space_caps: Caps {
                all: Space::Owned(household.space).mint(SpaceRights::all())?,
                stale: stale_space,
            },
            environment_caps: Caps {
                all: Environment::Owned(household.environment).mint(EnvironmentRights::all())?,
                stale: stale_environment,
            },
            account_caps: Caps {
                all: account.mint(AccountRights::all())?,
                stale: stale_account,
            },
            slice: slice_name,
            slice_caps: Caps {
                all: slice.mint(SliceRights::all())?,
                stale: stale_slice,
            },
            network: Network::new()?,
            second,
            closed: false,
            household,
            account,
            kept: RefCell::new(Vec::new()),
            buffer: Box::new(Cell::new([0x5a5a; 8])),
            operation: Box::new(Cell::new(Operation::default())),
        })
    }

    pub(crate) fn close(mut self) -> Outcome {
        self.clear()
    }

    fn clear(&mut self) -> Outcome {
        if core::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.second.close()?;
        self.account.destroy()?;
        self.network.close()?;
        self.household.close()?;
        Run::owned(self.pages, 2).free().unless_stopped()?;
        Ok(())
    }

    /// Puts a capability where calls find it; gives its address.
    fn keep(&self, capability: Capability) -> u64 {
        let kept = Box::new(capability);
        let address = UserCapability::from(&*kept).address();
        self.kept.borrow_mut().push(kept);
        address
    }

    /// Every way in which a capability can be no good for `needed`, and the object named as if it belonged to
    /// the caller.
    fn refused<R: KindRights>(
        &self,
        caps: &Caps<R>,
        needed: R,
        owned: u64,
    ) -> Result<Vec<Refused>, Failure> {
        let all = &caps.all;
        let mut forged = all.capability().words();
        forged[5] ^= 1 << 40;
        let main = environment::own().ok_or_else(|| Failure::new("no name of one's own"))?;
        let first = Time::new(0).ok_or_else(|| Failure::new("no second 0"))?;
        let other = if R::KIND == Kind::Space {
            *self.page_caps.all.capability()
        } else {
            *self.space_caps.all.capability()
        };
        let mut refused = alloc::vec![Refused {
            object: owned,
            by: 0,
            error: Error::NotYours,
        }];
        for (capability, error) in [
            (
                *all.keep(all.rights().difference(needed))?.capability(),
                Error::MissingRight,
            ),
            (Capability::from_words(forged)?, Error::WrongSeal),
            (*all.only_for(main)?.capability(), Error::WrongHolder),
            (*all.until(first)?.capability(), Error::Expired),
            (*caps.stale.capability(), Error::Stale),
            (other, Error::WrongKind),
        ] {
            let address = self.keep(capability);
            refused.push(Refused {
                object: address,
                by: address,
                error,
            });
        }
        Ok(refused)
    }

    /// The pages without `needed`.
    pub(crate) fn page(&self, needed: PageRights) -> Result<Vec<Refused>, Failure> {
        self.refused(&self.page_caps, needed, 0)
    }

    fn object<R: Owns>(
        &self,
        handle: Handle<'_, R>,
        caps: &Caps<R>,
        needed: R,
    ) -> Result<Vec<Refused>, Failure> {
        let mut words = Arguments::new([0; 6]);
        handle.object().encode(&mut words);
        let [owned, ..] = words.words();
        self.refused(caps, needed, owned)
    }

    /// The space without `needed`.
    pub(crate) fn space(&self, needed: SpaceRights) -> Result<Vec<Refused>, Failure> {
        self.object(Space::Owned(self.household.space), &self.space_caps, needed)
    }

    /// The environment without `needed`.
    pub(crate) fn environment(&self, needed: EnvironmentRights) -> Result<Vec<Refused>, Failure> {
        let environment = Environment::Owned(self.household.environment);
        self.object(environment, &self.environment_caps, needed)
    }

    /// The account without `needed`.
    pub(crate) fn account(&self, needed: AccountRights) -> Result<Vec<Refused>, Failure> {
        self.object(self.account, &self.account_caps, needed)
    }

    /// The slice without `needed`.
    pub(crate) fn slice(&self, needed: SliceRights) -> Result<Vec<Refused>, Failure> {
        self.object(Slice::Owned(self.slice), &self.slice_caps, needed)
    }

    /// The filter without `needed`.
    pub(crate) fn filter(&self, needed: FilterRights) -> Result<Vec<Refused>, Failure> {
        let owned = named(self.network.filter);
        self.refused(&self.network.filter_caps, needed, owned)
    }

    /// The send capability without `needed`.
    pub(crate) fn send(&self, needed: SendRights) -> Result<Vec<Refused>, Failure> {
        let owned = named(self.network.send);
        self.refused(&self.network.send_caps, needed, owned)
    }

    /// All rights to the filter, for the second environment.
    pub(crate) fn good_filter(&self) -> Result<u64, Failure> {
        let cap = self.network.filter_caps.all.only_for(self.second.name())?;
        Ok(self.keep(*cap.capability()))
    }

    /// The ring.
    pub(crate) fn ring(&self) -> Object<'static> {
        Object::Owned(self.network.ring)
    }

    /// Where an atom is, and a piece of the victim's page.
    pub(crate) fn atom(&self) -> u64 {
        self.network.words.as_ptr() as u64
    }

    /// The piece.
    pub(crate) fn piece(&self) -> u64 {
        self.network.words[3..].as_ptr() as u64
    }

    /// What the second environment can mint nothing for: kind and index.
    pub(crate) fn not_mintable(&self) -> Result<[(Kind, u64); 8], Failure> {
        let index = |name: Option<ObjectName>| {
            let name = name.ok_or_else(|| Failure::new("it has no name"))?;
            Ok::<u64, Failure>(name.index.into())
        };
        Ok([
            (Kind::Page, self.pages.get().into()),
            (Kind::Space, self.household.space.index.into()),
            (Kind::Environment, self.household.environment.index.into()),
            (Kind::Account, index(self.account.name())?),
            (Kind::Slice, self.slice.index.into()),
            (Kind::Filter, self.network.filter.index.into()),
            (Kind::Send, self.network.send.index.into()),
            // What one draws on is not one's child.
            (Kind::Account, index(self.second.account().name())?),
        ])
    }

    /// Whom the second environment's pages are charged to.
    pub(crate) fn second_owner(&self) -> Result<Owner, Failure> {
        let owner = self.second.account().owner();
        owner.ok_or_else(|| Failure::new("no name of the second account"))
    }

    /// Memory of eight words that calls may be told to read, or write.
    pub(crate) fn buffer(&self) -> u64 {
        self.buffer.as_ptr() as u64
    }

    /// Where a batch of one operation is, which would remove a mapping.
    pub(crate) fn batch(&self) -> u64 {
        self.operation.set(Operation {
            call: Call::remove_pte.number().into(),
            arguments: [AT, 1, 0, 0, 0],
            ..Operation::default()
        });
        self.operation.as_ptr() as u64
    }

    /// Why the batch's operation was refused, if it was.
    pub(crate) fn refusal_in_batch(&self) -> Option<Error> {
        let Operation { status, value, .. } = self.operation.get();
        Reply { status, value }.error()
    }

    /// Everything that is to be compared.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Failure> {
        let mut uarea = alloc::vec![0; size_of::<UArea>()];
        Environment::Owned(self.household.environment).read(0, &mut uarea)?;
        let running = [environment::own(), Some(self.second.name())];
        let environments = exposed::environments().map(|(name, record)| {
            let word = exposed::life(name);
            // These two take turns.
            let quiet = EnvironmentRecord {
                owed_since: 0,
                ..record
            };
            match running.contains(&Some(name)) {
                true => (name, quiet, LifeWord::FREE),
                false => (name, record, word),
            }
        });
        Ok(Snapshot {
            free_pages: exposed::free_pages(),
            pages: exposed::pages().fold(0, |sum, (_, record)| digest(sum, &record)),
            environments: environments.collect(),
            accounts: exposed::accounts().collect(),
            // What is left of the turns that they take.
            slices: exposed::slices()
                .map(|(name, record)| (name, SliceRecord { carry: 0, ..record }))
                .collect(),
            spaces: exposed::spaces().collect(),
            mappings: tables::mappings(0, TABLES_BASE)
                .fold(0, |sum, mapping| digest(sum, &mapping)),
            network: network::records(),
            uarea,
            buffer: self.buffer.get(),
        })
    }
}

/// For cases that end early: they have failed, and the next one is to find as many pages.
impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

/// A number that changes with a record and with the order of records (as FNV-1a does it, by words).
fn digest<T: Words>(sum: u64, record: &T) -> u64 {
    record.words().into_iter().fold(sum, |sum, word| {
        (sum ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(5)
    })
}

/// What a digest is made of.
trait Words {
    fn words(&self) -> [u64; 5];
}

impl Words for PageRecord {
    fn words(&self) -> [u64; 5] {
        let stamp = self.stamp.epoch().bits() | u64::from(self.stamp.limit()) << 48;
        [
            self.owner.word(),
            stamp,
            u64::from(self.references) << 32 | u64::from(self.first),
            u64::from(self.second),
            u64::from(self.foreign) | (self.kind as u64) << 16 | u64::from(self.marks) << 24,
        ]
    }
}

impl Words for (VirtAddr, Mapping) {
    fn words(&self) -> [u64; 5] {
        let (at, mapping) = self;
        [
            at.get(),
            mapping.page.get().into(),
            mapping.access.bits().into(),
            mapping.bound.bits().into(),
            mapping.superpage.into(),
        ]
    }
}

/// A place of the space that both share where there are tables and nothing is mapped.
pub(crate) fn free_place() -> Result<VirtAddr, Failure> {
    place(second::AT + TableLevel::Three.span() / 2)
}
