//! How long a link waits for its next attempt: pauses that double up to their bound, with jitter.

use fastrand::Rng;

use crate::limits::{
    CONNECT_AGAIN_PAUSE, CONNECT_MENDED_AFTER, CONNECT_PAUSE_MAX, CONNECT_PAUSE_MIN, CONNECT_STABLE_AFTER,
};
use crate::tag::Nanos;

/// Of one link.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pause: Nanos,
}

impl Backoff {
    pub fn new() -> Backoff {
        Backoff { pause: CONNECT_PAUSE_MIN }
    }

    /// How long to wait now that an attempt failed, or a connection ended. The next pause is twice as long.
    pub fn next(&mut self, rng: &mut Rng) -> Nanos {
        let pause = self.same(rng);
        self.pause = Nanos(self.pause.0 * 2).min(CONNECT_PAUSE_MAX);
        pause
    }

    /// How long to wait for another reason than the device's: half to all of the pause, so that links lost
    /// together do not come back together.
    pub fn same(self, rng: &mut Rng) -> Nanos {
        Nanos(rng.u64(self.pause.0 / 2..=self.pause.0))
    }

    /// A connection broke on which something was answered: the pauses start small again, however long it lived. A device
    /// that comes and goes is so away for its own time, not for that of the troubles before.
    pub fn answered(&mut self) {
        self.pause = CONNECT_PAUSE_MIN;
    }

    /// A connection ended of which nothing was lost, and the next is made at once; should that fail, it is tried again
    /// after a short while.
    pub fn ended(&mut self) {
        self.pause = CONNECT_AGAIN_PAUSE;
    }

    /// Whether attempts have failed for no longer than a device may take that closes after each reply.
    pub fn is_short(self) -> bool {
        self.pause < CONNECT_PAUSE_MIN
    }

    /// A connection of a link ended that does not tell what it was good for; it had lived so long. After a good one the
    /// pauses start small again, and after any that was of use none is longer than it lived. One that accepts only to drop
    /// gains nothing.
    pub fn lived(&mut self, long: Nanos) {
        if long > CONNECT_STABLE_AFTER {
            self.pause = CONNECT_PAUSE_MIN;
        } else if long > CONNECT_MENDED_AFTER {
            self.pause = self.pause.min(long);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown() -> (Backoff, Rng) {
        let (mut backoff, mut rng) = (Backoff::new(), Rng::with_seed(1));
        for _ in 0..20 {
            backoff.next(&mut rng);
        }
        (backoff, rng)
    }

    #[test]
    fn pauses_double_up_to_their_bound_and_jitter_takes_up_to_half() {
        let (mut backoff, mut rng) = (Backoff::new(), Rng::with_seed(7));
        let mut full = CONNECT_PAUSE_MIN;
        for _ in 0..20 {
            let mut shares = Vec::new();
            for _ in 0..200 {
                shares.push(backoff.same(&mut rng).0 as f64 / full.0 as f64);
            }
            shares.push(backoff.next(&mut rng).0 as f64 / full.0 as f64);
            shares.sort_by(f64::total_cmp);
            assert!(shares[0] >= 0.499 && shares[0] < 0.55, "{shares:?}");
            assert!(shares[200] <= 1.0 && shares[200] > 0.95, "{shares:?}");
            full = Nanos(full.0 * 2).min(CONNECT_PAUSE_MAX);
        }
        assert_eq!(full, CONNECT_PAUSE_MAX);
    }

    #[test]
    fn after_a_good_connection_the_pauses_start_small_again() {
        let (mut backoff, mut rng) = grown();
        backoff.lived(CONNECT_STABLE_AFTER + Nanos(1));
        assert!(backoff.next(&mut rng) <= CONNECT_PAUSE_MIN);
    }

    #[test]
    fn after_a_connection_of_some_use_no_pause_is_longer_than_it_lived() {
        let (mut backoff, mut rng) = grown();
        backoff.lived(Nanos::from_millis(3_000));
        for _ in 0..50 {
            let pause = backoff.same(&mut rng);
            assert!((Nanos::from_millis(1_500)..=Nanos::from_millis(3_000)).contains(&pause), "{pause:?}");
        }
        // It grows on from there, and a longer life does not lengthen it.
        backoff.next(&mut rng);
        backoff.lived(Nanos::from_millis(9_000));
        assert_eq!(backoff.pause, Nanos::from_millis(6_000));
    }

    #[test]
    fn after_an_answered_connection_the_pauses_start_small_and_after_one_that_ended_well_smaller_still() {
        let (mut backoff, mut rng) = grown();
        backoff.answered();
        assert!(!backoff.is_short() && backoff.next(&mut rng) <= CONNECT_PAUSE_MIN);
        backoff.ended();
        let mut tries = 0;
        while backoff.is_short() {
            assert!(backoff.next(&mut rng) < CONNECT_PAUSE_MIN);
            tries += 1;
        }
        assert!((3..10).contains(&tries), "{tries}");
    }

    #[test]
    fn a_device_that_accepts_only_to_drop_gains_nothing() {
        let (mut backoff, _) = grown();
        for long in [Nanos::ZERO, Nanos::from_millis(5), CONNECT_MENDED_AFTER] {
            backoff.lived(long);
            assert_eq!(backoff.pause, CONNECT_PAUSE_MAX);
        }
    }
}
