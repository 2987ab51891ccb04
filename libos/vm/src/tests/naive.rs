//! Random operations against what a program would expect: bytes, and which accesses are allowed.

use std::collections::BTreeMap;
use std::vec::Vec;

use exopi_rt::page::FrameType;
use exopi_rt::{Access, VirtAddr};
use proptest::prelude::*;

use super::{NOTHING, R, RW, Space, nth, space};
use crate::fault::Verdict;
use crate::region::{Options, Place};
use crate::supply::Pool;

/// A region as the program thinks of it: of each page one byte and the access.
#[derive(Clone)]
struct Naive {
    bytes: Vec<u8>,
    access: Vec<Access>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Reserve {
        pages: u64,
        guards: u64,
        access: usize,
        superpages: bool,
    },
    Store {
        region: usize,
        page: u64,
        byte: u8,
    },
    Load {
        region: usize,
        page: u64,
    },
    Protect {
        region: usize,
        from: u64,
        count: u64,
        access: usize,
    },
    ProtectEach {
        region: usize,
        stride: u64,
        access: usize,
    },
    Populate {
        region: usize,
        from: u64,
        count: u64,
    },
    Discard {
        region: usize,
        from: u64,
        count: u64,
    },
    Copy {
        region: usize,
    },
    Release {
        region: usize,
    },
    Alone {
        alone: bool,
    },
}

const ACCESSES: [Access; 5] = [
    NOTHING,
    R,
    RW,
    Access::READ.union(Access::EXECUTE),
    Access::all(),
];

fn step() -> impl Strategy<Value = Step> {
    let region = || any::<usize>();
    let page = || 0..1200u64;
    let access = || 0..ACCESSES.len();
    prop_oneof![
        2 => (prop_oneof![1..20u64, 500..1100u64], 0..3u64, access(), any::<bool>())
            .prop_map(|(pages, guards, access, superpages)| Step::Reserve { pages, guards, access, superpages }),
        8 => (region(), page(), any::<u8>()).prop_map(|(region, page, byte)| Step::Store { region, page, byte }),
        8 => (region(), page()).prop_map(|(region, page)| Step::Load { region, page }),
        4 => (region(), page(), page(), access())
            .prop_map(|(region, from, count, access)| Step::Protect { region, from, count, access }),
        2 => (region(), 1..9u64, access())
            .prop_map(|(region, stride, access)| Step::ProtectEach { region, stride, access }),
        1 => (region(), page(), 1..40u64).prop_map(|(region, from, count)| Step::Populate { region, from, count }),
        1 => (region(), page(), page()).prop_map(|(region, from, count)| Step::Discard { region, from, count }),
        2 => region().prop_map(|region| Step::Copy { region }),
        2 => region().prop_map(|region| Step::Release { region }),
        1 => any::<bool>().prop_map(|alone| Step::Alone { alone }),
    ]
}

struct World {
    space: Space,
    regions: BTreeMap<VirtAddr, Naive>,
}

impl World {
    fn pick(&self, which: usize) -> Option<(VirtAddr, u64)> {
        let count = self.regions.len();
        let (start, naive) = self.regions.iter().nth(which.checked_rem(count)?)?;
        Some((*start, naive.bytes.len() as u64))
    }

    fn range(&self, which: usize, from: u64, count: u64) -> Option<(VirtAddr, u64, u64)> {
        let (start, pages) = self.pick(which)?;
        let from = from % pages;
        Some((start, from, 1 + count % (pages - from)))
    }

    fn set_access(&mut self, start: VirtAddr, pages: impl Iterator<Item = u64>, access: Access) {
        let naive = self.regions.get_mut(&start).unwrap();
        for page in pages {
            naive.access[page as usize] = access;
        }
    }

    fn step(&mut self, step: Step) -> Option<()> {
        match step {
            Step::Reserve {
                pages,
                guards,
                access,
                superpages,
            } => {
                let access = ACCESSES[access];
                let options = Options {
                    guards,
                    access,
                    superpages,
                    ..Options::default()
                };
                if self.regions.len() < 5 {
                    let start = self.space.reserve(Place::Any, pages, options).unwrap();
                    let (bytes, access) = (vec![0; pages as usize], vec![access; pages as usize]);
                    self.regions.insert(start, Naive { bytes, access });
                }
            }
            Step::Store { region, page, byte } => {
                let (start, page, _) = self.range(region, page, 0)?;
                let naive = self.regions.get_mut(&start)?;
                let stored = self.space.store(nth(start, page).get() + 5, byte);
                if naive.access[page as usize].contains(Access::WRITE) {
                    naive.bytes[page as usize] = byte;
                    assert_eq!(stored, Ok(()));
                } else {
                    assert_eq!(stored, Err(Verdict::PassOn));
                }
            }
            Step::Load { region, page } => {
                let (start, page, _) = self.range(region, page, 0)?;
                let naive = &self.regions[&start];
                let loaded = self.space.load(nth(start, page).get() + 5);
                let allowed = naive.access[page as usize];
                let expected = naive.bytes[page as usize];
                let may = allowed.contains(R);
                assert_eq!(
                    loaded,
                    if may {
                        Ok(expected)
                    } else {
                        Err(Verdict::PassOn)
                    }
                );
                let fetched = self.space.fetch(nth(start, page).get());
                let may = allowed.contains(Access::EXECUTE);
                assert_eq!(fetched, if may { Ok(()) } else { Err(Verdict::PassOn) });
            }
            Step::Protect {
                region,
                from,
                count,
                access,
            } => {
                let (start, from, count) = self.range(region, from, count)?;
                let access = ACCESSES[access];
                self.space.protect(nth(start, from), count, access).unwrap();
                self.set_access(start, from..from + count, access);
            }
            Step::ProtectEach {
                region,
                stride,
                access,
            } => {
                let (start, pages) = self.pick(region)?;
                let pages = (0..pages).step_by(stride as usize).take(40);
                let access = ACCESSES[access];
                let list: Vec<_> = pages.clone().map(|page| nth(start, page)).collect();
                self.space.protect_each(&list, access).unwrap();
                self.set_access(start, pages, access);
            }
            Step::Populate {
                region,
                from,
                count,
            } => {
                let (start, from, count) = self.range(region, from, count)?;
                self.space.populate(nth(start, from), count).unwrap();
            }
            Step::Discard {
                region,
                from,
                count,
            } => {
                let (start, from, count) = self.range(region, from, count)?;
                #[expect(unsafe_code, reason = "memory disappears")]
                // SAFETY: the model's memory is not the test's.
                unsafe { self.space.discard(nth(start, from), count) }.unwrap();
                let bytes = &mut self.regions.get_mut(&start)?.bytes;
                bytes[from as usize..(from + count) as usize].fill(0);
            }
            Step::Copy { region } => {
                let (start, _) = self.pick(region)?;
                if self.regions.len() < 8 {
                    let copy = self.space.copy(start, Place::Any).unwrap();
                    let naive = self.regions[&start].clone();
                    self.regions.insert(copy, naive);
                }
            }
            Step::Release { region } => {
                let (start, _) = self.pick(region)?;
                self.space.end(start);
                self.regions.remove(&start);
            }
            Step::Alone { alone } => self.space.machine.alone = alone,
        }
        Some(())
    }
}

fn check(steps: &[Step], pool: bool) {
    let mut world = World {
        space: space(20_480),
        regions: BTreeMap::new(),
    };
    if pool {
        let pool = Box::leak(Box::new(Pool::<64>::new()));
        world.space.set_supply(Some(pool));
    }
    for step in steps {
        world.step(*step);
        world.space.machine.audit();
    }
    for start in world.regions.into_keys() {
        world.space.end(start);
    }
    world.space.trim();
    world.space.machine.audit();
    let free = world.space.machine.free_pages();
    assert_eq!(free, 20_480 - 4, "all but the tables of the scratch pages");
    assert_eq!(world.space.machine.count(FrameType::Plain), 0);
}

proptest! {
    #[test]
    fn memory_is_as_the_program_thinks(
        steps in prop::collection::vec(step(), 1..60),
        pool: bool,
    ) {
        check(&steps, pool);
    }
}
