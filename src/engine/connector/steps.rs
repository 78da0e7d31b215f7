//! What the connector does when: a state machine that is given the time, the commands and the dice.
//!
//! A link waits, is being connected, or is connected. Beside that stands the ledger of what executors hold, since a
//! link can leave, or get another target, before its connection comes back: nothing is dialled for an id whose
//! connection is out, so that an executor never gets a second one, and each comes back to be closed once.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::backoff::Backoff;
use super::notes::{LinkNotes, Teller, lost_text};
use super::{Command, ExecutorPort, Target};
use crate::limits::{CONNECT_LEAD, CONNECT_MENDED_AFTER, CONNECT_PAUSE_MIN, CONNECT_POLL};
use crate::rt::{CloseReason, Closed, Conn, Connected, Served};
use crate::tag::{LinkId, Nanos};

/// One attempt to connect. The number is never used again, so that an old attempt is told from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub link: LinkId,
    pub number: u64,
}

/// What came of an attempt.
#[derive(Debug)]
pub struct Outcome {
    pub attempt: Attempt,
    /// Whoever takes it owns the connection, or has the words why there is none.
    pub result: Result<Conn, String>,
}

/// Makes and closes connections.
pub trait Dialer {
    /// Starts an attempt, without waiting. False: there is no room for one now.
    fn start(&mut self, attempt: Attempt, target: &Target) -> bool;

    /// The next outcome that is there.
    fn poll(&mut self) -> Option<Outcome>;

    /// Closes a connection that came from `poll`.
    fn close(&mut self, conn: Conn);
}

/// See the module.
pub struct Steps<D> {
    entries: BTreeMap<LinkId, Entry>,
    /// What an executor has, or will find in its ring.
    ledger: BTreeMap<LinkId, Held>,
    ports: Vec<ExecutorPort>,
    dialer: D,
    notes: LinkNotes,
    rng: Rng,
    attempts: u64,
    returned: Vec<Closed>,
    due: Vec<(Nanos, LinkId)>,
}

struct Held {
    conn: Conn,
    executor: usize,
}

struct Entry {
    teller: Teller,
    executor: usize,
    target: Target,
    state: State,
    backoff: Backoff,
    /// What the last attempt took that succeeded.
    took: Nanos,
    /// It waits until its connection is needed, and not for its device to be well.
    is_resting: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting {
        until: Nanos,
    },
    Connecting {
        attempt: u64,
        since: Nanos,
    },
    /// The ledger has its connection.
    Connected {
        since: Nanos,
    },
    /// Its executor has ended.
    Over,
}

impl<D: Dialer> Steps<D> {
    /// `ports` by executor.
    pub fn new(ports: Vec<ExecutorPort>, dialer: D, notes: LinkNotes, rng: Rng) -> Steps<D> {
        Steps {
            entries: BTreeMap::new(),
            ledger: BTreeMap::new(),
            ports,
            dialer,
            notes,
            rng,
            attempts: 0,
            returned: Vec::new(),
            due: Vec::new(),
        }
    }

    pub fn dialer(&self) -> &D {
        &self.dialer
    }

    /// Does what is to be done at `now`. Returns when time alone gives it something to do next; commands, outcomes
    /// and the executors' rings are to be looked at besides.
    pub fn step(&mut self, now: Nanos, commands: impl IntoIterator<Item = Command>) -> Nanos {
        // Looked at before the commands, and understood after them: what an executor gives back because of a
        // command came after it.
        self.look_into_rings();
        for command in commands {
            self.apply(now, command);
        }
        let mut returned = std::mem::take(&mut self.returned);
        for closed in returned.drain(..) {
            self.take_back(now, closed);
        }
        self.returned = returned;
        while let Some(outcome) = self.dialer.poll() {
            self.settle(now, outcome);
        }
        let without_room = self.dial(now);
        let next = self.tell_mended(now);
        if without_room { next.min(now + CONNECT_POLL) } else { next }
    }

    /// After the executors were told to stop: closes what they give back. True: they are gone, and every
    /// connection is closed.
    pub fn end(&mut self) -> bool {
        let gone = self.ports.iter().all(|port| port.closed.is_abandoned());
        self.look_into_rings();
        for Closed { link, conn, .. } in std::mem::take(&mut self.returned) {
            self.dialer.close(conn);
            if self.ledger.get(&link).is_some_and(|held| held.conn == conn) {
                self.ledger.remove(&link);
            }
        }
        while let Some(outcome) = self.dialer.poll() {
            self.discard(outcome);
        }
        if gone {
            // Those that an executor never took out of its ring.
            for held in std::mem::take(&mut self.ledger).into_values() {
                self.dialer.close(held.conn);
            }
        }
        gone
    }

    /// Does as a command says.
    pub fn apply(&mut self, now: Nanos, command: Command) {
        match command {
            Command::Add { link, name, executor, target } => {
                self.remove(link);
                if executor.index() >= self.ports.len() {
                    tracing::error!("link \"{name}\": there is no executor {}; it is not connected", executor.0);
                    return;
                }
                let entry = Entry {
                    teller: Teller::new(link, name, self.notes.clone()),
                    executor: executor.index(),
                    target,
                    state: State::Waiting { until: now },
                    backoff: Backoff::new(),
                    took: Nanos::ZERO,
                    is_resting: false,
                };
                self.entries.insert(link, entry);
            }
            Command::Retarget { link, target } => {
                let Some(entry) = self.entries.get_mut(&link).filter(|entry| entry.target != target) else { return };
                entry.target = target;
                entry.backoff = Backoff::new();
                entry.teller.start_anew();
                entry.is_resting = false;
                if entry.state != State::Over {
                    entry.state = State::Waiting { until: now };
                }
            }
            Command::Hurry { link } => {
                if let Some(entry) = self.entries.get_mut(&link)
                    && entry.is_resting
                {
                    (entry.is_resting, entry.state) = (false, State::Waiting { until: now });
                }
            }
            Command::Remove { link } => self.remove(link),
        }
    }

    /// What is still under way for it is of no use any more; what is out stays in the ledger.
    fn remove(&mut self, link: LinkId) {
        if let Some(entry) = self.entries.remove(&link) {
            entry.teller.forget();
        }
    }

    fn look_into_rings(&mut self) {
        for port in &mut self.ports {
            while let Ok(closed) = port.closed.pop() {
                self.returned.push(closed);
            }
        }
    }

    fn take_back(&mut self, now: Nanos, Closed { link, conn, reason, served, cause, again_at }: Closed) {
        self.dialer.close(conn);
        if self.ledger.get(&link).is_none_or(|held| held.conn != conn) {
            return;
        }
        self.ledger.remove(&link);
        // Any other state: the entry is a new one, or has a new target, and only waited for this.
        let Some(entry) = self.entries.get_mut(&link) else { return };
        let State::Connected { since } = entry.state else { return };
        if reason == CloseReason::Stopped {
            entry.state = State::Over;
            return;
        }
        let lived = now.since(since);
        match served {
            Served::Unknown => entry.backoff.lived(lived),
            Served::Answered => {
                entry.backoff.answered();
                entry.teller.answered();
            }
            Served::Unasked | Served::Unanswered => {}
        }
        if reason == CloseReason::Removed {
            entry.state = State::Waiting { until: now + entry.backoff.same(&mut self.rng) };
            return;
        }
        if is_well(reason, served, lived) {
            if served == Served::Answered {
                entry.backoff.ended();
            }
            entry.teller.ended();
            let lead = Nanos(entry.took.0 * 2) + CONNECT_LEAD;
            let until = now.max(Nanos(again_at.0.saturating_sub(lead.0)));
            (entry.is_resting, entry.state) = (until > now, State::Waiting { until });
            return;
        }
        entry.state = State::Waiting { until: now + entry.backoff.next(&mut self.rng) };
        let (kind, text) = lost_text(reason, cause);
        match reason {
            CloseReason::Silent | CloseReason::Doubtful => entry.teller.unanswered(kind, &text),
            _ => entry.teller.trouble(&text),
        }
    }

    fn settle(&mut self, now: Nanos, outcome: Outcome) {
        let Outcome { attempt: Attempt { link, number }, result } = outcome;
        let under_way = self.entries.get_mut(&link).and_then(|entry| match entry.state {
            State::Connecting { attempt, since } if attempt == number => Some((entry, since)),
            _ => None,
        });
        let Some((entry, since)) = under_way else {
            self.discard(Outcome { attempt: Attempt { link, number }, result });
            return;
        };
        match result {
            Ok(conn) => {
                // What is out fits into the ring of what comes back, so an executor can always give back.
                let port = &mut self.ports[entry.executor];
                let out = self.ledger.values().filter(|held| held.executor == entry.executor).count();
                let room = out < port.closed.buffer().capacity();
                if !room || port.connected.push(Connected { link, conn, target: entry.target.number }).is_err() {
                    self.dialer.close(conn);
                    entry.state = State::Waiting { until: now + entry.backoff.same(&mut self.rng) };
                    return;
                }
                if let Some(waker) = &port.waker {
                    waker.wake();
                }
                self.ledger.insert(link, Held { conn, executor: entry.executor });
                entry.state = State::Connected { since: now };
                entry.took = now.since(since);
                entry.teller.connected();
            }
            Err(trouble) => {
                let is_usual = entry.backoff.is_short();
                entry.state = State::Waiting { until: now + entry.backoff.next(&mut self.rng) };
                if !is_usual {
                    entry.teller.trouble(&trouble);
                }
            }
        }
    }

    fn discard(&mut self, outcome: Outcome) {
        if let Ok(conn) = outcome.result {
            self.dialer.close(conn);
        }
    }

    /// Starts what is due, the longest overdue first, so that none starves. True: there was not room for all.
    fn dial(&mut self, now: Nanos) -> bool {
        self.due.clear();
        for (link, entry) in &self.entries {
            if let State::Waiting { until } = entry.state
                && until <= now
                && !self.ledger.contains_key(link)
            {
                self.due.push((until, *link));
            }
        }
        self.due.sort_unstable();
        for (_, link) in &self.due {
            let Some(entry) = self.entries.get_mut(link) else { continue };
            let number = self.attempts + 1;
            if !self.dialer.start(Attempt { link: *link, number }, &entry.target) {
                return true;
            }
            self.attempts = number;
            (entry.is_resting, entry.state) = (false, State::Connecting { attempt: number, since: now });
        }
        false
    }

    /// Returns when the next link is due, or mended.
    fn tell_mended(&mut self, now: Nanos) -> Nanos {
        let mut next = Nanos::NEVER;
        for entry in self.entries.values_mut() {
            match entry.state {
                State::Waiting { until } if until > now => next = next.min(until),
                State::Connected { since } if entry.teller.has_trouble() => {
                    let mended = since + CONNECT_MENDED_AFTER;
                    if mended <= now {
                        entry.teller.mended();
                    } else {
                        next = next.min(mended);
                    }
                }
                _ => {}
            }
        }
        next
    }
}

/// Whether a connection ended as devices do that are well: they close after each reply, or what is idle. A close before
/// anything was asked is of that kind only if it took its time: who accepts only to drop is to be left alone.
fn is_well(reason: CloseReason, served: Served, lived: Nanos) -> bool {
    match (reason, served) {
        (CloseReason::Ended | CloseReason::Doubtful, Served::Answered) => true,
        (CloseReason::Ended, Served::Unasked) => lived >= CONNECT_PAUSE_MIN,
        _ => false,
    }
}
