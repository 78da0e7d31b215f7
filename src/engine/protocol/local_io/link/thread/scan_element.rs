//! What lies in the buffer of an IIO device: its elements' formats, and where each is in a scan (kernel documentation,
//! ABI/testing/sysfs-bus-iio, `scan_elements`; driver-api/iio/buffers).

/// A channel's format: `[be|le]:[s|u]bits/storagebits[Xrepeat][>>shift]`, as its `_type` file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub big_endian: bool,
    pub signed: bool,
    /// Bits that count.
    pub bits: u8,
    /// Bits that it takes: 8, 16, 32 or 64.
    pub storage_bits: u8,
    /// Values of this format, one behind the other.
    pub repeat: u8,
    /// To the right, before what does not count is cut off.
    pub shift: u8,
}

/// Values in one element at most: a quaternion has four.
const REPEAT_MAX: u8 = 64;

impl Format {
    /// `None`: it is none, or one that no driver has.
    pub fn of(text: &str) -> Option<Format> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let (order, rest) = text.split_once(':')?;
        let big_endian = match order {
            "be" => true,
            "le" => false,
            _ => return None,
        };
        let signed = match rest.chars().next()? {
            's' => true,
            'u' => false,
            _ => return None,
        };
        let (bits, rest) = rest.get(1..)?.split_once('/')?;
        let (storage, shift) = rest.split_once(">>").unwrap_or((rest, "0"));
        let (storage, repeat) = storage.split_once('X').unwrap_or((storage, "1"));
        let [bits, storage_bits, repeat, shift] = [number(bits)?, number(storage)?, number(repeat)?, number(shift)?];
        let fits = matches!(storage_bits, 8 | 16 | 32 | 64)
            && (1..=storage_bits).contains(&bits)
            && shift <= storage_bits - bits
            // The kernel lays an element at a multiple of its own length, and reckons that by powers of two.
            && repeat.is_power_of_two()
            && repeat <= REPEAT_MAX;
        fits.then_some(Format { big_endian, signed, bits, storage_bits, repeat, shift })
    }

    /// Of the element, with all its values.
    pub fn bytes(&self) -> usize {
        usize::from(self.storage_bits / 8) * usize::from(self.repeat)
    }

    /// The first value of an element. `None`: there are not so many bytes.
    pub fn value(&self, element: &[u8]) -> Option<i128> {
        let bytes = element.get(..usize::from(self.storage_bits / 8))?;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let whole = if self.big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) };
        let unused = 64 - u32::from(self.bits.clamp(1, 64));
        let left = (whole >> u32::from(self.shift.min(63))) << unused;
        Some(if self.signed { i128::from(left as i64 >> unused) } else { i128::from(left >> unused) })
    }
}

fn number(text: &str) -> Option<u8> {
    // A sign is no part of it, which `parse` would take.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Where the elements of a scan are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// The first byte of each, in the order in which they were given.
    pub offsets: Vec<usize>,
    /// Of a whole scan.
    pub bytes: usize,
}

impl Layout {
    /// Of elements by their indices in the buffer and their formats. In the buffer they lie by their indices, each at a
    /// multiple of its own length, and a scan has a multiple of the longest one (`iio_compute_scan_bytes`).
    pub fn of(elements: &[(u32, Format)]) -> Layout {
        let mut order: Vec<usize> = (0..elements.len()).collect();
        order.sort_by_key(|at| elements.get(*at).map(|(index, _)| *index));
        let mut layout = Layout { offsets: vec![0; elements.len()], bytes: 0 };
        let mut longest = 1;
        for at in order {
            let (Some((_, format)), Some(offset)) = (elements.get(at), layout.offsets.get_mut(at)) else { continue };
            *offset = layout.bytes.next_multiple_of(format.bytes().max(1));
            layout.bytes = *offset + format.bytes();
            longest = longest.max(format.bytes());
        }
        layout.bytes = layout.bytes.next_multiple_of(longest);
        layout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str) -> Format {
        Format::of(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_format_says_where_the_bits_are() {
        // The example of ABI/testing/sysfs-bus-iio: 12 bits, left in 16, little endian.
        let twelve = format("le:s12/16>>4\n");
        let wanted = Format { big_endian: false, signed: true, bits: 12, storage_bits: 16, repeat: 1, shift: 4 };
        assert_eq!(twelve, wanted);
        assert_eq!(twelve.value(&[0xF0, 0x7F]), Some(2047));
        assert_eq!(twelve.value(&[0x0F, 0x80]), Some(-2048), "what is shifted out does not count");
        assert_eq!(format("be:u24/32>>8").value(&[0x12, 0x34, 0x56, 0xFF]), Some(0x12_3456));
        assert_eq!(format("be:s24/32").value(&[0xAA, 0xFF, 0xFF, 0xFE]), Some(-2), "what is above does not count");
        assert_eq!(format("le:s64/64>>0").value(&[0xFF; 8]), Some(-1));
        assert_eq!(format("le:u64/64>>0").value(&[0xFF; 8]), Some(i128::from(u64::MAX)));
        assert_eq!(format("le:u8/8").value(&[200, 1]), Some(200));
        assert_eq!(format("le:s32/32X4>>0").bytes(), 16);
        assert_eq!(twelve.value(&[1]), None);
    }

    #[test]
    fn a_scan_is_laid_out_as_the_kernel_does() {
        // driver-api/iio/buffers: three axes of 12 bits in 16, and the time at a multiple of its eight bytes.
        let axis = format("le:s12/16>>4");
        let time = format("le:s64/64>>0");
        let layout = Layout::of(&[(0, axis), (1, axis), (2, axis), (3, time)]);
        assert_eq!((layout.offsets, layout.bytes), (vec![0, 2, 4, 8], 16));
        let layout = Layout::of(&[(3, time), (7, axis)]);
        assert_eq!((layout.offsets, layout.bytes), (vec![0, 8], 16), "a multiple of the longest");
        let byte = format("be:u8/8");
        let layout = Layout::of(&[(5, byte), (1, format("be:u24/32>>8")), (9, axis)]);
        assert_eq!((layout.offsets, layout.bytes), (vec![4, 0, 6], 8), "by index, not as they were asked for");
        assert_eq!(Layout::of(&[(0, byte), (1, format("le:s32/32X4"))]).bytes, 32);
        assert_eq!(Layout::of(&[]).bytes, 0);
    }

    /// Prints the seed with which it fails.
    #[test]
    fn a_format_is_one_or_refused_whatever_the_file_holds_and_no_bytes_make_it_panic() {
        for text in [
            "",
            "\n",
            ":",
            "le",
            "le:",
            "le:s",
            "le:s/",
            "le:s16/",
            "le:s0/16",
            "le:s17/16",
            "le:s12/16>>5",
            "me:s12/16>>4",
            "le:f32/32",
            "le:s12/24",
            "le:s12/128",
            "le:s12/16X0",
            "le:s12/16X3",
            "le:s12/16>>",
            "le:s-12/16",
            "le:s+12/16",
            "le:s12/16>>4\n\n",
            "le:s999999999999/16",
            "le:ß12/16",
            "LE:s12/16",
            "le:s12/16X255",
        ] {
            assert_eq!(Format::of(text), None, "{text:?}");
        }
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut accepted = 0;
        for _ in 0..200_000 {
            let parts =
                ["le", "be", ":", "s", "u", "8", "16", "12", "32", "64", "/", "X", "4", ">>", "0", "\n", "é", "-1"];
            let text: String = if rng.bool() {
                let (order, sign) = (["le", "be"][rng.usize(..2)], ["s", "u"][rng.usize(..2)]);
                let (bits, storage) = (rng.u8(..70), [8, 16, 32, 64, 24][rng.usize(..5)]);
                format!("{order}:{sign}{bits}/{storage}X{}>>{}", rng.u8(..5), rng.u8(..70))
            } else {
                (0..rng.usize(..12)).map(|_| parts[rng.usize(..parts.len())]).collect()
            };
            let Some(format) = Format::of(&text) else { continue };
            accepted += 1;
            let bytes: Vec<u8> = (0..rng.usize(..16)).map(|_| rng.u8(..)).collect();
            let value = format.value(&bytes);
            let most = 1i128 << format.bits;
            assert!(value.is_none_or(|value| (-most / 2..most).contains(&value)), "seed {seed}: {text:?} {bytes:?}");
            let layout = Layout::of(&[
                (rng.u32(..3), format),
                (rng.u32(..3), format),
                (rng.u32(..3), Format { repeat: 1, ..format }),
            ]);
            let inside = |at: &usize| at + usize::from(format.storage_bits / 8) <= layout.bytes;
            assert!(layout.offsets.iter().all(inside), "seed {seed}: {text:?} {layout:?}");
        }
        assert!(accepted > 1_000, "seed {seed}: hardly any was one");
    }
}
