//! How long a group waits for its last reply at worst, whatever the phases.
//!
//! A link is a queue with so many places (its pipeline) at which requests are served, of equal length where there is
//! more than one place: the faster scan first, and none is interrupted. The worst comes about when a scan is due just after others have taken every
//! place, together with all that goes before it. What the executor does for its other links comes on top. This is
//! the response-time analysis for fixed priorities without preemption, as it is known from the CAN bus (Davis et
//! al., "Controller Area Network schedulability analysis: refuted, revisited and revised", 2007), with several
//! places: every cycle of the busy stretch is looked at, not only the first.

use super::executor::Beside;
use crate::plan::demand::LinkDemand;
use crate::tag::Nanos;

/// Cycles looked at within one busy stretch; a link so full that it takes more counts as full.
const CYCLES_MAX: u64 = 512;
/// Steps by which the end of one cycle is looked for. Each is a request longer at least, and a scan of a second has fewer;
/// a link that is full for hours takes too many.
const STEPS_MAX: usize = 200_000;

/// Of each of the link's scans: from its release until its last reply is handled, at worst; [`Nanos::NEVER`] where
/// that is not before its next release.
pub fn worst_responses(link: &LinkDemand, beside: &Beside) -> Vec<Nanos> {
    (0..link.scans.len()).map(|at| worst_response(link, at, beside)).collect()
}

/// Whether every scan has its replies before its next release.
pub fn fits(link: &LinkDemand, beside: &Beside) -> bool {
    (0..link.scans.len()).all(|at| worst_response(link, at, beside) != Nanos::NEVER)
}

fn worst_response(link: &LinkDemand, at: usize, beside: &Beside) -> Nanos {
    if link.scans[at].requests == 0 {
        // It asks nothing, so nothing is waited for.
        return Nanos::ZERO;
    }
    let stretch = Stretch::new(link, at, beside);
    let period = link.scans[at].period;
    let mut worst = Nanos::ZERO;
    for cycle in 1..=CYCLES_MAX {
        let Some(end) = stretch.end_of(cycle) else { return Nanos::NEVER };
        worst = worst.max(end - Nanos(period.0 * (cycle - 1)));
        if stretch.is_over(cycle) {
            return worst;
        }
    }
    Nanos::NEVER
}

/// A stretch in which no place of the link is free for less urgent scans.
struct Stretch<'a> {
    link: &'a LinkDemand,
    beside: &'a Beside,
    at: usize,
    /// A request's time at its place: of this scan, and of any.
    turn: Nanos,
    any_turn: Nanos,
    /// Places that are taken when it begins.
    taken: u64,
    /// How late a release may be handled.
    late: Nanos,
}

/// What goes before a request: how many, and what they take of the link's time.
#[derive(Debug, Clone, Copy)]
struct Before {
    requests: u64,
    line: Nanos,
}

impl<'a> Stretch<'a> {
    fn new(link: &'a LinkDemand, at: usize, beside: &'a Beside) -> Stretch<'a> {
        let others: u64 = link.scans.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, s)| s.requests).sum();
        let (turn, any_turn) = (link.turn_of(at, beside.wake_up), link.turn(beside.wake_up));
        let late = beside.wake_up + beside.pass + link.pass();
        Stretch { link, beside, at, turn, any_turn, taken: others.min(link.places), late }
    }

    /// What goes before the last request of the `cycle`th cycle, when that is sent `start` after the beginning.
    fn before(&self, cycle: u64, start: Nanos) -> Before {
        let own = &self.link.scans[self.at];
        let mut before = Before {
            requests: self.taken + own.requests * cycle - 1,
            line: Nanos(self.taken.saturating_mul(self.link.reply.0)) + Nanos(own.line.0.saturating_mul(cycle))
                - own.longest,
        };
        for faster in &self.link.scans[..self.at] {
            let cycles = (start + self.late).0 / faster.period.0 + 1;
            before.requests += faster.requests * cycles;
            before.line += Nanos(faster.line.0.saturating_mul(cycles));
        }
        // Writes go before all reads. Where there are several places, one may still have the place that it took while the
        // others were free, before the stretch began.
        if let Some(writes) = &self.link.writes {
            let carried = if self.link.places > 1 { self.any_turn } else { Nanos::ZERO };
            let begun = (start + self.late + carried).0 / writes.spacing.0.max(1) + 1;
            before.requests += writes.requests * begun;
            before.line += Nanos(writes.line.0.saturating_mul(begun));
        }
        before
    }

    /// From the beginning until a request that so many go before is sent, and until its reply is handled; `seen` is
    /// how far the stretch reaches by what was found so far. Meanwhile the executor works for its other links: no
    /// more than all that may be due at each turn, and no more than comes in the whole time.
    fn times(&self, before: Before, seen: Nanos) -> (Nanos, Nanos) {
        let Stretch { link, beside, turn, any_turn, .. } = self;
        // Turns at places that become free one after the other: the last request waits for so many. Where there is a
        // place for each request, it waits for none.
        let turns_before = if link.places == link.side_by_side() { 0 } else { before.requests / link.places };
        // At a single place each takes its own time; at several all take the same.
        let shared = match link.places {
            1 if turns_before > 0 => before.line + Nanos(turns_before.saturating_mul((beside.wake_up + link.pass()).0)),
            _ => Nanos(turns_before.saturating_mul(any_turn.0)),
        };
        let released = beside.wake_up + link.pass() + beside.pass;
        let slow_turn = *turn + beside.pass;
        let by_turns = released + shared + Nanos(turns_before.saturating_mul(beside.pass.0));
        let by_time = released + shared + beside.within(seen + *turn);
        (by_turns.min(by_time), (by_turns + slow_turn).min(by_time + *turn))
    }

    /// When the last reply of the `cycle`th cycle is handled; `None`: not before the next release.
    fn end_of(&self, cycle: u64) -> Option<Nanos> {
        let deadline = Nanos(self.link.scans[self.at].period.0 * cycle);
        let mut seen = Nanos::ZERO;
        for _ in 0..STEPS_MAX {
            let (start, end) = self.times(self.before(cycle, seen), seen);
            if end >= deadline {
                return None;
            }
            if start <= seen {
                return Some(end);
            }
            seen = start;
        }
        None
    }

    /// Whether nothing of the stretch is left when the cycle after the `cycle`th is due.
    fn is_over(&self, cycle: u64) -> bool {
        let next = Nanos(self.link.scans[self.at].period.0 * cycle);
        let mut seen = Nanos::ZERO;
        for _ in 0..STEPS_MAX {
            let mut before = self.before(cycle, seen);
            before.requests += 1;
            before.line += self.link.scans[self.at].longest;
            let (start, _) = self.times(before, seen);
            if start > next {
                return false;
            }
            if start <= seen {
                return true;
            }
            seen = start;
        }
        false
    }
}
