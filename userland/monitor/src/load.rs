//! Running another program of the boot image: in a space and with an account of its own, under the monitor's
//! eyes.
//!
//! ```text
//!   archive (own pages, mapped read-only) --ELF segments--> pages of the child's account --> its space
//!   saved state, stack, arguments ----------------------------------------------------------> u-area
//!   keep, give the console, run ... notice: gone or suspended ... destroy the account: all comes back
//! ```
#![expect(unsafe_code, reason = "reads the archive, and fills pages by address")]

use elf::ElfBytes;
use elf::abi::{PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use exopi_rt::account::Allowance;
use exopi_rt::boot::{Archive, Program};
use exopi_rt::domain::{EnvironmentState, Resource};
use exopi_rt::environment::yield_now;
use exopi_rt::layout::{self, PAGE_SIZE};
use exopi_rt::uarea::Frame;
use exopi_rt::upcall::FaultCause;
use exopi_rt::{
    Access, Account, Environment, Error, PageNumber, PageSelect, PageSource, Space, VirtAddr,
    exposed, memory, println, space, tables,
};

/// Where the monitor maps the archive: far from its own image and heap.
const ARCHIVE_AT: u64 = 0x20_0000_0000;
/// Where it maps a page that it fills for somebody else.
const SCRATCH: u64 = ARCHIVE_AT - 2 * PAGE_SIZE;

const RW: Access = Access::READ.union(Access::WRITE);

/// Why a program was not run.
#[derive(Debug)]
pub enum Refusal {
    /// There is no such program.
    Unknown,
    /// It is no program that this loader understands.
    NotLoadable,
    /// The kernel said no.
    Kernel(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl From<elf::ParseError> for Refusal {
    fn from(_: elf::ParseError) -> Self {
        Self::NotLoadable
    }
}

/// The boot image's archive, mapped.
///
/// # Errors
/// The kernel's refusal to map it, or that it is none any more.
pub fn archive() -> Result<Archive<'static>, Refusal> {
    let file = exposed::header().archive;
    let at = address(ARCHIVE_AT)?;
    if tables::mapping_of(ARCHIVE_AT).is_none() {
        let first = u32::try_from(file.first_page).map_err(|_| Error::OutOfRange)?;
        let source = PageSource::owned(PageNumber::new(first));
        let pages = file.bytes.div_ceil(PAGE_SIZE);
        Space::Own
            .map(at, source, pages, Access::READ)
            .unless_stopped()?;
    }
    // SAFETY: all of it is mapped, read-only, and nobody writes it or unmaps it.
    let bytes = unsafe { core::slice::from_raw_parts(at.get() as *const u8, file.bytes as usize) };
    Archive::parse(bytes).map_err(|_| Refusal::NotLoadable)
}

/// Lists the programs.
///
/// # Errors
/// As for [`archive`].
pub fn list() -> Result<(), Refusal> {
    for program in archive()?.programs() {
        println!("{:>9} bytes  {}", program.elf.len(), program.name);
    }
    Ok(())
}

/// Runs the program `name` with the line `arguments` until it is gone or suspended. It has the console so long,
/// and half of what the monitor could use.
///
/// # Errors
/// Why it was not run. What it took has come back.
pub fn run(name: &str, arguments: &str) -> Result<(), Refusal> {
    let archive = archive()?;
    let program = archive.programs().find(|program| program.name == name);
    let program = program.ok_or(Refusal::Unknown)?;
    // Tables of the monitor's space are the monitor's.
    memory::supply_tables(address(SCRATCH)?)?;
    let account = Account::create(half().ok_or(Error::Stale)?)?;
    let outcome = run_in(account, &program, arguments);
    // With everything that is charged to it, however it ended.
    Account::Own.bind()?;
    account.destroy()?;
    // The console is the monitor's again.
    if let Some(saved) = outcome? {
        let cause = FaultCause::decode(saved.esr, saved.far);
        println!("suspended: {cause:x?}, at pc {:#x}", saved.pc);
    }
    Ok(())
}

/// Half of what the monitor's account has left.
fn half() -> Option<Allowance> {
    let record = Account::Own.record()?;
    let left = |resource: Resource| {
        let resource = resource as usize;
        record.allowance[resource].saturating_sub(record.used[resource]) / 2
    };
    Some(Allowance {
        pages: left(Resource::Pages),
        environments: left(Resource::Environments),
        spaces: left(Resource::Spaces),
        accounts: left(Resource::Accounts),
    })
}

/// Draws on the program's account from the first line on. So nothing here may use the heap: a page by which it
/// grew would go with the account.
fn run_in(
    account: Account<'_>,
    program: &Program<'_>,
    arguments: &str,
) -> Result<Option<Frame>, Refusal> {
    account.bind()?;
    let space = space::create()?;
    let entry = load(space, program.elf)?;
    let environment = furnish(space, entry, arguments)?;
    environment.give_console()?;
    environment.run(0)?;
    Ok(watch(environment)?)
}

/// Maps the program's segments; gives its first instruction.
fn load(space: Space<'_>, file: &[u8]) -> Result<u64, Refusal> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    for header in elf.segments().ok_or(Refusal::NotLoadable)? {
        if header.p_type != PT_LOAD {
            continue;
        }
        let mut access = Access::READ;
        access.set(Access::WRITE, header.p_flags & PF_W != 0);
        access.set(Access::EXECUTE, header.p_flags & PF_X != 0);
        let mut rest = elf.segment_data(&header)?;
        let end = header.p_vaddr.saturating_add(header.p_memsz);
        let mut page = header.p_vaddr & !(PAGE_SIZE - 1);
        while page < end {
            let offset = header.p_vaddr.saturating_sub(page) as usize;
            let (here, later) = rest.split_at(rest.len().min(PAGE_SIZE as usize - offset));
            place(space, page, access, offset, here)?;
            rest = later;
            page += PAGE_SIZE;
        }
    }
    Ok(elf.ehdr.e_entry)
}

/// What every program finds: a stack, its arguments, and a u-area with the state to begin with.
fn furnish(space: Space<'_>, entry: u64, arguments: &str) -> Result<Environment<'static>, Refusal> {
    let stack = address(layout::FIRST_STACK_TOP - layout::FIRST_STACK_PAGES * PAGE_SIZE)?;
    let new = PageSource::New(PageSelect::Any);
    space
        .map(stack, new, layout::FIRST_STACK_PAGES, RW)
        .unless_stopped()?;
    let length = arguments.len().min(PAGE_SIZE as usize);
    place(
        space,
        layout::FIRST_ARGUMENTS,
        RW,
        0,
        &arguments.as_bytes()[..length],
    )?;
    let uarea = fill(0, &[])?;
    let environment = Environment::create(space, uarea, address(layout::FIRST_UAREA)?)?;
    let mut saved = Frame {
        pc: entry,
        sp: layout::FIRST_STACK_TOP,
        held: 1,
        ..Frame::default()
    };
    saved.x[0] = layout::FIRST_ARGUMENTS;
    saved.x[1] = length as u64;
    environment.set_saved(&saved)?;
    Ok(environment)
}

/// Maps a new page at `at` with `contents` from its byte `offset` on, and zeros around them.
fn place(
    space: Space<'_>,
    at: u64,
    access: Access,
    offset: usize,
    contents: &[u8],
) -> Result<(), Refusal> {
    let page = fill(offset, contents)?;
    space
        .map(address(at)?, PageSource::owned(page), 1, access)
        .unless_stopped()?;
    Ok(())
}

/// A new page with `contents`, which fit, and zeros around them. Mapped nowhere.
fn fill(offset: usize, contents: &[u8]) -> Result<PageNumber, Refusal> {
    let scratch = address(SCRATCH)?;
    let page = memory::map_new(scratch, RW)?;
    // SAFETY: a whole page was mapped here just now, for this alone.
    let memory =
        unsafe { core::slice::from_raw_parts_mut(scratch.get() as *mut u8, PAGE_SIZE as usize) };
    memory.fill(0);
    for (to, byte) in memory.iter_mut().skip(offset).zip(contents) {
        *to = *byte;
    }
    // SAFETY: the slice above is not used any more.
    unsafe { memory::unmap(scratch) }?;
    Ok(page)
}

fn address(address: u64) -> Result<VirtAddr, Error> {
    VirtAddr::new(address).ok_or(Error::BadAddress)
}

/// Lets the program run until it is gone, or suspended: then with the state that tells why.
fn watch(environment: Environment<'_>) -> Result<Option<Frame>, Error> {
    loop {
        let life = environment.life();
        match life.state() {
            EnvironmentState::Free | EnvironmentState::Dying => return Ok(None),
            // While it leaves its core, its state is on its way and not to be had.
            EnvironmentState::Suspended if life.core().is_none() => {
                return environment.saved().map(Some);
            }
            _ => yield_now(),
        }
    }
}
