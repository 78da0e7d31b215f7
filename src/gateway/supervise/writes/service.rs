//! The thread that judges, records, orders, waits and answers.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, select};

use super::book::{Book, record_of, seen_before, utc_now_ns};
use super::field::{Field, FieldAnswer};
use super::judge::{Allowed, Judge, Verdict};
use crate::command::{Answer, Asked, Outcome, Reason, Refusal, Reply, Request, Requester, WriteStats, json_of};
use crate::limits::{WRITE_ANSWER_GRACE, WRITE_POLL, WRITES_COMMIT_MAX, WRITES_PENDING_MAX};
use crate::store::{AuditLog, AuditOutcome, AuditRecord, JournalReader};
use crate::tag::Status;

/// How long the thread sleeps at most when nothing is asked.
const IDLE: Duration = Duration::from_secs(1);
/// How long orders under way are waited for at a clean stop.
const STOP_WAIT: Duration = Duration::from_secs(1);
/// Between looks while it stops.
const STOP_POLL: Duration = Duration::from_millis(2);
/// Requesters of one write: the first, and repeats that came while it was under way.
const REPLIES_MAX: usize = 4;

/// The running service.
pub struct Writes {
    /// Dropped to end the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Writes {
    /// Starts the thread. Ids that the audit knows from before are used.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start<F: Field + 'static>(
        field: F,
        asked: Receiver<Asked>,
        audit: AuditLog,
        reader: &JournalReader,
        writes_per_s: u32,
        stats: Arc<WriteStats>,
    ) -> std::io::Result<Writes> {
        let now = Instant::now();
        let seen = seen_before(reader).unwrap_or_else(|error| {
            tracing::error!("ids of earlier writes are not known: {error}");
            Default::default()
        });
        let (stop, stopped) = bounded(0);
        let mut service = Service {
            field,
            asked,
            stopped,
            stats,
            book: Book::new(audit, now),
            judge: Judge::new(seen, writes_per_s, now),
            pending: Vec::new(),
            ended: Vec::new(),
            next_id: 1,
        };
        let thread = std::thread::Builder::new().name("writes".to_owned()).spawn(move || service.run())?;
        Ok(Writes { stop, thread })
    }

    /// Refuses what comes, waits a bounded time for what is under way, and ends. The executors must still run.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// An order under way.
struct Pending {
    id: u64,
    /// Of its record.
    number: u64,
    requester: Requester,
    allowed: Box<Allowed>,
    record: AuditRecord,
    answer: Answer,
    replies: Vec<Reply>,
    came: Instant,
    /// The field must have answered by then.
    until: Instant,
}

/// A request that is allowed and waits for its record.
struct Begun<O> {
    order: O,
    pending: Pending,
}

/// An order that ended and waits for its record.
struct Ended {
    answer: Answer,
    replies: Vec<Reply>,
    came: Instant,
}

struct Service<F: Field> {
    field: F,
    asked: Receiver<Asked>,
    stopped: Receiver<()>,
    stats: Arc<WriteStats>,
    book: Book,
    judge: Judge,
    pending: Vec<Pending>,
    ended: Vec<Ended>,
    next_id: u64,
}

fn tell(mut answer: Answer, replies: Vec<Reply>, came: Instant) {
    // Microseconds are enough for people, and short.
    answer.took_ms = came.elapsed().as_micros() as f64 / 1000.0;
    let last = replies.len().saturating_sub(1);
    for (at, reply) in replies.into_iter().enumerate() {
        let repeated = answer.repeated || at > 0;
        if at == last {
            reply(Answer { repeated, ..answer });
            return;
        }
        reply(Answer { repeated, ..answer.clone() });
    }
}

impl<F: Field> Service<F> {
    fn run(&mut self) {
        let mut stopping: Option<Instant> = None;
        loop {
            let batch = self.receive();
            if batch.is_none() || self.stopped.try_recv() == Err(TryRecvError::Disconnected) {
                stopping.get_or_insert_with(Instant::now);
            }
            if self.pending.is_empty() {
                self.field.idle();
            }
            let begun = self.judge_all(batch.unwrap_or_default(), stopping.is_some());
            self.order(begun);
            self.collect();
            self.settle();
            if stopping.is_some_and(|since| self.pending.is_empty() || since.elapsed() > STOP_WAIT) {
                let left: Vec<Pending> = self.pending.drain(..).collect();
                for pending in left {
                    self.give_up(pending, "the gateway stopped before its executor answered");
                }
                let _ = self.book.commit(&[]);
                self.answer_ended();
                return;
            }
        }
    }

    /// What was handed in, after a wait; `None`: nobody can hand in any more.
    fn receive(&mut self) -> Option<Vec<Asked>> {
        let wait = match self.pending.is_empty() {
            true => self.book.due_in(Instant::now()).map_or(IDLE, |due| due.min(IDLE)),
            false => WRITE_POLL,
        };
        let mut batch = Vec::new();
        let is_stopping = self.stopped.try_recv() == Err(TryRecvError::Disconnected);
        let first = if is_stopping {
            self.asked.recv_timeout(wait.min(STOP_POLL))
        } else {
            select! {
                recv(self.asked) -> asked => asked.map_err(|_| RecvTimeoutError::Disconnected),
                recv(self.stopped) -> _ => Err(RecvTimeoutError::Timeout),
                default(wait) => Err(RecvTimeoutError::Timeout),
            }
        };
        match first {
            Ok(asked) => batch.push(asked),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
        batch.extend(self.asked.try_iter().take(WRITES_COMMIT_MAX - batch.len()));
        Some(batch)
    }

    fn judge_all(&mut self, batch: Vec<Asked>, stopping: bool) -> Vec<Begun<F::Order>> {
        let mut begun: Vec<Begun<F::Order>> = Vec::new();
        for asked in batch {
            let now = Instant::now();
            let (requester, request, reply, came) = match asked {
                Asked::Refused { requester, answer } => {
                    self.book.refused(record_of(&requester, &answer), now);
                    continue;
                }
                Asked::Write { requester, request, reply, came } => (requester, request, reply, came),
            };
            if stopping || self.pending.len() + begun.len() >= WRITES_PENDING_MAX {
                let (reason, message) = match stopping {
                    true => (Reason::Stopping, "the gateway stops".to_owned()),
                    false => (Reason::Busy, format!("{WRITES_PENDING_MAX} writes are pending; allowed: retry")),
                };
                let answer = Answer::refused(request.id, Some(request.tag), reason, message);
                self.refuse(&requester, answer, reply, came, now);
                continue;
            }
            let open = |tag| {
                let begun = begun.iter().map(|begun| &begun.pending);
                self.pending.iter().chain(begun).any(|pending| pending.allowed.target.id == tag)
            };
            let clock = (now, utc_now_ns());
            match self.judge.judge(&requester, &request, &mut self.field, open, clock) {
                Verdict::Refused(answer) => self.refuse(&requester, answer, reply, came, now),
                // It stands in the audit already.
                Verdict::Again(answer) => tell(answer, vec![reply], came),
                Verdict::UnderWay => self.join(&requester, request, reply, came, &mut begun),
                Verdict::Allowed(allowed) => match self.begin(&requester, &request, allowed, came, now) {
                    Ok(mut new) => {
                        new.pending.replies.push(reply);
                        begun.push(new);
                    }
                    Err(answer) => self.refuse(&requester, *answer, reply, came, now),
                },
            }
        }
        begun
    }

    fn refuse(&mut self, requester: &Requester, answer: Answer, reply: Reply, came: Instant, now: Instant) {
        self.stats.count(requester.way, &answer);
        let record = AuditRecord { old_status: None, ..record_of(requester, &answer) };
        self.book.refused(record, now);
        tell(answer, vec![reply], came);
    }

    /// A repeat of what is under way is answered with it.
    fn join(
        &mut self,
        requester: &Requester,
        request: Request,
        reply: Reply,
        came: Instant,
        begun: &mut [Begun<F::Order>],
    ) {
        let begun = begun.iter_mut().map(|begun| &mut begun.pending);
        let same = |pending: &&mut Pending| {
            let own = (&pending.requester.who, &pending.answer.id) == (&requester.who, &request.id);
            own && pending.requester.way == requester.way && pending.answer.tag.as_ref() == Some(&request.tag)
        };
        if let Some(pending) = self.pending.iter_mut().chain(begun).find(same)
            && pending.replies.len() < REPLIES_MAX
        {
            pending.replies.push(reply);
            return;
        }
        let message = "a write with this id is in progress; its answer follows";
        let answer = Answer::refused(request.id, Some(request.tag), Reason::UnderWay, message);
        self.stats.count(requester.way, &answer);
        tell(answer, vec![reply], came);
    }

    /// Prepares the order of a request that is allowed.
    fn begin(
        &mut self,
        requester: &Requester,
        request: &Request,
        allowed: Box<Allowed>,
        came: Instant,
        now: Instant,
    ) -> Result<Begun<F::Order>, Box<Answer>> {
        let id = self.next_id;
        let mut answer = Answer::of(request.id.clone(), Some(request.tag.clone()), Outcome::Done);
        answer.old = allowed.old.value.as_ref().map(json_of);
        answer.old_status = Some(allowed.old.status.name());
        answer.new = Some(json_of(&allowed.value));
        let prepared = self.field.prepare(id, &allowed.target, &allowed.value, allowed.read_back);
        let order = match prepared {
            Ok(order) => order,
            Err(Refusal { reason, message }) => return Err(Box::new(answer.with_reason(reason, message))),
        };
        self.next_id += 1;
        self.judge.begin(requester, request, &allowed.limits, now);
        let record = AuditRecord {
            outcome: AuditOutcome::Open,
            ended_utc_ns: 0,
            old_status: Some(allowed.old.status),
            ..record_of(requester, &answer)
        };
        let pending = Pending {
            id,
            number: 0,
            requester: requester.clone(),
            allowed,
            record,
            answer,
            replies: Vec::new(),
            came,
            until: now,
        };
        Ok(Begun { order, pending })
    }

    /// Records all that was begun, then gives the orders. Without a record there is no order.
    fn order(&mut self, begun: Vec<Begun<F::Order>>) {
        if begun.is_empty() {
            return;
        }
        let records: Vec<AuditRecord> = begun.iter().map(|begun| begun.pending.record.clone()).collect();
        let first = self.book.commit(&records);
        self.answer_ended();
        for (at, Begun { order, mut pending }) in begun.into_iter().enumerate() {
            let now = Instant::now();
            match &first {
                Ok(first) => pending.number = first + at as u64,
                Err(error) => {
                    let message = format!("not written because it can't be recorded: {error}");
                    let answer = pending.answer.with_reason(Reason::NoRecord, message);
                    self.judge.take_back(&pending.requester, &answer);
                    self.stats.count(pending.requester.way, &answer);
                    tell(answer, pending.replies, pending.came);
                    continue;
                }
            }
            // What the record took is part of the time that the requester gave.
            let left = pending.allowed.timeout.saturating_sub(now.saturating_duration_since(pending.came));
            if left.is_zero() {
                let message = format!(
                    "not sent: recording it in the journal took longer than its timeout of {} ms",
                    pending.allowed.timeout.as_millis()
                );
                self.end(pending, Some((Reason::NotSent, message)), None);
                continue;
            }
            match self.field.give(order, left) {
                Ok(()) => {
                    pending.until = now + left + WRITE_ANSWER_GRACE;
                    self.pending.push(pending);
                }
                Err(Refusal { reason, message }) => self.end(pending, Some((reason, message)), None),
            }
        }
    }

    /// Takes the field's answers, and gives up on those that should have come.
    fn collect(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        for FieldAnswer { id, failure, note, is_unknown, back } in self.field.answers() {
            let Some(at) = self.pending.iter().position(|pending| pending.id == id) else { continue };
            let mut pending = self.pending.swap_remove(at);
            self.note_change(&pending, failure.is_none() && !is_unknown, is_unknown);
            pending.answer.message = note;
            self.end(pending, failure, back.as_ref().map(json_of));
        }
        let now = Instant::now();
        while let Some(at) = self.pending.iter().position(|pending| pending.until <= now) {
            let pending = self.pending.swap_remove(at);
            self.give_up(pending, "its executor did not answer in time; the device may have executed it");
        }
    }

    fn give_up(&mut self, pending: Pending, why: &str) {
        self.note_change(&pending, false, true);
        self.end(pending, Some((Reason::NoAnswer, why.to_owned())), None);
    }

    /// The next write's step is measured from what the device has now.
    fn note_change(&mut self, pending: &Pending, done: bool, is_unknown: bool) {
        let Allowed { target, limits, value, .. } = &*pending.allowed;
        if limits.step_max.is_some() && (done || is_unknown) {
            self.judge.changed(target.id, done.then(|| value.clone()), self.field.now());
        }
    }

    fn end(&mut self, mut pending: Pending, failure: Option<(Reason, String)>, read_back: Option<serde_json::Value>) {
        let mut answer = Answer { read_back, ..pending.answer };
        if let Some((reason, message)) = failure {
            answer = answer.with_reason(reason, message);
        }
        self.judge.end(&pending.requester, &answer);
        self.stats.count(pending.requester.way, &answer);
        let end = record_of(&pending.requester, &answer);
        let (asked_utc_ns, old_status): (i64, Option<Status>) =
            (pending.record.asked_utc_ns, pending.record.old_status);
        pending.record = AuditRecord { asked_utc_ns, old_status, ..end };
        self.book.ended(pending.number, pending.record);
        self.ended.push(Ended { answer, replies: pending.replies, came: pending.came });
    }

    /// Makes outcomes durable, then tells them.
    fn settle(&mut self) {
        self.book.refused_more(self.stats.take_unrecorded(), Instant::now());
        if self.book.is_due(Instant::now()) {
            // What can't be recorded is told all the same; the log has it.
            let _ = self.book.commit(&[]);
            self.answer_ended();
        }
    }

    /// After a commit.
    fn answer_ended(&mut self) {
        for Ended { answer, replies, came } in self.ended.drain(..) {
            tell(answer, replies, came);
        }
    }
}
