//! How a device can misbehave, when, and how a person writes it.

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
    /// Replies end in their middle.
    HalfFrame,
    /// A request is answered by closing the connection.
    DropConnection,
    /// Connections are closed, and new ones refused.
    Refuse,
    /// Replies come a byte at a time, this many milliseconds apart.
    Trickle(u32),
}

/// What may be written, for messages.
const ALLOWED: &str = "delay=MS, silence, exceptions[=CODE], garbage, wrong-transaction, half-frame, drop, refuse, \
                       trickle[=MS]";

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
            "silence" => plain(Fault::Silence),
            "garbage" => plain(Fault::Garbage),
            "wrong-transaction" => plain(Fault::WrongTransaction),
            "half-frame" => plain(Fault::HalfFrame),
            "drop" => plain(Fault::DropConnection),
            "refuse" => plain(Fault::Refuse),
            _ => Err(FaultError::Kind { text: text.into(), found: kind.into() }),
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
        }
    }
}

/// A fault for one device or all, for a while. Written `DEVICE:KIND[=ARG][@FROM..TO]`: the device a number
/// from 0 or `*`, the times seconds from the plant's start, either of them left out for "from the start" and
/// "for ever". Of several that hold at one moment, the last in the list counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledFault {
    /// `None`: every device.
    pub device: Option<usize>,
    pub fault: Fault,
    /// From the plant's start, included.
    pub from: Nanos,
    /// From the plant's start, excluded; [`Nanos::NEVER`]: for ever.
    pub until: Nanos,
}

impl ScheduledFault {
    pub(super) fn holds(&self, device: usize, elapsed: Nanos) -> bool {
        self.device.is_none_or(|d| d == device) && (self.from..self.until).contains(&elapsed)
    }
}

/// What is wrong with the text of a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    #[error("fault {text:?}: write DEVICE:KIND[=ARG][@FROM..TO], for example 3:silence@5..10 or *:delay=50")]
    Form { text: String },
    #[error("fault {text:?}: {found:?} is no device: give its number from 0, or * for all")]
    Device { text: String, found: String },
    #[error("fault {text:?}: {found:?} is not known; allowed are {ALLOWED}")]
    Kind { text: String, found: String },
    #[error("fault {text:?}: {kind} was given {found}; allowed is {allowed}")]
    Argument { text: String, kind: String, found: String, allowed: &'static str },
    #[error(
        "fault {text:?}: {found:?} is no time span: write @FROM..TO in seconds from the start, FROM before TO, for \
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
        let device = match device {
            "*" => None,
            number => Some(number.parse().map_err(|_| FaultError::Device { text: text.into(), found: number.into() })?),
        };
        let fault = Fault::from_words(kind, argument, text)?;
        let (from, until) = match span {
            None => (Nanos::ZERO, Nanos::NEVER),
            Some(span) => parse_span(span).ok_or_else(|| FaultError::Span { text: text.into(), found: span.into() })?,
        };
        Ok(ScheduledFault { device, fault, from, until })
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
        match self.device {
            Some(device) => write!(f, "{device}:{}", self.fault)?,
            None => write!(f, "*:{}", self.fault)?,
        }
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
            ("x:silence", "no device"),
            ("-1:silence", "no device"),
            ("1:explode", "half-frame"),
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
        for fault in [Fault::Delay(7), Fault::Exceptions(2), Fault::Refuse, Fault::Trickle(5), Fault::Silence] {
            manual.set(Some(fault));
            assert_eq!(manual.get(), Some(fault));
        }
        manual.set(None);
        assert_eq!(manual.get(), None);
    }

    #[test]
    fn a_schedule_holds_from_its_start_until_before_its_end() {
        let fault = parse("3:silence@5..10").unwrap();
        assert!(!fault.holds(3, Nanos::from_millis(4999)));
        assert!(fault.holds(3, Nanos::from_millis(5000)));
        assert!(!fault.holds(2, Nanos::from_millis(5000)));
        assert!(!fault.holds(3, Nanos::from_millis(10_000)));
    }
}
