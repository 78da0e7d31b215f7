//! UTC as people and other programs write it: RFC 3339.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `2026-11-21T08:15:00.123456Z`: RFC 3339 with microseconds, of nanoseconds since the Unix epoch.
pub fn utc_text(utc_ns: i64) -> String {
    let micros = utc_ns.div_euclid(1000);
    // 64 bits of nanoseconds end in the year 2262, which the crate's calendar has.
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000) else { return String::new() };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.microsecond()
    )
}

/// Nanoseconds since the Unix epoch of an RFC 3339 time with any offset; `None`: it is none, or 64 bits do not hold it.
pub fn utc_of_text(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_write_them() {
        assert_eq!(utc_text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(utc_text(951_782_400_123_456_789), "2000-02-29T00:00:00.123456Z");
        assert_eq!(utc_text(-1_000), "1969-12-31T23:59:59.999999Z");
        assert_eq!(utc_text(1_767_225_599_000_000_000), "2025-12-31T23:59:59.000000Z");
        assert!(!utc_text(i64::MIN).is_empty() && !utc_text(i64::MAX).is_empty());
    }

    #[test]
    fn what_people_write_is_read() {
        assert_eq!(utc_of_text("2000-02-29T00:00:00.123456789Z"), Some(951_782_400_123_456_789));
        assert_eq!(utc_of_text("2000-02-29T02:00:00+02:00"), Some(951_782_400_000_000_000));
        for wrong in ["", "2000-02-30T00:00:00Z", "2000-02-29", "2000-02-29T00:00:00", "9999-01-01T00:00:00Z", "now"] {
            assert_eq!(utc_of_text(wrong), None, "{wrong}");
        }
    }
}
