//! Bits of a frame's data, read and written by ready-made places: no loop, no branch on the position.

use crate::protocol::can::model::{CanBits, CanBitsKind};

/// Bytes of data of the longest frame (CAN FD).
pub const CAN_DATA_BYTES_MAX: usize = 64;
/// Room for a frame's data, and for a read of nine bytes that begins in its last.
pub const CAN_DATA_ROOM: usize = CAN_DATA_BYTES_MAX + 8;

/// A frame's data; what is behind its end is of no meaning.
pub type CanData = [u8; CAN_DATA_ROOM];

/// Where a field lies, as it is read: eight bytes from `byte` on, shifted; a ninth where it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitPlace {
    byte: u8,
    shift: u8,
    len: u8,
    order: Order,
    pub kind: CanBitsKind,
    /// Data bytes that a frame must have.
    pub bytes_needed: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    /// Its upper bits are in a ninth byte.
    LittleWide,
    Big,
    /// Its lower bits are in a ninth byte.
    BigWide,
}

impl BitPlace {
    /// `None`: it does not lie within the longest frame.
    pub fn of(bits: &CanBits) -> Option<BitPlace> {
        let needed = bits.bytes_needed();
        if needed > CAN_DATA_BYTES_MAX || !(1..=64).contains(&bits.len) {
            return None;
        }
        let (in_byte, len) = ((bits.start % 8) as u8, bits.len);
        let (order, shift) = if bits.big_endian {
            // Bits from the top of the first byte down to the field's last.
            let depth = 7 - in_byte + len;
            if depth > 64 { (Order::BigWide, depth - 64) } else { (Order::Big, 64 - depth) }
        } else if in_byte + len > 64 {
            (Order::LittleWide, in_byte)
        } else {
            (Order::Little, in_byte)
        };
        Some(BitPlace { byte: (bits.start / 8) as u8, shift, len, order, kind: bits.kind, bytes_needed: needed as u8 })
    }

    /// Of all ones in `len` bits.
    #[inline(always)]
    fn mask(&self) -> u64 {
        u64::MAX >> (64 - u32::from(self.len))
    }

    #[inline(always)]
    fn eight(&self, data: &CanData) -> [u8; 8] {
        let at = usize::from(self.byte);
        match data.get(at..at + 8) {
            Some(&[a, b, c, d, e, f, g, h]) => [a, b, c, d, e, f, g, h],
            _ => [0; 8],
        }
    }

    #[inline(always)]
    fn ninth(&self, data: &CanData) -> u64 {
        u64::from(data.get(usize::from(self.byte) + 8).copied().unwrap_or(0))
    }

    /// The raw bits.
    #[inline(always)]
    pub fn raw(&self, data: &CanData) -> u64 {
        let eight = self.eight(data);
        let shift = u32::from(self.shift);
        let value = match self.order {
            Order::Little => u64::from_le_bytes(eight) >> shift,
            Order::Big => u64::from_be_bytes(eight) >> shift,
            Order::LittleWide => u64::from_le_bytes(eight) >> shift | self.ninth(data) << (64 - shift),
            Order::BigWide => u64::from_be_bytes(eight) << shift | self.ninth(data) >> (8 - shift),
        };
        value & self.mask()
    }

    /// Puts raw bits in their place; bits beyond the field's length are left out.
    pub fn put(&self, data: &mut CanData, raw: u64) {
        let raw = raw & self.mask();
        let shift = u32::from(self.shift);
        let at = usize::from(self.byte);
        let (eight, ninth) = (self.eight(data), self.ninth(data));
        let merged = |old: u64, mask: u64, new: u64| old & !mask | new & mask;
        let (eight, ninth) = match self.order {
            Order::Little => {
                (merged(u64::from_le_bytes(eight), self.mask() << shift, raw << shift).to_le_bytes(), ninth)
            }
            Order::Big => (merged(u64::from_be_bytes(eight), self.mask() << shift, raw << shift).to_be_bytes(), ninth),
            Order::LittleWide => (
                merged(u64::from_le_bytes(eight), self.mask() << shift, raw << shift).to_le_bytes(),
                merged(ninth, self.mask() >> (64 - shift), raw >> (64 - shift)),
            ),
            Order::BigWide => (
                merged(u64::from_be_bytes(eight), self.mask() >> shift, raw >> shift).to_be_bytes(),
                merged(ninth, self.mask() << (8 - shift) & 0xFF, raw << (8 - shift)),
            ),
        };
        if let Some(place) = data.get_mut(at..at + 8) {
            place.copy_from_slice(&eight);
        }
        if let Some(place) = data.get_mut(at + 8) {
            *place = ninth as u8;
        }
    }

    /// The raw bits as 64: signed ones with their sign.
    #[inline(always)]
    pub fn extended(&self, raw: u64) -> u64 {
        match self.kind {
            CanBitsKind::Signed => {
                let up = 64 - u32::from(self.len);
                ((raw << up) as i64 >> up) as u64
            }
            CanBitsKind::Unsigned | CanBitsKind::Float => raw,
        }
    }

    /// The raw bits as a number.
    #[inline(always)]
    pub fn number(&self, raw: u64) -> f64 {
        match self.kind {
            CanBitsKind::Unsigned => raw as f64,
            CanBitsKind::Signed => self.extended(raw) as i64 as f64,
            CanBitsKind::Float if self.len == 32 => f64::from(f32::from_bits(raw as u32)),
            CanBitsKind::Float => f64::from_bits(raw),
        }
    }

    /// Bits of the field, at least one.
    pub fn bits(&self) -> u8 {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(start: u16, len: u8, big_endian: bool) -> CanBits {
        CanBits { start, len, big_endian, kind: CanBitsKind::Unsigned }
    }

    /// Bit by bit, as the specification of DBC files has it.
    fn slowly(bits: &CanBits, data: &CanData) -> u64 {
        let mut value = 0u64;
        let bit_at = |at: usize| u64::from(data[at / 8] >> (at % 8) & 1);
        let start = usize::from(bits.start);
        if bits.big_endian {
            let mut at = start;
            for _ in 0..bits.len {
                value = value << 1 | bit_at(at);
                // Down to the end of the byte, then on with the top of the next.
                at = if at % 8 == 0 { at + 15 } else { at - 1 };
            }
        } else {
            for i in (0..usize::from(bits.len)).rev() {
                value = value << 1 | bit_at(start + i);
            }
        }
        value
    }

    #[test]
    fn both_orders_read_what_the_drawing_says() {
        let mut data = [0; CAN_DATA_ROOM];
        data[..8].copy_from_slice(&[0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xF0]);
        let raw = |start, len, big| BitPlace::of(&bits(start, len, big)).unwrap().raw(&data);
        assert_eq!(raw(0, 16, false), 0x3412);
        assert_eq!(raw(7, 16, true), 0x1234);
        assert_eq!(raw(4, 8, false), 0x41);
        assert_eq!(raw(3, 8, true), 0x23);
        assert_eq!(raw(0, 64, false), 0xF0DE_BC9A_7856_3412);
        assert_eq!(raw(7, 64, true), 0x1234_5678_9ABC_DEF0);
        assert_eq!(raw(63, 1, false), 1);
    }

    #[test]
    fn a_sign_goes_up_to_the_top() {
        let place = BitPlace::of(&CanBits { kind: CanBitsKind::Signed, ..bits(0, 12, false) }).unwrap();
        assert_eq!((place.extended(0xFFE) as i64, place.number(0xFFE)), (-2, -2.0));
        assert_eq!(place.number(0x7FF), 2047.0);
    }

    fn any_bits() -> impl Strategy<Value = CanBits> {
        (0u16..512, 1u8..=64, any::<bool>()).prop_map(|(start, len, big)| bits(start, len, big))
    }

    proptest! {
        #[test]
        fn every_place_is_read_as_bit_by_bit(bits in any_bits(), bytes in prop::collection::vec(any::<u8>(), 64)) {
            let mut data = [0xA5; CAN_DATA_ROOM];
            data[..64].copy_from_slice(&bytes);
            match BitPlace::of(&bits) {
                Some(place) => prop_assert_eq!(place.raw(&data), slowly(&bits, &data)),
                None => prop_assert!(bits.bytes_needed() > 64),
            }
        }

        #[test]
        fn what_is_put_is_read_and_nothing_else_changes(
            bits in any_bits(), raw: u64, bytes in prop::collection::vec(any::<u8>(), 72),
        ) {
            let mut data = [0; CAN_DATA_ROOM];
            data.copy_from_slice(&bytes);
            let Some(place) = BitPlace::of(&bits) else { return Ok(()) };
            let before = data;
            let old = place.raw(&data);
            place.put(&mut data, raw);
            prop_assert_eq!(place.raw(&data), raw & place.mask());
            place.put(&mut data, old);
            prop_assert_eq!(data, before);
        }

        #[test]
        fn no_place_panics(start: u16, len: u8, big: bool) {
            let _ = BitPlace::of(&bits(start, len, big));
        }
    }
}
