//! The queue of requests: never blocks, is bounded, and answers by itself when it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::answer::{Answer, Outcome, Reason};
use super::request::{Malformed, Request, Requester, Way};
use crate::limits::WRITES_WAITING_MAX;

/// Called once with the answer, from any thread; it must not wait.
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// What whoever judges requests gets.
pub enum Asked {
    Write {
        requester: Requester,
        request: Request,
        reply: Reply,
        came: Instant,
    },
    /// Refused already, for the record.
    Refused {
        requester: Requester,
        answer: Answer,
    },
}

/// What became of an answer to a request over MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerEnd {
    /// The broker has it.
    Sent,
    /// The broker refuses the topic that its sender named; it goes to the topic of answers.
    Redirected,
    /// The broker refuses it.
    Refused,
    /// Too many wait for the broker.
    NoRoom,
}

impl AnswerEnd {
    pub const ALL: [AnswerEnd; 4] = [AnswerEnd::Sent, AnswerEnd::Redirected, AnswerEnd::Refused, AnswerEnd::NoRoom];

    pub fn name(self) -> &'static str {
        match self {
            AnswerEnd::Sent => "sent",
            AnswerEnd::Redirected => "redirected",
            AnswerEnd::Refused => "refused",
            AnswerEnd::NoRoom => "no_room",
        }
    }
}

/// How many writes ended how, by the way they came.
#[derive(Debug)]
pub struct WriteStats {
    counts: [[AtomicU64; Outcome::ALL.len()]; Way::ALL.len()],
    /// Of those that were not done.
    reasons: [[AtomicU64; Reason::ALL.len()]; Way::ALL.len()],
    answers: [AtomicU64; AnswerEnd::ALL.len()],
    /// Times that a broker sent faster than is taken.
    floods: AtomicU64,
    /// Refused at the desk, where there was no room to have them recorded one by one.
    unrecorded: AtomicU64,
}

impl Default for WriteStats {
    fn default() -> WriteStats {
        WriteStats {
            counts: Default::default(),
            reasons: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            answers: Default::default(),
            floods: AtomicU64::new(0),
            unrecorded: AtomicU64::new(0),
        }
    }
}

impl WriteStats {
    pub fn count(&self, way: Way, answer: &Answer) {
        self.counts[way as usize][answer.outcome as usize].fetch_add(1, Relaxed);
        let reason = Reason::ALL.iter().position(|reason| answer.reason == Some(reason.word()));
        if let Some(at) = reason {
            self.reasons[way as usize][at].fetch_add(1, Relaxed);
        }
    }

    pub fn not_done(&self, way: Way, reason: Reason) -> u64 {
        self.reasons[way as usize][reason as usize].load(Relaxed)
    }

    pub fn answers(&self, end: AnswerEnd) -> u64 {
        self.answers[end as usize].load(Relaxed)
    }

    pub fn floods(&self) -> u64 {
        self.floods.load(Relaxed)
    }

    /// How many were refused since the last call that whoever judges requests has not heard of.
    pub fn take_unrecorded(&self) -> u64 {
        self.unrecorded.swap(0, Relaxed)
    }

    pub fn get(&self, way: Way, outcome: Outcome) -> u64 {
        self.counts[way as usize][outcome as usize].load(Relaxed)
    }
}

/// Clones lead to the same one.
#[derive(Clone)]
pub struct Desk {
    to: Sender<Asked>,
    stats: Arc<WriteStats>,
}

impl Desk {
    /// A desk, and what is handed in there.
    pub fn new(stats: Arc<WriteStats>) -> (Desk, Receiver<Asked>) {
        let (to, asked) = bounded(WRITES_WAITING_MAX);
        (Desk { to, stats }, asked)
    }

    /// Hands a request in; `reply` is called once, here and now when too many wait.
    pub fn ask(&self, requester: Requester, request: Request, reply: Reply) {
        let asked = Asked::Write { requester, request, reply, came: Instant::now() };
        let (asked, reason, message) = match self.to.try_send(asked) {
            Ok(()) => return,
            Err(TrySendError::Full(asked)) => {
                (asked, Reason::Busy, format!("{WRITES_WAITING_MAX} requests are waiting; allowed: retry later"))
            }
            Err(TrySendError::Disconnected(asked)) => (asked, Reason::Stopping, "the gateway stops".to_owned()),
        };
        if let Asked::Write { requester, request, reply, .. } = asked {
            let answer = Answer::refused(request.id, Some(request.tag), reason, message);
            self.stats.count(requester.way, &answer);
            self.stats.unrecorded.fetch_add(1, Relaxed);
            reply(answer);
        }
    }

    /// Refuses what came, and has it recorded if there is room for that.
    pub fn refuse(&self, requester: Requester, malformed: Malformed, reason: Reason) -> Answer {
        let Malformed { id, tag, message } = malformed;
        let answer = Answer::refused(id, tag, reason, message);
        self.stats.count(requester.way, &answer);
        self.note(requester, answer.clone());
        answer
    }

    /// Has something recorded that is no request's end, if there is room for that.
    pub fn note(&self, requester: Requester, answer: Answer) {
        // What is no request leaves the most of the room to those that are.
        let record = Asked::Refused { requester, answer };
        if self.to.len() >= WRITES_WAITING_MAX / 4 || self.to.try_send(record).is_err() {
            self.stats.unrecorded.fetch_add(1, Relaxed);
        }
    }

    pub fn count_answer(&self, end: AnswerEnd) {
        self.stats.answers[end as usize].fetch_add(1, Relaxed);
    }

    pub fn count_flood(&self) {
        self.stats.floods.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_request_too_many_is_answered_at_once() {
        let stats = Arc::<WriteStats>::default();
        let (desk, asked) = Desk::new(stats.clone());
        let requester = Requester { way: Way::Mqtt, who: "x".into(), from: "y".into() };
        let request = || Request {
            id: None,
            tag: "t".into(),
            value: json!(1),
            read_back: false,
            timeout: None,
            expires_utc_ns: None,
        };
        let (tell, told) = bounded(1000);
        let ask = || {
            let tell = tell.clone();
            desk.ask(requester.clone(), request(), Box::new(move |answer| tell.send(answer).unwrap()));
        };
        (0..WRITES_WAITING_MAX).for_each(|_| ask());
        assert!(told.is_empty());
        ask();
        assert_eq!(told.try_recv().unwrap().reason, Some("busy"));
        drop(asked);
        ask();
        assert_eq!(told.try_recv().unwrap().reason, Some("stopping"));
        assert_eq!((stats.get(Way::Mqtt, Outcome::Refused), stats.take_unrecorded()), (2, 2));
        assert_eq!(stats.get(Way::Socket, Outcome::Refused), 0);
        let by_reason = |reason| stats.not_done(Way::Mqtt, reason);
        assert_eq!((by_reason(Reason::Busy), by_reason(Reason::Stopping)), (1, 1));
    }

    #[test]
    fn what_is_no_request_leaves_room_for_those_that_are() {
        let (desk, asked) = Desk::new(Arc::default());
        let requester = Requester { way: Way::Mqtt, who: "x".into(), from: "y".into() };
        let malformed = Malformed { id: None, tag: None, message: "no JSON".into() };
        for _ in 0..10_000 {
            let answer = desk.refuse(requester.clone(), malformed.clone(), Reason::Malformed);
            assert_eq!(answer.reason, Some("malformed"));
        }
        assert_eq!(asked.len(), WRITES_WAITING_MAX / 4);
        assert_eq!(desk.stats.take_unrecorded(), 10_000 - asked.len() as u64);
    }
}
