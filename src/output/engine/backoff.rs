//! Pauses between attempts to connect: exponential with full jitter.

use std::time::Duration;

use crate::limits::{OUTPUT_PAUSE_MAX, OUTPUT_PAUSE_MIN};

/// Each pause is drawn evenly from zero to a bound that doubles from try to try, so that a thousand gateways
/// that lost one broker do not come back in one instant.
#[derive(Debug)]
pub struct Backoff {
    bound: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    pub fn new(random: fastrand::Rng) -> Backoff {
        Backoff { bound: OUTPUT_PAUSE_MIN, random }
    }

    pub fn reset(&mut self) {
        self.bound = OUTPUT_PAUSE_MIN;
    }

    pub fn next_pause(&mut self) -> Duration {
        let pause = self.bound.mul_f64(self.random.f64());
        self.bound = (self.bound * 2).min(OUTPUT_PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_small_again() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(7));
        assert!(backoff.next_pause() <= OUTPUT_PAUSE_MIN);
        assert!(backoff.next_pause() <= OUTPUT_PAUSE_MIN * 2);
        let longest = (0..1000).map(|_| backoff.next_pause()).max().unwrap();
        assert!(longest <= OUTPUT_PAUSE_MAX && longest > OUTPUT_PAUSE_MAX / 2);
        backoff.reset();
        assert!(backoff.next_pause() <= OUTPUT_PAUSE_MIN);
    }
}
