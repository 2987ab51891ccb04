//! Every call without its right: refused for that reason, and nothing has changed.
//!
//! A second environment, which owns nothing and can take nothing, makes each call on what belongs to the
//! program: named as if it were its own, and by capabilities that are good but for one thing. Around the
//! calls everything that the kernel shows is compared, and the victim's u-area, which it does not show.
//!
//! [`attempts`] has an arm for each call and none for the rest: a call that is added does not compile until
//! it is said here what right it needs.

mod victim;

use alloc::vec;
use alloc::vec::Vec;

use exopi_rt::capability::{
    AccountRights, EnvironmentRights, FilterRights, PageRights, SendRights, SliceRights,
    SpaceRights,
};
use exopi_rt::domain::Resource;
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::uarea::UpcallClass;
use exopi_rt::{Access, Call, Error, Object, PageNumber, PageRun, PageSelect, PageSource};

use crate::area::place;
use crate::harness::{Failure, Outcome, Suite};
use victim::{AT, Refused, Victim};

pub(crate) const SUITE: Suite = Suite {
    name: "rights",
    cases: &[("every_call_without_its_right", every_call_without_its_right)],
};

/// A call that lacks a right: its registers, and the only error that it may give.
type Attempt = ([u64; 6], Error);

/// Registers of arguments that are put one after the other.
struct Words(Arguments);

impl Words {
    fn new() -> Self {
        Self(Arguments::new([0; 6]))
    }

    fn with(mut self, argument: impl Argument) -> Self {
        argument.encode(&mut self.0);
        self
    }

    fn words(self) -> [u64; 6] {
        self.0.words()
    }
}

/// Attempts on an object, of which the call takes the name first.
fn on(refused: Vec<Refused>, rest: impl Fn(Words) -> Words) -> Vec<Attempt> {
    let attempt = |refused: Refused| {
        let named = Words::new().with(refused.object);
        (rest(named).words(), refused.error)
    };
    refused.into_iter().map(attempt).collect()
}

/// Attempts on a page, which the call takes first, and then how many.
fn on_pages(refused: Vec<Refused>, first: PageNumber) -> Vec<Attempt> {
    let attempt = |refused: Refused| {
        let [page, by] = refused.run(first);
        (
            Words::new().with(page).with(by).with(1_u64).words(),
            refused.error,
        )
    };
    refused.into_iter().map(attempt).collect()
}

/// One attempt.
fn one(words: Words, error: Error) -> Vec<Attempt> {
    vec![(words.words(), error)]
}

/// What each call needs, as attempts without it. None for those that anybody may make: they are named here, too.
fn attempts(call: Call, victim: &Victim) -> Result<Vec<Attempt>, Failure> {
    let at = place(AT)?;
    let read = Access::READ;
    let spaces = |right| victim.space(right);
    let environments = |right| victim.environment(right);
    let page = victim.pages;
    let good = PageSource::Run(PageRun::Presented(page, (&victim.page_cap).into()));
    Ok(match call {
        // Anybody may ask which version this is.
        Call::null => Vec::new(),
        // The account's allowance.
        Call::page_alloc => [
            (
                Words::new().with(PageSelect::Any).with(1_u64),
                Error::OverAllowance,
            ),
            (
                Words::new().with(PageSelect::Exact(page)).with(1_u64),
                Error::OverAllowance,
            ),
        ]
        .map(|(words, error)| (words.words(), error))
        .into(),
        Call::page_free => on_pages(victim.page(PageRights::FREE)?, page),
        Call::page_retire => on_pages(victim.page(PageRights::RETIRE)?, page),
        Call::page_break => on_pages(victim.page(PageRights::RETIRE)?, page),
        Call::table_insert => on(spaces(SpaceRights::MAP)?, |space| {
            space
                .with(at)
                .with(3_u64)
                .with(page)
                .with(PageNumber::new(page.get() + 1))
        }),
        Call::table_remove => on(spaces(SpaceRights::MAP)?, |space| {
            space.with(at).with(3_u64)
        }),
        // A page and a space.
        Call::insert_pte => {
            let mut all = on(spaces(SpaceRights::MAP)?, |space| {
                space.with(at).with(good).with(1_u64).with(read)
            });
            for refused in victim.page(PageRights::READ)? {
                let own = Words::new().with(Object::Own).with(victim::free_place()?);
                let [page, by] = refused.run(page);
                let words = own.with(page).with(by).with(1_u64).with(read);
                all.push((words.words(), refused.error));
            }
            let own = Words::new().with(Object::Own).with(victim::free_place()?);
            let words = own
                .with(PageSource::New(PageSelect::Any))
                .with(1_u64)
                .with(read);
            all.push((words.words(), Error::OverAllowance));
            all
        }
        Call::remove_pte => on(spaces(SpaceRights::MAP)?, |space| {
            space.with(at).with(1_u64)
        }),
        Call::protect_pte => on(spaces(SpaceRights::MAP)?, |space| {
            space.with(at).with(1_u64).with(read)
        }),
        Call::insert_superpage => on(spaces(SpaceRights::MAP)?, |space| {
            let run = PageRun::Presented(page, (&victim.page_cap).into());
            space.with(at).with(run).with(1_u64).with(read)
        }),
        Call::pte_note => on(spaces(SpaceRights::MAP)?, |space| {
            space.with(at).with(5_u64)
        }),
        Call::pte_batch => on(spaces(SpaceRights::MAP)?, |space| {
            space.with(victim.batch()).with(1_u64).with(0_u64)
        }),
        // A state to go on with.
        Call::resume => one(Words::new().with(UpcallClass::Notice), Error::NoFrame),
        // The console.
        Call::console_write | Call::console_read => one(
            Words::new().with(victim.buffer()).with(8_u64),
            Error::MissingRight,
        ),
        Call::console_give => one(Words::new().with(Object::Own), Error::MissingRight),
        // The board.
        Call::board_exit => one(Words::new().with(77_u64), Error::MissingRight),
        Call::board_reset => one(Words::new(), Error::MissingRight),
        // What one owns.
        Call::cap_mint => victim
            .not_mintable()?
            .into_iter()
            .map(|(kind, index)| {
                let one_right = Words::new().with(kind).with(index).with(1_u64).with(1_u64);
                (one_right.with(victim.buffer()).words(), Error::NotYours)
            })
            .collect(),
        // A capability that is the caller's to present.
        Call::cap_narrow => victim
            .page(PageRights::empty())?
            .into_iter()
            .filter(|refused| victim::is_seals(refused.error))
            .map(|refused| {
                let [_, from] = refused.run(page);
                let part = Words::new().with(from).with(u64::from(page.get()));
                let words = part.with(1_u64).with(1_u64).with(victim.buffer());
                (words.words(), refused.error)
            })
            .collect(),
        Call::page_give => {
            let to = victim.second_owner()?;
            one(
                Words::new().with(page).with(1_u64).with(to),
                Error::NotYours,
            )
        }
        // Who takes pages from others harms nobody but itself.
        Call::page_accept => Vec::new(),
        Call::page_limit => one(
            Words::new().with(page).with(1_u64).with(0_u64),
            Error::NotYours,
        ),
        Call::account_create => {
            let none = Words::new().with(0_u64).with(0_u64).with(0_u64).with(0_u64);
            one(none, Error::OverAllowance)
        }
        Call::account_bind => on(victim.account(AccountRights::DRAW)?, |account| account),
        Call::account_destroy => {
            let mut all = on(victim.account(AccountRights::DESTROY)?, |account| account);
            all.extend(one(Words::new().with(Object::Own), Error::MissingRight));
            all
        }
        Call::space_create => one(Words::new().with(page), Error::NotYours),
        // No right to a space is one to destroy it.
        Call::space_destroy => {
            let mut refused = spaces(SpaceRights::empty())?;
            refused.retain(|refused| refused.error != Error::Stale);
            on(refused, |space| space)
        }
        Call::env_create => on(spaces(SpaceRights::JOIN)?, |space| {
            space.with(page).with(at)
        }),
        Call::env_run | Call::env_stop | Call::env_yield => {
            on(environments(EnvironmentRights::SCHEDULE)?, |it| it)
        }
        Call::env_keep => on(environments(EnvironmentRights::KEEP)?, |it| it.with(3_u64)),
        Call::env_debug => on(environments(EnvironmentRights::WRITE_STATE)?, |it| {
            it.with(1_u64)
        }),
        Call::env_read => on(environments(EnvironmentRights::READ_STATE)?, |it| {
            it.with(0_u64).with(victim.buffer()).with(8_u64)
        }),
        Call::env_write => on(environments(EnvironmentRights::WRITE_STATE)?, |it| {
            it.with(0_u64).with(victim.buffer()).with(8_u64)
        }),
        Call::env_destroy => on(environments(EnvironmentRights::DESTROY)?, |it| it),
        // Either right is enough for a gate.
        Call::gate_bind => {
            let either = EnvironmentRights::CALL | EnvironmentRights::SCHEDULE;
            let attempt = |refused: Refused| {
                let words = Words::new().with(0_u64).with(refused.object);
                (words.words(), refused.error)
            };
            environments(either)?.into_iter().map(attempt).collect()
        }
        // No gate was bound.
        Call::gate_unbind | Call::gate_yield | Call::pct_send => {
            one(Words::new().with(0_u64), Error::NoGate)
        }
        Call::pct_call => one(Words::new().with(0_u64).with(0_u64), Error::NoGate),
        // Whoever answers nobody waits itself.
        Call::pct_reply => Vec::new(),
        // One's own upcalls, if any waits.
        Call::upcall_deliver => Vec::new(),
        Call::revoke_request => on(environments(EnvironmentRights::REVOKE)?, |it| {
            it.with(0_u64)
                .with(1_u64)
                .with(1_u64 << 24)
                .with(0_u64)
                .with(3_u64)
        }),
        // A request, and pages of one's own.
        Call::revoke_answer => one(Words::new().with(9_u64).with(0_u64), Error::Stale),
        // Pages of one's own, and a gate.
        Call::msgring_set => one(
            Words::new().with(page).with(1_u64).with(0_u64),
            Error::NotYours,
        ),
        // Whoever ends its ring harms nobody but itself.
        Call::msgring_clear => Vec::new(),
        Call::msgring_send => one(
            Words::new().with(0_u64).with(victim.buffer()).with(8_u64),
            Error::NoGate,
        ),
        Call::revoke_setup => one(
            Words::new().with(page).with(1_u64).with(0_u64),
            Error::NotYours,
        ),
        Call::account_allow => {
            let mut all = on(victim.account(AccountRights::DESTROY)?, |account| {
                account.with(Resource::Pages).with(0_u64)
            });
            let own = Words::new().with(Object::Own);
            let own = own.with(Resource::Slices).with(1_u64);
            all.extend(one(own, Error::MissingRight));
            all
        }
        Call::slice_alloc => {
            let any = || Words::new().with(0_u64).with(u64::MAX);
            let mut all: Vec<_> = environments(EnvironmentRights::SCHEDULE)?
                .into_iter()
                .map(|refused| (any().with(refused.object).words(), refused.error))
                .collect();
            all.extend(one(any().with(Object::Own), Error::OverAllowance));
            all
        }
        // A slice, and who is to run in it. The one that runs is somebody else's.
        Call::slice_bind => {
            let own = Words::new().with(Object::Own);
            let mut all = on(victim.slice(SliceRights::USE)?, |slice| {
                slice.with(Object::Own)
            });
            all.extend(one(own.with(Object::Own), Error::NotYours));
            all
        }
        Call::slice_move => on(victim.slice(SliceRights::MOVE)?, |slice| {
            slice.with(0_u64).with(u64::MAX)
        }),
        Call::slice_free => {
            let mut all = on(victim.slice(SliceRights::FREE)?, |slice| slice);
            all.extend(one(Words::new().with(Object::Own), Error::NotYours));
            all
        }
        Call::dpf_split => on(victim.filter(FilterRights::SPLIT)?, |filter| {
            filter.with(victim.atom()).with(24_u64)
        }),
        Call::dpf_insert => on(victim.filter(FilterRights::REFINE)?, |filter| {
            let atoms = filter.with(0_u64).with(victim.atom()).with(24_u64);
            atoms.with(Object::Own)
        }),
        Call::dpf_delete => on(victim.filter(FilterRights::DELETE)?, |filter| {
            filter.with(0_u64)
        }),
        // A filter, and a ring of one's own.
        Call::dpf_ref | Call::dpf_pktring => {
            let right = if call == Call::dpf_ref {
                FilterRights::SHARE
            } else {
                FilterRights::RECEIVE
            };
            let ring = || victim.ring();
            let mut all = on(victim.filter(right)?, |filter| filter.with(ring()));
            let good = Words::new().with(victim.good_filter()?).with(ring());
            all.push((good.words(), Error::NotYours));
            all
        }
        Call::dpf_unref => {
            let good = Words::new().with(victim.good_filter()?);
            one(good.with(victim.ring()), Error::NotYours)
        }
        // The account's allowance.
        Call::pktring_setring => {
            let pages = Words::new().with(11_u64).with(victim.buffer());
            one(pages.with(8_u64).with(32_u64), Error::OverAllowance)
        }
        Call::pktring_modring => one(
            Words::new().with(victim.ring()).with(0_u64).with(page),
            Error::NotYours,
        ),
        Call::pktring_delring => one(Words::new().with(victim.ring()), Error::NotYours),
        // Whatever a filter below allows, it is not the interface's first.
        Call::nettap => {
            let mut all = on(victim.filter(FilterRights::RECEIVE)?, |filter| {
                filter.with(victim.ring())
            });
            let good = Words::new().with(victim.good_filter()?);
            all.push((good.with(victim.ring()).words(), Error::MissingRight));
            all
        }
        Call::send_refine => on(victim.send(SendRights::REFINE)?, |send| {
            send.with(victim.atom()).with(24_u64)
        }),
        // It belongs to an account, whoever may use it.
        Call::send_delete => {
            let mut refused = victim.send(SendRights::empty())?;
            refused.truncate(1);
            on(refused, |send| send)
        }
        Call::net_xmit => on(victim.send(SendRights::SEND)?, |send| {
            send.with(victim.piece()).with(8_u64).with(u64::MAX)
        }),
    })
}

fn every_call_without_its_right() -> Outcome {
    let victim = Victim::new()?;
    for call in Call::ALL.iter().copied() {
        let before = victim.snapshot()?;
        for (words, expected) in attempts(call, &victim)? {
            let reply = victim.second.call(call, words)?;
            // A batch is refused by operation, once its capability is good.
            let error = match (call, reply.error()) {
                (Call::pte_batch, None) => victim.refusal_in_batch(),
                (_, error) => error,
            };
            let text = alloc::format!("{} with {words:x?} gives {reply:x?}", call.name());
            check_eq!(error, Some(expected), "{text}: its error");
            check!(
                call == Call::pte_batch || reply.status >> 16 == 0,
                "{text}: something was done"
            );
        }
        if let Some(part) = before.change_to(&victim.snapshot()?) {
            let text = alloc::format!("{} has changed {part}", call.name());
            return Err(Failure::new(text));
        }
    }
    victim.close()
}
