//! Four cores on the same objects at once.
//!
//! Only outcomes are judged, and that nothing is lost: what comes when is the machine's affair, so a race that a case is
//! about may not happen in one run. How often it did is what the cases say of themselves. The boot argument `soak=N`
//! makes each N times as long.

mod breaking;
mod copying;
mod ending;
mod tables;
mod victims;

use crate::counters::conserving;
use crate::harness::Suite;

pub(crate) const SUITE: Suite = Suite {
    name: "hammer",
    cases: &[
        ("pages_broken_under_writers", || {
            conserving(breaking::under_writers)
        }),
        ("copies_for_each_core", || {
            conserving(copying::one_for_each_core)
        }),
        ("copies_of_what_all_write", || {
            conserving(copying::of_what_all_write)
        }),
        ("everybody_ends_everything", || {
            conserving(ending::everybody_ends_everything)
        }),
        ("one_end_for_all_who_ask", || {
            conserving(ending::one_end_for_all_who_ask)
        }),
        ("tables_come_and_go", || conserving(tables::come_and_go)),
        ("stopped_and_run_by_all", || {
            conserving(victims::stopped_and_run_by_all)
        }),
    ],
};
