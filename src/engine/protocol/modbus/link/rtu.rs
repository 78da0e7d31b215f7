//! RTU frames (Modbus over Serial Line Specification and Implementation Guide V1.02, section 2.5.1 and appendix B).
//! No allocation, no panic on any bytes.

use super::expected::{Expected, Found};

/// Unit, function and CRC.
const FRAME_OVERHEAD: usize = 4;
/// Unit, function, exception code, CRC.
const EXCEPTION_BYTES: usize = 5;

/// The CRC of appendix B: polynomial 0xA001, reflected, from 0xFFFF. Over a frame with its CRC it is zero.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| crc >> 8 ^ TABLE[usize::from((crc ^ u16::from(*byte)) as u8)])
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

/// Puts unit, PDU and CRC, low byte first, into `out`. Returns their bytes; 0: there is no room.
pub fn request(unit: u8, pdu: &[u8], out: &mut [u8]) -> usize {
    let bytes = 1 + pdu.len() + 2;
    let Some(out) = out.get_mut(..bytes) else { return 0 };
    let (frame, check) = out.split_at_mut(1 + pdu.len());
    frame[0] = unit;
    frame[1..].copy_from_slice(pdu);
    check.copy_from_slice(&crc16(frame).to_le_bytes());
    bytes
}

/// What transceivers add when they let go of the line: no levels, or all of them.
pub fn is_padding(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, 0x00 | 0xFF))
}

/// Looks for the reply among what came since the request. Noise before it is skipped; what follows it at once makes it
/// no frame, since a frame ends with a silence. But for the NUL and FF bytes of a transceiver that is switched: byte count
/// and CRC say where the frame ends, and of a longer frame that only begins like this one they would be right by chance.
pub fn find<'a>(bytes: &'a [u8], expected: &Expected) -> Found<'a> {
    let mut begun = None;
    let mut broken = false;
    for at in 0..bytes.len() {
        let rest = &bytes[at..];
        let Some(length) = length(rest, expected) else { continue };
        match rest.get(..length) {
            None => begun = begun.or(Some(at)),
            Some(frame) if crc16(frame) == 0 && is_padding(&rest[length..]) => {
                return Found::Reply(&frame[1..length - 2]);
            }
            // Of an exception's five bytes two are its own: noise has them too often to be taken for the reply, which
            // may still be on its way.
            Some(frame) => broken |= frame[1] & 0x80 == 0,
        }
    }
    match (broken, begun, bytes) {
        (true, ..) => Found::Broken,
        (false, Some(at), _) => Found::Begun { at },
        (false, None, [unit, function, _, _, ..]) if crc16(bytes) == 0 => {
            Found::Foreign(expected.mismatch(*unit, *function))
        }
        (false, None, _) => Found::Nothing,
    }
}

/// How long the frame is that begins like the reply; `None`: it does not. A beginning that is too short to tell counts
/// as the shortest reply.
fn length(bytes: &[u8], expected: &Expected) -> Option<usize> {
    match *bytes {
        [unit, ..] if !expected.allows_unit(unit) => None,
        [_] => Some(EXCEPTION_BYTES),
        [_, function, ..] if !expected.allows_function(function) => None,
        [_, function, ..] if function & 0x80 != 0 => Some(EXCEPTION_BYTES),
        [_, function, count, ..] if expected.allows_count(count) => {
            Some(FRAME_OVERHEAD + expected.reply_bytes(function, count))
        }
        [_, _, _, ..] => None,
        _ => Some(FRAME_OVERHEAD + expected.shape.bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Mismatch, Shape};
    use super::*;
    use crate::protocol::modbus::model::Tolerance;
    use proptest::prelude::*;
    use rmodbus::ModbusProto;
    use rmodbus::client::ModbusRequest;

    const EXPECTED: Expected =
        Expected { unit: 17, function: 3, shape: Shape::Values(6), tolerance: Tolerance::STRICT };

    fn with_crc(bytes: &[u8]) -> Vec<u8> {
        let mut frame = bytes.to_vec();
        frame.extend(crc16(bytes).to_le_bytes());
        frame
    }

    fn reply() -> Vec<u8> {
        with_crc(&[17, 3, 6, 0xAE, 0x41, 0x56, 0x52, 0x43, 0x40])
    }

    #[test]
    fn the_crc_is_that_of_the_specification() {
        // Appendix B: unit 2, function 7 is 0x1241, sent as 41 12.
        assert_eq!(crc16(&[0x02, 0x07]), 0x1241);
        // The catalogue's check value of CRC-16/MODBUS.
        assert_eq!(crc16(b"123456789"), 0x4B37);
        assert_eq!(crc16(&with_crc(&[0x02, 0x07])), 0);
        // The slow way, as the specification's flow chart has it.
        let slow = |bytes: &[u8]| {
            let mut crc = 0xFFFFu16;
            for byte in bytes {
                crc ^= u16::from(*byte);
                for _ in 0..8 {
                    crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
                }
            }
            crc
        };
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let bytes: Vec<u8> = (0..seed).map(|_| rng.u8(..)).collect();
            assert_eq!(crc16(&bytes), slow(&bytes));
        }
    }

    #[test]
    fn a_reply_is_whole_with_its_last_byte_wherever_it_is_cut() {
        let whole = reply();
        assert!(matches!(find(&[], &EXPECTED), Found::Nothing));
        for n in 1..whole.len() {
            assert_eq!(find(&whole[..n], &EXPECTED), Found::Begun { at: 0 }, "{n} bytes");
        }
        assert_eq!(find(&whole, &EXPECTED), Found::Reply(&whole[1..9]));
        let exception = with_crc(&[17, 0x83, 2]);
        for n in 1..exception.len() {
            assert_eq!(find(&exception[..n], &EXPECTED), Found::Begun { at: 0 }, "{n} bytes");
        }
        assert_eq!(find(&exception, &EXPECTED), Found::Reply(&[0x83, 2]));
    }

    #[test]
    fn a_confirmation_is_whole_with_its_last_byte_and_known_by_its_length() {
        let expected = Expected { function: 16, shape: Shape::Echo(4), ..EXPECTED };
        let whole = with_crc(&[17, 16, 0, 1, 0, 2]);
        for n in 1..whole.len() {
            assert_eq!(find(&whole[..n], &expected), Found::Begun { at: 0 }, "{n} bytes");
        }
        assert_eq!(find(&whole, &expected), Found::Reply(&whole[1..6]));
        assert_eq!(find(&with_crc(&[17, 0x90, 1]), &expected), Found::Reply(&[0x90, 1]));
        assert_eq!(find(&with_crc(&[17, 16, 0, 1, 0, 2, 9]), &expected), Found::Broken);
        let mut broken = whole.clone();
        broken[4] ^= 1;
        assert_eq!(find(&broken, &expected), Found::Broken);
        assert_eq!(find(&with_crc(&[17, 6, 0, 1, 0, 2]), &expected), Found::Foreign(Mismatch::Function));
    }

    #[test]
    fn noise_before_it_is_skipped_and_noise_behind_it_makes_it_no_frame() {
        for noise in [&[0u8][..], &[0xFF, 0xFF], &[17], &[17, 3], &[17, 3, 9, 1], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
            let mut bytes = noise.to_vec();
            bytes.extend(reply());
            assert!(matches!(find(&bytes, &EXPECTED), Found::Reply(_)), "{noise:?}");
        }
        for noise in [&[1u8][..], &[0, 1], &[17], &[17, 3], &[17, 3, 9, 1], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
            let mut bytes = reply();
            bytes.extend(noise);
            assert_eq!(find(&bytes, &EXPECTED), Found::Broken, "{noise:?}");
        }
    }

    #[test]
    fn nul_and_ff_behind_a_frame_are_no_part_of_it() {
        for padding in [&[0u8][..], &[0xFF], &[0, 0xFF, 0], &[0; 16]] {
            let mut bytes = reply();
            bytes.extend(padding);
            assert_eq!(
                find(&bytes, &EXPECTED),
                Found::Reply(&[3, 6, 0xAE, 0x41, 0x56, 0x52, 0x43, 0x40]),
                "{padding:?}"
            );
            let mut exception = with_crc(&[17, 0x83, 2]);
            exception.extend(padding);
            assert_eq!(find(&exception, &EXPECTED), Found::Reply(&[0x83, 2]));
            // A frame that is spoilt is not mended by them.
            bytes[4] ^= 1;
            assert_eq!(find(&bytes, &EXPECTED), Found::Broken, "{padding:?}");
        }
    }

    #[test]
    fn what_is_tolerated_is_taken_and_nothing_else() {
        let any_unit = Expected { tolerance: Tolerance { any_unit: true, ..Tolerance::STRICT }, ..EXPECTED };
        let other = with_crc(&[18, 3, 6, 1, 2, 3, 4, 5, 6]);
        assert_eq!(find(&other, &any_unit), Found::Reply(&[3, 6, 1, 2, 3, 4, 5, 6]));
        let any_function = Expected { tolerance: Tolerance { any_function: true, ..Tolerance::STRICT }, ..EXPECTED };
        let other = with_crc(&[17, 4, 6, 1, 2, 3, 4, 5, 6]);
        assert_eq!(find(&other, &any_function), Found::Reply(&[4, 6, 1, 2, 3, 4, 5, 6]));
        assert_eq!(find(&with_crc(&[17, 1, 6, 1, 2, 3, 4, 5, 6]), &any_function), Found::Foreign(Mismatch::Function));
        let longer = Expected { tolerance: Tolerance { longer_replies: true, ..Tolerance::STRICT }, ..EXPECTED };
        let long = with_crc(&[17, 3, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(find(&long, &longer), Found::Reply(&[3, 8, 1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(find(&with_crc(&[17, 3, 2, 1, 2]), &longer), Found::Foreign(Mismatch::Length));
    }

    #[test]
    fn other_units_functions_and_lengths_are_foreign_and_flipped_bits_are_broken() {
        for (other, what) in [
            (&[18, 3, 6, 1, 2, 3, 4, 5, 6][..], Mismatch::Unit),
            (&[17, 4, 6, 1, 2, 3, 4, 5, 6], Mismatch::Function),
            (&[17, 3, 2, 1, 2], Mismatch::Length),
            (&[17, 0x84, 2], Mismatch::Function),
        ] {
            assert_eq!(find(&with_crc(other), &EXPECTED), Found::Foreign(what), "{other:?}");
        }
        let whole = reply();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = find(&bytes, &EXPECTED);
            assert!(!matches!(found, Found::Reply(_) | Found::Foreign(_)), "bit {bit}: {found:?}");
            if bit >= 24 {
                assert_eq!(found, Found::Broken, "bit {bit}");
            }
        }
    }

    proptest! {
        #[test]
        fn requests_are_those_of_rmodbus(unit: u8, function in 1u8..=4, first: u16, count in 1u16..=125) {
            let mut oracle = ModbusRequest::new(unit, ModbusProto::Rtu);
            let mut expected = Vec::new();
            match function {
                1 => oracle.generate_get_coils(first, count, &mut expected),
                2 => oracle.generate_get_discretes(first, count, &mut expected),
                3 => oracle.generate_get_holdings(first, count, &mut expected),
                _ => oracle.generate_get_inputs(first, count, &mut expected),
            }.unwrap();
            let ([a, b], [c, d]) = (first.to_be_bytes(), count.to_be_bytes());
            let mut ours = [0; 20];
            let bytes = request(unit, &[function, a, b, c, d], &mut ours);
            prop_assert_eq!(&ours[..bytes], &expected[..]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..1100), unit: u8, function: u8, n in 0usize..=250, echo: bool) {
            let shape = if echo { Shape::Echo(n) } else { Shape::Values(n) };
            let expected = Expected { unit, function, shape, tolerance: Tolerance::STRICT };
            if let Found::Begun { at } = find(&bytes, &expected) {
                prop_assert!(bytes.len() - at < 256);
            }
        }
    }
}
