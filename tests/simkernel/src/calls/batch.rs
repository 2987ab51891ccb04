//! Many operations on one space by one call, each decoded and carried out as the call that it names.

use exopi_abi::page::{BATCH_BOUND, BATCH_MAPPINGS};
use exopi_abi::{
    Call, Error, Object, OnRefusal, Operation, Progress, Reply, UserOperations, calls,
};

use crate::Kernel;

impl Kernel<'_> {
    pub(super) fn carry_out_all(
        &mut self,
        space: Object<'_>,
        operations: &UserOperations<'_>,
        on_refusal: OnRefusal,
    ) -> Progress {
        if let Object::Presented(space) = space
            && let Err(error) = self.presented(space)
        {
            return Progress::refused(error);
        }
        if operations.count() == 0 {
            return Progress::refused(Error::BadCount);
        }
        let mut progress = Progress {
            done: 0,
            stopped: None,
        };
        let mut mappings = 0;
        while progress.done < operations.count().min(BATCH_BOUND) && mappings < BATCH_MAPPINGS {
            let at = operations.address() + progress.done * size_of::<Operation>() as u64;
            let [call, arguments @ ..] = match self.read_operation(at) {
                Ok(words) => words,
                Err(error) => {
                    progress.stopped = Some(error);
                    break;
                }
            };
            let (reply, worked, whole) = self.carry_out(space, call, arguments);
            progress.done += 1;
            mappings += worked;
            progress.stopped = self.write_result(at, reply).err();
            if progress.stopped.is_some() || !(whole || on_refusal == OnRefusal::GoOn) {
                break;
            }
        }
        progress
    }

    /// What cannot be told must not be done: the place of the result is written before.
    fn read_operation(&mut self, at: u64) -> Result<[u64; 6], Error> {
        let words = self.user(|user| user.read_words(at))?;
        self.write_result(at, Reply::success(0))?;
        Ok(words)
    }

    fn write_result(&mut self, at: u64, reply: Reply) -> Result<(), Error> {
        let at = at + core::mem::offset_of!(Operation, status) as u64;
        self.user(|user| {
            user.write_word(at, reply.status)?;
            user.write_word(at + 8, reply.value)
        })
    }

    /// One operation: its reply, how many mappings it counts for, and whether it did all that it was to do.
    fn carry_out(
        &mut self,
        space: Object<'_>,
        number: u64,
        arguments: [u64; 5],
    ) -> (Reply, u64, bool) {
        let call = u16::try_from(number).ok().and_then(Call::from_number);
        let count = match call {
            Some(Call::insert_pte | Call::insert_superpage) => arguments[3],
            Some(Call::remove_pte | Call::protect_pte) => arguments[1],
            Some(Call::pte_note) => 1,
            _ => return (Reply::refusal(Error::Malformed), 1, false),
        };
        let [a, b, c, d, e] = arguments;
        let space = space_word(space);
        let reply = calls::dispatch(self, number as u16, [space, a, b, c, d, e]);
        let good = reply.error().is_none();
        if call == Some(Call::pte_note) {
            return (reply, 1, good);
        }
        let done = reply.status >> 16;
        let weight = Operation::weight(call, arguments, done);
        (reply, weight, good && done == count)
    }
}

/// The word that a space came in.
fn space_word(space: Object<'_>) -> u64 {
    use exopi_abi::registers::{Argument, Arguments};
    let mut into = Arguments::new([0; 6]);
    space.encode(&mut into);
    into.words()[0]
}
