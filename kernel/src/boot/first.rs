//! Lays out the first environment: its space, its u-area, its program out of the boot image.
//!
//! The kernel is its creator, so it does what a libOS does for all others, and by the same operations:
//! pages are allocated for the environment and charged to it, tables are made from its pages, and
//! mappings are made by its ownership. What is wrong with the program refuses the boot image.

use core::fmt;

use elf::ElfBytes;
use elf::abi::{EM_AARCH64, ET_EXEC, PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;
use exopi_abi::boot::{BootError, Program};
use exopi_abi::domain::MAX_ENVIRONMENTS;
use exopi_abi::exposed::File;
use exopi_abi::layout::{self, PAGE_SIZE};
use exopi_abi::page::Owner;
use exopi_abi::{Access, Error, PageNumber, PageSelect, TableLevel, VirtAddr};
use exopi_domains::{Alarm, Alarms, Domains, Revocations, Subject, Tables, Target};
use exopi_pages::{Right, Source};
use exopi_slices::Lengths;
use spin::mutex::{TicketMutex, TicketMutexGuard};

use super::memory::Memory;
use crate::arch::tables::Processor;
use crate::arch::{context, mmu, timer};
use crate::environment::Start;
use crate::exposed;
use crate::network::Room;

/// Why the first environment could not be made.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// The archive is damaged.
    Image(BootError),
    /// The first program is no ELF file.
    NotElf,
    /// It is for another machine than AArch64, little-endian, 64 bits.
    WrongArchitecture,
    /// It is not linked for fixed addresses.
    NotExecutable,
    /// A segment lies outside the file, or where programs cannot map, or shares a page with another.
    BadSegment,
    /// The entry point is in no executable segment.
    BadEntry,
    /// There is not enough memory for it.
    TooLarge,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(error) => return error.fmt(f),
            Self::NotElf => "the first program is not an ELF file",
            Self::WrongArchitecture => "the first program is for another architecture",
            Self::NotExecutable => "the first program is not a static executable",
            Self::BadSegment => "a segment of the first program cannot be placed",
            Self::BadEntry => "the first program's entry point is not in its code",
            Self::TooLarge => "there is not enough memory for the first program",
        }
        .fmt(f)
    }
}

impl From<BootError> for Refusal {
    fn from(error: BootError) -> Self {
        Self::Image(error)
    }
}

/// A refused operation on pages: memory ran out, or the program asked for a place that it cannot have.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Exhausted => Self::TooLarge,
            _ => Self::BadSegment,
        }
    }
}

/// A space under construction.
struct Builder<'k> {
    domains: &'k mut Domains<'static>,
    /// Who it is for: the first account, in the first space.
    by: Subject,
}

impl Builder<'_> {
    fn page(&mut self) -> Result<PageNumber, Refusal> {
        let allocation = self
            .domains
            .page_alloc(&mut Processor, &self.by, PageSelect::Any, 1);
        allocation.progress.unless_stopped()?;
        Ok(allocation.first)
    }

    /// Inserts the tables that `at` needs and that are not there.
    fn tables(&mut self, at: VirtAddr) -> Result<(), Refusal> {
        for level in [TableLevel::Two, TableLevel::Three] {
            let [table, links] = [self.page()?, self.page()?];
            let (domains, by) = (&mut *self.domains, &self.by);
            match domains.table_insert(&mut Processor, by, Target::Own, at, level, table, links) {
                Ok(()) => {}
                Err(Error::Occupied) => {
                    for page in [links, table] {
                        let right = Right::Owner(by.owner);
                        domains.page_free(by, right, page, 1).unless_stopped()?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Maps a fresh page at `at` with `contents` in it, from its byte `offset` on.
    fn place(
        &mut self,
        at: VirtAddr,
        access: Access,
        offset: usize,
        contents: &[u8],
    ) -> Result<(), Refusal> {
        self.tables(at)?;
        let page = self.page()?;
        write(page, offset, contents);
        let source = Source::Run(page, Right::Owner(self.by.owner));
        let (domains, by) = (&mut *self.domains, &self.by);
        domains
            .insert_pte(&mut Processor, by, Target::Own, at, source, 1, access)
            .unless_stopped()?;
        Ok(())
    }

    /// Maps the pages of a segment.
    fn segment(&mut self, header: &ProgramHeader, file: &[u8]) -> Result<(), Refusal> {
        let access = access(header);
        let end = header
            .p_vaddr
            .checked_add(header.p_memsz)
            .filter(|end| *end <= layout::EXPOSED_BASE && header.p_filesz <= header.p_memsz)
            .ok_or(Refusal::BadSegment)?;
        let mut page = header.p_vaddr & !(PAGE_SIZE - 1);
        let mut rest = file;
        while page < end {
            let at = VirtAddr::new(page).ok_or(Refusal::BadSegment)?;
            let offset = header.p_vaddr.saturating_sub(page) as usize;
            let (here, later) = rest.split_at(rest.len().min(PAGE_SIZE as usize - offset));
            self.place(at, access, offset, here)?;
            rest = later;
            page += PAGE_SIZE;
        }
        Ok(())
    }
}

/// Writes `contents`, which fit, into a page that is being made, from its byte `offset` on.
#[expect(unsafe_code, reason = "fills a page through the linear window")]
fn write(page: PageNumber, offset: usize, contents: &[u8]) {
    let to = mmu::linear_page(page) + offset;
    let length = contents.len().min(PAGE_SIZE as usize - offset);
    // SAFETY: the frame was just allocated, lies in the linear window, and nothing else knows of it;
    // what is written stays inside.
    unsafe { core::ptr::copy_nonoverlapping(contents.as_ptr(), to as *mut u8, length) };
}

/// What a segment's flags ask for. One that can be used at all can be read.
fn access(header: &ProgramHeader) -> Access {
    let mut access = Access::READ;
    access.set(Access::WRITE, header.p_flags & PF_W != 0);
    access.set(Access::EXECUTE, header.p_flags & PF_X != 0);
    access
}

/// Checks what can be told from the file's header.
fn parse<'a>(program: &Program<'a>) -> Result<ElfBytes<'a, LittleEndian>, Refusal> {
    if !program.elf.starts_with(b"\x7fELF") {
        return Err(Refusal::NotElf);
    }
    // A big-endian file is refused here: it is for another architecture.
    let file = ElfBytes::<LittleEndian>::minimal_parse(program.elf)
        .map_err(|_| Refusal::WrongArchitecture)?;
    if file.ehdr.class != Class::ELF64 || file.ehdr.e_machine != EM_AARCH64 {
        return Err(Refusal::WrongArchitecture);
    }
    if file.ehdr.e_type != ET_EXEC {
        return Err(Refusal::NotExecutable);
    }
    Ok(file)
}

/// What boot ends with.
pub(super) struct Made {
    /// The first environment, which has core 0.
    pub first: Subject,
    /// Where it begins.
    pub start: Start,
    /// What there is for frames of a network.
    pub network: Room,
}

/// Alarms for all environments, and those of requests to them.
///
/// Called once: a second time would wait for ever.
fn alarms() -> [Alarms<'static>; 2] {
    const ORDER: usize = Alarms::order_length(MAX_ENVIRONMENTS);
    type Memory = TicketMutex<([Alarm; MAX_ENVIRONMENTS], [u16; ORDER])>;
    static CALLS: Memory = TicketMutex::new(([Alarm::NONE; MAX_ENVIRONMENTS], [0; ORDER]));
    static REQUESTS: Memory = TicketMutex::new(([Alarm::NONE; MAX_ENVIRONMENTS], [0; ORDER]));
    [&CALLS, &REQUESTS].map(|memory| {
        let (alarms, order) = TicketMutexGuard::leak(memory.lock());
        Alarms::new(alarms, order)
    })
}

/// Makes in `domains`, in which there is nothing, the first account, space and environment: the environment out of
/// `program`, with `arguments` for it, cut off at a page, on a machine with `cores` cores, whose slices have these
/// lengths. All pages that the kernel does not keep are its account's to use, the archive's among them.
///
/// # Errors
/// What is wrong with the program: the machine ends.
#[inline(never)]
pub(super) fn make(
    domains: &mut Domains<'static>,
    memory: Memory,
    lengths: Lengths,
    cores: u8,
    program: &Program<'_>,
    arguments: &[u8],
) -> Result<Made, Refusal> {
    let file = parse(program)?;
    let segments = file.segments().ok_or(Refusal::BadSegment)?;
    let archive = memory.archive;
    let tables = Tables {
        pages: memory.pages,
        accounts: memory.accounts,
        spaces: memory.spaces,
        environments: memory.environments,
        lives: memory.lives,
        slices: memory.slices,
    };
    let [calls, requests] = alarms();
    domains.set_tables(tables, lengths, cores);
    domains.set_links(&context::InContexts, calls);
    domains.set_revocations(Revocations::new(memory.revocations, requests));
    domains.set_message_rings(memory.message_rings);
    let by = domains.make_first_space(&mut Processor, exposed::root_entry())?;
    let mut builder = Builder { domains, by };
    let entry = file.ehdr.e_entry;
    let mut entry_found = false;
    for header in segments.iter().filter(|header| header.p_type == PT_LOAD) {
        let contents = file
            .segment_data(&header)
            .map_err(|_| Refusal::BadSegment)?;
        builder.segment(&header, contents)?;
        let code = header.p_vaddr..header.p_vaddr.saturating_add(header.p_filesz);
        entry_found |= header.p_flags & PF_X != 0 && code.contains(&entry);
    }
    if !entry_found {
        return Err(Refusal::BadEntry);
    }
    let first = furnish(&mut builder, arguments)?;
    hand_over(builder.domains, first.owner, archive)?;
    Ok(Made {
        network: memory.network,
        first,
        start: Start {
            pc: entry,
            argument_bytes: arguments.len().min(PAGE_SIZE as usize) as u64,
        },
    })
}

/// Maps what the program did not bring: stack, arguments, u-area.
fn furnish(builder: &mut Builder<'_>, arguments: &[u8]) -> Result<Subject, Refusal> {
    let address = |address| VirtAddr::new(address).ok_or(Refusal::BadSegment);
    let data = Access::READ | Access::WRITE;
    for page in 1..=layout::FIRST_STACK_PAGES {
        let at = address(layout::FIRST_STACK_TOP - page * PAGE_SIZE)?;
        builder.place(at, data, 0, &[])?;
    }
    builder.place(address(layout::FIRST_ARGUMENTS)?, data, 0, arguments)?;
    let uarea = builder.page()?;
    let at = address(layout::FIRST_UAREA)?;
    let (domains, by) = (&mut *builder.domains, &builder.by);
    let now = timer::now();
    let first = domains.make_first_environment(&mut Processor, by, uarea, at, now)?;
    context::fill(domains, first.name.index);
    Ok(first)
}

/// Makes the archive's frames pages of `owner`'s, contents and all.
fn hand_over(domains: &mut Domains<'static>, owner: Owner, archive: File) -> Result<(), Refusal> {
    let first = PageNumber::new(archive.first_page as u32);
    let count = archive.bytes.div_ceil(PAGE_SIZE);
    let adopted = domains
        .pages
        .adopt(&mut domains.epochs, owner, first, count);
    domains.endow(adopted.unless_stopped()?);
    Ok(())
}
