//! The datagrams between an executor and the thread of a device.
//!
//! Both are of one process: numbers are in the machine's own order. What does not fit is no datagram of ours, and
//! ends the connection.

use crate::limits::{
    LOCAL_IO_DATAGRAM_BYTES_MAX, LOCAL_IO_EDGES_AT_ONCE_MAX, LOCAL_IO_REQUEST_ITEMS_MAX, WRITE_BYTES_MAX,
};
use crate::tag::{Nanos, Status};

const SCAN: u32 = 1;
const WRITE: u32 = 2;
const EDGES: u32 = 3;
const DONE: u32 = 0;
const NOT_READ_BACK: u32 = 1;
const TOO_LATE: u32 = 2;
const REFUSED: u32 = 3;
/// Kind, and three words of its own.
const HEADER_BYTES: usize = 16;
/// Time, value, status or item, unused.
const ENTRY_BYTES: usize = 24;
/// An id of a write, and its time.
const WRITE_EXTRA_BYTES: usize = 16;

const _: () = assert!(HEADER_BYTES + ENTRY_BYTES * LOCAL_IO_REQUEST_ITEMS_MAX <= LOCAL_IO_DATAGRAM_BYTES_MAX);
const _: () = assert!(HEADER_BYTES + ENTRY_BYTES * LOCAL_IO_EDGES_AT_ONCE_MAX <= LOCAL_IO_DATAGRAM_BYTES_MAX);
const _: () = assert!(HEADER_BYTES + WRITE_EXTRA_BYTES + WRITE_BYTES_MAX <= LOCAL_IO_DATAGRAM_BYTES_MAX);

/// What an executor asks of a device's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Read the items of a request.
    Scan { request: u32, sequence: u32 },
    /// Write to a slot, unless the deadline has passed; with `read_back`, read it afterwards.
    Write { slot: u32, id: u64, read_back: bool, deadline: Nanos, payload: &'a [u8] },
}

/// What the thread answers or tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// An entry for each item of the request.
    Scanned {
        request: u32,
        sequence: u32,
        entries: Entries<'a>,
    },
    /// Edges in the order of time; `lost` others were too many.
    Edges {
        lost: u32,
        entries: Entries<'a>,
    },
    Written {
        id: u64,
        end: WriteEnd,
        at: Nanos,
        back: &'a [u8],
    },
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteEnd {
    Done,
    /// Done, but it could not be read afterwards.
    NotReadBack,
    /// Not done: its deadline had passed.
    TooLate,
    /// The system's error number.
    Refused(u32),
}

/// One item's value, or an edge's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// When it was read, or happened.
    pub t: Nanos,
    /// Raw bits, of no meaning with a status that is bad.
    pub value: u64,
    pub status: Status,
    /// Of an edge: the item that it belongs to. Of a scan's item: [`NEW`] or [`UNCHANGED`].
    pub item: u32,
}

/// An item has been read, or has a new status.
pub const NEW: u32 = 0;
/// There is nothing that was not told before.
pub const UNCHANGED: u32 = 1;

/// The entries of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entries<'a>(&'a [u8]);

impl Entries<'_> {
    pub fn len(&self) -> usize {
        self.0.len() / ENTRY_BYTES
    }
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (entry, rest) = self.0.split_at_checked(ENTRY_BYTES)?;
        self.0 = rest;
        let (t, value) = (long(entry, 0)?, long(entry, 8)?);
        Some(Entry { t: Nanos(t), value, status: Status(word(entry, 16)?), item: word(entry, 20)? })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A datagram being written; what does not fit is left out, and the sizes are such that all fits.
pub struct Datagram {
    bytes: [u8; LOCAL_IO_DATAGRAM_BYTES_MAX],
    len: usize,
}

impl Default for Datagram {
    fn default() -> Datagram {
        Datagram { bytes: [0; LOCAL_IO_DATAGRAM_BYTES_MAX], len: 0 }
    }
}

impl Datagram {
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
            self.len = end;
        }
    }

    fn start(&mut self, header: [u32; 4]) {
        self.len = 0;
        header.iter().for_each(|word| self.put(&word.to_ne_bytes()));
    }

    pub fn ask(&mut self, asked: Asked<'_>) {
        match asked {
            Asked::Scan { request, sequence } => self.start([SCAN, request, sequence, 0]),
            Asked::Write { slot, id, read_back, deadline, payload } => {
                let payload = payload.get(..WRITE_BYTES_MAX).unwrap_or(payload);
                self.start([WRITE, slot, u32::from(read_back), payload.len() as u32]);
                self.put(&id.to_ne_bytes());
                self.put(&deadline.0.to_ne_bytes());
                self.put(payload);
            }
        }
    }

    /// Begins an answer to a scan; [`Datagram::entry`] goes on.
    pub fn scanned(&mut self, request: u32, sequence: u32) {
        self.start([SCAN, request, sequence, 0]);
    }

    /// Begins a telling of edges; [`Datagram::entry`] goes on.
    pub fn edges(&mut self, lost: u32) {
        self.start([EDGES, lost, 0, 0]);
    }

    pub fn entry(&mut self, entry: Entry) {
        self.put(&entry.t.0.to_ne_bytes());
        self.put(&entry.value.to_ne_bytes());
        self.put(&entry.status.0.to_ne_bytes());
        self.put(&entry.item.to_ne_bytes());
    }

    pub fn written(&mut self, id: u64, end: WriteEnd, at: Nanos, back: &[u8]) {
        let (end, code) = match end {
            WriteEnd::Done => (DONE, 0),
            WriteEnd::NotReadBack => (NOT_READ_BACK, 0),
            WriteEnd::TooLate => (TOO_LATE, 0),
            WriteEnd::Refused(code) => (REFUSED, code),
        };
        let back = back.get(..WRITE_BYTES_MAX).unwrap_or(back);
        self.start([WRITE, end, code, back.len() as u32]);
        self.put(&id.to_ne_bytes());
        self.put(&at.0.to_ne_bytes());
        self.put(back);
    }
}

/// The id, the time and the bytes of either datagram about a write.
fn write_parts(bytes: &[u8], len: u32) -> Option<(u64, u64, &[u8])> {
    let payload = bytes.get(HEADER_BYTES + WRITE_EXTRA_BYTES..)?;
    if payload.len() != len as usize {
        return None;
    }
    Some((long(bytes, HEADER_BYTES)?, long(bytes, HEADER_BYTES + 8)?, payload))
}

/// Reads what an executor asks.
pub fn asked(bytes: &[u8]) -> Option<Asked<'_>> {
    let [kind, one, two, three] = [word(bytes, 0)?, word(bytes, 4)?, word(bytes, 8)?, word(bytes, 12)?];
    match kind {
        SCAN if bytes.len() == HEADER_BYTES => Some(Asked::Scan { request: one, sequence: two }),
        WRITE => {
            let (id, deadline, payload) = write_parts(bytes, three)?;
            Some(Asked::Write { slot: one, id, read_back: two != 0, deadline: Nanos(deadline), payload })
        }
        _ => None,
    }
}

/// Reads what a thread tells.
pub fn told(bytes: &[u8]) -> Option<Told<'_>> {
    let [kind, one, two, three] = [word(bytes, 0)?, word(bytes, 4)?, word(bytes, 8)?, word(bytes, 12)?];
    let entries = || bytes.get(HEADER_BYTES..).filter(|rest| rest.len() % ENTRY_BYTES == 0).map(Entries);
    match kind {
        SCAN => Some(Told::Scanned { request: one, sequence: two, entries: entries()? }),
        EDGES => Some(Told::Edges { lost: one, entries: entries()? }),
        WRITE => {
            let (id, at, back) = write_parts(bytes, three)?;
            let end = match one {
                DONE => WriteEnd::Done,
                NOT_READ_BACK => WriteEnd::NotReadBack,
                TOO_LATE => WriteEnd::TooLate,
                REFUSED => WriteEnd::Refused(two),
                _ => return None,
            };
            Some(Told::Written { id, end, at: Nanos(at), back })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_told_reads_back() {
        let mut datagram = Datagram::default();
        let scan = Asked::Scan { request: 3, sequence: 77 };
        datagram.ask(scan);
        assert_eq!(asked(datagram.bytes()), Some(scan));
        let write =
            Asked::Write { slot: 2, id: u64::MAX - 1, read_back: true, deadline: Nanos(8), payload: &[1, 2, 3] };
        datagram.ask(write);
        assert_eq!(asked(datagram.bytes()), Some(write));
        for end in [WriteEnd::Done, WriteEnd::NotReadBack, WriteEnd::TooLate, WriteEnd::Refused(22)] {
            datagram.written(9, end, Nanos(5), &[4, 5]);
            assert_eq!(told(datagram.bytes()), Some(Told::Written { id: 9, end, at: Nanos(5), back: &[4, 5] }));
        }
        datagram.scanned(3, 77);
        let entry = |n: u32| Entry { t: Nanos(u64::from(n)), value: 1 << n, status: Status(n), item: n };
        (0..LOCAL_IO_REQUEST_ITEMS_MAX as u32).for_each(|n| datagram.entry(entry(n % 64)));
        let Some(Told::Scanned { request: 3, sequence: 77, entries }) = told(datagram.bytes()) else { panic!() };
        assert_eq!(entries.len(), LOCAL_IO_REQUEST_ITEMS_MAX);
        assert!(entries.enumerate().all(|(n, read)| read == entry(n as u32 % 64)));
        datagram.edges(4);
        datagram.entry(entry(1));
        let Some(Told::Edges { lost: 4, mut entries }) = told(datagram.bytes()) else { panic!() };
        assert_eq!(entries.next(), Some(entry(1)));
    }

    /// Prints the seed with which it fails.
    #[test]
    fn a_million_random_datagrams_are_refused_or_read_and_never_more_than_they_hold() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut understood = 0;
        for _ in 0..1_000_000 {
            let mut bytes = [0u8; 96];
            let len = rng.usize(..bytes.len());
            rng.fill(&mut bytes[..len]);
            if len >= 16 {
                bytes[..4].copy_from_slice(&rng.u32(..5).to_ne_bytes());
                bytes[12..16].copy_from_slice(&rng.u32(..70).to_ne_bytes());
            }
            let bytes = &bytes[..len];
            match told(bytes) {
                Some(Told::Scanned { entries, .. } | Told::Edges { entries, .. }) => {
                    assert!(entries.count() * ENTRY_BYTES + HEADER_BYTES == len, "seed {seed}");
                    understood += 1;
                }
                Some(Told::Written { back, .. }) => assert!(back.len() < len, "seed {seed}"),
                None => {}
            }
            if let Some(Asked::Write { payload, .. }) = asked(bytes) {
                assert!(payload.len() < len, "seed {seed}");
            }
        }
        assert!(understood > 1_000, "seed {seed}: hardly any was one");
    }
}
