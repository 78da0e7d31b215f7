//! The file with the token of an output.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::OutputError;

/// Bytes of a token: InfluxDB's have 88.
const BYTES_MAX: u64 = 1024;

pub(super) fn read(path: &Path) -> Result<String, OutputError> {
    let unreadable = |source| OutputError::Unreadable { what: "token file", path: path.into(), source };
    let bad = |wrong| OutputError::BadToken { path: path.into(), wrong };
    // A pipe or a device could keep the reader waiting for ever.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(bad("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(bad("it has more than 1024 bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
    match text.trim_ascii() {
        "" => Err(bad("it is empty")),
        token if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(token.to_owned()),
        _ => Err(bad("it has more than one line, or characters that are not allowed in a token")),
    }
}
