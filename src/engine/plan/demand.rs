//! The demand of a link for admission: its requests and their costs, as its protocol reports them.

use std::collections::BTreeMap;

use super::scan::ScanId;
use crate::tag::{GroupId, Nanos, TagId};

/// One group's requests on a link.
#[derive(Debug, Clone)]
pub struct ScanDemand {
    pub id: ScanId,
    pub group: GroupId,
    pub period: Nanos,
    pub phase: Nanos,
    pub requests: u64,
    /// What a cycle takes of the link's time, and its longest request.
    pub line: Nanos,
    pub longest: Nanos,
    /// Units that need a pause after each request: what a cycle takes of each one's time. Empty where none does.
    pub units: Vec<(u16, Nanos)>,
    /// What a cycle costs the executor, without the release.
    pub work: Nanos,
}

/// One link's scans in the order in which they are served: the faster first.
#[derive(Debug, Clone)]
pub struct LinkDemand {
    pub scans: Vec<ScanDemand>,
    /// Requests that may be outstanding.
    pub pipeline: u64,
    /// The same, and never more than there are requests.
    pub places: u64,
    /// What the longest request takes of the link's time: from request to reply by the device, and on a serial line
    /// the exact time of all that is on the wire, silences included.
    pub reply: Nanos,
    /// What the costliest reply keeps the executor busy, with the request that follows it.
    pub handling: Nanos,
    pub samples_per_s: f64,
    pub wire_bytes_per_s: f64,
    /// Share of the wire's time that is taken whatever the scans ask.
    pub wire_load: f64,
    /// What comes without being asked for, as often as it is said to.
    pub streams: Vec<Stream>,
    /// Share of the executor's time that it takes when the wire is full of it, which nobody said.
    pub flood: f64,
    /// What is written to it, so far as that is reckoned with.
    pub writes: Option<WriteDemand>,
}

impl LinkDemand {
    /// Of a link that nothing is asked of, yet.
    pub fn nothing(pipeline: u64) -> LinkDemand {
        LinkDemand {
            scans: Vec::new(),
            pipeline,
            places: 1,
            reply: Nanos::ZERO,
            handling: Nanos::ZERO,
            samples_per_s: 0.0,
            wire_bytes_per_s: 0.0,
            wire_load: 0.0,
            streams: Vec::new(),
            flood: 0.0,
            writes: None,
        }
    }

    /// Of a link that asks nothing: its device sends by itself, and a release takes what came. `scans`: with their groups,
    /// their periods, and how many tags each has.
    pub fn sampled(scans: &[(ScanId, GroupId, Nanos, usize)], costs: &Costs) -> LinkDemand {
        let mut demand = LinkDemand::nothing(1);
        for (id, group, period, tags) in scans {
            demand.samples_per_s += *tags as f64 / period.as_secs_f64();
            demand.scans.push(ScanDemand {
                id: *id,
                group: *group,
                period: *period,
                phase: Nanos::ZERO,
                requests: 0,
                line: Nanos::ZERO,
                longest: Nanos::ZERO,
                units: Vec::new(),
                work: Nanos(costs.sample.0 * *tags as u64),
            });
        }
        demand
    }

    /// The same, with writes.
    pub fn with_writes(&self, writes: WriteDemand, costs: &Costs) -> LinkDemand {
        let mut demand = LinkDemand {
            reply: self.reply.max(writes.longest),
            handling: self.handling.max(costs.of_request(1)),
            writes: Some(writes),
            ..self.clone()
        };
        demand.places = demand.pipeline.min(demand.side_by_side()).max(1);
        demand
    }

    /// Requests that may want a place at once: a write is one at a time.
    pub fn side_by_side(&self) -> u64 {
        self.requests() + u64::from(self.writes.is_some())
    }

    /// Of one cycle of every scan.
    pub fn requests(&self) -> u64 {
        self.scans.iter().map(|s| s.requests).sum()
    }

    pub fn requests_per_s(&self) -> f64 {
        self.scans.iter().map(|s| s.requests as f64 / s.period.as_secs_f64()).sum()
    }

    /// Share of the time that the device is busy with it.
    pub fn load(&self) -> f64 {
        let line: f64 = self.scans.iter().map(|s| s.line.as_secs_f64() / s.period.as_secs_f64()).sum();
        // All may be of the busiest unit.
        let writes = self.writes.map_or(0.0, |w| w.line.as_secs_f64() / w.spacing.as_secs_f64());
        let busiest = self.load_of_busiest_unit();
        let of_unit = if busiest > 0.0 { busiest + writes } else { 0.0 };
        ((line + writes) / self.pipeline as f64).max(of_unit) + self.wire_load
    }

    /// Where units are to be left alone after each request: the share of its time that the busiest is taken.
    fn load_of_busiest_unit(&self) -> f64 {
        let mut load_of_unit: BTreeMap<u16, f64> = BTreeMap::new();
        for scan in &self.scans {
            for (unit, time) in &scan.units {
                *load_of_unit.entry(*unit).or_default() += time.as_secs_f64() / scan.period.as_secs_f64();
            }
        }
        load_of_unit.into_values().fold(0.0, f64::max)
    }

    /// What a step of the link costs its executor at most: every reply that may be there at once.
    pub fn pass(&self) -> Nanos {
        Nanos(self.places * self.handling.0)
    }

    /// What a place is taken for by one request: the device's time, until the executor is awake, and until it has
    /// handled all that may have come with the reply.
    pub fn turn(&self, wake_up: Nanos) -> Nanos {
        self.reply + wake_up + self.pass()
    }

    /// The same, of a scan's longest request.
    pub fn turn_of(&self, at: usize, wake_up: Nanos) -> Nanos {
        self.scans[at].longest + wake_up + self.pass()
    }
}

/// Things that come by themselves, one each interval, and what each costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stream {
    pub interval: Nanos,
    pub work: Nanos,
}

/// What one link may be told to write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WriteDemand {
    pub tags: usize,
    /// The tag whose turns take longest.
    pub longest_tag: TagId,
    /// Of any turn: exchanges, what they take of the link's time, and the longest of them.
    pub requests: u64,
    pub line: Nanos,
    pub longest: Nanos,
    /// What it costs the executor.
    pub work: Nanos,
    /// Of any write, read back: its turns, and what they take of the link's time.
    pub turns: u64,
    pub takes: Nanos,
    /// How often they may be asked for.
    pub asked_per_s: f64,
    /// From the beginning of one turn to that of the next at least.
    pub spacing: Nanos,
}

impl WriteDemand {
    /// For the table.
    pub fn load(&self, fits: bool) -> WriteLoad {
        let WriteDemand { tags, asked_per_s, takes, turns, spacing, .. } = *self;
        WriteLoad { tags, asked_per_s, takes, turns, spacing, fits }
    }
}

/// A turn of a write: exchanges with nothing in between.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteTurn {
    pub requests: u64,
    pub line: Nanos,
    pub longest: Nanos,
    /// Pieces in which replies come, beside the last of each.
    pub early: u64,
}

impl WriteTurn {
    /// Of what each exchange takes of the link's time, and the pieces in which its reply comes beside the last.
    pub fn of(exchanges: &[(Nanos, u32)]) -> WriteTurn {
        exchanges.iter().fold(WriteTurn::default(), |turn, (time, early)| WriteTurn {
            requests: turn.requests + 1,
            line: turn.line + *time,
            longest: turn.longest.max(*time),
            early: turn.early + u64::from(*early),
        })
    }
}

/// A tag's write, turn by turn.
#[derive(Debug, Clone)]
pub struct WriteWay {
    pub tag: TagId,
    pub turns: Vec<WriteTurn>,
}

impl WriteWay {
    pub fn takes(&self) -> Nanos {
        self.turns.iter().fold(Nanos::ZERO, |sum, turn| sum + turn.line)
    }

    pub fn longest_turn(&self) -> Nanos {
        self.turns.iter().map(|turn| turn.line).max().unwrap_or(Nanos::ZERO)
    }
}

/// What writes may do on a link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WriteLoad {
    /// Tags that may be written.
    pub tags: usize,
    /// What they may be asked for in a second, by their own pauses and by the gateway's most.
    pub asked_per_s: f64,
    /// What the longest takes of the link's time, read back, in so many turns.
    pub takes: Nanos,
    pub turns: u64,
    /// From the beginning of one turn to that of the next at least: with it, no cycle is missed.
    pub spacing: Nanos,
    /// False: not even one fits beside the scans.
    pub fits: bool,
}

impl WriteLoad {
    /// How many a second, each read back, leave every cycle its time.
    pub fn possible_per_s(&self) -> f64 {
        1.0 / (self.spacing.as_secs_f64() * self.turns.max(1) as f64)
    }
}

/// What things cost an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// A request besides its samples: three system calls and the bookkeeping.
    pub request: Nanos,
    pub sample: Nanos,
    /// A release.
    pub release: Nanos,
    /// How late an executor wakes from its sleep. Costs no CPU, but each reply has to wait for it.
    pub wake_up: Nanos,
}

impl Default for Costs {
    /// What a middling machine takes.
    fn default() -> Costs {
        Costs {
            request: Nanos::from_micros(20),
            sample: Nanos(25),
            release: Nanos::from_micros(15),
            wake_up: Nanos::from_micros(50),
        }
    }
}

impl Costs {
    /// Of one request with so many samples.
    pub fn of_request(&self, samples: usize) -> Nanos {
        self.request + Nanos(self.sample.0 * samples as u64)
    }
}

/// A load above this is a warning.
pub const LOAD_WARNING: f64 = 0.70;

/// A load above this is refused.
pub const LOAD_MAX: f64 = 1.0;

/// The declared reply time of a link is too short for what its device does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    pub declared: Nanos,
    /// The 99th percentile of what was seen.
    pub seen: Nanos,
    /// The link's load with it.
    pub load: f64,
    /// It does not fit: deadlines are missed. Else it is only tight.
    pub is_over: bool,
}

impl Finding {
    /// `None`: the link has room all the same.
    pub fn of(declared: Nanos, seen: Nanos, load: f64) -> Option<Finding> {
        (seen > declared && load > LOAD_WARNING).then_some(Finding { declared, seen, load, is_over: load > LOAD_MAX })
    }
}
