//! What a grant leaves out, and that what is handed on is never more.

use std::vec::Vec;

use super::*;
use crate::capability::{
    Kind,
    siphash::{Block, Initial, Start},
};
use crate::{Call, Reply, host};

const ENVIRONMENT: ObjectName = ObjectName {
    index: 9,
    epoch: Epoch::LAST,
};

fn page_cap(rights: PageRights) -> PageCap {
    let body =
        crate::capability::Body::new(rights, 8, 4, Epoch::from_low_bits(77)).expect("a good body");
    let key: Block = [1, 2];
    Cap::new(Capability::new(
        &body,
        body.seal(Start::under(key, Initial::KNOWN)),
    ))
    .expect("of this kind")
}

fn caveats<R: KindRights>(cap: &Cap<R>) -> Vec<Caveat> {
    cap.capability().caveats().collect()
}

#[test]
fn a_kind_is_not_taken_for_another() {
    let pages = page_cap(PageRights::all());
    assert_eq!(
        SpaceCap::from_bytes(&pages.to_bytes()),
        Err(Error::WrongKind)
    );
    assert_eq!(PageCap::from_bytes(&pages.to_bytes()), Ok(pages));
    assert_eq!(PageCap::from_bytes(&[0; 48]), Err(Error::Malformed));
}

#[test]
fn a_grant_names_its_holder_and_leaves_out_what_ends_the_object() {
    let granted = page_cap(PageRights::all()).grant_to(ENVIRONMENT).unwrap();
    let lent = PageRights::READ | PageRights::WRITE | PageRights::EXECUTE | PageRights::PIN;
    assert_eq!(granted.rights(), lent);
    assert!(matches!(
        caveats(&granted).as_slice(),
        [Caveat::Rights(mask), Caveat::Holder(hint)]
            if mask.bits() == lent.bits() && hint.get() == 9
    ));
}

#[test]
fn a_grant_spends_no_caveat_on_rights_that_are_not_there() {
    let granted = page_cap(PageRights::READ).grant_to(ENVIRONMENT).unwrap();
    assert!(matches!(caveats(&granted).as_slice(), [Caveat::Holder(_)]));
    let anyone = page_cap(PageRights::READ).grant_to_anyone().unwrap();
    assert!(caveats(&anyone).is_empty());
}

#[test]
fn withheld_rights_are_lent_when_they_are_named() {
    let all = page_cap(PageRights::all());
    let granted = all
        .grant_rights_to(PageRights::READ | PageRights::FREE, ENVIRONMENT)
        .unwrap();
    assert_eq!(granted.rights(), PageRights::READ | PageRights::FREE);
    assert_eq!(
        all.grant_to_anyone().unwrap().rights() & PageRights::FREE,
        PageRights::empty()
    );
}

#[test]
fn each_kind_lends_what_it_does_not_withhold() {
    assert_eq!(lent::<AccountRights>(), AccountRights::DRAW);
    assert_eq!(
        lent::<EnvironmentRights>(),
        EnvironmentRights::all() - EnvironmentRights::DESTROY
    );
    assert_eq!(lent::<SpaceRights>(), SpaceRights::all());
}

#[test]
fn narrowing_in_user_space_ends_when_caveats_are_full() {
    let badge = Badge::new(5).unwrap();
    let second = Second::new(60).unwrap();
    let cap = page_cap(PageRights::all());
    let full = cap.keep(PageRights::READ).unwrap();
    let full = full.badge(badge).unwrap().until(second).unwrap();
    assert_eq!(full.only_for(ENVIRONMENT), Err(Error::CaveatsFull));
    assert_eq!(full.keep(PageRights::empty()), Err(Error::CaveatsFull));
    assert_eq!(
        full.keep(PageRights::READ),
        Ok(full),
        "nothing to take away"
    );
}

#[test]
fn minting_and_narrowing_are_calls_whose_answers_are_read_as_hostile() {
    let minted = page_cap(PageRights::READ);
    let words = minted.capability().words();
    host::serve(move |call, arguments| {
        let into = match call {
            Call::cap_mint => {
                assert_eq!(arguments[..4], [Kind::Page as u64, 8, 4, 1]);
                arguments[4]
            }
            Call::cap_narrow => {
                assert_eq!(arguments[1..4], [9, 1, 3]);
                arguments[4]
            }
            other => panic!("{other:?}"),
        };
        #[expect(unsafe_code, reason = "a kernel's store to where the caller says")]
        // SAFETY: the stub's argument is a borrow of six words that lasts for the call.
        unsafe {
            (into as *mut [u64; CAPABILITY_WORDS]).write(words);
        }
        Reply::success(0)
    });
    assert_eq!(PageCap::mint(8, 4, PageRights::READ), Ok(minted));
    let rights = PageRights::READ | PageRights::WRITE;
    assert_eq!(minted.narrow(9, 1, rights), Ok(minted));
    // A kernel that writes nothing has made no capability.
    host::serve(|_, _| Reply::success(0));
    assert_eq!(PageCap::mint(8, 4, PageRights::READ), Err(Error::Malformed));
    host::install(None);
}

#[test]
fn a_run_lies_in_what_the_capability_is_for() {
    let cap = page_cap(PageRights::READ);
    assert!(matches!(cap.run(3), Some(PageRun::Presented(page, _)) if page.get() == 11));
    assert_eq!(cap.run(4), None);
    assert_eq!(cap.run(u64::MAX), None);
}
