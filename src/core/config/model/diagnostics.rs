//! The gateway's own tags, whose names begin with `$`.

use std::sync::Arc;

use super::{LinkSettings, TagAddress};
use crate::tag::{Nanos, ScalarType, ValueType};

/// The link that the gateway's own tags have, and the group of those that are written at a period.
pub const DIAGNOSTICS: &str = "$diagnostics";
/// The group of those that are written when they change.
pub const DIAGNOSTIC_EVENTS: &str = "$events";

#[derive(Debug, Clone, PartialEq)]
pub struct DiagnosticsConfig {
    /// The tags, as globs.
    pub tags: Vec<String>,
    /// Of those that are no states.
    pub period: Nanos,
}

/// The link of the gateway's own tags; in no file.
#[derive(Debug, Clone, PartialEq)]
pub struct DiagnosticsLink;

impl LinkSettings for DiagnosticsLink {
    fn protocol(&self) -> &'static str {
        "diagnostics"
    }

    fn patience(&self) -> Nanos {
        Nanos::ZERO
    }
}

impl TagAddress for DiagnosticSignal {
    fn value_type(&self) -> ValueType {
        ValueType::Scalar(self.ty())
    }
}

/// What a tag of the gateway's own tells; links, groups and outputs by their names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DiagnosticSignal {
    Gateway(GatewaySignal),
    Journal(JournalSignal),
    Lane(u16, LaneSignal),
    Link(Arc<str>, LinkSignal),
    /// A unit of a link.
    Unit(Arc<str>, u8, UnitSignal),
    Group(Arc<str>, GroupSignal),
    Output(Arc<str>, OutputSignal),
}

/// A closed set of values: for each its name in tags, its type, its unit, and what it is.
macro_rules! signals {
    ($(#[$doc:meta])* $name:ident { $($variant:ident, $text:literal, $ty:ident, $unit:literal, $about:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $about] $variant,)* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// Its name in tags, type, unit and meaning.
            pub fn says(self) -> (&'static str, ScalarType, &'static str, &'static str) {
                match self { $($name::$variant => ($text, ScalarType::$ty, $unit, $about),)* }
            }
        }
    };
}

signals!(
    /// Of the gateway as a whole.
    GatewaySignal {
        Uptime, "uptime_s", Float64, "s", "Time since the gateway started";
        CpuPercent, "cpu_percent", Float64, "%", "CPU time of the process, of one core, over the last interval";
        Memory, "memory_bytes", Uint64, "B", "Resident memory of the process";
        TagsGood, "tags_good", Uint32, "", "Tags whose value is good";
        TagsUncertain, "tags_uncertain", Uint32, "", "Tags whose value is uncertain";
        TagsBad, "tags_bad", Uint32, "", "Tags whose value is bad";
        Produced, "samples_produced", Uint64, "", "Samples produced since the start, of all lanes";
        Dropped, "samples_dropped", Uint64, "", "Samples dropped at full rings since the start, of all lanes";
        Suppressed, "samples_suppressed", Uint64, "", "Samples suppressed by report by exception since the start";
        ClockOffset, "clock_offset_s", Float64, "s", "Offset of the system clock as the kernel's time discipline estimates it";
        ClockError, "clock_error_s", Float64, "s", "Greatest error of the system clock as the kernel estimates it";
        ClockSynchronised, "clock_synchronised", Bool, "", "Whether the system clock is synchronised to a time server";
        ClockStep, "clock_step_s", Float64, "s", "How far UTC moved against the monotonic clock over the last interval";
        ConfigurationRefused, "configuration_refused", Bool, "", "Whether the files on disk are refused, so that an \
            older configuration runs";
    }
);

signals!(
    /// Of the journal.
    JournalSignal {
        Bytes, "bytes", Uint64, "B", "Bytes used by the journal on disk";
        Oldest, "oldest_s", Float64, "s", "Age of the oldest block";
        Stored, "samples_stored", Uint64, "", "Samples stored durably since the start";
        Lost, "samples_lost", Uint64, "", "Samples not stored, or lost before every output had delivered them, since \
            the start";
    }
);

signals!(
    /// Of a lane: an executor's stream of samples, or a source's.
    LaneSignal {
        Produced, "produced", Uint64, "", "Samples produced since the start";
        Dropped, "dropped", Uint64, "", "Samples dropped at the full ring since the start";
        RingPercent, "ring_percent", Float64, "%", "How full the ring is";
    }
);

signals!(
    /// Of a link.
    LinkSignal {
        State, "state", Uint16, "", "Whether the link is connected and its device answers";
        SinceGood, "since_good_s", Float64, "s", "Time since the last value was read; no value before the first";
        ResponseP50, "response_ms_p50", Float64, "ms", "Response time over the last interval, median";
        ResponseP99, "response_ms_p99", Float64, "ms", "Response time over the last interval, 99th percentile";
        Requests, "requests", Uint64, "", "Requests sent since the link was configured";
        Timeouts, "timeouts", Uint64, "", "Requests that timed out since the link was configured";
        Disconnects, "disconnects", Uint64, "", "Connections lost since the link was configured";
    }
);

signals!(
    /// Of a unit behind a link.
    UnitSignal {
        SinceGood, "since_good_s", Float64, "s", "Time since the last value of this unit was read; no value before \
            the first";
    }
);

signals!(
    /// Of a scan group.
    GroupSignal {
        JitterP99, "release_jitter_us_p99", Float64, "µs", "Release jitter over the last interval, 99th percentile";
        Missed, "missed", Uint64, "", "Cycles that missed their deadline or were skipped, since the start";
    }
);

signals!(
    /// Of an output.
    OutputSignal {
        State, "state", Uint16, "", "Whether the output is connected to its server";
        Lag, "lag_s", Float64, "s", "Age of the oldest undelivered sample; 0 when all are delivered";
        LagSamples, "lag_samples", Uint64, "", "Undelivered samples in the journal";
        Acknowledged, "samples_acknowledged", Uint64, "", "Samples acknowledged by the server since the start";
        Lost, "samples_lost", Uint64, "", "Samples that the journal dropped before delivery, over its whole life";
    }
);

impl DiagnosticSignal {
    /// Its tag's name.
    pub fn name(&self) -> String {
        match self {
            DiagnosticSignal::Gateway(what) => format!("$gateway.{}", what.says().0),
            DiagnosticSignal::Journal(what) => format!("$journal.{}", what.says().0),
            DiagnosticSignal::Lane(lane, what) => format!("$lane.{lane}.{}", what.says().0),
            DiagnosticSignal::Link(link, what) => format!("$link.{link}.{}", what.says().0),
            DiagnosticSignal::Unit(link, unit, what) => format!("$link.{link}.unit{unit}.{}", what.says().0),
            DiagnosticSignal::Group(group, what) => format!("$group.{group}.{}", what.says().0),
            DiagnosticSignal::Output(output, what) => format!("$output.{output}.{}", what.says().0),
        }
    }

    /// Its type, its unit, and what it is.
    pub fn about(&self) -> (ScalarType, &'static str, &'static str) {
        let (_, ty, unit, about) = match self {
            DiagnosticSignal::Gateway(what) => what.says(),
            DiagnosticSignal::Journal(what) => what.says(),
            DiagnosticSignal::Lane(_, what) => what.says(),
            DiagnosticSignal::Link(_, what) => what.says(),
            DiagnosticSignal::Unit(.., what) => what.says(),
            DiagnosticSignal::Group(_, what) => what.says(),
            DiagnosticSignal::Output(_, what) => what.says(),
        };
        (ty, unit, about)
    }

    pub fn ty(&self) -> ScalarType {
        self.about().0
    }

    /// Whether it is a state, which is written when it changes.
    pub fn is_state(&self) -> bool {
        use GatewaySignal::{ClockSynchronised, ConfigurationRefused};
        matches!(
            self,
            DiagnosticSignal::Link(_, LinkSignal::State)
                | DiagnosticSignal::Output(_, OutputSignal::State)
                | DiagnosticSignal::Gateway(ClockSynchronised | ConfigurationRefused)
        )
    }
}
