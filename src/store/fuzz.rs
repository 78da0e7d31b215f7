//! Any bytes as what a journal holds.

use std::sync::Arc;

use super::{audit, codec, cursors, dictionary};
use crate::checksum::crc32;

/// A block as it is stored; and behind its checksum, a body after its counts.
pub fn blocks(bytes: &[u8]) {
    let _ = codec::decode(bytes, Arc::default());
    codec::fuzz(bytes);
    let _ = (cursors::decode("cloud", bytes), audit::fuzz(bytes));
}

/// As stored, and with a right checksum.
pub fn dictionaries(bytes: &[u8]) {
    let _ = dictionary::decode(bytes);
    let crc = crc32(bytes).to_le_bytes();
    if let Ok(decoded) = dictionary::decode(&[bytes, &crc].concat()) {
        let again = dictionary::decode(&dictionary::encode(&decoded.names)).ok();
        assert_eq!(again.map(|again| (again.names, again.damaged)), Some((decoded.names, 0)));
    }
}
