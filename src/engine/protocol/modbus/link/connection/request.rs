//! A request's life from cycle to cycle: whether it is asked, whole or in parts, and what went wrong with it.

use crate::limits::{SILENT_AFTER_TIMEOUTS, SLOW_RETRY_FIRST, SLOW_RETRY_MAX};
use crate::tag::{Fault, Nanos};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestState {
    Idle,
    Queued,
    InFlight,
}

/// What keeps a request from being asked as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// Its unit answers others, and not this one.
    Mute,
    /// By this exception.
    Refused(u8),
    /// By 04, as all that its unit is asked: it goes on being asked, but nothing is tried out before the pause is over.
    /// When it was last.
    Failing {
        at: Nanos,
    },
    /// The device asks for patience, since then.
    Busy {
        since: Nanos,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub state: RequestState,
    /// Its halves are asked instead: the device refuses it, or is silent about it.
    pub apart: bool,
    /// Refused, and it is not known yet whether that is the block's fault or the unit's.
    pub doubted: bool,
    /// Asked only to find something out: its values are read by other requests of the same cycle, perhaps at the same
    /// time, and are not told.
    pub tried_out: bool,
    /// Asked outside of its scan's cycle.
    pub off_beat: bool,
    /// So often it was asked again in this cycle: see `ending`.
    pub again: u8,
    pub trouble: Trouble,
    /// Not answered so many times in a row, and when the first of them was sent. Halves begin with what their block had.
    pub misses: u32,
    pub missed_at: Nanos,
    /// What came of it after it was given up, since it was last sent.
    pub late: Fault,
    /// The last pause, and when it is over: not asked as a whole before.
    pause: Nanos,
    pub until: Nanos,
    /// In a slow scan: asked again then, out of its beat; and so often it has failed in a row.
    pub retry_at: Nanos,
    retries: u32,
    /// Its scan's cycle has not got it yet.
    pub owed: bool,
    /// So many single values of it were asked for, to see whether its unit answers anything.
    pub trials: u32,
}

impl Request {
    pub const IDLE: Request = Request {
        state: RequestState::Idle,
        apart: false,
        doubted: false,
        tried_out: false,
        off_beat: false,
        again: 0,
        trouble: Trouble::None,
        misses: 0,
        missed_at: Nanos::ZERO,
        late: Fault::NoReply,
        pause: Nanos::ZERO,
        until: Nanos::ZERO,
        retry_at: Nanos::NEVER,
        retries: 0,
        owed: false,
        trials: 0,
    };

    /// Nothing is wrong with it as a whole.
    pub fn is_fine(&self) -> bool {
        !self.apart && self.misses == 0 && self.trouble == Trouble::None
    }

    pub fn is_due(&self, now: Nanos) -> bool {
        now >= self.until || matches!(self.trouble, Trouble::Failing { .. })
    }

    pub fn is_refused(&self) -> bool {
        matches!(self.trouble, Trouble::Refused(_) | Trouble::Failing { .. })
    }

    /// Unanswered for so long that its tags are bad.
    pub fn is_lost(&self) -> bool {
        self.misses >= SILENT_AFTER_TIMEOUTS
    }

    /// Its silence is no surprise any more.
    pub fn is_known_mute(&self) -> bool {
        self.is_lost() && self.trouble == Trouble::Mute
    }

    /// As if nothing was ever wrong; where it stands stays.
    pub fn forget(&mut self) {
        let Request { state, tried_out, off_beat, again, retry_at, retries, owed, .. } = *self;
        *self = Request { state, tried_out, off_beat, again, retry_at, retries, owed, ..Request::IDLE };
    }

    /// In a slow scan of this period, what becomes of it; `owed`: its cycle has missed it so far.
    pub fn ended_slowly(&mut self, is_good: bool, owed: bool, period: Nanos, now: Nanos) {
        if is_good {
            (self.retry_at, self.retries, self.owed) = (Nanos::NEVER, 0, false);
            return;
        }
        let grown = Nanos(SLOW_RETRY_FIRST.0 << (2 * self.retries.min(8)));
        let longest = Nanos(period.0 / 4).clamp(SLOW_RETRY_FIRST, SLOW_RETRY_MAX);
        self.retry_at = now + grown.min(longest);
        self.retries = self.retries.saturating_add(1);
        self.owed = owed;
    }

    /// What was learned of it under another plan stays.
    pub fn learn_from(&mut self, before: &Request) {
        *self = Request { state: self.state, off_beat: self.off_beat, doubted: false, ..*before };
    }

    /// No answer to what was sent at `sent`.
    pub fn missed(&mut self, sent: Nanos) {
        if self.misses == 0 {
            self.missed_at = sent;
        }
        self.misses = self.misses.saturating_add(1);
    }

    /// Not asked for a while, longer from time to time as long as the trouble is of the same kind.
    pub fn rest(&mut self, trouble: Trouble, now: Nanos, first: Nanos, longest: Nanos) {
        let same = std::mem::discriminant(&self.trouble) == std::mem::discriminant(&trouble);
        let grown = if same { Nanos(self.pause.0 * 2) } else { Nanos::ZERO };
        self.pause = grown.max(first).min(longest);
        self.trouble = trouble;
        self.until = now + self.pause;
    }

    /// The pause is over by then at the latest.
    pub fn ask_by(&mut self, then: Nanos) {
        self.until = self.until.min(then);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_the_trouble_is_the_same_and_start_again_with_another() {
        let [first, longest] = [1_000, 5_000].map(Nanos::from_millis);
        let mut request = Request::IDLE;
        let mut pauses = |trouble| {
            request.rest(trouble, Nanos::from_millis(7), first, longest);
            assert!(!request.is_fine() && !request.is_due(request.until - Nanos(1)) && request.is_due(request.until));
            request.until.0 / 1_000_000 - 7
        };
        assert_eq!([0; 5].map(|_| pauses(Trouble::Refused(2))), [1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!([0; 2].map(|_| pauses(Trouble::Mute)), [1_000, 2_000]);
        request.forget();
        assert!(request.is_fine() && request.is_due(Nanos::ZERO));
    }
}
