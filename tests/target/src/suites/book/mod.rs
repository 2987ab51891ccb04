//! The examples of the book's chapters, which include these files: they run here, so that they are true.

mod calls;
mod capabilities;
mod environments;
mod exposed;
mod faults;
pub(crate) mod files;
mod frames;
mod memory;
mod messages;
mod own_tables;
mod revocation;
mod threads;
mod transfers;
mod upcalls;

use crate::harness::Suite;

pub(crate) const SUITE: Suite = Suite {
    name: "book",
    cases: &[
        ("calls", calls::a_service),
        ("capabilities", capabilities::a_page_is_lent),
        ("environments", environments::a_child_of_one_s_own),
        ("exposed", exposed::a_page_is_chosen_and_calls_are_counted),
        ("faults", faults::memory_appears_when_it_is_touched),
        ("files", files::a_card_and_a_pipe),
        ("frames", frames::a_word_to_oneself),
        ("memory", memory::memory_with_a_policy),
        ("messages", messages::a_letter_to_oneself),
        ("own_tables", own_tables::entries_are_read_and_annotated),
        ("revocation", revocation::what_costs_least_goes_first),
        ("threads", threads::threads_and_tasks),
        ("transfers", transfers::a_server_answers),
        ("upcalls", upcalls::another_systems_calls),
    ],
};
