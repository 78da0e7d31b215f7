//! Names as bytes.

use super::checksum::crc32;
use super::wire::{Malformed, Reader, put_varint};
use crate::limits::{GROUPS_MAX, TAGS_MAX};
use crate::tag::{Dictionary, DictionaryTag};

const VERSION: u8 = 2;
/// Bytes of one string: names and units are far shorter.
const STRING_BYTES_MAX: usize = 1 << 16;

/// The record of names, with a checksum at its end.
pub fn encode(dictionary: &Dictionary) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_string(&mut out, &dictionary.gateway);
    put_varint(&mut out, dictionary.tags.len() as u64);
    for tag in &dictionary.tags {
        put_string(&mut out, &tag.name);
        out.push(tag.ty);
        put_string(&mut out, &tag.unit);
    }
    put_varint(&mut out, dictionary.groups.len() as u64);
    dictionary.groups.iter().for_each(|group| put_string(&mut out, group));
    let crc = crc32(&out);
    out.extend(crc.to_le_bytes());
    out
}

/// Reads names.
pub fn decode(bytes: &[u8]) -> Result<Dictionary, Malformed> {
    let (content, crc) = bytes.split_last_chunk::<4>().ok_or(Malformed("the record ends too early"))?;
    if crc32(content) != u32::from_le_bytes(*crc) {
        return Err(Malformed("the names' checksum does not match"));
    }
    let mut reader = Reader::new(content);
    if reader.u8()? != VERSION {
        return Err(Malformed("names of a version that is not known"));
    }
    let gateway = string(&mut reader)?;
    let tags = reader.count(TAGS_MAX, "the count of tags")?;
    let tag = |_| Ok(DictionaryTag { name: string(&mut reader)?, ty: reader.u8()?, unit: string(&mut reader)? });
    let tags = (0..tags).map(tag).collect::<Result<_, Malformed>>()?;
    let groups = reader.count(GROUPS_MAX, "the count of groups")?;
    let groups = (0..groups).map(|_| string(&mut reader)).collect::<Result<_, Malformed>>()?;
    Ok(Dictionary { gateway, tags, groups })
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn string(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let len = reader.count(STRING_BYTES_MAX, "a name's length")?;
    let bytes = reader.take(len)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed("a name that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> Dictionary {
        let tag = |name: &str| DictionaryTag { name: name.into(), ty: 8, unit: "°C".into() };
        Dictionary {
            gateway: "line-4".into(),
            tags: vec![tag("boiler.flow"), tag("boiler.return")],
            groups: vec!["10ms".into()],
        }
    }

    #[test]
    fn names_read_back() {
        assert_eq!(decode(&encode(&names())), Ok(names()));
    }

    proptest! {
        #[test]
        fn changed_names_are_refused(at: prop::sample::Index, bit in 0u8..8) {
            let mut bytes = encode(&names());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_names_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            // Past the checksum.
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            let crc = crc32(&bytes);
            bytes.extend(crc.to_le_bytes());
            let _ = decode(&bytes);
        }
    }
}
