//! What a run is given, event by event: drawn from its seed, or as a case lists it.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::super::model::Model;
use super::draw::{self, rng_of};
use super::events::{ClockStep, Crash, Executed, JournalFault, Series, Span, Stall, Storm, TagChange, Timed, Write};
use super::hosts::Host;

/// Models that someone goes back to.
const PAST_MAX: usize = 4;

/// Which troubles a seed has.
#[derive(Debug, Clone, Default)]
pub struct Drawn {
    /// The CPUs stall, for so long at most; 0: never.
    pub stall_max_ns: u64,
    /// All connections break together now and then.
    pub storms: bool,
    /// The consumer stops now and then.
    pub consumer_stops: bool,
    /// UTC jumps now and then.
    pub clock_steps: bool,
    /// What is changed now and then, and the longest pause between two changes; `None`: nothing.
    pub changes: Option<(Model, u64)>,
    /// People write to devices.
    pub writes: bool,
}

/// Every event there is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// All others are as the seed says.
    pub hosts: Vec<Host>,
    pub stalls: Vec<Stall>,
    pub storms: Vec<Storm>,
    pub consumer_stops: Vec<Span>,
    pub clock_steps: Vec<ClockStep>,
    pub crashes: Vec<Crash>,
    pub journal_faults: Vec<JournalFault>,
    pub log_stalls: Vec<Span>,
    pub writes: Vec<Write>,
    pub changes: Vec<TagChange>,
}

/// See the module.
#[derive(Debug, Clone)]
pub enum Script {
    Drawn(Drawn),
    Listed(Listed),
}

/// When a run's parts end.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// Trouble ends then, and everything must come back.
    pub trouble: u64,
    /// No more writes from then on.
    pub writes: u64,
    pub all: u64,
}

/// Those before `end`.
fn until<T: Timed + Clone + 'static>(events: impl Iterator<Item = T>, end: u64) -> Series<T> {
    let events: Vec<T> = events.filter(|event| event.at() < end).collect();
    Series::new(events.into_iter())
}

fn spans(listed: &[Span], end: u64) -> Series<Span> {
    until(listed.iter().map(|span| Span { until_ns: span.until_ns.min(end), ..*span }), end)
}

fn own<T: Executed + Clone + 'static>(events: &[T], executor: u16, end: u64) -> Series<T> {
    until(events.iter().filter(|event| event.executor() == executor).cloned(), end)
}

impl Script {
    /// Whether people write to devices.
    pub fn has_writes(&self) -> bool {
        match self {
            Script::Drawn(drawn) => drawn.writes,
            Script::Listed(listed) => !listed.writes.is_empty(),
        }
    }

    pub fn stalls(&self, seed: u64, executor: u16, ends: Ends) -> Series<Stall> {
        match self {
            Script::Drawn(drawn) => Series::new(draw::stalls(seed, executor, drawn.stall_max_ns, ends.trouble)),
            Script::Listed(listed) => own(&listed.stalls, executor, ends.trouble),
        }
    }

    pub fn storms(&self, seed: u64, executor: u16, ends: Ends) -> Series<Storm> {
        match self {
            Script::Drawn(drawn) if drawn.storms => Series::new(draw::storms(seed, executor, ends.trouble)),
            Script::Drawn(_) => Series::none(),
            Script::Listed(listed) => own(&listed.storms, executor, ends.trouble),
        }
    }

    /// `eager`: one after the other.
    pub fn writes(&self, seed: u64, executor: u16, eager: bool, ends: Ends) -> Series<Write> {
        match self {
            Script::Drawn(drawn) if drawn.writes => Series::new(draw::writes(seed, executor, eager, ends.writes)),
            Script::Drawn(_) => Series::none(),
            Script::Listed(listed) => own(&listed.writes, executor, ends.writes),
        }
    }

    pub fn consumer_stops(&self, seed: u64, ends: Ends) -> Series<Span> {
        match self {
            Script::Drawn(drawn) if drawn.consumer_stops => Series::new(draw::consumer_stops(seed, ends.trouble)),
            Script::Drawn(_) => Series::none(),
            Script::Listed(listed) => spans(&listed.consumer_stops, ends.trouble),
        }
    }

    pub fn log_stalls(&self, seed: u64, ends: Ends) -> Series<Span> {
        match self {
            Script::Drawn(_) => Series::new(draw::log_stalls(seed, ends.trouble)),
            Script::Listed(listed) => spans(&listed.log_stalls, ends.trouble),
        }
    }

    pub fn clock_steps(&self, seed: u64, ends: Ends) -> Series<ClockStep> {
        match self {
            Script::Drawn(drawn) if drawn.clock_steps => Series::new(draw::clock_steps(seed, ends.all)),
            Script::Drawn(_) => Series::none(),
            Script::Listed(listed) => until(listed.clock_steps.iter().copied(), ends.all),
        }
    }

    pub fn crashes(&self, seed: u64, ends: Ends) -> Series<Crash> {
        match self {
            Script::Drawn(_) => Series::new(draw::crashes(seed, ends.trouble)),
            Script::Listed(listed) => until(listed.crashes.iter().copied(), ends.trouble),
        }
    }

    pub fn journal_faults(&self, seed: u64, ends: Ends) -> Series<JournalFault> {
        match self {
            Script::Drawn(_) => Series::new(draw::journal_faults(seed, ends.trouble)),
            Script::Listed(listed) => until(listed.journal_faults.iter().copied(), ends.trouble),
        }
    }

    pub fn changes(&self, seed: u64) -> Changes {
        match self {
            Script::Drawn(Drawn { changes: Some((model, pause_ns)), .. }) => Changes::Drawn(Box::new(People {
                model: model.clone(),
                candidate: None,
                past: vec![model.clone()],
                pause_ns: *pause_ns,
                rng: rng_of(seed, "changes", 0),
            })),
            Script::Drawn(_) => Changes::Listed(Vec::new().into_iter()),
            Script::Listed(listed) => Changes::Listed(listed.changes.clone().into_iter()),
        }
    }
}

/// Who changes the configuration.
pub struct People {
    model: Model,
    /// What came next of it, and is not yet taken.
    candidate: Option<Model>,
    past: Vec<Model>,
    pause_ns: u64,
    rng: Rng,
}

/// Changed configurations, one after the other.
pub enum Changes {
    Drawn(Box<People>),
    Listed(std::vec::IntoIter<TagChange>),
}

/// A change to come: how long after the one before, and the tag file.
pub struct Coming {
    pub pause_ns: u64,
    pub text: String,
}

impl Changes {
    pub fn next(&mut self) -> Option<Coming> {
        match self {
            Changes::Listed(rest) => {
                rest.next().map(|TagChange { pause_ns, tags }| Coming { pause_ns, text: tags.to_string() })
            }
            Changes::Drawn(people) => {
                let People { model, past, pause_ns, rng, .. } = &mut **people;
                let pause_ns = if rng.u8(..4) == 0 { 0 } else { rng.u64(..*pause_ns) };
                let mut next = model.clone();
                next.change(past, rng);
                let text = next.text();
                people.candidate = Some(next);
                Some(Coming { pause_ns, text })
            }
        }
    }

    /// The last one was taken up; what was refused is changed again from what it was made of.
    pub fn taken(&mut self) {
        let Changes::Drawn(people) = self else { return };
        let Some(next) = people.candidate.take() else { return };
        if people.past.len() == PAST_MAX {
            people.past.remove(people.rng.usize(..PAST_MAX));
        }
        let before = std::mem::replace(&mut people.model, next);
        people.past.push(before);
    }
}
