//! How often a tag, and the whole gateway, may be written.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Tokens that come at a rate, up to one second's worth: a burst of that size may pass, and the rate after it.
#[derive(Debug)]
pub struct Bucket {
    per_s: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub fn new(per_s: u32, now: Instant) -> Bucket {
        Bucket { per_s: f64::from(per_s), tokens: f64::from(per_s), at: now }
    }

    /// Whether there is a token.
    pub fn has(&mut self, now: Instant) -> bool {
        let came = now.saturating_duration_since(self.at).as_secs_f64() * self.per_s;
        self.tokens = (self.tokens + came).min(self.per_s);
        self.at = now.max(self.at);
        self.tokens >= 1.0
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let has = self.has(now);
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

/// When each tag was written last; tags that may be written again are forgotten now and then.
#[derive(Debug, Default)]
pub struct TagRates {
    next: HashMap<String, Instant>,
    clean_at: usize,
}

impl TagRates {
    /// How long until the tag may be written; `None`: now.
    pub fn wait(&self, tag: &str, now: Instant) -> Option<Duration> {
        let left = self.next.get(tag)?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// The tag is written now; the next write may come after `interval`.
    pub fn written(&mut self, tag: &str, now: Instant, interval: Duration) {
        if interval.is_zero() {
            return;
        }
        if self.next.len() >= self.clean_at {
            self.next.retain(|_, next| *next > now);
            self.clean_at = self.next.len() * 2 + 64;
        }
        self.next.insert(tag.to_owned(), now + interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_passes_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        assert_eq!((0..100).filter(|_| bucket.take(start)).count(), 10);
        let taken = (0..5000u64).filter(|ms| bucket.take(start + Duration::from_millis(*ms))).count();
        assert!((49..=50).contains(&taken), "{taken} in 5 s");
        assert!(!bucket.take(start), "time that goes back gives nothing");
    }

    #[test]
    fn a_tag_waits_for_its_interval_and_others_do_not() {
        let (start, interval) = (Instant::now(), Duration::from_millis(100));
        let mut rates = TagRates::default();
        assert_eq!(rates.wait("a", start), None);
        rates.written("a", start, interval);
        assert_eq!(rates.wait("a", start + interval / 2), Some(interval / 2));
        assert_eq!((rates.wait("a", start + interval), rates.wait("b", start)), (None, None));
    }

    #[test]
    fn tags_that_may_be_written_again_are_forgotten() {
        let start = Instant::now();
        let mut rates = TagRates::default();
        for i in 0..10_000u64 {
            rates.written(&i.to_string(), start + Duration::from_millis(i), Duration::from_millis(5));
            assert!(rates.next.len() <= 100);
        }
    }
}
