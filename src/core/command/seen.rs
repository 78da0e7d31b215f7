//! Ids already used: a repeated request gets the same answer, and is executed once.
//!
//! Two memories. Of writes that were given as orders, none is forgotten without a trace: when the oldest id leaves, every
//! later request that could be the same one (it expires no later) is refused as too old. Of refused requests, the newest
//! are remembered as a service, so that a flood of wrong requests pushes no write out.

use std::collections::{HashMap, VecDeque};

use super::answer::Answer;
use crate::limits::{REFUSALS_SEEN_MAX, WRITES_SEEN_BYTES_MAX, WRITES_SEEN_MAX};

/// Of whom, and which.
type Key = (String, String);

/// What is known of an id.
#[derive(Debug, Clone, PartialEq)]
pub enum Again {
    /// It was answered so.
    Answered(Box<Answer>),
    /// It is under way.
    Open,
    /// It was used; the answer is not kept any more.
    Used,
    /// It may have been used before all that are remembered.
    MaybeOlder,
}

#[derive(Debug)]
struct Entry {
    answer: Option<Box<Answer>>,
    open: bool,
    /// `None`: the request did not say when it expires.
    expires_utc_ns: Option<i64>,
}

#[derive(Debug, Default)]
struct Memory {
    entries: HashMap<Key, Entry>,
    order: VecDeque<Key>,
    bytes: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Seen {
    writes: Memory,
    refusals: Memory,
    /// What expires at this time or before may have been done and forgotten.
    forgotten_until_utc_ns: i64,
}

impl Memory {
    fn put(&mut self, key: Key, entry: Entry) {
        self.bytes += entry.answer.as_ref().map_or(0, |answer| answer.bytes());
        if let Some(before) = self.entries.insert(key.clone(), entry) {
            self.bytes -= before.answer.as_ref().map_or(0, |answer| answer.bytes());
        } else {
            self.order.push_back(key);
        }
    }

    /// Removes the oldest while there are more than `max`.
    fn shrink(&mut self, max: usize, mut gone: impl FnMut(&Entry)) {
        while self.order.len() > max {
            let Some(key) = self.order.pop_front() else { return };
            if let Some(entry) = self.entries.remove(&key) {
                self.bytes -= entry.answer.as_ref().map_or(0, |answer| answer.bytes());
                gone(&entry);
            }
        }
    }

    /// Lets the oldest answers go while they take more than `bytes_max`; the ids stay.
    fn drop_answers(&mut self, bytes_max: usize) {
        for key in &self.order {
            if self.bytes <= bytes_max {
                return;
            }
            if let Some(answer) = self.entries.get_mut(key).and_then(|entry| entry.answer.take()) {
                self.bytes -= answer.bytes();
            }
        }
    }

    fn again(&self, key: &Key) -> Option<Again> {
        let entry = self.entries.get(key)?;
        Some(match &entry.answer {
            Some(answer) => Again::Answered(answer.clone()),
            None if entry.open => Again::Open,
            None => Again::Used,
        })
    }
}

impl Seen {
    /// Whether a request was seen, or may have been; `None`: it is new.
    pub fn look(&self, requester: &str, id: &str, expires_utc_ns: Option<i64>) -> Option<Again> {
        let key = (requester.to_owned(), id.to_owned());
        let known = self.writes.again(&key).or_else(|| self.refusals.again(&key));
        known.or_else(|| {
            let maybe = expires_utc_ns.is_some_and(|expires| expires <= self.forgotten_until_utc_ns);
            maybe.then_some(Again::MaybeOlder)
        })
    }

    /// An order is about to be given.
    pub fn begin(&mut self, requester: &str, id: &str, expires_utc_ns: Option<i64>) {
        let key = (requester.to_owned(), id.to_owned());
        self.writes.put(key, Entry { answer: None, open: true, expires_utc_ns });
        let forgotten = &mut self.forgotten_until_utc_ns;
        self.writes.shrink(WRITES_SEEN_MAX, |gone| {
            *forgotten = (*forgotten).max(gone.expires_utc_ns.unwrap_or_default());
        });
    }

    /// The order has ended so. `None`: it is not known how, as after a new start.
    pub fn end(&mut self, requester: &str, id: &str, answer: Option<Answer>) {
        let key = (requester.to_owned(), id.to_owned());
        let expires_utc_ns = self.writes.entries.get(&key).and_then(|entry| entry.expires_utc_ns);
        self.writes.put(key, Entry { answer: answer.map(Box::new), open: false, expires_utc_ns });
        self.writes.drop_answers(WRITES_SEEN_BYTES_MAX);
    }

    /// The order was not given after all.
    pub fn refuse_begun(&mut self, requester: &str, id: &str, answer: Answer) {
        let key = (requester.to_owned(), id.to_owned());
        self.writes.entries.remove(&key);
        self.writes.order.retain(|known| *known != key);
        self.refuse(requester, id, answer);
    }

    /// A request was refused.
    pub fn refuse(&mut self, requester: &str, id: &str, answer: Answer) {
        let key = (requester.to_owned(), id.to_owned());
        self.refusals.put(key, Entry { answer: Some(Box::new(answer)), open: false, expires_utc_ns: None });
        self.refusals.shrink(REFUSALS_SEEN_MAX, |_| {});
    }

    /// Ids that were used up to now and are not in the memory may be in the past of a new start: whatever expires until
    /// then is refused.
    pub fn forget_until(&mut self, utc_ns: i64) {
        self.forgotten_until_utc_ns = self.forgotten_until_utc_ns.max(utc_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Outcome;

    fn answer(id: &str) -> Answer {
        Answer::of(Some(id.into()), Some("t".into()), Outcome::Done)
    }

    #[test]
    fn the_same_id_of_the_same_requester_gets_the_same_answer() {
        let mut seen = Seen::default();
        assert_eq!(seen.look("a", "1", None), None);
        seen.begin("a", "1", None);
        assert_eq!(seen.look("a", "1", None), Some(Again::Open));
        seen.end("a", "1", Some(answer("1")));
        assert_eq!(seen.look("a", "1", None), Some(Again::Answered(Box::new(answer("1")))));
        assert_eq!(seen.look("b", "1", None), None, "of somebody else");
        seen.begin("a", "2", None);
        seen.end("a", "2", None);
        assert_eq!(seen.look("a", "2", None), Some(Again::Used));
    }

    #[test]
    fn a_request_as_old_as_what_was_forgotten_is_not_new() {
        let mut seen = Seen::default();
        for i in 0..WRITES_SEEN_MAX as i64 + 10 {
            seen.begin("a", &i.to_string(), Some(i));
            seen.end("a", &i.to_string(), Some(answer("x")));
        }
        assert_eq!(seen.look("a", "3", Some(3)), Some(Again::MaybeOlder));
        assert_eq!(seen.look("a", "new", Some(9)), Some(Again::MaybeOlder));
        assert_eq!(seen.look("a", "new", Some(10)), None);
        assert!(matches!(seen.look("a", "10", Some(10)), Some(Again::Answered(_))));
    }

    #[test]
    fn a_flood_of_refusals_pushes_no_write_out() {
        let mut seen = Seen::default();
        seen.begin("a", "w", Some(5));
        seen.end("a", "w", Some(answer("w")));
        for i in 0..20_000 {
            seen.refuse("a", &i.to_string(), answer("r"));
        }
        assert!(matches!(seen.look("a", "w", Some(5)), Some(Again::Answered(_))));
        assert_eq!(seen.look("a", "fresh", Some(5)), None);
        assert_eq!(seen.refusals.entries.len(), REFUSALS_SEEN_MAX);
        assert!(matches!(seen.look("a", "19999", None), Some(Again::Answered(_))));
    }

    #[test]
    fn long_answers_are_let_go_before_the_ids_are() {
        let mut seen = Seen::default();
        let long = Answer { message: Some("x".repeat(1 << 20)), ..answer("x") };
        for i in 0..20 {
            seen.begin("a", &i.to_string(), None);
            seen.end("a", &i.to_string(), Some(long.clone()));
        }
        assert!(seen.writes.bytes <= WRITES_SEEN_BYTES_MAX);
        assert_eq!(seen.look("a", "0", None), Some(Again::Used));
        assert!(matches!(seen.look("a", "19", None), Some(Again::Answered(_))));
    }

    #[test]
    fn what_was_begun_and_not_sent_may_be_refused_after_all() {
        let mut seen = Seen::default();
        seen.begin("a", "1", None);
        seen.refuse_begun("a", "1", answer("1"));
        assert!(matches!(seen.look("a", "1", None), Some(Again::Answered(_))));
        assert!(seen.writes.entries.is_empty() && seen.writes.order.is_empty());
    }
}
