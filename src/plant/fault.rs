//! Faults of a simulated device: kinds, times, and their notation.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::tag::{NANOS_PER_SEC, Nanos};

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Replies come this many milliseconds later.
    Delay(u32),
    /// Requests are read and never answered.
    Silence,
    /// Every request gets this exception code.
    Exceptions(u8),
    /// Replies are bytes that are no Modbus.
    Garbage,
    /// Replies carry another transaction id.
    WrongTransaction,
    /// Replies carry another unit.
    WrongUnit,
    /// Replies fail their check.
    WrongCrc,
    /// Replies end in their middle.
    HalfFrame,
    /// A request is answered by closing the connection.
    DropConnection,
    /// Connections are closed, and new ones refused.
    Refuse,
    /// Replies come a byte at a time, this many milliseconds apart.
    Trickle(u32),
    /// Bytes that belong to nothing come between the frames.
    Noise,
    /// The port is pulled out.
    Unplug,
    /// Requests that reach this address or one behind it, from 0 on, are never answered.
    Mute(u32),
}

/// What may be written, for messages.
const ALLOWED: &str = "delay=MS, silence, exceptions[=CODE], garbage, wrong-unit, half-frame, trickle[=MS], for \
                       devices wrong-transaction, drop, refuse, mute=ADDRESS, for lines wrong-crc, noise, unplug";

/// Whom a fault is for: all of a kind, or one by its number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faulty {
    /// Modbus TCP servers: a number, or `*`.
    Device(Option<usize>),
    /// Serial lines: `line` and a number, or `line*`.
    Line(Option<usize>),
}

impl Faulty {
    fn from_text(text: &str) -> Option<Faulty> {
        let (kind, number): (fn(Option<usize>) -> Faulty, &str) = match text.strip_prefix("line") {
            Some(number) => (Faulty::Line, number),
            None => (Faulty::Device, text),
        };
        Some(kind(if number == "*" { None } else { Some(number.parse().ok()?) }))
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, number) = match self {
            Faulty::Device(number) => ("", number),
            Faulty::Line(number) => ("line", number),
        };
        match number {
            Some(number) => write!(f, "{kind}{number}"),
            None => write!(f, "{kind}*"),
        }
    }
}

impl Fault {
    /// Slave device failure.
    const EXCEPTION_DEFAULT: u8 = 4;
    const TRICKLE_DEFAULT_MS: u32 = 1000;
    const MILLIS_MAX: u32 = 3_600_000;

    fn from_words(kind: &str, argument: Option<&str>, text: &str) -> Result<Fault, FaultError> {
        let bad = |allowed: &'static str| FaultError::Argument {
            text: text.into(),
            kind: kind.into(),
            found: argument.unwrap_or("nothing").into(),
            allowed,
        };
        let millis = || {
            let allowed = "a number of milliseconds from 1 to 3600000";
            let ms: u32 = argument.unwrap_or_default().parse().map_err(|_| bad(allowed))?;
            if (1..=Fault::MILLIS_MAX).contains(&ms) { Ok(ms) } else { Err(bad(allowed)) }
        };
        let plain = |fault| if argument.is_none() { Ok(fault) } else { Err(bad("no argument")) };
        match kind {
            "delay" => Ok(Fault::Delay(millis()?)),
            "trickle" if argument.is_none() => Ok(Fault::Trickle(Fault::TRICKLE_DEFAULT_MS)),
            "trickle" => Ok(Fault::Trickle(millis()?)),
            "exceptions" => match argument {
                None => Ok(Fault::Exceptions(Fault::EXCEPTION_DEFAULT)),
                Some(code) => match code.parse() {
                    Ok(code @ 1..=255) => Ok(Fault::Exceptions(code)),
                    _ => Err(bad("an exception code from 1 to 255")),
                },
            },
            "mute" => match argument.map(str::parse) {
                Some(Ok(address @ 0..=65_535)) => Ok(Fault::Mute(address)),
                _ => Err(bad("an address from 0 to 65535")),
            },
            "silence" => plain(Fault::Silence),
            "garbage" => plain(Fault::Garbage),
            "wrong-transaction" => plain(Fault::WrongTransaction),
            "wrong-unit" => plain(Fault::WrongUnit),
            "wrong-crc" => plain(Fault::WrongCrc),
            "noise" => plain(Fault::Noise),
            "unplug" => plain(Fault::Unplug),
            "half-frame" => plain(Fault::HalfFrame),
            "drop" => plain(Fault::DropConnection),
            "refuse" => plain(Fault::Refuse),
            _ => Err(FaultError::Kind { text: text.into(), found: kind.into() }),
        }
    }

    /// Whether this can happen there.
    fn fits(self, on: Faulty) -> bool {
        match self {
            Fault::WrongTransaction | Fault::DropConnection | Fault::Refuse | Fault::Mute(_) => {
                matches!(on, Faulty::Device(_))
            }
            Fault::WrongCrc | Fault::Noise | Fault::Unplug => matches!(on, Faulty::Line(_)),
            _ => true,
        }
    }

    fn to_bits(self) -> u64 {
        let (kind, argument) = match self {
            Fault::Delay(ms) => (1, ms),
            Fault::Silence => (2, 0),
            Fault::Exceptions(code) => (3, code.into()),
            Fault::Garbage => (4, 0),
            Fault::WrongTransaction => (5, 0),
            Fault::HalfFrame => (6, 0),
            Fault::DropConnection => (7, 0),
            Fault::Refuse => (8, 0),
            Fault::Trickle(ms) => (9, ms),
            Fault::WrongUnit => (10, 0),
            Fault::WrongCrc => (11, 0),
            Fault::Noise => (12, 0),
            Fault::Unplug => (13, 0),
            Fault::Mute(address) => (14, address),
        };
        (kind << 32) | u64::from(argument)
    }

    fn from_bits(bits: u64) -> Option<Fault> {
        let argument = bits as u32;
        Some(match bits >> 32 {
            1 => Fault::Delay(argument),
            2 => Fault::Silence,
            3 => Fault::Exceptions(argument as u8),
            4 => Fault::Garbage,
            5 => Fault::WrongTransaction,
            6 => Fault::HalfFrame,
            7 => Fault::DropConnection,
            8 => Fault::Refuse,
            9 => Fault::Trickle(argument),
            10 => Fault::WrongUnit,
            11 => Fault::WrongCrc,
            12 => Fault::Noise,
            13 => Fault::Unplug,
            14 => Fault::Mute(argument),
            _ => return None,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Delay(ms) => write!(f, "delay={ms}"),
            Fault::Silence => f.write_str("silence"),
            Fault::Exceptions(code) => write!(f, "exceptions={code}"),
            Fault::Garbage => f.write_str("garbage"),
            Fault::WrongTransaction => f.write_str("wrong-transaction"),
            Fault::HalfFrame => f.write_str("half-frame"),
            Fault::DropConnection => f.write_str("drop"),
            Fault::Refuse => f.write_str("refuse"),
            Fault::Trickle(ms) => write!(f, "trickle={ms}"),
            Fault::WrongUnit => f.write_str("wrong-unit"),
            Fault::WrongCrc => f.write_str("wrong-crc"),
            Fault::Noise => f.write_str("noise"),
            Fault::Unplug => f.write_str("unplug"),
            Fault::Mute(address) => write!(f, "mute={address}"),
        }
    }
}

/// A fault for one device or line or all, for a while. Written `DEVICE:KIND[=ARG][@FROM..TO]`: the device as
/// [`Faulty`] has it, the times seconds from the plant's start, either of them left out for "from the start" and
/// "for ever". Of several that hold at one moment, the last in the list counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledFault {
    pub on: Faulty,
    pub fault: Fault,
    /// From the plant's start, included.
    pub from: Nanos,
    /// From the plant's start, excluded; [`Nanos::NEVER`]: for ever.
    pub until: Nanos,
}

impl ScheduledFault {
    /// For one by its number.
    fn holds(&self, on: Faulty, elapsed: Nanos) -> bool {
        let all = match on {
            Faulty::Device(_) => Faulty::Device(None),
            Faulty::Line(_) => Faulty::Line(None),
        };
        (self.on == on || self.on == all) && (self.from..self.until).contains(&elapsed)
    }

    /// What holds for one of them now.
    pub(super) fn now(faults: &[ScheduledFault], on: Faulty, elapsed: Nanos) -> Option<Fault> {
        faults.iter().rev().find(|fault| fault.holds(on, elapsed)).map(|fault| fault.fault)
    }

    /// The first that is for a device or line that a plant does not have.
    pub fn astray(faults: &[ScheduledFault], devices: usize, lines: usize) -> Option<String> {
        faults.iter().find_map(|fault| {
            let (number, count, what, before) = match fault.on {
                Faulty::Device(number) => (number?, devices, "device", ""),
                Faulty::Line(number) => (number?, lines, "line", "line"),
            };
            (number >= count).then(|| match count.checked_sub(1) {
                Some(last) => format!(
                    "there is no {what} {number} for a fault; allowed: {before}0 to {before}{last}, or {before}*"
                ),
                None => format!("there is no {what} {number} for a fault: the plant has no {what}s"),
            })
        })
    }
}

/// What is wrong with the text of a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    #[error("fault {text:?}: write DEVICE:KIND[=ARG][@FROM..TO], for example 3:silence@5..10 or *:delay=50")]
    Form { text: String },
    #[error(
        "fault {text:?}: {found:?} is not a device: give its number from 0, or * for all; line0 or line* for serial \
         lines"
    )]
    Device { text: String, found: String },
    #[error("fault {text:?}: {found:?} is not known; allowed are {ALLOWED}")]
    Kind { text: String, found: String },
    #[error("fault {text:?}: {found} is not supported there; known are {ALLOWED}")]
    Place { text: String, found: Fault },
    #[error("fault {text:?}: {kind} has the argument {found}; allowed: {allowed}")]
    Argument { text: String, kind: String, found: String, allowed: &'static str },
    #[error(
        "fault {text:?}: {found:?} is not a time span: write @FROM..TO in seconds from the start, FROM before TO, for \
         example @5..10, @5.. or @..10"
    )]
    Span { text: String, found: String },
}

impl FromStr for ScheduledFault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<ScheduledFault, FaultError> {
        let form = || FaultError::Form { text: text.into() };
        let (device, rest) = text.trim().split_once(':').ok_or_else(form)?;
        let (what, span) = match rest.split_once('@') {
            Some((what, span)) => (what, Some(span)),
            None => (rest, None),
        };
        let (kind, argument) = match what.split_once('=') {
            Some((kind, argument)) => (kind, Some(argument)),
            None => (what, None),
        };
        let on =
            Faulty::from_text(device).ok_or_else(|| FaultError::Device { text: text.into(), found: device.into() })?;
        let fault = Fault::from_words(kind, argument, text)?;
        if !fault.fits(on) {
            return Err(FaultError::Place { text: text.into(), found: fault });
        }
        let (from, until) = match span {
            None => (Nanos::ZERO, Nanos::NEVER),
            Some(span) => parse_span(span).ok_or_else(|| FaultError::Span { text: text.into(), found: span.into() })?,
        };
        Ok(ScheduledFault { on, fault, from, until })
    }
}

pub(super) fn parse_span(span: &str) -> Option<(Nanos, Nanos)> {
    let (from, until) = span.split_once("..")?;
    let time = |text: &str, open: Nanos| {
        if text.is_empty() {
            return Some(open);
        }
        let seconds: f64 = text.parse().ok()?;
        (0.0..1e9).contains(&seconds).then_some(Nanos((seconds * NANOS_PER_SEC as f64) as u64))
    };
    let (from, until) = (time(from, Nanos::ZERO)?, time(until, Nanos::NEVER)?);
    (from < until).then_some((from, until))
}

impl fmt::Display for ScheduledFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.on, self.fault)?;
        if (self.from, self.until) != (Nanos::ZERO, Nanos::NEVER) {
            write!(f, "@{}..", self.from.as_secs_f64())?;
            if self.until != Nanos::NEVER {
                write!(f, "{}", self.until.as_secs_f64())?;
            }
        }
        Ok(())
    }
}

/// A fault that was set by hand, readable by the plant's thread without a lock.
#[derive(Debug, Default)]
pub(super) struct ManualFault(AtomicU64);

impl ManualFault {
    pub(super) fn set(&self, fault: Option<Fault>) {
        self.0.store(fault.map_or(0, Fault::to_bits), Relaxed);
    }

    pub(super) fn get(&self) -> Option<Fault> {
        Fault::from_bits(self.0.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ScheduledFault, FaultError> {
        text.parse()
    }

    #[test]
    fn every_kind_reads_back_as_it_was_written() {
        for text in [
            "3:silence@5..10",
            "2:delay=50",
            "*:garbage@3..4",
            "0:exceptions=2",
            "1:wrong-transaction@0.5..",
            "1:half-frame",
            "1:drop",
            "9:refuse@1..2.5",
            "4:trickle=1000",
            "2:wrong-unit",
            "line0:silence@5..10",
            "line*:wrong-crc",
            "line3:noise@1..",
            "line1:unplug@4..6",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("4:trickle").unwrap().fault, Fault::Trickle(1000));
        assert_eq!(parse("4:exceptions").unwrap().fault, Fault::Exceptions(4));
        assert_eq!(parse("4:drop@..3").unwrap().until, Nanos::from_millis(3000));
    }

    #[test]
    fn a_wrong_text_is_told_what_is_allowed() {
        for (text, says) in [
            ("silence", "DEVICE:KIND"),
            ("x:silence", "is not a device"),
            ("-1:silence", "is not a device"),
            ("1:explode", "half-frame"),
            ("line:silence", "is not a device"),
            ("line-1:silence", "is not a device"),
            ("line0:refuse", "refuse is not supported there"),
            ("0:unplug", "unplug is not supported there"),
            ("1:delay", "milliseconds"),
            ("1:delay=0", "milliseconds"),
            ("1:exceptions=256", "1 to 255"),
            ("1:silence=3", "no argument"),
            ("1:silence@10..5", "FROM before TO"),
            ("1:silence@10", "FROM..TO"),
            ("1:silence@nan..", "FROM..TO"),
            ("1:silence@-1..2", "FROM..TO"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(error.contains(text), "{text}: {error}");
        }
    }

    #[test]
    fn a_fault_set_by_hand_is_read_back() {
        let manual = ManualFault::default();
        assert_eq!(manual.get(), None);
        for fault in
            [Fault::Delay(7), Fault::Exceptions(2), Fault::Mute(3), Fault::Refuse, Fault::Trickle(5), Fault::Noise]
        {
            manual.set(Some(fault));
            assert_eq!(manual.get(), Some(fault));
        }
        manual.set(None);
        assert_eq!(manual.get(), None);
    }

    #[test]
    fn a_schedule_holds_from_its_start_until_before_its_end() {
        let fault = parse("3:silence@5..10").unwrap();
        let now = |on, ms| ScheduledFault::now(&[fault], on, Nanos::from_millis(ms));
        assert_eq!(now(Faulty::Device(Some(3)), 4999), None);
        assert_eq!(now(Faulty::Device(Some(3)), 5000), Some(Fault::Silence));
        assert_eq!(now(Faulty::Device(Some(2)), 5000), None);
        assert_eq!(now(Faulty::Line(Some(3)), 5000), None);
        assert_eq!(now(Faulty::Device(Some(3)), 10_000), None);
    }

    #[test]
    fn of_several_faults_the_last_counts_and_all_of_a_kind_are_meant_by_a_star() {
        let faults = ["line*:noise", "*:silence", "line1:unplug@2..3"].map(|text| parse(text).unwrap());
        let now = |on, ms| ScheduledFault::now(&faults, on, Nanos::from_millis(ms));
        assert_eq!(now(Faulty::Line(Some(1)), 2500), Some(Fault::Unplug));
        assert_eq!(now(Faulty::Line(Some(1)), 3500), Some(Fault::Noise));
        assert_eq!(now(Faulty::Device(Some(1)), 2500), Some(Fault::Silence));
        assert_eq!(ScheduledFault::astray(&faults, 1, 2), None);
        assert!(ScheduledFault::astray(&faults, 1, 1).unwrap().contains("allowed: line0 to line0, or line*"));
        assert!(ScheduledFault::astray(&faults, 1, 0).unwrap().contains("the plant has no lines"));
    }
}
