//! Any bytes as lines of the control socket, and their values as those of tags.

use super::{Request, typed};
use crate::tag::{ScalarType, ValueType};

pub fn lines(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        match Request::parse(line.trim_ascii()) {
            Ok(request) => {
                for scalar in ScalarType::ALL {
                    let _ = typed(ValueType::Scalar(scalar), &request.value);
                }
                let _ = typed(ValueType::Text { bytes_max: 16 }, &request.value);
                let _ = typed(ValueType::Array { of: ScalarType::Int16, len: 3 }, &request.value);
            }
            Err(malformed) => assert!(malformed.message.len() < 2_048, "{}", malformed.message.len()),
        }
    }
}
