//! A step by whoever runs, made on the simulated kernel and judged.

use std::collections::BTreeMap;

use exopi_abi::capability::CAPABILITY_WORDS;
use exopi_abi::domain::ObjectName;
use exopi_abi::layout::FIRST_UAREA;
use exopi_abi::page::BATCH_BOUND;
use exopi_abi::{Access, Call, Operation, PageNumber, Reply};
use exopi_pages::model::Machine;
use exopi_sequence::stage::{OPERATIONS, STORE, operations_address, slot_address};
use exopi_sequence::{Edit, Step};
use exopi_simkernel::Kernel;
use exopi_simkernel::el0::Use;

use super::oracle::{Made, Oracle, Reach, Verdict, Words};

/// The words at an address of the running environment's memory.
pub(crate) fn words_at(kernel: &Kernel<'_>, at: u64) -> Option<Words> {
    let mut words = [0; CAPABILITY_WORDS];
    for (word, offset) in words.iter_mut().zip((0..).step_by(8)) {
        *word = kernel.load(at.checked_add(offset)?).ok()?;
    }
    at.is_multiple_of(8).then_some(words)
}

/// A kernel, and what is known of those who run on it.
pub(crate) struct Judged<'m> {
    pub(crate) kernel: Kernel<'m>,
    pub(crate) oracle: Oracle,
}

/// The value of a call that everything begins with.
pub(crate) fn carried_out(call: Call, words: [u64; 6], reply: Option<Reply>) -> Verdict<u64> {
    match reply {
        Some(reply) if reply.error().is_none() => Ok(reply.value),
        reply => Err(format!("{call:?} {words:x?} begins with {reply:x?}")),
    }
}

impl<'m> Judged<'m> {
    /// A kernel that has just booted, with its first environment.
    pub(crate) fn boot(kernel: Kernel<'m>) -> Self {
        let mut oracle = Oracle::new(kernel.domains().pages.len());
        oracle.seconds = kernel.seconds;
        let first = kernel.first();
        let [root, tables @ ..] = first.tables.map(PageNumber::get);
        oracle.boot(first.account, first.space, root, first.environment);
        for [table, links] in tables.as_chunks().0 {
            oracle.boot_table(first.space, *table, *links);
        }
        oracle.boot_uarea(first.environment, FIRST_UAREA, first.uarea.get());
        let access = Access::READ | Access::WRITE;
        oracle.boot_mapping(first.space, STORE, first.store.get(), access);
        Self { kernel, oracle }
    }

    pub(crate) fn write_words(&mut self, at: u64, words: Words) -> bool {
        self.oracle
            .forget(self.kernel.running(), at, size_of::<Words>() as u64);
        let places = (at..).step_by(8);
        let mut pairs = places.zip(words);
        pairs.all(|(at, word)| self.kernel.store(at, word).is_ok())
    }

    /// Makes a step, and checks everything. A call's reply. `closely`: also whether a refused call has left the
    /// machine as it was.
    pub(crate) fn step(&mut self, step: &Step, closely: bool) -> Verdict<Option<Reply>> {
        let me = self.kernel.running();
        let reply = match *step {
            Step::Call {
                number,
                words,
                operations,
            } => Some(self.call(number, words, operations, closely)?),
            Step::Load { at } => {
                match self.kernel.load(at) {
                    Ok(value) => self.oracle.loaded(me, at, value)?,
                    Err(_) => self.oracle.faulted(me, at, Use::Load)?,
                }
                None
            }
            Step::Store { at, value } => {
                match self.kernel.store(at, value) {
                    Ok(()) => self.oracle.stored(me, at, value),
                    Err(_) => self.oracle.faulted(me, at, Use::Store)?,
                }
                None
            }
            Step::Fetch { at } => {
                if self.kernel.fetch(at).is_err() {
                    self.oracle.faulted(me, at, Use::Fetch)?;
                }
                None
            }
            Step::Edit(edit) => {
                self.edit(&edit);
                None
            }
        };
        Ok(reply)
    }

    fn edit(&mut self, edit: &Edit) {
        let (from, to) = (slot_address(edit.source()), slot_address(edit.target()));
        let (Some(source), Some(target)) =
            (words_at(&self.kernel, from), words_at(&self.kernel, to))
        else {
            return;
        };
        if let Ok(words) = edit.apply(source, target)
            && self.write_words(to, words)
            && let Edit::Attenuate { restriction, .. } = edit
        {
            self.oracle.attenuated(&source, *restriction);
        }
    }

    fn call(
        &mut self,
        number: u16,
        words: [u64; 6],
        operations: Option<[Operation; OPERATIONS]>,
        closely: bool,
    ) -> Verdict<Reply> {
        for (index, operation) in operations.iter().flatten().enumerate() {
            self.write_operation(index, operation);
        }
        let me = self.kernel.running();
        let arguments = words
            .into_iter()
            .chain(operations.iter().flatten().flat_map(|one| one.arguments));
        let presented: BTreeMap<u64, Words> = arguments
            .filter_map(|at| Some((at, words_at(&self.kernel, at)?)))
            .collect();
        let batch = Call::from_number(number) == Some(Call::pte_batch);
        let asked = batch.then(|| self.operations(words[1], words[2]));
        let before = self.kernel.snapshot();
        let machine = closely.then(|| self.kernel.machine().clone());
        let core = self.kernel.core();
        let reply = self.kernel.dispatch(number, words);
        let then = self.kernel.is_busy(core).then(|| self.kernel.running());
        let after = self.kernel.snapshot();
        let refused = reply.error().is_some() && reply.status >> 16 == 0;
        // Some have an effect, too: a break goes on behind it, and an answer that comes too late ends the call.
        let breaks = matches!(
            Call::from_number(number),
            Some(Call::page_break | Call::pct_reply)
        );
        // A call that is busy has asked for an interrupt, which has come.
        let busy = reply.error() == Some(exopi_abi::Error::Busy);
        let mut looked_at = !closely && refused;
        if refused && !breaks && !busy {
            if let Some(difference) = before.difference(&after) {
                return Err(format!(
                    "a call refused with {reply:x?} has changed {difference}"
                ));
            }
            match machine {
                // What has changed nothing at all has been looked at before.
                Some(machine) if machine == *self.kernel.machine() => looked_at = true,
                Some(machine) if !self.has_memory_of(&machine) => {
                    return Err(format!("a call refused with {reply:x?} has changed memory"));
                }
                _ => {}
            }
        }
        self.kernel.leave();
        let fresh = before.taken(&after);
        let mut operations = asked.unwrap_or_default();
        if self.kernel.is_busy(core) && self.kernel.running() == me {
            for (operation, done) in operations
                .iter_mut()
                .zip(self.operations(words[1], words[2]))
            {
                (operation.status, operation.value) = (done.status, done.value);
            }
        }
        let kernel = &self.kernel;
        let made = Made {
            by: me,
            number,
            words,
            reply,
            operations,
            before: &|at| presented.get(&at).copied(),
            after: &|at| words_at(kernel, at),
            entry: &|space, at| kernel.frame_in(space, at),
            fresh,
            then,
        };
        self.oracle.call(&made)?;
        // A batch has perhaps told a result before it was refused; others have written nothing then.
        if !refused || batch {
            self.forget(me, number, &words);
        }
        if !looked_at || breaks || busy {
            self.check()?;
        }
        Ok(reply)
    }

    /// Whether memory is as it was.
    fn has_memory_of(&self, before: &Machine) -> bool {
        let frames = (0..self.kernel.domains().pages.len() as u32).map(PageNumber::new);
        let now = self.kernel.machine();
        frames
            .into_iter()
            .all(|frame| before.contents(frame) == now.contents(frame))
    }

    /// Pages in which the kernel may have written for the caller.
    fn forget(&mut self, me: ObjectName, number: u16, words: &[u64; 6]) {
        let written = match Call::from_number(number) {
            Some(Call::cap_mint | Call::cap_narrow) => (words[4], 48),
            Some(Call::env_read) => (words[2], words[3]),
            Some(Call::console_read) => (words[0], words[1]),
            Some(Call::pte_batch) => (words[1], words[2].saturating_mul(64)),
            _ => return,
        };
        self.oracle.forget(me, written.0, written.1.min(4096));
    }

    fn write_operation(&mut self, index: usize, operation: &Operation) {
        let [a, b, c, d, e] = operation.arguments;
        let words = [operation.call, a, b, c, d, e, 0, 0];
        let at = operations_address() + (index * size_of::<Operation>()) as u64;
        self.oracle
            .forget(self.kernel.running(), at, size_of::<Operation>() as u64);
        for (at, word) in (at..).step_by(8).zip(words) {
            // Without a store there is nothing to write to, and the call will say so.
            let _ = self.kernel.store(at, word);
        }
    }

    /// The operations of a batch, as far as they can be read.
    fn operations(&self, at: u64, count: u64) -> Vec<Operation> {
        let read = |at| self.kernel.load(at).ok();
        let operation = |index: u64| {
            let at = at.checked_add(index * size_of::<Operation>() as u64)?;
            let mut words = [0; 8];
            for (word, offset) in words.iter_mut().zip((0..).step_by(8)) {
                *word = read(at.checked_add(offset)?)?;
            }
            let [call, a, b, c, d, e, status, value] = words;
            Some(Operation {
                call,
                arguments: [a, b, c, d, e],
                status,
                value,
            })
        };
        (0..count.min(BATCH_BOUND)).map_while(operation).collect()
    }

    /// All that must hold between two steps.
    pub(crate) fn check(&self) -> Verdict {
        self.kernel.check()?;
        let machine = self.kernel.machine();
        self.oracle
            .contents(|page| machine.contents(PageNumber::new(page)))?;
        self.oracle
            .reach(self.kernel.translations().map(|(space, at, found)| Reach {
                space,
                at,
                page: found.frame.get(),
                pages: found.pages,
                write: found.write,
                execute: found.execute,
            }))
    }
}
