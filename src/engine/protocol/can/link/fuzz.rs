//! Any bytes as frames, and as messages of several packets.

use super::frame::{Buffer, CLASSICAL_BYTES, FD_BYTES, Head, Trouble};
use super::transport::Transport;
use crate::protocol::can::plan::j1939::j1939_special;
use crate::protocol::can::plan::model::{GroupKey, TransportSlot};
use crate::tag::Nanos;

/// Records of 12 bytes: what kind, source, destination, a length, and eight bytes of data.
pub fn frames(bytes: &[u8]) {
    let mut buffer = Buffer::new();
    let n = bytes.len().min(FD_BYTES);
    buffer.0[..n].copy_from_slice(&bytes[..n]);
    for n in [n, CLASSICAL_BYTES, FD_BYTES] {
        match buffer.head(n) {
            Head::Error(classes) => {
                let _ = Trouble::of(classes, buffer.data());
            }
            Head::Data { len, .. } => assert!(usize::from(len) <= FD_BYTES),
            Head::Remote | Head::Malformed => {}
        }
    }
    let slot = |source, bytes| TransportSlot { key: GroupKey { pgn: 0xFECA, source }, bytes };
    let mut transport =
        Transport::new(&[slot(GroupKey::ANY_SOURCE, 30), slot(GroupKey::ANY_SOURCE, 1_785), slot(0x21, 12)]);
    let mut now = Nanos::ZERO;
    for record in bytes.chunks_exact(12) {
        if let [kind, source, destination, after, data @ ..] = record
            && let Ok(data) = <&[u8; 8]>::try_from(data)
        {
            now += Nanos::from_millis(u64::from(*after));
            transport.expire(now);
            transport.fuzz(kind & 1 == 0, source % 4, *destination, data, now);
            // A field's own bits and no more, as the plan's places read them.
            let bits = kind % 64 + 1;
            let _ = j1939_special(u64::from_le_bytes(*data) >> (64 - bits), bits);
        }
    }
}
