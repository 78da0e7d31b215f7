//! Names as bytes, so that damage in one place costs the names that lie there and no others.
//!
//! A record is a head, the entries (gateway, tables of texts, tags, groups), and the head once more. The head has the
//! counts, the place where each entry ends, and a checksum; each entry has a checksum that covers its number, too.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::checksum::crc32;
use super::wire::{Malformed, Reader, put_varint, unzigzag, zigzag};
use crate::limits::{GROUPS_MAX, TAGS_MAX, VALUE_TEXTS_MAX};
use crate::tag::{Dictionary, DictionaryTag, Texts};

/// As earlier gateways wrote them, with one checksum for all: of names without texts of values, and with them.
const PLAIN: u8 = 2;
const WITH_TEXTS: u8 = 3;
const ENTRIES: u8 = 4;
/// Bytes of one string: names and units are far shorter.
const STRING_BYTES_MAX: usize = 1 << 16;

/// Names, and how many of their entries are damaged and left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    pub names: Dictionary,
    pub damaged: usize,
}

/// The record of names.
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
    let mut entries = Entries::default();
    entries.put(|out| put_string(out, &dictionary.gateway));
    tables.iter().for_each(|texts| entries.put(|out| put_texts(out, texts)));
    for tag in &dictionary.tags {
        entries.put(|out| {
            put_string(out, &tag.name);
            out.push(tag.ty);
            put_string(out, &tag.unit);
            // From 1; 0: none.
            put_varint(out, known.get(&tag.texts).copied().unwrap_or(0));
            // Last: gateways that know nothing of it stop reading before it.
            if !tag.link.is_empty() {
                put_string(out, &tag.link);
            }
        });
    }
    dictionary.groups.iter().for_each(|group| entries.put(|out| put_string(out, group)));

    let mut head = vec![ENTRIES];
    for count in [tables.len(), dictionary.tags.len(), dictionary.groups.len()] {
        head.extend((count as u32).to_le_bytes());
    }
    entries.ends.iter().for_each(|end| head.extend(end.to_le_bytes()));
    head.extend(crc32(&head).to_le_bytes());
    [head.as_slice(), &entries.bytes, &head].concat()
}

/// Entries on their way into a record.
#[derive(Default)]
struct Entries {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Entries {
    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let crc = crc_of(self.ends.len(), &self.bytes[start..]);
        self.bytes.extend(crc.to_le_bytes());
        self.ends.push(self.bytes.len() as u32);
    }
}

/// Of an entry: one that stands where another belongs is damaged, too.
fn crc_of(number: usize, content: &[u8]) -> u32 {
    crc32(content) ^ (number as u32).wrapping_mul(0x9E37_79B1)
}

/// Reads names, as far as they are whole. A tag whose entry is damaged has an empty name, as an id that is not in use.
///
/// # Errors
/// Nothing of them can be read.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Malformed> {
    if let Some(head) = Head::at_start(bytes).or_else(|| Head::at_end(bytes)) {
        let mut decoded = head.entries(bytes);
        // Damage in one of the heads harms nothing, and is some nonetheless.
        decoded.damaged += usize::from(Head::at_start(bytes) != Head::at_end(bytes));
        return Ok(decoded);
    }
    decode_earlier(bytes).map(|names| Decoded { names, damaged: 0 })
}

/// Where the entries are.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    tables: usize,
    tags: usize,
    groups: usize,
    ends: Vec<u32>,
}

impl Head {
    /// Bytes of a head with so many entries.
    fn bytes(entries: usize) -> usize {
        1 + 3 * 4 + 4 * entries + 4
    }

    fn read(bytes: &[u8]) -> Option<Head> {
        let mut reader = Reader::new(bytes);
        if reader.u8().ok()? != ENTRIES {
            return None;
        }
        let mut count = |max: usize| reader.u32().ok().map(|n| n as usize).filter(|n| *n <= max);
        let (tables, tags, groups) = (count(TAGS_MAX)?, count(TAGS_MAX)?, count(GROUPS_MAX)?);
        let entries = 1 + tables + tags + groups;
        let (content, crc) = bytes.get(..Head::bytes(entries))?.split_last_chunk::<4>()?;
        (crc32(content) == u32::from_le_bytes(*crc)).then_some(())?;
        let ends = (0..entries).map(|_| reader.u32().ok()).collect::<Option<Vec<u32>>>()?;
        ends.is_sorted().then_some(Head { tables, tags, groups, ends })
    }

    fn at_start(bytes: &[u8]) -> Option<Head> {
        Head::read(bytes)
    }

    /// The second one is as long as the first, and the entries' end says how long both are together.
    fn at_end(bytes: &[u8]) -> Option<Head> {
        let counts = |at: usize| {
            let mut reader = Reader::new(bytes.get(at..)?);
            (reader.u8().ok()? == ENTRIES).then_some(())?;
            let mut count = |max: usize| reader.u32().ok().map(|n| n as usize).filter(|n| *n <= max);
            Some(1 + count(TAGS_MAX)? + count(TAGS_MAX)? + count(GROUPS_MAX)?)
        };
        // By the first one's counts, and if those are what is damaged, wherever one fits.
        let likely = counts(0).and_then(|entries| bytes.len().checked_sub(Head::bytes(entries)));
        let fits =
            |at: usize| counts(at).is_some_and(|entries| at.checked_add(Head::bytes(entries)) == Some(bytes.len()));
        let found = likely.filter(|at| fits(*at)).or_else(|| (0..bytes.len()).rev().find(|at| *at > 0 && fits(*at)))?;
        Head::read(&bytes[found..])
    }

    fn entries(&self, bytes: &[u8]) -> Decoded {
        let content = bytes.get(Head::bytes(self.ends.len())..).unwrap_or_default();
        let mut damaged = 0;
        let mut read = |number: usize| -> Option<&[u8]> {
            let start = number.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
            let entry = content.get(start..self.ends[number] as usize).and_then(|entry| entry.split_last_chunk::<4>());
            let whole = entry.filter(|(entry, crc)| crc_of(number, entry) == u32::from_le_bytes(**crc));
            damaged += usize::from(whole.is_none());
            whole.map(|(entry, _)| entry)
        };
        let mut next = 0..self.ends.len();
        let mut take = |count: usize| -> Vec<Option<&[u8]>> { next.by_ref().take(count).map(&mut read).collect() };
        let gateway = take(1);
        let (tables, tags, groups) = (take(self.tables), take(self.tags), take(self.groups));
        let of =
            |entry: Option<&[u8]>| entry.and_then(|entry| string(&mut Reader::new(entry)).ok()).unwrap_or_default();
        let tables: Vec<Texts> = tables
            .into_iter()
            .map(|entry| entry.and_then(|entry| texts(&mut Reader::new(entry)).ok()).unwrap_or_default())
            .collect();
        let mut links = HashSet::new();
        let mut tag = |entry: &[u8]| entry_of_tag(entry, &tables, &mut links).ok();
        let names = Dictionary {
            gateway: of(gateway.into_iter().next().flatten()),
            tags: tags.into_iter().map(|entry| entry.and_then(&mut tag).unwrap_or_default()).collect(),
            groups: groups.into_iter().map(of).collect(),
        };
        Decoded { names, damaged }
    }
}

fn tag(reader: &mut Reader<'_>, tables: &[Texts], with_texts: bool) -> Result<DictionaryTag, Malformed> {
    let (name, ty, unit) = (string(reader)?, reader.u8()?, string(reader)?);
    let table = if with_texts { reader.count(tables.len(), "a table of texts")? } else { 0 };
    let texts = table.checked_sub(1).and_then(|at| tables.get(at)).cloned().unwrap_or_default();
    Ok(DictionaryTag { name, ty, unit, texts, link: Arc::default() })
}

/// An entry of its own may go on with the link.
fn entry_of_tag(entry: &[u8], tables: &[Texts], links: &mut HashSet<Arc<str>>) -> Result<DictionaryTag, Malformed> {
    let mut reader = Reader::new(entry);
    let mut tag = tag(&mut reader, tables, true)?;
    if !reader.is_empty() {
        let link = string(&mut reader)?;
        // Many tags share a link.
        tag.link = links.get(link.as_str()).cloned().unwrap_or_else(|| link.into());
        links.insert(tag.link.clone());
    }
    Ok(tag)
}

/// One checksum for all: any damage costs everything, since nothing says where it is.
fn decode_earlier(bytes: &[u8]) -> Result<Dictionary, Malformed> {
    let (content, crc) = bytes.split_last_chunk::<4>().ok_or(Malformed("the record is truncated"))?;
    if crc32(content) != u32::from_le_bytes(*crc) {
        return Err(Malformed("the names' checksum does not match"));
    }
    let mut reader = Reader::new(content);
    let version = reader.u8()?;
    if version != PLAIN && version != WITH_TEXTS {
        return Err(Malformed("names of an unknown version"));
    }
    let gateway = string(&mut reader)?;
    let tables = if version == PLAIN { 0 } else { reader.count(TAGS_MAX, "the count of tables of texts")? };
    let tables = (0..tables).map(|_| texts(&mut reader)).collect::<Result<Vec<Texts>, Malformed>>()?;
    let tags = reader.count(TAGS_MAX, "the count of tags")?;
    let tags = (0..tags).map(|_| tag(&mut reader, &tables, version != PLAIN)).collect::<Result<_, Malformed>>()?;
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
            link: if name.starts_with("fan") { Arc::default() } else { "plc1".into() },
        };
        let states = Texts::new(vec![(0, "off".into()), (u64::MAX, "defekt".into())]);
        let none = Texts::default();
        Dictionary {
            gateway: "line-4".into(),
            tags: vec![tag("boiler.flow", &none), tag("pump.state", &states), tag("fan.state", &states)],
            groups: vec!["10ms".into()],
        }
    }

    fn read(bytes: &[u8]) -> Option<(Dictionary, usize)> {
        decode(bytes).ok().map(|decoded| (decoded.names, decoded.damaged))
    }

    #[test]
    fn names_read_back() {
        assert_eq!(read(&encode(&names())), Some((names(), 0)));
        let bytes = encode(&names());
        let text = |part: &[u8]| bytes.windows(part.len()).filter(|window| *window == part).count();
        assert_eq!(text(b"defekt"), 1, "one table for both tags");
        let (found, _) = read(&bytes).unwrap();
        assert!(Arc::ptr_eq(&found.tags[0].link, &found.tags[1].link), "one text for both tags");
    }

    /// Bytes that gateways wrote before entries had checksums of their own.
    #[test]
    fn names_of_earlier_gateways_are_read() {
        let with_crc = |content: &[u8]| [content, &crc32(content).to_le_bytes()].concat();
        let plain = with_crc(b"\x02\x06line-4\x01\x04flow\x08\x03l/h\x01\x0410ms");
        let flow = DictionaryTag { name: "flow".into(), ty: 8, unit: "l/h".into(), ..DictionaryTag::default() };
        let mut expected = Dictionary { gateway: "line-4".into(), tags: vec![flow], groups: vec!["10ms".into()] };
        assert_eq!(read(&plain), Some((expected.clone(), 0)));
        let texts = with_crc(b"\x03\x06line-4\x01\x01\x00\x03off\x01\x04flow\x08\x03l/h\x01\x01\x0410ms");
        expected.tags[0].texts = Texts::new(vec![(0, "off".into())]);
        assert_eq!(read(&texts), Some((expected, 0)));
        let mut changed = plain;
        changed[10] ^= 1;
        assert_eq!(read(&changed), None);
    }

    #[test]
    fn damage_in_one_place_costs_the_name_that_lies_there_and_is_noticed_everywhere() {
        let (names, bytes) = (names(), encode(&names()));
        for at in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            let (found, damaged) = read(&bytes).unwrap_or_else(|| panic!("bit {at}: nothing is left"));
            assert!(damaged > 0, "bit {at} goes unnoticed");
            let differ = found.tags.iter().zip(&names.tags).filter(|(found, made)| found.name != made.name).count();
            assert!(differ <= 1 && found.tags.len() == names.tags.len(), "bit {at}: {differ} names are lost");
            // No name is another than it was.
            assert!(found.tags.iter().zip(&names.tags).all(|(f, made)| f.name.is_empty() || f.name == made.name));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_names_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 2u8..=4) {
            let _ = decode(&bytes);
            // Past the checksum.
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            let crc = crc32(&bytes);
            bytes.extend(crc.to_le_bytes());
            let _ = decode(&bytes);
        }
    }
}
