//! One target of `exopi-fuzz`, named by `FUZZ_TARGET`, under libFuzzer: `make fuzz` says how it is built.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<exopi_fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let mut targets = exopi_fuzz::TARGETS.into_iter();
    let found = targets.find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET is no target: {name:?}")).1
});

fuzz_target!(|bytes: &[u8]| (*TARGET)(bytes));
