//! Raw values that are no values (J1939-71, section 5.1.4).

use crate::tag::Status;

/// What the highest raw values of a parameter say. One bit has no room for it.
pub fn j1939_special(raw: u64, bits: u8) -> Option<Status> {
    // Of wider parameters, the most significant byte says it.
    let top = match bits {
        0 | 1 => return None,
        2..=7 => {
            let all = (1 << bits) - 1;
            return match all - raw {
                0 => Some(Status::BAD_DATA_UNAVAILABLE),
                1 => Some(Status::BAD_SENSOR_FAILURE),
                _ => None,
            };
        }
        _ => raw >> (bits - 8),
    };
    match top {
        0xFF => Some(Status::BAD_DATA_UNAVAILABLE),
        0xFE => Some(Status::BAD_SENSOR_FAILURE),
        // Indicators of a parameter, and values that are reserved.
        0xFB..=0xFD => Some(Status::BAD_DECODING_ERROR),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_values_of_a_parameter_are_no_values() {
        for (raw, bits, status) in [
            (0xFF, 8, Some(Status::BAD_DATA_UNAVAILABLE)),
            (0xFE, 8, Some(Status::BAD_SENSOR_FAILURE)),
            (0xFB, 8, Some(Status::BAD_DECODING_ERROR)),
            (0xFA, 8, None),
            (0xFF00, 16, Some(Status::BAD_DATA_UNAVAILABLE)),
            (0xFEFF, 16, Some(Status::BAD_SENSOR_FAILURE)),
            (0xFAFF, 16, None),
            (0xFF00_0000, 32, Some(Status::BAD_DATA_UNAVAILABLE)),
            (0b11, 2, Some(Status::BAD_DATA_UNAVAILABLE)),
            (0b10, 2, Some(Status::BAD_SENSOR_FAILURE)),
            (0b01, 2, None),
            (1, 1, None),
        ] {
            assert_eq!(j1939_special(raw, bits), status, "{raw:#x} of {bits} bits");
        }
    }
}
