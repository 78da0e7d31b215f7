//! Pauses between attempts to connect: exponential with full jitter.

use std::time::Duration;

use crate::limits::{MQTT_PAUSE_MAX, MQTT_PAUSE_MIN};

/// Each pause is drawn evenly from zero to a bound that doubles from try to try, so that a thousand gateways
/// that lost one broker do not come back in one instant.
#[derive(Debug)]
pub(super) struct Backoff {
    bound: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(random: fastrand::Rng) -> Backoff {
        Backoff { bound: MQTT_PAUSE_MIN, random }
    }

    pub(super) fn reset(&mut self) {
        self.bound = MQTT_PAUSE_MIN;
    }

    pub(super) fn next_pause(&mut self) -> Duration {
        let pause = self.bound.mul_f64(self.random.f64());
        self.bound = (self.bound * 2).min(MQTT_PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_small_again() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(7));
        assert!(backoff.next_pause() <= MQTT_PAUSE_MIN);
        assert!(backoff.next_pause() <= MQTT_PAUSE_MIN * 2);
        let longest = (0..1000).map(|_| backoff.next_pause()).max().unwrap();
        assert!(longest <= MQTT_PAUSE_MAX && longest > MQTT_PAUSE_MAX / 2);
        backoff.reset();
        assert!(backoff.next_pause() <= MQTT_PAUSE_MIN);
    }
}
