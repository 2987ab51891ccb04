//! One more environment, made by calls: with an account, a space and a store of its own.

use exopi_abi::Call;
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::layout::FIRST_UAREA;
use exopi_sequence::stage::{AREA, STORE};

/// Pages that such an environment needs before it has any of its own: its root; two tables with their links
/// each for the store, the u-area and the area; the store, the u-area.
pub const NEEDED: u64 = 1 + 3 * 4 + 2;

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founded {
    /// Its account, a child of the maker's.
    pub account: ObjectName,
    /// Its space.
    pub space: ObjectName,
    /// The environment, which has a slice on its core.
    pub environment: ObjectName,
}

/// The word of an object that is named as owned.
pub const fn owned(name: ObjectName) -> u64 {
    1 << 56 | name.word() & ((1 << 56) - 1)
}

/// Makes an environment with room for `pages` more, with a slice on `core`. The calls are made by `call`, and are the
/// first environment's, which draws on its own account in the end.
///
/// # Errors
/// What a call was refused with.
pub fn found<E>(
    core: u8,
    pages: u64,
    mut call: impl FnMut(Call, [u64; 6]) -> Result<u64, E>,
) -> Result<Founded, E> {
    let account = call(Call::account_create, [NEEDED + pages, 2, 2, 1, 0, 0])?;
    let account = ObjectName::from_word(account);
    let slices = Resource::Slices as u64;
    call(Call::account_allow, [owned(account), slices, 2, 0, 0, 0])?;
    call(Call::account_bind, [owned(account), 0, 0, 0, 0, 0])?;
    let mut page = || call(Call::page_alloc, [1 << 56, 1, 0, 0, 0, 0]);
    let [root, store, uarea] = [page()?, page()?, page()?];
    let mut tables = Vec::new();
    for _ in 0..3 * 4 {
        tables.push(page()?);
    }
    let space = ObjectName::from_word(call(Call::space_create, [root, 0, 0, 0, 0, 0])?);
    let places = [STORE, FIRST_UAREA, AREA]
        .into_iter()
        .flat_map(|at| [(at, 2), (at, 3)]);
    for ((at, level), [table, links]) in places.zip(tables.as_chunks().0) {
        call(
            Call::table_insert,
            [owned(space), at, level, *table, *links, 0],
        )?;
    }
    call(Call::insert_pte, [owned(space), STORE, store, 0, 1, 3])?;
    let environment = call(
        Call::env_create,
        [owned(space), uarea, FIRST_UAREA, 0, 0, 0],
    )?;
    let environment = ObjectName::from_word(environment);
    let slice = [core.into(), u64::MAX, owned(environment), 0, 0, 0];
    call(Call::slice_alloc, slice)?;
    call(Call::env_run, [owned(environment), 0, 0, 0, 0, 0])?;
    call(Call::account_bind, [0; 6])?;
    Ok(Founded {
        account,
        space,
        environment,
    })
}
