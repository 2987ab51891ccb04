//! Calls as data: each is made by the method of its name.

use exopi_abi::capability::Kind;
use exopi_abi::registers::Outcome;
use exopi_abi::{PageNumber, PageSelect, Reply};
use exopi_pages::{Right, Source};

use super::world::World;
use super::{Call, EXPOSED, Run};
use crate::{Subject, Target};

impl World<'_> {
    pub(super) fn make(&mut self, by: &Subject, call: Call) -> Reply {
        match call {
            Call::Alloc(..)
            | Call::Free(..)
            | Call::Give(..)
            | Call::Accept(_)
            | Call::Retire(..)
            | Call::Break(..)
            | Call::Limit(..) => self.make_of_pages(by, call),
            Call::TableInsert(named, ..)
            | Call::TableRemove(named, ..)
            | Call::Insert(named, ..)
            | Call::InsertNew(named, ..)
            | Call::Remove(named, ..)
            | Call::Protect(named, ..)
            | Call::EnvCreate(named, ..)
            | Call::SpaceDestroy(named) => {
                let (target, verified) = self.named(by, named, Kind::Space);
                let target = verified.as_ref().map_or(target, Target::Verified);
                self.make_of_space(by, target, call)
            }
            Call::AccountBind(named) | Call::AccountDestroy(named) => {
                let (target, verified) = self.named(by, named, Kind::Account);
                let target = verified.as_ref().map_or(target, Target::Verified);
                let (domains, hw) = (&mut self.domains, &mut self.hw);
                match call {
                    Call::AccountBind(_) => domains.account_bind(by, target).into_reply(),
                    _ => domains.account_destroy(hw, by, target).into_reply(),
                }
            }
            Call::Mint(kind, index, count, rights) => {
                let body = self.domains.cap_mint(by, kind, index, count, rights);
                body.map(|body| body.epoch().bits()).into_reply()
            }
            Call::AccountCreate([pages, environments, spaces, accounts]) => self
                .domains
                .account_create(by, pages, environments, spaces, accounts, 0)
                .into_reply(),
            Call::SpaceCreate(root) => {
                let (domains, hw) = (&mut self.domains, &mut self.hw);
                domains.space_create(hw, by, root, EXPOSED).into_reply()
            }
            Call::Allow(named, resource, amount) => {
                let (target, verified) = self.named(by, named, Kind::Account);
                let target = verified.as_ref().map_or(target, Target::Verified);
                let domains = &mut self.domains;
                domains
                    .account_allow(by, target, resource, amount)
                    .into_reply()
            }
            Call::SliceAlloc(..)
            | Call::SliceBind(..)
            | Call::SliceMove(..)
            | Call::SliceFree(_) => self.make_of_slice(by, call),
            Call::Run(named)
            | Call::Stop(named)
            | Call::Yield(named)
            | Call::Keep(named, _)
            | Call::Debug(named, _)
            | Call::Read(named, _)
            | Call::Write(named, _)
            | Call::ConsoleGive(named)
            | Call::Destroy(named) => {
                let (target, verified) = self.named(by, named, Kind::Environment);
                let target = verified.as_ref().map_or(target, Target::Verified);
                self.make_of_environment(by, target, call)
            }
        }
    }

    fn make_of_pages(&mut self, by: &Subject, call: Call) -> Reply {
        let (domains, hw) = (&mut self.domains, &mut self.hw);
        match call {
            Call::Alloc(which, count) => domains.page_alloc(hw, by, which, count).into_reply(),
            Call::Free(run, count) => with_run(by, run, |first, right| {
                domains.page_free(by, right, first, count).into_reply()
            }),
            Call::Give(first, count, to) => domains.page_give(by, first, count, to).into_reply(),
            Call::Accept(count) => domains.page_accept(by, count).into_reply(),
            Call::Retire(run, count) => with_run(by, run, |first, right| {
                domains.page_retire(by, right, first, count).into_reply()
            }),
            Call::Break(run, count) => with_run(by, run, |first, right| {
                domains.page_break(hw, by, right, first, count).into_reply()
            }),
            Call::Limit(first, count, limit) => {
                domains.page_limit(by, first, count, limit).into_reply()
            }
            _ => unreachable!("{call:?} is not about pages"),
        }
    }

    fn make_of_space(&mut self, by: &Subject, space: Target<'_>, call: Call) -> Reply {
        let (domains, hw) = (&mut self.domains, &mut self.hw);
        match call {
            Call::TableInsert(_, at, level, table, links) => domains
                .table_insert(hw, by, space, at, level, table, links)
                .into_reply(),
            Call::TableRemove(_, at, level) => {
                domains.table_remove(hw, by, space, at, level).into_reply()
            }
            Call::Insert(_, at, run, count, access) => with_run(by, run, |first, right| {
                let source = Source::Run(first, right);
                domains
                    .insert_pte(hw, by, space, at, source, count, access)
                    .into_reply()
            }),
            Call::InsertNew(_, at, count, access) => {
                let source = Source::New(PageSelect::Any);
                domains
                    .insert_pte(hw, by, space, at, source, count, access)
                    .into_reply()
            }
            Call::Remove(_, at, count) => domains.remove_pte(hw, by, space, at, count).into_reply(),
            Call::Protect(_, at, count, access) => domains
                .protect_pte(hw, by, space, at, count, access)
                .into_reply(),
            Call::EnvCreate(_, uarea, at) => {
                domains.env_create(hw, by, space, uarea, at).into_reply()
            }
            _ => domains.space_destroy(hw, by, space).into_reply(),
        }
    }

    fn make_of_slice(&mut self, by: &Subject, call: Call) -> Reply {
        let (mut slice, mut environment) = ((Target::Own, None), (Target::Own, None));
        if let Call::SliceBind(named, _) | Call::SliceMove(named, ..) | Call::SliceFree(named) =
            call
        {
            slice = self.named(by, named, Kind::Slice);
        }
        if let Call::SliceAlloc(.., named) | Call::SliceBind(_, named) = call {
            environment = self.named(by, named, Kind::Environment);
        }
        let target = slice.1.as_ref().map_or(slice.0, Target::Verified);
        let to = environment
            .1
            .as_ref()
            .map_or(environment.0, Target::Verified);
        let domains = &mut self.domains;
        match call {
            Call::SliceAlloc(core, position, _) => {
                domains.slice_alloc(by, core, position, to).into_reply()
            }
            Call::SliceBind(..) => domains.slice_bind(by, target, to).into_reply(),
            Call::SliceMove(_, core, position) => {
                domains.slice_move(by, target, core, position).into_reply()
            }
            _ => domains.slice_free(by, target).into_reply(),
        }
    }

    fn make_of_environment(&mut self, by: &Subject, target: Target<'_>, call: Call) -> Reply {
        let now = self.now;
        let (domains, hw) = (&mut self.domains, &mut self.hw);
        let length = |window: crate::Window| window.length;
        match call {
            Call::Run(_) => domains.env_run(by, target).into_reply(),
            Call::Stop(_) => domains.env_stop(by, target).into_reply(),
            Call::Yield(_) => domains.env_yield(by, target, now).into_reply(),
            Call::Keep(_, bit) => domains.env_keep(by, target, bit).into_reply(),
            Call::Debug(_, on) => domains.env_debug(by, target, on).into_reply(),
            Call::Read(_, offset) => {
                let window = domains.env_read(by, target, offset, 4096);
                window.map(length).into_reply()
            }
            Call::Write(_, offset) => {
                let window = domains.env_write(by, target, offset, 4096);
                window.map(length).into_reply()
            }
            Call::ConsoleGive(_) => domains.console_give(by, target).into_reply(),
            _ => domains.env_destroy(hw, by, target).into_reply(),
        }
    }
}

fn with_run<R>(by: &Subject, run: Run, call: impl FnOnce(PageNumber, Right<'_>) -> R) -> R {
    match run {
        Run::Owned(first) => call(first, Right::Owner(by.owner)),
        Run::Cap(first, cap) => {
            let verified = cap.verified(by.name.identity());
            call(first, Right::Verified(&verified))
        }
    }
}
