//! Names as bytes.

use std::collections::HashMap;

use super::checksum::crc32;
use super::wire::{Malformed, Reader, put_varint, unzigzag, zigzag};
use crate::limits::{GROUPS_MAX, TAGS_MAX, VALUE_TEXTS_MAX};
use crate::tag::{Dictionary, DictionaryTag, Texts};

/// Of names without texts of values, and with them.
const PLAIN: u8 = 2;
const WITH_TEXTS: u8 = 3;
/// Bytes of one string: names and units are far shorter.
const STRING_BYTES_MAX: usize = 1 << 16;

/// The record of names, with a checksum at its end.
pub fn encode(dictionary: &Dictionary) -> Vec<u8> {
    // Many tags have the same texts.
    let mut tables: Vec<&Texts> = Vec::new();
    let mut known: HashMap<&Texts, u64> = HashMap::new();
    for tag in dictionary.tags.iter().filter(|tag| !tag.texts.is_empty()) {
        known.entry(&tag.texts).or_insert_with(|| {
            tables.push(&tag.texts);
            tables.len() as u64
        });
    }
    let mut out = vec![if tables.is_empty() { PLAIN } else { WITH_TEXTS }];
    put_string(&mut out, &dictionary.gateway);
    if !tables.is_empty() {
        put_varint(&mut out, tables.len() as u64);
        tables.iter().for_each(|texts| put_texts(&mut out, texts));
    }
    put_varint(&mut out, dictionary.tags.len() as u64);
    for tag in &dictionary.tags {
        put_string(&mut out, &tag.name);
        out.push(tag.ty);
        put_string(&mut out, &tag.unit);
        if !tables.is_empty() {
            // From 1; 0: none.
            put_varint(&mut out, known.get(&tag.texts).copied().unwrap_or(0));
        }
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
    let version = reader.u8()?;
    if version != PLAIN && version != WITH_TEXTS {
        return Err(Malformed("names of a version that is not known"));
    }
    let gateway = string(&mut reader)?;
    let tables = if version == PLAIN { 0 } else { reader.count(TAGS_MAX, "the count of tables of texts")? };
    let tables = (0..tables).map(|_| texts(&mut reader)).collect::<Result<Vec<Texts>, Malformed>>()?;
    let tags = reader.count(TAGS_MAX, "the count of tags")?;
    let tag = |_| {
        let (name, ty, unit) = (string(&mut reader)?, reader.u8()?, string(&mut reader)?);
        let table = if version == PLAIN { 0 } else { reader.count(tables.len(), "a table of texts")? };
        let texts = table.checked_sub(1).and_then(|at| tables.get(at)).cloned().unwrap_or_default();
        Ok(DictionaryTag { name, ty, unit, texts })
    };
    let tags = (0..tags).map(tag).collect::<Result<_, Malformed>>()?;
    let groups = reader.count(GROUPS_MAX, "the count of groups")?;
    let groups = (0..groups).map(|_| string(&mut reader)).collect::<Result<_, Malformed>>()?;
    Ok(Dictionary { gateway, tags, groups })
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_texts(out: &mut Vec<u8>, texts: &Texts) {
    put_varint(out, texts.len() as u64);
    for (bits, text) in texts.iter() {
        put_varint(out, zigzag(bits as i64));
        put_string(out, text);
    }
}

fn texts(reader: &mut Reader<'_>) -> Result<Texts, Malformed> {
    let count = reader.count(VALUE_TEXTS_MAX, "the count of texts")?;
    let text = |_| Ok((unzigzag(reader.varint()?) as u64, string(reader)?.into()));
    Ok(Texts::new((0..count).map(text).collect::<Result<_, Malformed>>()?))
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
        let tag = |name: &str, texts: &Texts| DictionaryTag {
            name: name.into(),
            ty: 8,
            unit: "°C".into(),
            texts: texts.clone(),
        };
        let states = Texts::new(vec![(0, "off".into()), (u64::MAX, "defekt".into())]);
        let none = Texts::default();
        Dictionary {
            gateway: "line-4".into(),
            tags: vec![tag("boiler.flow", &none), tag("pump.state", &states), tag("fan.state", &states)],
            groups: vec!["10ms".into()],
        }
    }

    #[test]
    fn names_read_back() {
        assert_eq!(decode(&encode(&names())), Ok(names()));
        let bytes = encode(&names());
        let text = |part: &[u8]| bytes.windows(part.len()).filter(|window| *window == part).count();
        assert_eq!((bytes[0], text(b"defekt")), (WITH_TEXTS, 1), "one table for both tags");
    }

    /// As gateways wrote them before values had texts.
    #[test]
    fn names_without_texts_are_as_they_always_were() {
        let mut names = names();
        names.tags.iter_mut().for_each(|tag| tag.texts = Texts::default());
        let bytes = encode(&names);
        assert_eq!((bytes[0], decode(&bytes)), (PLAIN, Ok(names)));
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
        fn any_bytes_are_names_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), with_texts: bool) {
            let _ = decode(&bytes);
            // Past the checksum.
            if let Some(first) = bytes.first_mut() {
                *first = if with_texts { WITH_TEXTS } else { PLAIN };
            }
            let crc = crc32(&bytes);
            bytes.extend(crc.to_le_bytes());
            let _ = decode(&bytes);
        }
    }
}
