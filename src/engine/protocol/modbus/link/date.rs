//! Dates of devices: registers to texts of ISO 8601, and back. Times of a device's own clock have no zone, and none is
//! made up; those that count from 1970 are UTC and end in Z.

use crate::config::DateFormat;

/// Of the years that are written with two digits: 2000 and later, as meters have it.
const CENTURY: u64 = 2000;
const SECONDS_A_DAY: u64 = 86_400;
/// The end of the year 9999, in seconds since 1970.
const UNIX_END: u64 = 253_402_300_800;

/// Why registers are no date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDate {
    /// They are no date of the format.
    Wrong,
    /// The device says of it that it is not valid.
    NotValid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Date {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    millis: u64,
}

/// The text of a date, in `out`; how many bytes it has. `bytes`: the registers in the usual order.
pub fn read(format: DateFormat, bytes: &[u8], out: &mut [u8]) -> Result<usize, NoDate> {
    let date = date_of(format, bytes)?;
    if !date.is_one() {
        return Err(NoDate::Wrong);
    }
    let mut len = 0;
    let mut put = |byte: u8| {
        if let Some(slot) = out.get_mut(len) {
            *slot = byte;
        }
        len += 1;
    };
    let mut number = |value: u64, digits: u32, before: Option<u8>| {
        before.into_iter().for_each(&mut put);
        for digit in (0..digits).rev() {
            put(b'0' + (value / 10u64.pow(digit) % 10) as u8);
        }
    };
    number(date.year, 4, None);
    number(date.month, 2, Some(b'-'));
    number(date.day, 2, Some(b'-'));
    number(date.hour, 2, Some(b'T'));
    number(date.minute, 2, Some(b':'));
    number(date.second, 2, Some(b':'));
    if format.has_millis() {
        number(date.millis, 3, Some(b'.'));
    }
    if format.is_utc() {
        put(b'Z');
    }
    if len > out.len() { Err(NoDate::Wrong) } else { Ok(len) }
}

fn date_of(format: DateFormat, bytes: &[u8]) -> Result<Date, NoDate> {
    let number = |from: usize, count: usize| {
        let bytes = bytes.get(from..from + count).ok_or(NoDate::Wrong)?;
        Ok(bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let digits = |at: usize| {
        let byte = number(at, 1)?;
        if byte >> 4 > 9 || byte & 0xF > 9 { Err(NoDate::Wrong) } else { Ok((byte >> 4) * 10 + (byte & 0xF)) }
    };
    match format {
        DateFormat::Unix32 => Date::of_unix(number(0, 4)?, 0),
        DateFormat::Unix64 => Date::of_unix(number(0, 8)?, 0),
        DateFormat::Unix64Ms => {
            let millis = number(0, 8)?;
            Date::of_unix(millis / 1000, millis % 1000)
        }
        DateFormat::Iec60870 => {
            let (minute, hour, day, millis) = (number(5, 1)?, number(4, 1)?, number(3, 1)?, number(6, 2)?);
            // Bit 7 of the minutes: invalid.
            if minute & 0x80 != 0 {
                return Err(NoDate::NotValid);
            }
            Ok(Date {
                year: CENTURY + (number(1, 1)? & 0x7F),
                month: number(2, 1)? & 0x0F,
                day: day & 0x1F,
                hour: hour & 0x1F,
                minute: minute & 0x3F,
                second: millis / 1000,
                millis: millis % 1000,
            })
        }
        DateFormat::Registers => {
            let year = number(0, 2)?;
            Ok(Date {
                year: if year < 100 { CENTURY + year } else { year },
                month: number(2, 2)?,
                day: number(4, 2)?,
                hour: number(6, 2)?,
                minute: number(8, 2)?,
                second: number(10, 2)?,
                millis: 0,
            })
        }
        DateFormat::Bytes => Ok(Date {
            year: CENTURY + number(0, 1)?,
            month: number(1, 1)?,
            day: number(2, 1)?,
            hour: number(3, 1)?,
            minute: number(4, 1)?,
            second: number(5, 1)?,
            millis: 0,
        }),
        DateFormat::Bcd | DateFormat::S7 => {
            // Siemens: 90 to 99 are 1990 to 1999. The last digit of S7's is the day of the week.
            let of_century = digits(0)?;
            let is_old = format == DateFormat::S7 && of_century >= 90;
            let millis = if format == DateFormat::S7 { digits(6)? * 10 + (number(7, 1)? >> 4) } else { 0 };
            Ok(Date {
                year: CENTURY + of_century - if is_old { 100 } else { 0 },
                month: digits(1)?,
                day: digits(2)?,
                hour: digits(3)?,
                minute: digits(4)?,
                second: digits(5)?,
                millis,
            })
        }
    }
}

impl Date {
    /// By days since 0000-03-01, of which 146,097 are 400 years.
    fn of_unix(seconds: u64, millis: u64) -> Result<Date, NoDate> {
        if seconds >= UNIX_END {
            return Err(NoDate::Wrong);
        }
        let (days, rest) = (seconds / SECONDS_A_DAY + 719_468, seconds % SECONDS_A_DAY);
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        Ok(Date {
            year: era * 400 + year + u64::from(month >= 10),
            month: if month < 10 { month + 3 } else { month - 9 },
            day: day - (153 * month + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            millis,
        })
    }

    fn unix(&self) -> u64 {
        let year = self.year - u64::from(self.month < 3);
        let month = (self.month + 9) % 12;
        let day = 365 * (year % 400) + year % 400 / 4 - year % 400 / 100 + (153 * month + 2) / 5 + self.day - 1;
        let days = year / 400 * 146_097 + day - 719_468;
        days * SECONDS_A_DAY + self.hour * 3600 + self.minute * 60 + self.second
    }

    fn is_one(&self) -> bool {
        let leap = self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let days = match self.month {
            2 => 28 + u64::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return false,
        };
        (1..=days).contains(&self.day)
            && (1..=9999).contains(&self.year)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60
            && self.millis < 1000
    }

    /// `2026-11-21T08:15:10`, with or without a fraction of up to three digits, and Z if it is UTC.
    fn of_text(text: &str, is_utc: bool) -> Option<Date> {
        let text = if is_utc { text.strip_suffix('Z')? } else { text };
        let (text, millis) = match text.split_once('.') {
            Some((text, fraction)) if (1..=3).contains(&fraction.len()) => {
                (text, number(fraction)? * [100, 10, 1].get(fraction.len() - 1)?)
            }
            Some(_) => return None,
            None => (text, 0),
        };
        let bytes = text.as_bytes();
        let is_separated = |(at, separator): (usize, u8)| bytes.get(at) == Some(&separator);
        if bytes.len() != 19
            || ![(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')].into_iter().all(is_separated)
        {
            return None;
        }
        let part = |from: usize, to: usize| number(text.get(from..to)?);
        let date = Date {
            year: part(0, 4)?,
            month: part(5, 7)?,
            day: part(8, 10)?,
            hour: part(11, 13)?,
            minute: part(14, 16)?,
            second: part(17, 19)?,
            millis,
        };
        date.is_one().then_some(date)
    }
}

fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) { None } else { digits.parse().ok() }
}

/// What such a text looks like, for whoever writes one.
pub fn example(format: DateFormat) -> &'static str {
    match (format.is_utc(), format.has_millis()) {
        (true, true) => "a date and time in UTC, such as 2026-11-21T08:15:10.123Z",
        (true, false) => "a date and time in UTC, such as 2026-11-21T08:15:10Z",
        (false, true) => "a date and time without a zone, such as 2026-11-21T08:15:10.123",
        (false, false) => "a date and time without a zone, such as 2026-11-21T08:15:10",
    }
}

/// The registers of a date, in the usual order; how many bytes they are. `None`: the text is none, or one that the format
/// has no room for.
pub fn write(format: DateFormat, text: &str, out: &mut [u8; 16]) -> Option<usize> {
    let date = Date::of_text(text, format.is_utc())?;
    if date.millis != 0 && !format.has_millis() {
        return None;
    }
    let of_century = || date.year.checked_sub(CENTURY).filter(|year| *year < 100);
    let bcd = |number: u64| (((number / 10) << 4) | (number % 10)) as u8;
    let small =
        |year: u64, each: fn(u64) -> u8| [year, date.month, date.day, date.hour, date.minute, date.second].map(each);
    let unix = (date.year >= 1970).then(|| date.unix());
    let mut put = |bytes: &[u8]| {
        out.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(bytes.len())
    };
    match format {
        DateFormat::Unix32 => put(&u32::try_from(unix?).ok()?.to_be_bytes()),
        DateFormat::Unix64 => put(&unix?.to_be_bytes()),
        DateFormat::Unix64Ms => put(&(unix? * 1000 + date.millis).to_be_bytes()),
        DateFormat::Iec60870 => {
            let [year, month, day, hour, minute, _] = small(of_century()?, |number| number as u8);
            let [high, low] = ((date.second * 1000 + date.millis) as u16).to_be_bytes();
            put(&[0, year, month, day, hour, minute, high, low])
        }
        DateFormat::Registers => {
            let mut bytes = [0; 12];
            let numbers = [date.year, date.month, date.day, date.hour, date.minute, date.second];
            for (slot, number) in bytes.chunks_exact_mut(2).zip(numbers) {
                slot.copy_from_slice(&(number as u16).to_be_bytes());
            }
            put(&bytes)
        }
        DateFormat::Bytes => put(&small(of_century()?, |number| number as u8)),
        DateFormat::Bcd => {
            let [year, month, day, hour, minute, second] = small(of_century()?, |number| number as u8).map(u64::from);
            put(&[year, month, day, hour, minute, second].map(bcd))
        }
        DateFormat::S7 => {
            if !(1990..2090).contains(&date.year) {
                return None;
            }
            // 1970-01-01 was a Thursday; Sunday is 1.
            let weekday = date.unix() / SECONDS_A_DAY + 4;
            let [month, day, hour, minute, second] =
                [date.month, date.day, date.hour, date.minute, date.second].map(bcd);
            let last = (date.millis % 10) as u8 * 16 + (weekday % 7 + 1) as u8;
            put(&[bcd(date.year % 100), month, day, hour, minute, second, bcd(date.millis / 10), last])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [DateFormat; 8] = [
        DateFormat::Unix32,
        DateFormat::Unix64,
        DateFormat::Unix64Ms,
        DateFormat::Iec60870,
        DateFormat::Registers,
        DateFormat::Bytes,
        DateFormat::Bcd,
        DateFormat::S7,
    ];

    fn text(format: DateFormat, bytes: &[u8]) -> Result<String, NoDate> {
        let mut out = [0; crate::config::DATE_TEXT_BYTES as usize];
        let len = read(format, bytes, &mut out)?;
        Ok(std::str::from_utf8(&out[..len]).unwrap().to_owned())
    }

    fn registers(format: DateFormat, text: &str) -> Option<Vec<u8>> {
        let mut out = [0; 16];
        write(format, text, &mut out).map(|len| out[..len].to_vec())
    }

    /// 2026-11-21 is a Saturday.
    #[test]
    fn each_format_has_its_registers() {
        for (format, bytes, shown) in [
            // By `date -u -d 2026-11-21T08:15:10Z +%s`.
            (DateFormat::Unix32, &1_795_248_910u32.to_be_bytes()[..], "2026-11-21T08:15:10Z"),
            (DateFormat::Unix64, &1_795_248_910u64.to_be_bytes(), "2026-11-21T08:15:10Z"),
            (DateFormat::Unix64Ms, &1_795_248_910_123u64.to_be_bytes(), "2026-11-21T08:15:10.123Z"),
            (DateFormat::Iec60870, &[0, 26, 11, 6 << 5 | 21, 8, 15, 0x27, 0x8B], "2026-11-21T08:15:10.123"),
            // With summer time, which the hour has in bit 7.
            (DateFormat::Iec60870, &[0, 26, 7, 1, 0x80 | 8, 15, 0, 0], "2026-07-01T08:15:00.000"),
            (DateFormat::Registers, &[7, 0xEA, 0, 11, 0, 21, 0, 8, 0, 15, 0, 10], "2026-11-21T08:15:10"),
            (DateFormat::Registers, &[0, 26, 0, 11, 0, 21, 0, 8, 0, 15, 0, 10], "2026-11-21T08:15:10"),
            (DateFormat::Bytes, &[26, 11, 21, 8, 15, 10], "2026-11-21T08:15:10"),
            (DateFormat::Bcd, &[0x26, 0x11, 0x21, 0x08, 0x15, 0x10], "2026-11-21T08:15:10"),
            (DateFormat::S7, &[0x26, 0x11, 0x21, 0x08, 0x15, 0x10, 0x12, 0x37], "2026-11-21T08:15:10.123"),
            (DateFormat::S7, &[0x97, 0x12, 0x31, 0x23, 0x59, 0x59, 0x99, 0x94], "1997-12-31T23:59:59.999"),
            (DateFormat::Unix32, &[0; 4], "1970-01-01T00:00:00Z"),
            (DateFormat::Unix32, &[0xFF; 4], "2106-02-07T06:28:15Z"),
        ] {
            assert_eq!(text(format, bytes).as_deref(), Ok(shown), "{format:?}");
        }
        assert_eq!(
            registers(DateFormat::S7, "2026-11-21T08:15:10.123"),
            Some(vec![0x26, 0x11, 0x21, 0x08, 0x15, 0x10, 0x12, 0x37])
        );
    }

    #[test]
    fn what_is_no_date_is_none() {
        for (format, bytes) in [
            (DateFormat::Bytes, &[26u8, 13, 1, 0, 0, 0][..]),
            (DateFormat::Bytes, &[26, 2, 29, 0, 0, 0]),
            (DateFormat::Bytes, &[0; 6]),
            (DateFormat::Bcd, &[0x26, 0x1A, 1, 0, 0, 0]),
            (DateFormat::Registers, &[0; 12]),
            (DateFormat::Iec60870, &[0, 26, 11, 21, 24, 0, 0, 0]),
            (DateFormat::Unix64, &[0xFF; 8]),
            (DateFormat::Bytes, &[26, 11]),
        ] {
            assert_eq!(text(format, bytes), Err(NoDate::Wrong), "{format:?} {bytes:?}");
        }
        assert_eq!(text(DateFormat::Iec60870, &[0, 26, 11, 21, 8, 0x80 | 15, 0, 0]), Err(NoDate::NotValid));
    }

    #[test]
    fn a_text_that_is_no_date_or_that_has_no_room_is_not_written() {
        for (format, text) in [
            (DateFormat::Bytes, "2026-11-21T08:15:10Z"),
            (DateFormat::Bytes, "2026-11-21 08:15:10"),
            (DateFormat::Bytes, "2026-02-29T08:15:10"),
            (DateFormat::Bytes, "1999-01-01T00:00:00"),
            (DateFormat::Bytes, "2026-11-21T08:15:10.5"),
            (DateFormat::Unix32, "2026-11-21T08:15:10"),
            (DateFormat::Unix32, "2106-02-07T06:28:16Z"),
            (DateFormat::Unix64, "1969-12-31T23:59:59Z"),
            (DateFormat::S7, "2090-01-01T00:00:00"),
            (DateFormat::Unix64, "+026-11-21T08:15:10Z"),
            (DateFormat::Bcd, "ä026-11-21T08:15:1"),
            (DateFormat::Bcd, ""),
        ] {
            assert_eq!(registers(format, text), None, "{format:?} {text}");
        }
    }

    proptest! {
        /// Against the calendar of the crate `time`.
        #[test]
        fn seconds_are_the_calendars(seconds in 0u64..UNIX_END) {
            let at = time::OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap();
            let shown = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                at.year(), u8::from(at.month()), at.day(), at.hour(), at.minute(), at.second()
            );
            let bytes = seconds.to_be_bytes();
            prop_assert_eq!(text(DateFormat::Unix64, &bytes), Ok(shown.clone()));
            prop_assert_eq!(registers(DateFormat::Unix64, &shown), Some(bytes.to_vec()));
        }

        #[test]
        fn what_is_written_is_read(seconds in 946_684_800u64..3_786_912_000, millis in 0u64..1000) {
            for format in ALL {
                let millis = if format.has_millis() { millis } else { 0 };
                let at = time::OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap();
                let mut shown = format!(
                    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                    at.year(), u8::from(at.month()), at.day(), at.hour(), at.minute(), at.second()
                );
                if format.has_millis() {
                    shown += &format!(".{millis:03}");
                }
                if format.is_utc() {
                    shown.push('Z');
                }
                let bytes = registers(format, &shown).unwrap();
                prop_assert_eq!(bytes.len(), usize::from(format.registers()) * 2);
                prop_assert_eq!(text(format, &bytes), Ok(shown));
            }
        }

        #[test]
        fn no_bytes_and_no_text_panic(bytes in prop::collection::vec(any::<u8>(), 0..16), shown in ".{0,24}", room in 0usize..24) {
            for format in ALL {
                let _ = read(format, &bytes, &mut vec![0; room]);
                let _ = registers(format, &shown);
            }
        }
    }
}
