//! One record of the audit log: the requested write, who requested it, and the outcome.
//!
//! Bytes: version (1), outcome, the two times as 64-bit words, the old value's status, then the texts, each as its
//! length (varint) and UTF-8, then CRC-32 of all before it. All words little-endian.

use crate::checksum::crc32;
use crate::limits::AUDIT_TEXT_BYTES_MAX;
use crate::tag::Status;
use crate::wire::{Malformed, Reader, put_varint};

const VERSION: u8 = 1;
/// Stands in a record for "no status": the tag was never looked at.
const NO_STATUS: u32 = u32::MAX;
const TEXTS: usize = 10;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum AuditOutcome {
    /// The order was about to be given, and nothing was recorded after that: it is under way, or the gateway ended.
    #[default]
    Open = 0,
    Done = 1,
    /// Nothing was sent.
    Refused = 2,
    /// Not sent, not answered, or answered with an error: the reason tells.
    Failed = 3,
    /// Stands for several refused requests that came too fast to be recorded one by one; their number is the request.
    Summary = 4,
}

impl AuditOutcome {
    pub const ALL: [AuditOutcome; 5] =
        [AuditOutcome::Open, AuditOutcome::Done, AuditOutcome::Refused, AuditOutcome::Failed, AuditOutcome::Summary];

    pub fn name(self) -> &'static str {
        match self {
            AuditOutcome::Open => "open",
            AuditOutcome::Done => "done",
            AuditOutcome::Refused => "refused",
            AuditOutcome::Failed => "failed",
            AuditOutcome::Summary => "summary",
        }
    }
}

/// One write that was asked for. Values are JSON texts; texts that are not known are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditRecord {
    pub outcome: AuditOutcome,
    /// When the request was judged: UTC, nanoseconds since the Unix epoch.
    pub asked_utc_ns: i64,
    /// When its outcome was known; 0 while it is not.
    pub ended_utc_ns: i64,
    /// How it came: `socket`, `mqtt`.
    pub way: String,
    /// Who asked: the user, or the output; ids of requests are unique among one's.
    pub who: String,
    /// More of that: the process, or the topic.
    pub from: String,
    /// The id that the requester gave it.
    pub request: String,
    pub tag: String,
    /// The newest value before the write.
    pub old: String,
    pub old_status: Option<Status>,
    /// The value that was to be written.
    pub new: String,
    /// What was read back.
    pub back: String,
    /// Why it was refused or failed: a word, and a sentence.
    pub reason: String,
    pub message: String,
}

impl AuditRecord {
    fn texts(&self) -> [&String; TEXTS] {
        let AuditRecord { way, who, from, request, tag, old, new, back, reason, message, .. } = self;
        [way, who, from, request, tag, old, new, back, reason, message]
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.outcome as u8];
        out.extend(self.asked_utc_ns.to_le_bytes());
        out.extend(self.ended_utc_ns.to_le_bytes());
        out.extend(self.old_status.map_or(NO_STATUS, |status| status.0).to_le_bytes());
        for text in self.texts() {
            let text = cut(text);
            put_varint(&mut out, text.len() as u64);
            out.extend(text.as_bytes());
        }
        out.extend(crc32(&out).to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<AuditRecord, Malformed> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(Malformed("the record is truncated"))?;
        if crc32(body) != u32::from_le_bytes(*sum) {
            return Err(Malformed("its checksum does not match"));
        }
        let mut reader = Reader::new(body);
        if reader.u8()? != VERSION {
            return Err(Malformed("it was written by a newer version"));
        }
        let outcome = reader.u8()?;
        let outcome = AuditOutcome::ALL.into_iter().find(|known| *known as u8 == outcome);
        let (asked, ended, status) = (reader.u64()? as i64, reader.u64()? as i64, reader.u32()?);
        let mut text = || -> Result<String, Malformed> {
            let len = reader.count(AUDIT_TEXT_BYTES_MAX, "a text is too long")?;
            let text = std::str::from_utf8(reader.take(len)?).map_err(|_| Malformed("a text is not UTF-8"))?;
            Ok(text.to_owned())
        };
        Ok(AuditRecord {
            outcome: outcome.ok_or(Malformed("its outcome is unknown"))?,
            asked_utc_ns: asked,
            ended_utc_ns: ended,
            old_status: (status != NO_STATUS).then_some(Status(status)),
            way: text()?,
            who: text()?,
            from: text()?,
            request: text()?,
            tag: text()?,
            old: text()?,
            new: text()?,
            back: text()?,
            reason: text()?,
            message: text()?,
        })
    }
}

/// As much of a text as a record holds.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(AUDIT_TEXT_BYTES_MAX);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(texts: &[String], asked_utc_ns: i64, outcome: usize, status: Option<u32>) -> AuditRecord {
        let text = |at: usize| texts[at % texts.len()].clone();
        AuditRecord {
            outcome: AuditOutcome::ALL[outcome % AuditOutcome::ALL.len()],
            asked_utc_ns,
            ended_utc_ns: asked_utc_ns / 2,
            old_status: status.filter(|status| *status != NO_STATUS).map(Status),
            way: text(0),
            who: text(1),
            from: text(9),
            request: text(2),
            tag: text(3),
            old: text(4),
            new: text(5),
            back: text(6),
            reason: text(7),
            message: text(8),
        }
    }

    proptest! {
        #[test]
        fn a_record_reads_back(texts in proptest::collection::vec(".{0,40}", 1..10), asked: i64, outcome: usize,
                               status: Option<u32>) {
            let record = record(&texts, asked, outcome, status);
            prop_assert_eq!(AuditRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn bytes_that_are_no_record_are_refused(bytes: Vec<u8>) {
            prop_assert!(AuditRecord::decode(&bytes).is_err());
        }
    }

    #[test]
    fn one_changed_bit_is_found() {
        let bytes = record(&["x".into()], 7, 1, None).encode();
        for at in 0..bytes.len() * 8 {
            let mut wrong = bytes.clone();
            wrong[at / 8] ^= 1 << (at % 8);
            assert!(AuditRecord::decode(&wrong).is_err(), "bit {at}");
        }
    }

    #[test]
    fn a_text_without_end_is_cut_where_a_character_ends() {
        let long = AuditRecord { message: "ü".repeat(AUDIT_TEXT_BYTES_MAX), ..AuditRecord::default() };
        let read = AuditRecord::decode(&long.encode()).unwrap();
        assert!(read.message.len() <= AUDIT_TEXT_BYTES_MAX && read.message.chars().all(|c| c == 'ü'));
    }
}
