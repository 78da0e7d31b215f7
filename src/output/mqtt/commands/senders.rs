//! Who may cost what: the pace at which a broker's messages are taken, how many requests of one sender are under way, and
//! topics on which the broker does not let answers be published.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::limits::{
    COMMAND_SENDERS_MAX, COMMAND_TOPIC_REFUSED_PAUSE, COMMAND_TOPIC_STRIKES, COMMAND_TOPICS_REFUSED_MAX,
    COMMAND_UNDER_WAY_MAX,
};

/// So much a second, and one second's worth at once. What is spent beyond it is paid back before more is taken.
#[derive(Debug)]
pub(super) struct Pace {
    per_s: f64,
    left: f64,
    at: Instant,
}

impl Pace {
    pub(super) fn new(per_s: u32, now: Instant) -> Pace {
        Pace { per_s: per_s.into(), left: per_s.into(), at: now }
    }

    pub(super) fn spend(&mut self, count: usize) {
        self.left -= count as f64;
    }

    pub(super) fn has(&mut self, now: Instant) -> bool {
        let came = now.saturating_duration_since(self.at).as_secs_f64() * self.per_s;
        self.left = (self.left + came).min(self.per_s);
        self.at = now.max(self.at);
        self.left >= 1.0
    }
}

/// Requests under way, by the topic that their sender wants its answer on; all that name none are one sender.
#[derive(Debug, Default)]
pub(super) struct Senders {
    under_way: HashMap<String, Arc<AtomicUsize>>,
}

/// One request under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Senders {
    /// `None`: that sender has as many under way as one may.
    pub(super) fn begin(&mut self, sender: &str) -> Option<UnderWay> {
        if self.under_way.len() >= COMMAND_SENDERS_MAX {
            self.under_way.retain(|_, count| count.load(Relaxed) > 0);
        }
        let count = match self.under_way.get(sender) {
            Some(count) => count,
            // Each has one under way at least, and the desk takes fewer than that.
            None if self.under_way.len() >= COMMAND_SENDERS_MAX => return None,
            None => self.under_way.entry(sender.to_owned()).or_default(),
        };
        if count.load(Relaxed) >= COMMAND_UNDER_WAY_MAX {
            return None;
        }
        count.fetch_add(1, Relaxed);
        Some(UnderWay(count.clone()))
    }
}

/// Topics that answers are not published on for a while: the broker refused it, or closed the connection over it.
#[derive(Debug, Default)]
pub(super) struct RefusedTopics {
    topics: HashMap<String, Refused>,
}

#[derive(Debug)]
struct Refused {
    strikes: u32,
    /// Of the last one.
    at: Instant,
}

impl RefusedTopics {
    /// The broker said so. True: it is new.
    pub(super) fn refuse(&mut self, topic: &str, now: Instant) -> bool {
        self.strike(topic, COMMAND_TOPIC_STRIKES, now)
    }

    /// The broker closed the connection, and an answer on this topic may be why. True: it is refused from now on.
    pub(super) fn suspect(&mut self, topic: &str, now: Instant) -> bool {
        self.strike(topic, 1, now)
    }

    fn strike(&mut self, topic: &str, strikes: u32, now: Instant) -> bool {
        if self.topics.len() >= COMMAND_TOPICS_REFUSED_MAX && !self.topics.contains_key(topic) {
            self.topics.retain(|_, refused| now.saturating_duration_since(refused.at) < COMMAND_TOPIC_REFUSED_PAUSE);
            let oldest = self.topics.iter().min_by_key(|(_, refused)| refused.at).map(|(topic, _)| topic.clone());
            if let Some(oldest) = oldest.filter(|_| self.topics.len() >= COMMAND_TOPICS_REFUSED_MAX) {
                self.topics.remove(&oldest);
            }
        }
        let refused = self.topics.entry(topic.to_owned()).or_insert(Refused { strikes: 0, at: now });
        let was = refused.strikes >= COMMAND_TOPIC_STRIKES;
        refused.strikes = refused.strikes.saturating_add(strikes);
        refused.at = now;
        !was && refused.strikes >= COMMAND_TOPIC_STRIKES
    }

    /// An answer on it was taken.
    pub(super) fn accepted(&mut self, topic: &str) {
        if !self.topics.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// For how long no answer goes there; `None`: it may be tried.
    pub(super) fn left(&mut self, topic: &str, now: Instant) -> Option<Duration> {
        let refused = self.topics.get(topic).filter(|refused| refused.strikes >= COMMAND_TOPIC_STRIKES)?;
        let left = COMMAND_TOPIC_REFUSED_PAUSE.saturating_sub(now.saturating_duration_since(refused.at));
        if left.is_zero() {
            self.topics.remove(topic);
            return None;
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_beyond_the_pace_is_paid_back_first() {
        let start = Instant::now();
        let mut pace = Pace::new(100, start);
        pace.spend(250);
        assert!(!pace.has(start + Duration::from_secs(1)));
        assert!(pace.has(start + Duration::from_secs(2)));
        let mut taken = 0;
        for ms in 2_000..7_000u64 {
            if pace.has(start + Duration::from_millis(ms)) {
                pace.spend(1);
                taken += 1;
            }
        }
        assert!((400..=600).contains(&taken), "{taken} in 5 s");
    }

    #[test]
    fn one_sender_leaves_room_for_others() {
        let mut senders = Senders::default();
        let mut under_way: Vec<UnderWay> = (0..COMMAND_UNDER_WAY_MAX).map(|_| senders.begin("a").unwrap()).collect();
        assert!(senders.begin("a").is_none());
        assert!(senders.begin("b").is_some());
        under_way.pop();
        assert!(senders.begin("a").is_some());
    }

    #[test]
    fn senders_that_have_nothing_under_way_are_forgotten() {
        let mut senders = Senders::default();
        for i in 0..10 * COMMAND_SENDERS_MAX {
            assert!(senders.begin(&i.to_string()).is_some());
            assert!(senders.under_way.len() <= COMMAND_SENDERS_MAX);
        }
    }

    #[test]
    fn a_refused_topic_is_tried_again_after_a_while() {
        let start = Instant::now();
        let mut topics = RefusedTopics::default();
        assert!(topics.refuse("a", start) && !topics.refuse("a", start));
        assert!(topics.left("a", start + Duration::from_secs(1)).is_some());
        assert_eq!(topics.left("b", start), None);
        assert_eq!(topics.left("a", start + COMMAND_TOPIC_REFUSED_PAUSE), None);
    }

    #[test]
    fn a_topic_is_refused_after_the_second_connection_that_it_may_have_cost() {
        let start = Instant::now();
        let mut topics = RefusedTopics::default();
        assert!(!topics.suspect("a", start));
        topics.accepted("a");
        assert!(!topics.suspect("a", start));
        assert!(topics.suspect("a", start) && topics.left("a", start).is_some());
    }

    #[test]
    fn refused_topics_are_bounded() {
        let mut topics = RefusedTopics::default();
        for i in 0..5_000 {
            topics.refuse(&i.to_string(), Instant::now());
        }
        assert!(topics.topics.len() <= COMMAND_TOPICS_REFUSED_MAX);
        assert!(topics.left("4999", Instant::now()).is_some());
    }
}
