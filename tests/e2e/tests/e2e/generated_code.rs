//! Generated code runs on the processor where nobody can write it.

use exopi_abi::exit;
use exopi_e2e::{Run, selftest_kernel};

fn with(test: &str) -> Run {
    let asked = format!("selftest={test}");
    let arguments = ["--program", "minimal", "--append", &asked];
    Run::from(Run::command().arg(selftest_kernel()).args(arguments))
}

#[test]
fn predicates_run_where_nobody_writes() {
    with("generated-code")
        .ends_with(0)
        .prints("generated code, where it runs: read true, written false")
        .prints("generated code, linear window: read false, written false")
        .prints("generated code, alias: read false, written false")
        .prints("generated code, 65 sleepers: Done, then Woken(64, Tag(65))")
        .prints("generated code: good")
        .prints("minimal: hello");
}

#[test]
fn a_store_to_code_is_a_failure_of_the_kernel() {
    with("store-to-code")
        .ends_with(exit::KERNEL_FAILURE)
        .prints("data abort, write to 0xffffffffc0200000: permission fault, level 2");
}

/// Among a thousand filters each frame is found its own, and libpcap's programs, interpreted, say the same.
#[test]
fn filters_run_as_code() {
    with("filters")
        .ends_with(0)
        .prints("filters: a frame of each of 1000 takes ")
        .prints("filters: measured")
        // The emulator does not count here.
        .never_prints("B dpf_1 ");
}
