//! Process data objects: what a frame carries, and what a node's own parameters say of it (CiA 301, sections 7.2.2 and
//! 7.5.2.35 to 7.5.2.38).

use crate::limits::CANOPEN_MAPPED_MAX;
use crate::protocol::canopen::eds::pdo::Pdo;
use crate::tag::Object;

/// The bits of one mapped object in the eight bytes, the first bit being the least significant of the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    pub first_bit: u8,
    pub bits: u8,
}

impl Place {
    /// Bytes that a frame must have to hold it.
    pub fn bytes(self) -> u8 {
        (u16::from(self.first_bit) + u16::from(self.bits)).div_ceil(8) as u8
    }

    /// Its bits out of a frame's `data`, as a number without sign.
    pub fn read(self, data: &[u8; 8]) -> u64 {
        (u64::from_le_bytes(*data) >> u32::from(self.first_bit).min(63)) & self.mask()
    }

    /// A number's bits in their place in a frame.
    pub fn put(self, raw: u64) -> u64 {
        (raw & self.mask()) << u32::from(self.first_bit).min(63)
    }

    /// The bits that it has in a frame.
    pub fn in_frame(self) -> u64 {
        self.put(u64::MAX)
    }

    fn mask(self) -> u64 {
        u64::MAX.checked_shr(64 - u32::from(self.bits.min(64))).unwrap_or(0)
    }
}

/// What a PDO is, by the node's own words or by its data sheet.
#[derive(Debug, Clone)]
pub struct Mapping {
    pub cob_id: u16,
    /// It exists, and its identifier is one of 11 bits.
    pub valid: bool,
    /// Transmission type.
    pub kind: u8,
    pub event_timer_ms: u16,
    objects: [(Object, Place); CANOPEN_MAPPED_MAX as usize],
    len: u8,
    /// Entries that the node says it has; beyond the table's room the mapping is of no use.
    pub count: u8,
    bits: u16,
}

impl Default for Mapping {
    fn default() -> Mapping {
        Mapping {
            cob_id: 0,
            valid: false,
            kind: 255,
            event_timer_ms: 0,
            objects: [(Object::default(), Place::default()); CANOPEN_MAPPED_MAX as usize],
            len: 0,
            count: 0,
            bits: 0,
        }
    }
}

impl Mapping {
    /// What the data sheet says.
    pub fn set(&mut self, pdo: &Pdo) {
        self.set_cob_id(u64::from(pdo.cob_id));
        (self.kind, self.event_timer_ms) = (pdo.kind, pdo.event_timer_ms);
        self.begin(pdo.fields.len() as u64);
        for field in &pdo.fields {
            let object = field.object;
            self.add(u64::from(object.index) << 16 | u64::from(object.sub) << 8 | u64::from(field.bits));
        }
    }

    /// Sub-index 1 of the communication parameters: bit 31 says that it does not exist, bit 29 that its identifier has
    /// 29 bits.
    pub fn set_cob_id(&mut self, value: u64) {
        self.cob_id = (value & 0x7FF) as u16;
        self.valid = value & 0xA000_0000 == 0 && self.cob_id != 0;
    }

    /// Sub-index 0 of the mapping parameters: the entries that follow. More than fit: the mapping is of no use.
    pub fn begin(&mut self, count: u64) {
        (self.len, self.bits) = (0, 0);
        self.count = count.min(u64::from(u8::MAX)) as u8;
        if count > u64::from(CANOPEN_MAPPED_MAX) {
            self.count = 0;
            self.valid = false;
        }
    }

    /// The next entry of the mapping parameters: index, sub-index, bits. One that does not fit a frame makes the
    /// mapping invalid.
    pub fn add(&mut self, entry: u64) {
        let object = Object { index: (entry >> 16) as u16, sub: (entry >> 8) as u8 };
        let bits = entry as u8;
        let end = self.bits + u16::from(bits);
        match self.objects.get_mut(usize::from(self.len)).filter(|_| end <= 64) {
            Some(place) => *place = (object, Place { first_bit: self.bits.min(63) as u8, bits }),
            None => {
                self.valid = false;
                return;
            }
        }
        self.bits = end;
        self.len += 1;
    }

    pub fn objects(&self) -> &[(Object, Place)] {
        self.objects.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Bytes of its frames.
    pub fn bytes(&self) -> usize {
        usize::from(self.bits).div_ceil(8)
    }

    pub fn place_of(&self, object: Object) -> Option<Place> {
        self.objects().iter().find(|(mapped, place)| *mapped == object && place.bits > 0).map(|(_, place)| *place)
    }

    /// SYNCs between two of its frames; `None`: by event.
    pub fn syncs(&self) -> Option<u8> {
        match self.kind {
            1..=240 => Some(self.kind),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mapping(entries: &[u64]) -> Mapping {
        let mut mapping = Mapping::default();
        mapping.set_cob_id(0x185);
        mapping.begin(entries.len() as u64);
        entries.iter().for_each(|entry| mapping.add(*entry));
        mapping
    }

    #[test]
    fn objects_lie_behind_each_other_from_the_lowest_bit() {
        let mapping = mapping(&[0x6041_0010, 0x6064_0020, 0x2000_0101, 0x2000_0203]);
        assert!(mapping.valid);
        assert_eq!(mapping.objects().last().map(|(_, place)| place.bytes()), Some(7));
        let place = |index, sub| mapping.place_of(Object { index, sub });
        assert_eq!(place(0x6064, 0), Some(Place { first_bit: 16, bits: 32 }));
        let data = [0x37, 0x06, 0x78, 0x56, 0x34, 0x12, 0b1011, 0];
        assert_eq!(place(0x6041, 0).map(|p| p.read(&data)), Some(0x0637));
        assert_eq!(place(0x6064, 0).map(|p| p.read(&data)), Some(0x1234_5678));
        assert_eq!(place(0x2000, 1).map(|p| p.read(&data)), Some(1));
        assert_eq!(place(0x2000, 2).map(|p| p.read(&data)), Some(0b101));
        assert_eq!(place(0x6040, 0), None);
    }

    #[test]
    fn what_does_not_fit_a_frame_is_no_mapping() {
        assert!(!mapping(&[0x6041_0010, 0x6064_0040]).valid);
        let mut off = mapping(&[]);
        off.set_cob_id(0x8000_0185);
        assert!(!off.valid);
        off.set_cob_id(0x2000_0185);
        assert!(!off.valid);
        off.set_cob_id(0x185);
        off.begin(65);
        assert!(!off.valid && off.count == 0);
    }

    proptest! {
        #[test]
        fn a_place_is_read_from_its_own_bits_alone(
            first_bit in 0u8..64, bits in 1u8..=64, data in any::<[u8; 8]>(), other in any::<u64>()
        ) {
            prop_assume!(u16::from(first_bit) + u16::from(bits) <= 64);
            let place = Place { first_bit, bits };
            let mask = if bits == 64 { u64::MAX } else { ((1 << bits) - 1) << first_bit };
            let whole = u64::from_le_bytes(data);
            prop_assert_eq!(place.read(&data), (whole & mask) >> first_bit);
            let changed = (whole & mask | other & !mask).to_le_bytes();
            prop_assert_eq!(place.read(&changed), place.read(&data));
        }

        #[test]
        fn no_mapping_that_a_node_may_tell_panics(entries in prop::collection::vec(any::<u32>(), 0..100), cob in any::<u32>()) {
            let entries: Vec<u64> = entries.into_iter().map(u64::from).collect();
            let mut mapping = mapping(&entries);
            mapping.set_cob_id(u64::from(cob));
            for (object, place) in mapping.objects() {
                place.read(&[0xA5; 8]);
                prop_assert!(place.bytes() <= 8);
                mapping.place_of(*object);
            }
        }
    }
}
