//! Reduces a failing case while it fails in the same way.
//!
//! | file | subject |
//! |---|---|
//! | `cut` | what can be left out of a case |
//! | `files` | links and tags of its tag files |
//! | `timeline` | its coarse events in the order of their times |
//! | `story` | what is left, for a person to read |

mod cut;
mod files;
mod story;
mod timeline;

use std::time::{Duration, Instant};

use super::broken::{Broken, Kind};
use super::case::Case;
use super::memory::mix;
use super::parts::Parts;
use super::run::record;
use super::scenario::Scenario;
use cut::{CUTS, Cut};

pub use story::story;

/// Other details may be needed for it to break with fewer links: so many are tried.
const DETAILS: u64 = 3;
/// The prefixes of so many events are looked at, one by one, for the first that is enough.
const PREFIXES_MAX: usize = 100;

/// How much may be tried. As long as the time does not run out, the same case becomes the same.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub tries: u64,
    pub time: Duration,
}

/// What is left.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// Of the case that there was: links, tags and events.
    pub before: [usize; 3],
    pub case: Case,
    pub broken: Broken,
    /// The last events before.
    pub last: Vec<String>,
    /// How far virtual time has come, and when each change was begun.
    pub reached: u64,
    pub changed_at: Vec<u64>,
    pub tries: u64,
    /// Nothing more can be left out; else the limits ended it.
    pub is_least: bool,
    /// With the events up to then it breaks, whatever of the later ones is left out; 0: it breaks without any.
    pub inevitable_at: Option<u64>,
}

struct Shrinker<F> {
    parts: F,
    kind: Kind,
    limits: Limits,
    began: Instant,
    best: Shrunk,
}

/// Cuts a case down. `parts` makes those of each run. `None`: it does not break.
pub fn shrink<P: Parts>(case: &Case, parts: impl Fn() -> P, limits: Limits) -> Option<Shrunk> {
    let began = Instant::now();
    let mut best = run_once(case, &parts)?;
    best.before = files::sizes(&best.case);
    let mut shrinker = Shrinker { parts, kind: best.broken.kind, limits, began, best };
    while shrinker.round() {}
    shrinker.best.is_least = !shrinker.is_over();
    shrinker.best.inevitable_at = shrinker.inevitable_at();
    Some(shrinker.best)
}

/// `None`: it cannot be run, or holds.
fn run_once<P: Parts>(case: &Case, parts: &impl Fn() -> P) -> Option<Shrunk> {
    let scenario = Scenario::of_case(case).ok()?;
    let (outcome, recorded) = record(&scenario, &parts());
    let (broken, last) = outcome.broken?;
    let case = Case { about: case.about.clone(), ..recorded.case(&scenario).ok()? };
    let (reached, changed_at) = (recorded.reached, recorded.changed_at);
    let (before, tries, is_least, inevitable_at) = ([0; 3], 1, false, None);
    Some(Shrunk { before, case, broken, last, reached, changed_at, tries, is_least, inevitable_at })
}

impl<P: Parts, F: Fn() -> P> Shrinker<F> {
    fn is_over(&self) -> bool {
        self.best.tries >= self.limits.tries || self.began.elapsed() >= self.limits.time
    }

    /// Takes the case if it breaks in the same way, as it came to pass: what never came is left out.
    fn takes(&mut self, case: &Case) -> bool {
        if self.is_over() {
            return false;
        }
        self.best.tries += 1;
        let Some(next) = run_once(case, &self.parts).filter(|next| next.broken.kind == self.kind) else {
            return false;
        };
        let Shrunk { before, tries, .. } = self.best;
        self.best = Shrunk { before, tries, ..next };
        true
    }

    /// Everything once. True: something was left out.
    fn round(&mut self) -> bool {
        let mut any = false;
        for change in cut::SIMPLER {
            let mut case = self.best.case.clone();
            change(&mut case, self.best.reached);
            if self.kind == Kind::NotRecovered {
                // In a shorter time, it would not have to.
                case.recovery_ns = self.best.case.recovery_ns;
            }
            any |= case != self.best.case && self.takes(&case);
        }
        for cut in &CUTS {
            any |= self.cut(cut);
        }
        any |= self.earlier();
        any && !self.is_over()
    }

    /// Leaves out as much as possible of one kind: first all of it, then halves, down to single ones.
    fn cut(&mut self, cut: &Cut) -> bool {
        let mut any = false;
        let mut many = (cut.count)(&self.best.case);
        while many > 0 {
            let mut at = 0;
            while at < (cut.count)(&self.best.case) {
                let end = (at + many).min((cut.count)(&self.best.case));
                let left_out = (0..if cut.shifts_details { DETAILS } else { 1 }).any(|other| {
                    let mut case = self.best.case.clone();
                    (cut.leave_out)(&mut case, at..end);
                    if other > 0 {
                        case.seed = mix(case.seed ^ other);
                    }
                    self.takes(&case)
                });
                any |= left_out;
                at = if left_out { at } else { end };
            }
            many /= 2;
        }
        any
    }

    /// All events come sooner.
    fn earlier(&mut self) -> bool {
        let mut any = false;
        let mut by = self.best.reached / 2;
        while by > 1_000_000 {
            let mut case = self.best.case.clone();
            cut::come_earlier(&mut case, by);
            if self.takes(&case) {
                any = true;
            } else {
                by /= 2;
            }
        }
        any
    }

    fn inevitable_at(&mut self) -> Option<u64> {
        let times = timeline::times(&self.best.case, &self.best.changed_at);
        if times.len() > PREFIXES_MAX {
            return None;
        }
        [0].into_iter().chain(times).find(|time| {
            let case = timeline::up_to(&self.best.case, &self.best.changed_at, *time);
            self.best.tries += 1;
            run_once(&case, &self.parts).is_some_and(|run| run.broken.kind == self.kind)
        })
    }
}
