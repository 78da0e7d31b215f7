//! Cursors: the position of each output in the journal.

use std::collections::BTreeMap;

use super::block::Position;
use super::checksum::crc32;
use super::wire::{Malformed, Reader};

/// One cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorState {
    pub name: String,
    pub position: Position,
    /// Samples that the byte bound removed, or that were lost with the file, before this cursor had passed them, since it
    /// was made.
    pub samples_lost: u64,
}

/// Bytes of a record without its checksum, as earlier versions wrote it.
const BARE_BYTES: usize = 20;

/// The record of the cursor `name`.
pub fn encode(name: &str, position: Position, samples_lost: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(BARE_BYTES + 4);
    out.extend(position.block.to_le_bytes());
    out.extend(position.samples.to_le_bytes());
    out.extend(samples_lost.to_le_bytes());
    out.extend(checksum(name, &out).to_le_bytes());
    out
}

/// Position and samples lost of the cursor `name`.
///
/// # Errors
/// It is damaged, or it is another cursor's.
pub fn decode(name: &str, bytes: &[u8]) -> Result<(Position, u64), Malformed> {
    let mut reader = Reader::new(bytes);
    let record = (Position { block: reader.u64()?, samples: reader.u32()? }, reader.u64()?);
    if bytes.len() == BARE_BYTES || reader.u32()? == checksum(name, &bytes[..BARE_BYTES]) {
        return Ok(record);
    }
    Err(Malformed("the cursor's checksum does not match"))
}

/// With the name, so that a record under a damaged name is known to be damaged.
fn checksum(name: &str, record: &[u8]) -> u32 {
    crc32(&[record, name.as_bytes()].concat())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    position: Position,
    samples_lost: u64,
    /// Not yet durable as it is here.
    dirty: bool,
}

/// The registered cursors, ahead of what is durable.
#[derive(Debug, Clone, Default)]
pub struct Cursors {
    by_name: BTreeMap<String, Cursor>,
}

impl Cursors {
    pub fn insert(&mut self, name: &str, position: Position, samples_lost: u64) {
        self.by_name.insert(name.to_owned(), Cursor { position, samples_lost, dirty: true });
    }

    /// Moves a cursor forward; false when there is no such cursor. It never moves back.
    pub fn advance(&mut self, name: &str, position: Position) -> bool {
        let Some(cursor) = self.by_name.get_mut(name) else { return false };
        if position > cursor.position {
            cursor.position = position;
            cursor.dirty = true;
        }
        true
    }

    pub fn get(&self, name: &str) -> Option<(Position, u64)> {
        self.by_name.get(name).map(|cursor| (cursor.position, cursor.samples_lost))
    }

    pub fn all(&self) -> Vec<CursorState> {
        let state = |(name, cursor): (&String, &Cursor)| CursorState {
            name: name.clone(),
            position: cursor.position,
            samples_lost: cursor.samples_lost,
        };
        self.by_name.iter().map(state).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn is_dirty(&self) -> bool {
        self.by_name.values().any(|cursor| cursor.dirty)
    }

    /// Records to be made durable.
    pub fn dirty(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        let dirty = self.by_name.iter().filter(|(_, cursor)| cursor.dirty);
        dirty.map(|(name, cursor)| (name.as_str(), encode(name, cursor.position, cursor.samples_lost)))
    }

    /// Whether every cursor has passed a block of so many samples; true when there is none.
    pub fn have_passed(&self, block: u64, samples: u32) -> bool {
        self.by_name.values().all(|cursor| passed_in(cursor.position, block, samples) == samples)
    }

    /// Takes note that a block is removed; returns how many of its samples some cursor had not passed. Without
    /// cursors nobody had.
    pub fn lose(&mut self, block: u64, samples: u32) -> u32 {
        if self.by_name.is_empty() {
            return samples;
        }
        let mut most = 0;
        for cursor in self.by_name.values_mut() {
            let lost = samples - passed_in(cursor.position, block, samples);
            cursor.samples_lost += lost as u64;
            cursor.dirty |= lost > 0;
            most = most.max(lost);
        }
        most
    }

    /// Takes note that so many samples, which a cursor had not passed, are lost with the journal's file.
    pub fn lose_with_the_file(&mut self, name: &str, samples: u64) {
        if let Some(cursor) = self.by_name.get_mut(name) {
            cursor.samples_lost += samples;
            cursor.dirty = true;
        }
    }

    /// Takes over what a commit of `committed` has made durable: losses, and what is no longer dirty.
    pub fn settle(&mut self, committed: &Cursors) {
        for (name, durable) in &committed.by_name {
            if let Some(cursor) = self.by_name.get_mut(name) {
                cursor.samples_lost = durable.samples_lost;
                cursor.dirty = cursor.position != durable.position;
            }
        }
    }
}

/// Samples of `block` that lie before `position`.
fn passed_in(position: Position, block: u64, samples: u32) -> u32 {
    match position.block.cmp(&block) {
        std::cmp::Ordering::Greater => samples,
        std::cmp::Ordering::Equal => position.samples.min(samples),
        std::cmp::Ordering::Less => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(block: u64, samples: u32) -> Position {
        Position { block, samples }
    }

    #[test]
    fn a_record_reads_back_and_one_bit_that_is_another_shows() {
        let record = encode("cloud", at(7, 8), 9);
        assert_eq!(decode("cloud", &record), Ok((at(7, 8), 9)));
        assert!(decode("cloue", &record).is_err() && decode("cloud", &record[..19]).is_err());
        for bit in 0..record.len() * 8 {
            let mut bent = record.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(decode("cloud", &bent).is_err(), "bit {bit}");
        }
        assert_eq!(decode("cloud", &record[..20]), Ok((at(7, 8), 9)), "as earlier versions wrote it");
    }

    #[test]
    fn a_cursor_never_moves_back() {
        let mut cursors = Cursors::default();
        cursors.insert("cloud", at(3, 5), 0);
        assert!(cursors.advance("cloud", at(3, 4)));
        assert_eq!(cursors.get("cloud"), Some((at(3, 5), 0)));
        assert!(cursors.advance("cloud", at(4, 0)));
        assert_eq!(cursors.get("cloud"), Some((at(4, 0), 0)));
        assert!(!cursors.advance("other", at(9, 0)));
    }

    #[test]
    fn only_what_some_cursor_had_not_passed_is_lost() {
        let mut cursors = Cursors::default();
        assert_eq!(cursors.lose(0, 10), 10);
        cursors.insert("near", at(6, 0), 0);
        cursors.insert("far", at(5, 4), 0);
        assert!(!cursors.have_passed(5, 10) && cursors.have_passed(4, 10) && cursors.have_passed(5, 4));
        assert_eq!(cursors.lose(4, 10), 0);
        assert_eq!(cursors.lose(5, 10), 6);
        assert_eq!((cursors.get("near").unwrap().1, cursors.get("far").unwrap().1), (0, 6));
    }

    #[test]
    fn what_moved_during_a_commit_stays_dirty() {
        let mut cursors = Cursors::default();
        cursors.insert("cloud", at(1, 0), 0);
        let committed = cursors.clone();
        cursors.advance("cloud", at(2, 0));
        cursors.settle(&committed);
        assert!(cursors.is_dirty());
        let committed = cursors.clone();
        cursors.settle(&committed);
        assert!(!cursors.is_dirty());
    }
}
