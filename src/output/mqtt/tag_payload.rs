//! The payload of messages of one tag: JSON of one sample.
//!
//! ```json
//! {"value":81.5,"unit":"°C","status":"Good","time":"2026-11-21T08:15:00.123456Z","tag":"boiler.temperature",
//!  "gateway":"line-4","boot":"019aa4b3c7d10a2f","lane":0,"seq":1200,"prev":1187}
//! ```
//!
//! (without the line break)
//!
//! - `value`: as in messages of groups; `null` while the tag was never read. `text`, only where there is one: what the value is
//!   called. `unit`, only where the tag has one.
//! - `status`: the OPC UA status by name, always there. `time`: UTC of the sample itself; a value that is held because its device
//!   does not answer keeps the time at which it was read.
//! - Every sample is a message of its own, in order: none is skipped because a newer one is there. Retained (by default), the
//!   newest is what a subscriber that comes later gets first.
//! - **Repeats and losses** are told as in messages of groups, and a stream is (gateway, lane, tag): `boot` and `seq` rise from
//!   message to message but for repeats; `prev` (with `prev_boot` where that is another) is the number of the tag's sample
//!   before; one above the highest that a consumer has is a loss between gateway and consumer. `missing`, only where there are
//!   any: so many numbers of the lane, or more, will never come, since the tag's last message. Of messages that come with the
//!   retain flag a consumer that keeps this account takes none: they are for who has nothing yet, and after a new subscription
//!   one may come before older ones that the broker still holds for a session.

use crate::engine::Head;
use crate::tag::{BatchSample, ClockPair, utc_text};

use super::payload::{Encoder, number, text, write_before};

/// What follows the sample in a message.
#[derive(Debug)]
pub(super) struct Tail {
    unit: String,
    /// `,"tag":…,"gateway":…,"boot":…,"lane":…,"seq":`
    names: Vec<u8>,
    /// `,"prev":…}`
    end: Vec<u8>,
    is_written: bool,
}

/// Digits of a sequence number.
const SEQUENCE_BYTES_MAX: usize = 20;

impl Tail {
    /// What the message still gets.
    pub(super) fn bytes(&self) -> usize {
        let names = if self.is_written { 0 } else { self.names.len() + SEQUENCE_BYTES_MAX };
        names + self.end.len()
    }

    pub(super) fn close(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.end);
    }
}

pub(super) fn tail(head: &Head<'_>, tag: &str, unit: &str) -> Tail {
    let mut names = b",\"tag\":".to_vec();
    text(&mut names, tag);
    names.extend_from_slice(b",\"gateway\":");
    text(&mut names, head.gateway);
    names.extend_from_slice(b",\"boot\":");
    text(&mut names, &head.boot.to_string());
    names.extend_from_slice(b",\"lane\":");
    number(&mut names, head.lane.0);
    names.extend_from_slice(b",\"seq\":");
    let mut end = Vec::new();
    write_before(&mut end, head);
    end.push(b'}');
    Tail { unit: unit.to_owned(), names, end, is_written: false }
}

/// Writes the sample of a message, which has one.
pub(super) fn write(
    out: &mut Vec<u8>,
    encoder: &mut Encoder,
    tail: &mut Tail,
    item: &BatchSample<'_>,
    clock: &ClockPair,
) {
    let sample = item.sample;
    out.extend_from_slice(b"{\"value\":");
    encoder.value(out, item);
    if let Some(name) = encoder.text_of(sample) {
        out.extend_from_slice(b",\"text\":");
        text(out, name);
    }
    if !tail.unit.is_empty() {
        out.extend_from_slice(b",\"unit\":");
        text(out, &tail.unit);
    }
    out.extend_from_slice(b",\"status\":");
    text(out, sample.status().name());
    out.extend_from_slice(b",\"time\":");
    text(out, &utc_text(sample.stamp().utc_ns(clock)));
    out.append(&mut tail.names);
    number(out, item.sequence);
    tail.is_written = true;
}
