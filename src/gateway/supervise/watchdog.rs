//! Watchdog: checks that every thread advances.
//!
//! Each has a count that rises as long as it works, also under overload and with a full disk. One that stands
//! still longer than its bound can't be mended from inside: the process ends, and is started again.

use std::fmt;
use std::time::{Duration, Instant};

use crate::config::WatchdogConfig;
use crate::limits::{HUB_STALL, SOURCE_STALL, WATCHDOG_STEP_MAX};
use crate::plan::SourceKind;

/// A thread that must advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Executor(usize),
    Source(SourceKind),
    Journal,
    Hub,
    Statistics,
}

impl Part {
    /// The name of its thread, as the system knows it.
    pub fn thread_name(self) -> String {
        match self {
            Part::Executor(id) => format!("fb-exec{id}"),
            Part::Source(kind) => kind.thread_name().to_owned(),
            Part::Journal => "journal".to_owned(),
            Part::Hub => "fb-hub".to_owned(),
            Part::Statistics => "fb-stats".to_owned(),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Executor(id) => write!(f, "executor {id}"),
            Part::Source(kind) => write!(f, "source \"{}\"", kind.name()),
            Part::Journal => f.write_str("journal"),
            Part::Hub => f.write_str("hub"),
            Part::Statistics => f.write_str("statistics"),
        }
    }
}

/// How long each may stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub executor: Duration,
    pub journal: Duration,
}

impl Bounds {
    pub fn new(config: &WatchdogConfig) -> Bounds {
        Bounds {
            executor: Duration::from_nanos(config.executor_stall.0),
            journal: Duration::from_nanos(config.journal_stall.0),
        }
    }

    fn of(&self, part: Part) -> Duration {
        match part {
            Part::Executor(_) => self.executor,
            Part::Source(_) => SOURCE_STALL,
            Part::Journal => self.journal,
            Part::Hub | Part::Statistics => HUB_STALL,
        }
    }
}

/// A thread that stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    pub part: Part,
    /// How long, as far as the watchdog itself was there to see it.
    pub still: Duration,
    /// Its count.
    pub count: u64,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stall { part, still, count } = self;
        write!(f, "{part} (thread {}) stalled for {:.1} s at turn {count}", part.thread_name(), still.as_secs_f64())
    }
}

/// Looks at the counts again and again.
pub struct Watchdog {
    bounds: Bounds,
    watched: Vec<Stall>,
    looked: Option<Instant>,
}

impl Watchdog {
    pub fn new(bounds: Bounds) -> Watchdog {
        Watchdog { bounds, watched: Vec::new(), looked: None }
    }

    /// Compares every count with what it was. Parts that are not named any more are forgotten.
    ///
    /// A look stands for [`WATCHDOG_STEP_MAX`] at most, however long ago the last one was: while the watchdog
    /// did not run (a process that was stopped, a virtual machine that was paused), the others did not either.
    pub fn look(&mut self, now: Instant, counts: impl IntoIterator<Item = (Part, u64)>) {
        let step = self.looked.map_or(Duration::ZERO, |at| now.saturating_duration_since(at).min(WATCHDOG_STEP_MAX));
        self.looked = Some(now);
        let seen = std::mem::take(&mut self.watched);
        for (part, count) in counts {
            let before = seen.iter().find(|w| w.part == part && w.count == count);
            let still = before.map_or(Duration::ZERO, |w| w.still + step);
            self.watched.push(Stall { part, still, count });
        }
    }

    /// How long a part stands still.
    pub fn still(&self, part: Part) -> Duration {
        self.watched.iter().find(|w| w.part == part).map_or(Duration::ZERO, |w| w.still)
    }

    /// Those that stand still longer than they may.
    pub fn stalled(&self) -> Vec<Stall> {
        self.watched.iter().filter(|w| w.still > self.bounds.of(w.part)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(200);

    /// Looks every 200 ms for so many seconds; `count` says what the executor's count is at each.
    fn looks(dog: &mut Watchdog, from: Instant, seconds: f64, mut count: impl FnMut(u32) -> u64) -> Instant {
        let mut now = from;
        for turn in 0..(seconds / STEP.as_secs_f64()).round() as u32 {
            now += STEP;
            dog.look(now, [(Part::Executor(0), count(turn)), (Part::Journal, 7)]);
        }
        now
    }

    #[test]
    fn a_count_that_stands_still_longer_than_its_bound_is_a_stall_and_a_slow_disk_is_none() {
        let mut dog = Watchdog::new(Bounds::new(&WatchdogConfig::default()));
        let now = looks(&mut dog, Instant::now(), 10.0, u64::from);
        assert_eq!(dog.stalled(), []);
        let now = looks(&mut dog, now, 2.0, |_| 49);
        assert_eq!(dog.stalled(), []);
        looks(&mut dog, now, 0.2, |_| 49);
        let [stall] = dog.stalled()[..] else { panic!("{:?}", dog.stalled()) };
        assert_eq!((stall.part, stall.count), (Part::Executor(0), 49));
        assert!(stall.to_string().contains("executor 0 (thread fb-exec0) stalled for 2.2 s"), "{stall}");
        assert!(dog.still(Part::Journal) > Duration::from_secs(11));
    }

    #[test]
    fn a_source_may_block_longer_than_an_executor_and_not_for_ever() {
        let (mut dog, source) =
            (Watchdog::new(Bounds::new(&WatchdogConfig::default())), Part::Source(SourceKind::Diagnostics));
        let mut now = Instant::now();
        let mut look_for = |dog: &mut Watchdog, time: Duration| {
            let end = now + time;
            while now < end {
                now += STEP;
                dog.look(now, [(source, 7)]);
            }
        };
        look_for(&mut dog, SOURCE_STALL);
        assert_eq!(dog.stalled(), []);
        look_for(&mut dog, STEP * 2);
        let [stall] = dog.stalled()[..] else { panic!("{:?}", dog.stalled()) };
        assert!(stall.to_string().starts_with("source \"diagnostics\" (thread fb-diag) stalled for"), "{stall}");
    }

    #[test]
    fn one_sign_of_life_is_enough() {
        let mut dog = Watchdog::new(Bounds::new(&WatchdogConfig::default()));
        looks(&mut dog, Instant::now(), 60.0, |turn| u64::from(turn / 9));
        assert!(dog.stalled().iter().all(|s| s.part == Part::Journal));
    }

    #[test]
    fn time_in_which_the_watchdog_did_not_run_itself_is_no_stall() {
        let mut dog = Watchdog::new(Bounds::new(&WatchdogConfig::default()));
        let mut now = looks(&mut dog, Instant::now(), 1.0, u64::from);
        // Stopped for an hour, three times, and each time it is the first that runs again.
        for life in 0..3 {
            now += Duration::from_secs(3600);
            dog.look(now, [(Part::Executor(0), 1000 + life)]);
            now += Duration::from_secs(3600);
            dog.look(now, [(Part::Executor(0), 1000 + life)]);
            assert_eq!(dog.stalled(), []);
        }
    }

    #[test]
    fn a_part_that_went_with_its_plan_is_forgotten() {
        let mut dog = Watchdog::new(Bounds::new(&WatchdogConfig::default()));
        let now = looks(&mut dog, Instant::now(), 3.0, |_| 1);
        assert_eq!(dog.stalled().len(), 1);
        dog.look(now + STEP, [(Part::Journal, 8)]);
        assert_eq!(dog.stalled(), []);
        assert_eq!(dog.still(Part::Executor(0)), Duration::ZERO);
    }
}
