//! One unit (slave) behind a connection: is it answering, and when is it asked again?

use crate::limits::{PROBE_PAUSE_MAX, PROBE_PAUSE_MIN, REFUSALS_IN_A_ROW_MAX, SILENT_AFTER_TIMEOUTS};
use crate::protocol::modbus::model::Table;
use crate::tag::Nanos;

/// A unit that stays silent is probed with growing pauses, so that it does not hold the line.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    state: State,
    /// When it last answered, be it with an exception.
    answered_at: Nanos,
    /// Unanswered requests of it that did not count, since it last answered.
    spared: u32,
    /// Of which request the last probe was a single value.
    pub probed: Option<u32>,
    /// The longest pause between its probes.
    pause_max: Nanos,
    /// Nothing is read of it as often as once a second: it is probed out of its scans' beat.
    pub is_slow: bool,
    /// By table: a unit may have none of one.
    tables: [Serving; 4],
}

/// Whether one table of a unit is served.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serving {
    /// When a read of it was last answered with values.
    served_at: Nanos,
    /// Refusals since then.
    refusals: u32,
    /// The longest read that was answered with values, in registers or bits; and the shortest of which it is known that it
    /// is too long: its halves are served, and nothing lies between them. 0: none.
    longest: u16,
    too_long: u16,
    /// The request that found out last whether such a length is taken: one at a time.
    pub tried_long: Option<u32>,
    /// Requests were refused, and wait until it is known whether anything is served.
    pub doubted: bool,
    /// The request that is to find that out, and how many there were.
    pub trial: Option<u32>,
    pub trials: u32,
}

impl Serving {
    pub fn served(&mut self, now: Nanos) {
        (self.served_at, self.refusals) = (now, 0);
    }

    pub fn refused(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
    }

    /// Whether a refusal in a cycle that began at `cycle` is one of the block that was asked for, since others are served.
    pub fn serves(&self, cycle: Nanos) -> bool {
        self.served_at >= cycle && self.served_at > Nanos::ZERO && self.refusals <= REFUSALS_IN_A_ROW_MAX
    }

    /// A read of so many was answered with values. True: it had counted as too long.
    pub fn took(&mut self, count: u16) -> bool {
        self.longest = self.longest.max(count);
        let was_too_long = self.is_too_long(count);
        if was_too_long {
            (self.too_long, self.tried_long) = (0, None);
        }
        was_too_long
    }

    /// A read of so many was refused for nothing but its length.
    pub fn is_too_much(&mut self, count: u16) {
        if count > self.longest && (self.too_long == 0 || count < self.too_long) {
            self.too_long = count;
        }
    }

    pub fn is_too_long(&self, count: u16) -> bool {
        self.too_long > 0 && count >= self.too_long
    }

    /// What is behind the connection may be another device.
    pub fn forget_lengths(&mut self) {
        (self.longest, self.too_long, self.tried_long) = (0, 0, None);
    }

    /// Requests have other places.
    fn replanned(&mut self) {
        self.settle();
        self.tried_long = None;
    }

    /// Nothing is to be found out any more.
    pub fn settle(&mut self) {
        (self.doubted, self.trial, self.trials) = (false, None, 0);
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Answering, or not yet known; so many timeouts and broken replies in a row.
    Talking { timeouts: u32, missed: Missed },
    /// Asked once more at `probe_at`, by one request at a time.
    Silent { probe_at: Nanos, pause: Nanos },
}

/// Which requests the timeouts in a row were of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed {
    None,
    One(u32),
    Several,
}

impl Default for Unit {
    fn default() -> Unit {
        Unit {
            state: State::Talking { timeouts: 0, missed: Missed::None },
            answered_at: Nanos::ZERO,
            spared: 0,
            probed: None,
            pause_max: PROBE_PAUSE_MAX,
            is_slow: false,
            tables: [Serving::default(); 4],
        }
    }
}

/// What a timeout made of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterTimeout {
    StillTalking,
    /// Enough timeouts for a silent unit, but all of one request: it may be that one alone.
    Undecided,
    BecameSilent,
    StillSilent,
}

impl Unit {
    /// One that is read rarely, with the longest pause between its probes.
    pub fn slow(pause_max: Nanos) -> Unit {
        Unit { pause_max, is_slow: true, ..Unit::default() }
    }

    pub fn is_silent(&self) -> bool {
        matches!(self.state, State::Silent { .. })
    }

    /// When a silent unit is asked next.
    pub fn probe_at(&self) -> Option<Nanos> {
        match self.state {
            State::Talking { .. } => None,
            State::Silent { probe_at, .. } => Some(probe_at),
        }
    }

    /// Whether a request may go out now. Asking for a silent unit's probe takes it: the next is a pause away.
    pub fn may_ask(&mut self, now: Nanos) -> bool {
        match &mut self.state {
            State::Talking { .. } => true,
            State::Silent { probe_at, pause } => {
                let due = now >= *probe_at;
                if due {
                    *probe_at = now + *pause;
                }
                due
            }
        }
    }

    /// A new connection: a silent unit is probed at once.
    pub fn reconnected(&mut self, now: Nanos) {
        if let State::Silent { probe_at, .. } = &mut self.state {
            *probe_at = now;
        }
    }

    /// It answered, be it with an exception. True when it had been silent.
    pub fn answered(&mut self, now: Nanos) -> bool {
        let was_silent = self.is_silent();
        self.state = State::Talking { timeouts: 0, missed: Missed::None };
        (self.answered_at, self.spared) = (now, 0);
        was_silent
    }

    /// Whether it has answered anything after `then`.
    pub fn has_answered_since(&self, then: Nanos) -> bool {
        !self.is_silent() && self.answered_at > then
    }

    /// Whether an unanswered request may be asked again before it counts: as many as another unit leaves unanswered before
    /// it is silent, until this one answers.
    pub fn may_be_spared(&self) -> bool {
        self.has_answered_since(Nanos::ZERO) && self.spared < SILENT_AFTER_TIMEOUTS
    }

    pub fn spared(&mut self) {
        self.spared += 1;
    }

    pub fn table(&mut self, table: Table) -> &mut Serving {
        &mut self.tables[usize::from(table.read_function() - 1)]
    }

    pub fn tables(&mut self) -> &mut [Serving] {
        &mut self.tables
    }

    /// It answered, but nothing that could be read. It goes on being asked as before. True when that, or silence, has
    /// gone on for so long that it counts as away.
    pub fn answered_badly(&mut self) -> bool {
        match &mut self.state {
            State::Talking { timeouts, missed } => {
                *timeouts = timeouts.saturating_add(1);
                *missed = Missed::Several;
                *timeouts >= SILENT_AFTER_TIMEOUTS
            }
            State::Silent { .. } => true,
        }
    }

    /// No answer to a request; `None`: to a write.
    pub fn timed_out(&mut self, request: Option<u32>, now: Nanos) -> AfterTimeout {
        match &mut self.state {
            State::Talking { timeouts, missed } => {
                *timeouts = timeouts.saturating_add(1);
                *missed = match (*missed, request) {
                    (Missed::None, Some(at)) => Missed::One(at),
                    (Missed::One(before), Some(at)) if before == at => Missed::One(at),
                    _ => Missed::Several,
                };
                match missed {
                    _ if *timeouts < SILENT_AFTER_TIMEOUTS => AfterTimeout::StillTalking,
                    Missed::Several => {
                        self.fall_silent(now);
                        AfterTimeout::BecameSilent
                    }
                    _ => AfterTimeout::Undecided,
                }
            }
            State::Silent { probe_at, pause } => {
                *pause = Nanos(pause.0 * 2).min(self.pause_max);
                *probe_at = now + *pause;
                AfterTimeout::StillSilent
            }
        }
    }

    /// There is nothing else to ask it for that it might answer.
    pub fn fall_silent(&mut self, now: Nanos) {
        self.state = State::Silent { probe_at: now + PROBE_PAUSE_MIN, pause: PROBE_PAUSE_MIN };
    }

    /// Goes on under another plan, whose requests have other places.
    /// `new` is what that one makes of it.
    pub fn replanned(self, new: &Unit) -> Unit {
        let state = match self.state {
            State::Talking { timeouts, missed: Missed::One(_) } => State::Talking { timeouts, missed: Missed::None },
            other => other,
        };
        let Unit { pause_max, is_slow, .. } = *new;
        let mut unit = Unit { state, probed: None, pause_max, is_slow, ..self };
        unit.tables.iter_mut().for_each(Serving::replanned);
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_unit_is_probed_with_growing_pauses_until_it_answers() {
        let mut unit = Unit::default();
        let mut now = Nanos::from_millis(1);
        for request in 1..SILENT_AFTER_TIMEOUTS {
            assert_eq!(unit.timed_out(Some(request), now), AfterTimeout::StillTalking);
        }
        assert_eq!(unit.timed_out(Some(0), now), AfterTimeout::BecameSilent);
        let mut pause = PROBE_PAUSE_MIN;
        for _ in 0..10 {
            assert!(!unit.may_ask(now));
            now += pause;
            assert!(unit.may_ask(now) && !unit.may_ask(now), "one probe, not two");
            assert_eq!(unit.timed_out(Some(0), now), AfterTimeout::StillSilent);
            pause = Nanos(pause.0 * 2).min(PROBE_PAUSE_MAX);
        }
        assert!(unit.answered(now));
        assert!(unit.may_ask(now) && !unit.answered(now));
    }

    #[test]
    fn one_request_alone_does_not_make_a_unit_silent() {
        let mut unit = Unit::default();
        let now = Nanos::from_millis(1);
        for _ in 1..SILENT_AFTER_TIMEOUTS {
            assert_eq!(unit.timed_out(Some(7), now), AfterTimeout::StillTalking);
        }
        assert_eq!(unit.timed_out(Some(7), now), AfterTimeout::Undecided);
        assert!(!unit.is_silent());
        assert_eq!(unit.timed_out(Some(8), now), AfterTimeout::BecameSilent);
    }

    #[test]
    fn a_table_that_refuses_all_since_the_cycle_began_or_too_often_in_a_row_is_not_served() {
        let mut table = Serving::default();
        let [cycle, later] = [10, 20].map(Nanos::from_millis);
        table.refused();
        assert!(!table.serves(Nanos::ZERO), "it never was");
        table.served(cycle);
        assert!(table.serves(cycle) && !table.serves(later));
        for _ in 0..REFUSALS_IN_A_ROW_MAX {
            table.refused();
        }
        assert!(table.serves(cycle));
        table.refused();
        assert!(!table.serves(cycle));
    }
}
