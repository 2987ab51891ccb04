//! Decoding and executing one word, class by class as DDI 0487 C4.1 splits the encoding.

use super::{Fault, Flags, Machine};

/// Bits `high` down to `low` of a word.
fn bits(word: u32, high: u32, low: u32) -> u32 {
    word >> low & (u32::MAX >> (31 - (high - low)))
}

/// The same as a signed number.
fn signed(word: u32, high: u32, low: u32) -> i64 {
    i64::from((word << (31 - high)) as i32 >> (31 - high + low))
}

/// `value` as a register of this width holds it.
fn narrow(value: u64, wide: bool) -> u64 {
    if wide { value } else { value & 0xffff_ffff }
}

/// Shifts as "Data Processing -- Register" does.
fn shift(value: u64, kind: u32, amount: u32, wide: bool) -> u64 {
    let result = match (kind, wide) {
        (0, _) => value << amount,
        (1, _) => value >> amount,
        (2, true) => (value as i64 >> amount) as u64,
        (2, false) => (value as i32 >> amount) as u64,
        (_, true) => value.rotate_right(amount),
        (_, false) => (value as u32).rotate_right(amount).into(),
    };
    narrow(result, wide)
}

/// DecodeBitMasks, bit by bit.
fn bitmask(n: u32, imms: u32, immr: u32, wide: bool) -> Option<u64> {
    let length = (n << 6 | (!imms & 0x3f)).checked_ilog2()?;
    let size = 1u32 << length;
    let ones = (imms & (size - 1)) + 1;
    if length == 0 || ones == size || size > if wide { 64 } else { 32 } {
        return None;
    }
    let mut value = 0;
    for bit in 0..if wide { 64 } else { 32 } {
        if (bit + immr) % size < ones {
            value |= 1 << bit;
        }
    }
    Some(value)
}

impl Machine {
    /// Register `number`, 31 being zero.
    fn get(&self, number: u32, wide: bool) -> u64 {
        let value = self.registers.get(number as usize).copied().unwrap_or(0);
        narrow(value, wide)
    }

    /// Sets register `number`, 31 being nowhere.
    fn set(&mut self, number: u32, value: u64, wide: bool) {
        if let Some(register) = self.registers.get_mut(number as usize) {
            *register = narrow(value, wide);
        }
    }

    fn holds(&self, condition: u32) -> bool {
        let Flags { n, z, c, v } = self.flags;
        let base = match condition >> 1 {
            0 => z,
            1 => c,
            2 => n,
            3 => v,
            4 => c && !z,
            5 => n == v,
            6 => n == v && !z,
            _ => return true,
        };
        base != (condition & 1 == 1)
    }

    /// AddWithCarry: the sum, and the flags that it sets.
    fn add_with_carry(x: u64, y: u64, carry: bool, wide: bool) -> (u64, Flags) {
        let (x, y) = (narrow(x, wide), narrow(y, wide));
        let sum = u128::from(x) + u128::from(y) + u128::from(carry);
        let result = narrow(sum as u64, wide);
        let sign = |value: u64| value >> if wide { 63 } else { 31 } & 1 == 1;
        let flags = Flags {
            n: sign(result),
            z: result == 0,
            c: sum != u128::from(result),
            v: sign(x) == sign(y) && sign(x) != sign(result),
        };
        (result, flags)
    }

    /// Where to go on, if not behind the word.
    pub(super) fn execute(&mut self, word: u32) -> Result<Option<u64>, Fault> {
        let known = match bits(word, 28, 25) {
            0b1000 | 0b1001 => self.immediate(word).map(|()| None),
            0b1010 | 0b1011 => self.branch(word).map(Some),
            0b0101 | 0b1101 => self.register(word).map(|()| None),
            0b0100 | 0b0110 | 0b1100 | 0b1110 => {
                return self.memory(word).map(|()| None);
            }
            _ => None,
        };
        known.ok_or(Fault::Undefined(word, self.pc))
    }

    /// "Data Processing -- Immediate".
    fn immediate(&mut self, word: u32) -> Option<()> {
        let wide = word >> 31 == 1;
        let (d, n) = (bits(word, 4, 0), bits(word, 9, 5));
        let opc = bits(word, 30, 29);
        match bits(word, 25, 23) {
            0b000 | 0b001 if word >> 31 == 0 => {
                let offset = signed(word, 23, 5) << 2 | i64::from(opc);
                self.set(d, self.pc.wrapping_add_signed(offset), true);
            }
            0b010 => {
                let value = u64::from(bits(word, 21, 10)) << (12 * bits(word, 22, 22));
                // With 31 as the stack pointer: outside the subset.
                if n == 31 || (d == 31 && opc & 1 == 0) {
                    return None;
                }
                self.arithmetic(word, self.get(n, wide), value, wide);
            }
            0b100 => {
                let (immr, imms) = (bits(word, 21, 16), bits(word, 15, 10));
                let value = bitmask(bits(word, 22, 22), imms, immr, wide)?;
                if d == 31 && opc != 3 {
                    return None;
                }
                self.logical(opc, d, self.get(n, wide), value, wide);
            }
            0b101 => {
                let half = 16 * bits(word, 22, 21);
                if half >= if wide { 64 } else { 32 } {
                    return None;
                }
                let value = u64::from(bits(word, 20, 5)) << half;
                let kept = self.get(d, true) & !(0xffff << half);
                let value = [Some(!value), None, Some(value), Some(kept | value)][opc as usize];
                self.set(d, value?, wide);
            }
            0b110 if opc == 2 && bits(word, 22, 22) == word >> 31 => {
                let (low, high) = (bits(word, 21, 16), bits(word, 15, 10));
                let width = if wide { 64 } else { 32 };
                if low >= width || high >= width {
                    return None;
                }
                let (n, mask) = (self.get(n, wide), |count| u64::MAX >> (64 - count));
                let value = if high >= low {
                    n >> low & mask(high - low + 1)
                } else {
                    (n & mask(high + 1)) << (width - low)
                };
                self.set(d, value, wide);
            }
            _ => return None,
        }
        Some(())
    }

    /// Adds or subtracts, as bits 30 and 29 say.
    fn arithmetic(&mut self, word: u32, n: u64, m: u64, wide: bool) {
        let subtract = bits(word, 30, 30) == 1;
        let m = if subtract { !m } else { m };
        let (result, flags) = Self::add_with_carry(n, m, subtract, wide);
        if bits(word, 29, 29) == 1 {
            self.flags = flags;
        }
        self.set(bits(word, 4, 0), result, wide);
    }

    fn logical(&mut self, opc: u32, d: u32, n: u64, m: u64, wide: bool) {
        let result = [n & m, n | m, n ^ m, n & m][opc as usize];
        if opc == 3 {
            let (_, flags) = Self::add_with_carry(result, 0, false, wide);
            self.flags = Flags {
                c: false,
                v: false,
                ..flags
            };
        }
        self.set(d, result, wide);
    }

    /// "Branches, Exception Generating and System instructions".
    fn branch(&mut self, word: u32) -> Option<u64> {
        let next = self.pc.wrapping_add(4);
        let to = |offset: i64| self.pc.wrapping_add_signed(offset * 4);
        let if_taken = |taken: bool, offset: i64| if taken { to(offset) } else { next };
        let (t, wide) = (bits(word, 4, 0), word >> 31 == 1);
        let negated = bits(word, 24, 24) == 1;
        if bits(word, 30, 26) == 0b00101 {
            let target = to(signed(word, 25, 0));
            if wide {
                self.set(30, next, true);
            }
            return Some(target);
        }
        if bits(word, 31, 24) == 0x54 && bits(word, 4, 4) == 0 {
            return Some(if_taken(self.holds(bits(word, 3, 0)), signed(word, 23, 5)));
        }
        if bits(word, 30, 25) == 0b01_1010 {
            let zero = self.get(t, wide) == 0;
            return Some(if_taken(zero != negated, signed(word, 23, 5)));
        }
        if bits(word, 30, 25) == 0b01_1011 {
            let bit = bits(word, 31, 31) << 5 | bits(word, 23, 19);
            let zero = self.get(t, true) >> bit & 1 == 0;
            return Some(if_taken(zero != negated, signed(word, 18, 5)));
        }
        let target = self.get(bits(word, 9, 5), true);
        match word & !0x3e0 {
            0xd61f_0000 | 0xd65f_0000 => Some(target),
            0xd63f_0000 => {
                self.set(30, next, true);
                Some(target)
            }
            _ => None,
        }
    }

    /// "Data Processing -- Register".
    fn register(&mut self, word: u32) -> Option<()> {
        let wide = word >> 31 == 1;
        let width = if wide { 64 } else { 32 };
        let (d, opc) = (bits(word, 4, 0), bits(word, 30, 29));
        let (n, m) = (self.get(bits(word, 9, 5), wide), bits(word, 20, 16));
        let second = self.get(m, wide);
        let amount = bits(word, 15, 10);
        if bits(word, 28, 24) == 0b01010 || bits(word, 28, 24) == 0b01011 {
            let kind = bits(word, 23, 22);
            let arithmetic = bits(word, 24, 24) == 1;
            // Bit 21 would complement the operand, or extend it.
            if amount >= width || bits(word, 21, 21) == 1 || (arithmetic && kind == 3) {
                return None;
            }
            let second = shift(second, kind, amount, wide);
            if arithmetic {
                self.arithmetic(word, n, second, wide);
            } else {
                self.logical(opc, d, n, second, wide);
            }
            return Some(());
        }
        if bits(word, 28, 24) == 0b11011 {
            let addend = bits(word, 14, 10);
            let result = match (opc, bits(word, 23, 21), bits(word, 15, 15)) {
                (0, 0, 0) => self.get(addend, wide).wrapping_add(n.wrapping_mul(second)),
                (0, 6, 0) if wide && addend == 31 => {
                    ((u128::from(n) * u128::from(second)) >> 64) as u64
                }
                _ => return None,
            };
            self.set(d, result, wide);
            return Some(());
        }
        self.one_or_two_sources(word, n, second)
    }

    /// The rest of them: conditional, and with one or two sources.
    fn one_or_two_sources(&mut self, word: u32, n: u64, second: u64) -> Option<()> {
        let wide = word >> 31 == 1;
        let width: u32 = if wide { 64 } else { 32 };
        let (d, opc, m) = (bits(word, 4, 0), bits(word, 30, 29), bits(word, 20, 16));
        let amount = bits(word, 15, 10);
        let condition = bits(word, 15, 12);
        match (bits(word, 28, 21), opc) {
            (0b1101_0100, 0) if amount & 0b11 <= 1 => {
                let other = second.wrapping_add(u64::from(amount & 1));
                let result = if self.holds(condition) { n } else { other };
                self.set(d, result, wide);
            }
            (0b1101_0010, 3) if amount & 1 == 0 && bits(word, 4, 4) == 0 => {
                let second = if amount & 2 == 2 { m.into() } else { second };
                self.flags = if self.holds(condition) {
                    Self::add_with_carry(n, !second, true, wide).1
                } else {
                    let flag = |bit| bits(word, bit, bit) == 1;
                    let (n, z, c, v) = (flag(3), flag(2), flag(1), flag(0));
                    Flags { n, z, c, v }
                };
            }
            (0b1101_0110, 0) if amount == 0b1000 || amount == 0b1001 => {
                let by = (second % u64::from(width)) as u32;
                self.set(d, shift(n, amount & 1, by, wide), wide);
            }
            (0b1101_0110, 2) if m == 0 => self.set(d, reverse(n, amount, wide)?, wide),
            _ => return None,
        }
        Some(())
    }

    /// "Loads and Stores". Only these touch memory, and nothing changes when that fails.
    fn memory(&mut self, word: u32) -> Result<(), Fault> {
        let undefined = Err(Fault::Undefined(word, self.pc));
        let (t, n) = (bits(word, 4, 0), bits(word, 9, 5));
        // Base 31 would be the stack pointer.
        if n == 31 {
            return undefined;
        }
        let base = self.get(n, true);
        // Pairs, with an offset or post-indexed.
        let post = bits(word, 30, 22) == 0b0_1010_0011;
        if post || bits(word, 30, 22) == 0b0_1010_0101 {
            let size = if word >> 31 == 1 { 8 } else { 4 };
            let moved = base.wrapping_add_signed(signed(word, 21, 15) * size as i64);
            let address = if post { base } else { moved };
            let first = self.load(address, size)?;
            let second = self.load(address.wrapping_add(size as u64), size)?;
            let u = bits(word, 14, 10);
            if t == u || (post && (t == n || u == n)) {
                return undefined;
            }
            self.set(t, first, true);
            self.set(u, second, true);
            if post {
                self.set(n, moved, true);
            }
            return Ok(());
        }
        let scale = bits(word, 31, 30);
        let indexed = bits(word, 21, 21) == 1 && bits(word, 11, 10) == 2;
        let offset = match (bits(word, 29, 24), bits(word, 21, 21), bits(word, 11, 10)) {
            (0b11_1001, ..) => i64::from(bits(word, 21, 10)) << scale,
            (0b11_1000, 0, 0) => signed(word, 20, 12),
            (0b11_1000, ..) if indexed => {
                let wide = match bits(word, 15, 13) {
                    2 => false,
                    3 => true,
                    _ => return undefined,
                };
                let index = self.get(bits(word, 20, 16), wide);
                (index << (scale * bits(word, 12, 12))) as i64
            }
            _ => return undefined,
        };
        let (address, size) = (base.wrapping_add_signed(offset), 1 << scale);
        match bits(word, 23, 22) {
            0 => self.store(address, size, self.get(t, true)),
            1 => {
                let value = self.load(address, size)?;
                self.set(t, value, true);
                Ok(())
            }
            _ => undefined,
        }
    }
}

/// "Data-processing (1 source)": reverses bytes in pieces.
fn reverse(n: u64, opcode: u32, wide: bool) -> Option<u64> {
    let piece = match (opcode, wide) {
        (1, _) => 2,
        (2, _) => 4,
        (3, true) => 8,
        _ => return None,
    };
    let mut bytes = n.to_le_bytes();
    for part in bytes.chunks_mut(piece) {
        part.reverse();
    }
    Some(u64::from_le_bytes(bytes))
}
