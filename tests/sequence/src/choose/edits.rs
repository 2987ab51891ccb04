//! What holders do with capabilities by themselves.

use exopi_abi::capability::{Badge, Identity, Kind, Restriction, Rights, Second};

use super::{Chooser, Purpose};
use crate::stage::SLOTS;
use crate::{Edit, Names, World};

impl Chooser {
    /// What a holder does by itself.
    pub(super) fn edit<W: World>(&mut self, world: &W, names: &Names) -> Edit {
        let start = self.any_slot();
        let turned = (start..SLOTS).chain(0..start);
        let full = |slot: &usize| world.capability(*slot).is_some();
        let from = turned.into_iter().find(full).unwrap_or(start);
        let to = self.any_slot();
        match self.random.below(10) {
            0..2 => Edit::Copy { from, to },
            2..7 => Edit::Attenuate {
                from,
                to,
                restriction: self.restriction(world, names),
            },
            7..9 => Edit::Flip {
                from,
                to,
                bit: self.bit(),
            },
            _ => Edit::Splice {
                from,
                to,
                mask: self.random.below(64) as u8,
            },
        }
    }

    /// A bit of a capability; where the sequence is made twice, not one of the index, which would mean different
    /// pages.
    fn bit(&mut self) -> u32 {
        match self.random.below(384) as u32 {
            bit @ 0..32 if self.purpose == Purpose::Replay => bit + 64,
            bit => bit,
        }
    }

    fn restriction<W: World>(&mut self, world: &W, names: &Names) -> Restriction {
        match self.random.below(6) {
            0..3 => Restriction::Rights(Rights::from_bits(self.random.word() as u16 | 1)),
            3 => Restriction::Holder(self.holder(world, names)),
            4 => Restriction::Badge(Badge::MAX),
            _ if self.random.chance(70) => Restriction::Until(Second::MAX),
            _ => Restriction::Until(Second::new(0).unwrap_or(Second::MAX)),
        }
    }

    /// Mostly the caller itself or another environment; or one that looks like the caller and is not.
    fn holder<W: World>(&mut self, world: &W, names: &Names) -> Identity {
        let me = world.me().identity();
        let environments = names.objects(Kind::Environment);
        match self.random.below(4) {
            0..2 => me,
            2 if !environments.is_empty() => self.random.pick(environments).identity(),
            _ => Identity {
                index: me.index + self.random.below(2) as u32 * (1 << 24),
                ..me
            },
        }
    }
}
