//! ASCII frames (Modbus over Serial Line Specification and Implementation Guide V1.02, section 2.5.2): a colon, two
//! hexadecimal characters a byte, an LRC, CR LF. No allocation, no panic on any bytes.

use super::expected::{Expected, Found};
use crate::limits::ASCII_FRAME_BYTES_MAX;

/// Bytes of a frame once its characters are read: unit, PDU, LRC.
pub const BINARY_BYTES_MAX: usize = (ASCII_FRAME_BYTES_MAX - 3) / 2;

/// Section 2.5.2.2: what the bytes lack to a sum of zero.
pub fn lrc(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// Puts a frame into `out`. Returns its characters; 0: there is no room.
pub fn request(unit: u8, pdu: &[u8], out: &mut [u8]) -> usize {
    let length = 1 + 2 * (1 + pdu.len() + 1) + 2;
    let Some(out) = out.get_mut(..length) else { return 0 };
    let check = lrc(pdu).wrapping_sub(unit);
    let bytes = std::iter::once(unit).chain(pdu.iter().copied()).chain([check]);
    let digits = bytes.flat_map(|byte| [character(byte >> 4), character(byte & 15)]);
    let characters = std::iter::once(b':').chain(digits).chain(*b"\r\n");
    out.iter_mut().zip(characters).for_each(|(slot, character)| *slot = character);
    length
}

fn character(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'A' + digit - 10 }
}

fn digit(character: u8) -> Option<u8> {
    // Devices send capitals; small letters do no harm. A parity bit that an 8-bit port leaves in place does.
    (character as char).to_digit(16).map(|digit| digit as u8)
}

/// Looks for the reply among what came since the request. A colon begins a new frame wherever it stands.
pub fn find<'a>(bytes: &[u8], expected: &Expected, binary: &'a mut [u8; BINARY_BYTES_MAX]) -> Found<'a> {
    let mut outcome = Found::Nothing;
    let mut at = 0;
    while let Some(start) = bytes[at..].iter().position(|byte| *byte == b':').map(|colon| at + colon) {
        at = start + 1;
        let body = &bytes[at..];
        let Some(end) = body.iter().position(|byte| matches!(byte, b'\n' | b':')) else {
            if body.len() < ASCII_FRAME_BYTES_MAX {
                return if outcome == Found::Broken { outcome } else { Found::Begun { at: start } };
            }
            break;
        };
        at += end;
        let found = if body[end] == b'\n' { frame(&body[..end], expected, binary) } else { Found::Nothing };
        match found {
            Found::Reply(_) => {
                let length = 2 + expected.reply_bytes(binary[1], binary[2]);
                return Found::Reply(&binary[1..length]);
            }
            Found::Broken => outcome = Found::Broken,
            Found::Foreign(what) if outcome == Found::Nothing => outcome = Found::Foreign(what),
            _ => {}
        }
    }
    outcome
}

fn bytes_of(header: &[u8; 6]) -> Option<[u8; 3]> {
    let byte = |at: usize| Some(digit(header[at])? << 4 | digit(header[at + 1])?);
    Some([byte(0)?, byte(2)?, byte(4)?])
}

/// Reads what stands between the colon and LF into `binary`. Only the kind of the outcome counts.
fn frame(body: &[u8], expected: &Expected, binary: &mut [u8; BINARY_BYTES_MAX]) -> Found<'static> {
    // What fails its check is the broken reply if it begins like it; else it is noise, and the reply may still come.
    let begins = match body.first_chunk::<6>().and_then(bytes_of) {
        Some([unit, function, count]) => {
            let is_exception = function & 0x80 != 0;
            expected.allows_unit(unit)
                && !is_exception
                && expected.allows_function(function)
                && expected.allows_count(count)
        }
        None => false,
    };
    let failed = if begins { Found::Broken } else { Found::Nothing };
    let Some(characters) = body.strip_suffix(b"\r") else { return failed };
    let length = characters.len() / 2;
    if characters.len() % 2 == 1 || !(3..=BINARY_BYTES_MAX).contains(&length) {
        return failed;
    }
    for (byte, pair) in binary.iter_mut().zip(characters.chunks_exact(2)) {
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return failed };
        *byte = high << 4 | low;
    }
    let frame = &binary[..length];
    if lrc(frame) != 0 {
        return failed;
    }
    let ours = expected.allows_unit(frame[0])
        && expected.allows_function(frame[1])
        && length == 3 + expected.reply_bytes(frame[1], frame[2])
        && (frame[1] & 0x80 != 0 || expected.allows_count(frame[2]));
    // The frame is ours or someone else's; its bytes are in `binary`.
    if ours { Found::Reply(&[]) } else { Found::Foreign(expected.mismatch(frame[0], frame[1])) }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Mismatch, Shape};
    use super::*;
    use crate::protocol::modbus::model::Tolerance;
    use proptest::prelude::*;

    const EXPECTED: Expected =
        Expected { unit: 17, function: 3, shape: Shape::Values(4), tolerance: Tolerance::STRICT };

    fn written(bytes: &[u8]) -> Vec<u8> {
        let mut all = bytes.to_vec();
        all.push(lrc(bytes));
        let hex: String = all.iter().map(|byte| format!("{byte:02X}")).collect();
        format!(":{hex}\r\n").into_bytes()
    }

    fn reply() -> Vec<u8> {
        written(&[17, 3, 4, 0xAE, 0x41, 0x56, 0x52])
    }

    fn found(bytes: &[u8]) -> Result<Vec<u8>, Found<'static>> {
        let mut binary = [0; BINARY_BYTES_MAX];
        match find(bytes, &EXPECTED, &mut binary) {
            Found::Reply(pdu) => Ok(pdu.to_vec()),
            Found::Begun { at } => Err(Found::Begun { at }),
            Found::Broken => Err(Found::Broken),
            Found::Foreign(what) => Err(Found::Foreign(what)),
            Found::Nothing => Err(Found::Nothing),
        }
    }

    #[test]
    fn a_request_is_written_as_the_specification_shows() {
        // Modicon's guide PI-MBUS-300: unit 17, registers 40108 to 40110.
        let mut frame = [0; 40];
        let length = request(17, &[3, 0, 0x6B, 0, 3], &mut frame);
        assert_eq!(&frame[..length], b":1103006B00037E\r\n");
        assert_eq!(request(17, &[3, 0, 0x6B, 0, 3], &mut frame[..16]), 0);
        assert_eq!(lrc(&[0x02, 0x07]), 0xF7);
    }

    #[test]
    fn a_reply_is_whole_with_its_last_character_wherever_it_is_cut() {
        let whole = reply();
        for n in 1..whole.len() {
            assert_eq!(found(&whole[..n]), Err(Found::Begun { at: 0 }), "{n} characters");
        }
        assert_eq!(found(&whole), Ok(vec![3, 4, 0xAE, 0x41, 0x56, 0x52]));
        assert_eq!(found(&written(&[17, 0x83, 2])), Ok(vec![0x83, 2]));
        let small: Vec<u8> = whole.iter().map(u8::to_ascii_lowercase).collect();
        assert!(found(&small).is_ok());
    }

    #[test]
    fn a_confirmation_is_found_by_its_length() {
        let expected = Expected { function: 6, shape: Shape::Echo(4), ..EXPECTED };
        let mut binary = [0; BINARY_BYTES_MAX];
        let whole = written(&[17, 6, 0, 1, 0, 3]);
        assert_eq!(find(&whole, &expected, &mut binary), Found::Reply(&[6, 0, 1, 0, 3]));
        let mut broken = whole.clone();
        broken[10] = b'7';
        assert_eq!(find(&broken, &expected, &mut binary), Found::Broken);
        let cut = written(&[17, 6, 0, 1, 0]);
        assert_eq!(find(&cut, &expected, &mut binary), Found::Foreign(Mismatch::Length));
        assert_eq!(find(&written(&[17, 0x86, 3]), &expected, &mut binary), Found::Reply(&[0x86, 3]));
    }

    #[test]
    fn a_colon_begins_anew_and_what_is_not_ours_is_told() {
        let mut bytes = b"\0\xFFxyz:1103".to_vec();
        bytes.extend(reply());
        assert!(found(&bytes).is_ok());
        for (other, what) in [
            (&[18, 3, 4, 1, 2, 3, 4][..], Mismatch::Unit),
            (&[17, 4, 4, 1, 2, 3, 4], Mismatch::Function),
            (&[17, 3, 2, 1, 2], Mismatch::Length),
            (&[17, 0x84, 2], Mismatch::Function),
        ] {
            assert_eq!(found(&written(other)), Err(Found::Foreign(what)), "{other:?}");
        }
        assert_eq!(found(b"noise without a colon\r\n"), Err(Found::Nothing));
        for noise in [&b":1103\n"[..], b":110\r\n", b":11GG\r\n", b":\r\n"] {
            assert_eq!(found(noise), Err(Found::Nothing), "{}", String::from_utf8_lossy(noise));
        }
        for broken in [&b":110304AE41565200\r\n"[..], b":110304AE4\r\n", b":110304\n", b":110304AExx\r\n"] {
            assert_eq!(found(broken), Err(Found::Broken), "{}", String::from_utf8_lossy(broken));
        }
        let endless = vec![b':'; 1].into_iter().chain(vec![b'0'; 600]).collect::<Vec<u8>>();
        assert_eq!(found(&endless), Err(Found::Nothing));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b':'), Just(b'\n'), b'0'..=b'F'], 0..1100)) {
            if let Err(Found::Begun { at }) = found(&bytes) {
                prop_assert!(bytes.len() - at <= ASCII_FRAME_BYTES_MAX);
            }
        }
    }
}
