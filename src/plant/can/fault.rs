//! Faults of simulated nodes on a CAN bus: kinds, times, and their notation.

use std::fmt;
use std::str::FromStr;

use super::messages::NODES;
use crate::fault::parse_span;
use crate::tag::Nanos;

/// The CANopen node, beside the senders of plain messages.
pub(super) const PUMP: usize = NODES.len();
const PUMP_NAME: &str = "pump";

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusFault {
    /// Nothing is sent.
    Silence,
    /// Frames have half of their data.
    Short,
    /// Values stand still.
    Stuck,
    /// Data is noise.
    Garbage,
    /// So many frames a second besides, with an identifier that wins over all others.
    Flood(u32),
    /// The controller reports many errors. On an interface without hardware only.
    ErrorFrames,
    /// The controller reports that it is off the bus, and later that it is back; nothing is sent meanwhile. On an
    /// interface without hardware only.
    BusOff,
    /// The CANopen node is well, but its heartbeat is missing, and guarding is not answered.
    NoHeartbeat,
    /// The CANopen node tells this emergency, and its end.
    Emergency(u16),
    /// Requests by SDO are refused.
    SdoAbort,
    /// Requests by SDO are not answered.
    SdoSilence,
    /// The CANopen node starts again and again, once a second.
    Restart,
}

const OF_ALL: &str = "silence, short, stuck";
const OF_SENDERS: &str = "silence, short, stuck, garbage, flood[=FRAMES/S], error-frames, bus-off";
const OF_PUMP: &str = "silence, short, stuck, no-heartbeat, emergency[=CODE], sdo-abort, sdo-silence, restart";
const FLOOD_DEFAULT: u32 = 2_000;
const FLOOD_MAX: u32 = 100_000;
/// "Generic error" (CiA 301, table 26).
const EMERGENCY_DEFAULT: u16 = 0x1000;

/// A fault of one node or all, for a while. Written `NODE:KIND[=ARG][@FROM..TO]`: the node by name or `*`, the times
/// seconds from the plant's start, as for other devices. Of several that hold at one moment, the last in the list
/// counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledBusFault {
    /// `None`: every node.
    node: Option<usize>,
    fault: BusFault,
    from: Nanos,
    until: Nanos,
}

impl ScheduledBusFault {
    pub(super) fn holds(&self, node: usize, elapsed: Nanos) -> Option<BusFault> {
        let is_meant = self.node.is_none_or(|own| own == node) && (self.from..self.until).contains(&elapsed);
        is_meant.then_some(self.fault)
    }

    /// Whether it makes up what a controller reports.
    pub(super) fn is_of_the_controller(&self) -> bool {
        matches!(self.fault, BusFault::ErrorFrames | BusFault::BusOff)
    }
}

/// What is wrong with the text of a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusFaultError {
    #[error("fault {text:?}: write NODE:KIND[=ARG][@FROM..TO], for example mixer:silence@5..10 or *:stuck")]
    Form { text: String },
    #[error("fault {text:?}: {found:?} is not a node; known are {}, {PUMP_NAME}, and * for all", NODES.join(", "))]
    Node { text: String, found: String },
    #[error("fault {text:?}: {found:?} is unknown for this node; allowed: {allowed}")]
    Kind { text: String, found: String, allowed: &'static str },
    #[error("fault {text:?}: {kind} has the argument {found}; allowed: {allowed}")]
    Argument { text: String, kind: String, found: String, allowed: &'static str },
    #[error("fault {text:?}: {found:?} is not a time span: write @FROM..TO in seconds from the start, FROM before TO")]
    Span { text: String, found: String },
}

impl FromStr for ScheduledBusFault {
    type Err = BusFaultError;

    fn from_str(text: &str) -> Result<ScheduledBusFault, BusFaultError> {
        let owned = || text.to_owned();
        let (node, rest) = text.trim().split_once(':').ok_or_else(|| BusFaultError::Form { text: owned() })?;
        let (what, span) = rest.split_once('@').map_or((rest, None), |(what, span)| (what, Some(span)));
        let (kind, argument) = what.split_once('=').map_or((what, None), |(kind, value)| (kind, Some(value)));
        let node = node_of(node).ok_or_else(|| BusFaultError::Node { text: owned(), found: node.into() })?;
        let allowed = match node {
            None => OF_ALL,
            Some(PUMP) => OF_PUMP,
            Some(_) => OF_SENDERS,
        };
        let is_allowed = allowed.split(", ").any(|one| one.split('[').next() == Some(kind));
        if !is_allowed {
            return Err(BusFaultError::Kind { text: owned(), found: kind.into(), allowed });
        }
        let fault = BusFault::from_words(kind, argument).map_err(|allowed| {
            let found = argument.map_or_else(|| "nothing".to_owned(), |found| format!("{found:?}"));
            BusFaultError::Argument { text: owned(), kind: kind.into(), found, allowed }
        })?;
        let (from, until) = match span {
            None => (Nanos::ZERO, Nanos::NEVER),
            Some(span) => parse_span(span).ok_or_else(|| BusFaultError::Span { text: owned(), found: span.into() })?,
        };
        Ok(ScheduledBusFault { node, fault, from, until })
    }
}

/// `Some(None)` for all of them.
#[expect(clippy::option_option, reason = "outside: whether it is a node; inside: which")]
fn node_of(name: &str) -> Option<Option<usize>> {
    match name {
        "*" => Some(None),
        PUMP_NAME => Some(Some(PUMP)),
        _ => NODES.iter().position(|node| *node == name).map(Some),
    }
}

/// A node by its name.
pub(super) fn node_named(name: &str) -> Option<usize> {
    node_of(name).flatten()
}

impl BusFault {
    /// The argument is what is allowed, when it is not.
    fn from_words(kind: &str, argument: Option<&str>) -> Result<BusFault, &'static str> {
        let plain = |fault| if argument.is_none() { Ok(fault) } else { Err("no argument") };
        match kind {
            "short" => plain(BusFault::Short),
            "stuck" => plain(BusFault::Stuck),
            "garbage" => plain(BusFault::Garbage),
            "error-frames" => plain(BusFault::ErrorFrames),
            "bus-off" => plain(BusFault::BusOff),
            "no-heartbeat" => plain(BusFault::NoHeartbeat),
            "sdo-abort" => plain(BusFault::SdoAbort),
            "sdo-silence" => plain(BusFault::SdoSilence),
            "restart" => plain(BusFault::Restart),
            "flood" => match argument.map_or(Ok(FLOOD_DEFAULT), str::parse) {
                Ok(rate @ 1..=FLOOD_MAX) => Ok(BusFault::Flood(rate)),
                _ => Err("1 to 100000 frames a second"),
            },
            "emergency" => {
                let digits = |text: &str| u16::from_str_radix(text.trim_start_matches("0x"), 16);
                match argument.map_or(Ok(EMERGENCY_DEFAULT), digits) {
                    Ok(code @ 1..) => Ok(BusFault::Emergency(code)),
                    _ => Err("a code of 1 to ffff, in hexadecimal"),
                }
            }
            _ => plain(BusFault::Silence),
        }
    }
}

impl fmt::Display for BusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BusFault::Silence => f.write_str("silence"),
            BusFault::Short => f.write_str("short"),
            BusFault::Stuck => f.write_str("stuck"),
            BusFault::Garbage => f.write_str("garbage"),
            BusFault::Flood(rate) => write!(f, "flood={rate}"),
            BusFault::ErrorFrames => f.write_str("error-frames"),
            BusFault::BusOff => f.write_str("bus-off"),
            BusFault::NoHeartbeat => f.write_str("no-heartbeat"),
            BusFault::Emergency(code) => write!(f, "emergency={code:x}"),
            BusFault::SdoAbort => f.write_str("sdo-abort"),
            BusFault::SdoSilence => f.write_str("sdo-silence"),
            BusFault::Restart => f.write_str("restart"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_reads_back_as_it_was_written() {
        for (node, kinds) in [("mixer", OF_SENDERS), ("pump", OF_PUMP), ("*", OF_ALL)] {
            for kind in kinds.split(", ").map(|kind| kind.split('[').next().unwrap()) {
                let fault: ScheduledBusFault = format!("{node}:{kind}@1..2").parse().unwrap();
                assert_eq!(fault.fault.to_string().split('=').next().unwrap(), kind);
                let again: ScheduledBusFault = format!("{node}:{}@1..2", fault.fault).parse().unwrap();
                assert_eq!(again, fault);
            }
        }
        let fault: ScheduledBusFault = "tank:flood=500@5..".parse().unwrap();
        assert_eq!(fault.holds(1, Nanos::from_millis(5000)), Some(BusFault::Flood(500)));
        assert_eq!((fault.holds(1, Nanos::from_millis(4999)), fault.holds(0, Nanos::from_millis(6000))), (None, None));
    }

    #[test]
    fn a_wrong_text_is_told_what_is_allowed() {
        for (text, says) in [
            ("silence", "NODE:KIND"),
            ("valve:silence", "mixer, tank"),
            ("mixer:no-heartbeat", "bus-off"),
            ("pump:flood", "no-heartbeat"),
            ("*:garbage", "silence, short, stuck"),
            ("mixer:flood=0", "100000"),
            ("pump:emergency=0", "hexadecimal"),
            ("pump:emergency=12345", "hexadecimal"),
            ("mixer:silence=1", "no argument"),
            ("mixer:silence@5", "FROM..TO"),
        ] {
            let error = text.parse::<ScheduledBusFault>().expect_err(text).to_string();
            assert!(error.contains(says) && error.contains(text), "{text}: {error}");
        }
    }
}
