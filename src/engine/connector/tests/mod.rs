//! The connector's steps in virtual time, between a fake dialer and fake executors.

mod property;
mod real;
mod states;
mod trouble;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use fastrand::Rng;
use rtrb::{Consumer, Producer, RingBuffer};

use super::*;
use crate::rt::{CloseReason, Conn, Served};
use crate::tag::Cause;

/// What the fake dialer did and has under way.
#[derive(Default)]
struct Dialed {
    /// As descriptors are: the lowest that is free. Each with its link and target.
    open: BTreeMap<i32, (LinkId, Target)>,
    opened: usize,
    closed: usize,
    /// Closed though they were not open.
    wrong: Vec<i32>,
    under_way: Vec<(Attempt, Target)>,
    started: usize,
    ready: VecDeque<Outcome>,
    /// Attempts for which there is no room beyond this.
    room: Option<usize>,
}

#[derive(Clone, Default)]
struct FakeDialer(Rc<RefCell<Dialed>>);

impl Dialer for FakeDialer {
    fn start(&mut self, attempt: Attempt, target: &Target) -> bool {
        let mut dialed = self.0.borrow_mut();
        if dialed.room.is_some_and(|room| dialed.under_way.len() >= room) {
            return false;
        }
        dialed.started += 1;
        dialed.under_way.push((attempt, target.clone()));
        true
    }

    fn poll(&mut self) -> Option<Outcome> {
        self.0.borrow_mut().ready.pop_front()
    }

    fn close(&mut self, conn: Conn) {
        let mut dialed = self.0.borrow_mut();
        if dialed.open.remove(&conn.0).is_some() {
            dialed.closed += 1;
        } else {
            dialed.wrong.push(conn.0);
        }
    }
}

/// An executor's ends, and the connections that it took.
struct Side {
    connected: Consumer<Connected>,
    closed: Producer<Closed>,
    has: BTreeMap<LinkId, Conn>,
}

impl Side {
    fn adopt(&mut self) {
        while let Ok(Connected { link, conn, .. }) = self.connected.pop() {
            assert!(self.has.insert(link, conn).is_none(), "link {} got a second connection", link.0);
        }
    }

    fn give_back(&mut self, link: LinkId, reason: CloseReason) -> bool {
        self.give_back_after(link, reason, Served::Unknown)
    }

    fn give_back_after(&mut self, link: LinkId, reason: CloseReason, served: Served) -> bool {
        self.give_back_because(link, reason, served, None)
    }

    fn give_back_because(&mut self, link: LinkId, reason: CloseReason, served: Served, cause: Option<Cause>) -> bool {
        let Some(conn) = self.has.remove(&link) else { return false };
        self.closed
            .push(Closed { link, conn, reason, served, cause, again_at: Nanos::ZERO })
            .expect("there is always room to give back");
        true
    }
}

struct Bench {
    now: Nanos,
    steps: Steps<FakeDialer>,
    dialed: Rc<RefCell<Dialed>>,
    sides: Vec<Side>,
    notes: LinkNotes,
    commands: Vec<Command>,
    due: Nanos,
}

fn host_of(target: &Target) -> Arc<str> {
    match &target.place {
        Place::Tcp { host, .. } => host.clone(),
        Place::Serial(_) | Place::Can(_) | Place::Own(_) => unreachable!("none of these"),
    }
}

fn target(host: &str) -> Target {
    Target { place: Place::Tcp { host: host.into(), port: 502 }, timeout: Nanos::from_millis(1_000), number: 0 }
}

fn add(link: u16, executor: u16, host: &str) -> Command {
    Command::Add {
        link: LinkId(link),
        name: format!("l{link}").into(),
        executor: LaneId(executor),
        target: target(host),
    }
}

fn retarget(link: u16, host: &str) -> Command {
    Command::Retarget { link: LinkId(link), target: target(host) }
}

fn remove(link: u16) -> Command {
    Command::Remove { link: LinkId(link) }
}

const fn ms(ms: u64) -> Nanos {
    Nanos::from_millis(ms)
}

impl Bench {
    fn new(executors: usize, ring: usize, seed: u64) -> Bench {
        let notes = LinkNotes::default();
        let dialer = FakeDialer::default();
        let dialed = dialer.0.clone();
        let (mut ports, mut sides) = (Vec::new(), Vec::new());
        for _ in 0..executors {
            let (connected_in, connected) = RingBuffer::new(ring);
            let (closed, closed_out) = RingBuffer::new(ring);
            ports.push(ExecutorPort { connected: connected_in, closed: closed_out, waker: None });
            sides.push(Side { connected, closed, has: BTreeMap::new() });
        }
        let steps = Steps::new(ports, dialer, notes.clone(), Rng::with_seed(seed));
        Bench { now: ms(1_000), steps, dialed, sides, notes, commands: Vec::new(), due: Nanos::ZERO }
    }

    /// One executor, a link 0 that is told of.
    fn with_link() -> Bench {
        let mut bench = Bench::new(1, 8, 1);
        bench.tell(add(0, 0, "a"));
        bench
    }

    /// The same, connected.
    fn connected() -> Bench {
        let mut bench = Bench::with_link();
        bench.accept(0);
        assert!(bench.conn(0).is_some());
        bench
    }

    fn tell(&mut self, command: Command) {
        self.commands.push(command);
        self.step();
    }

    fn step(&mut self) {
        self.due = self.steps.step(self.now, self.commands.drain(..));
    }

    /// In steps as the thread makes them.
    fn wait(&mut self, long: Nanos) {
        let end = self.now + long;
        while self.now < end {
            self.now = (self.now + CONNECT_POLL).min(self.due).min(end);
            self.step();
        }
    }

    /// What is being dialled for the link, by host.
    fn dialling(&self, link: u16) -> Vec<Arc<str>> {
        let dialed = self.dialed.borrow();
        let of = |(attempt, _): &&(Attempt, Target)| attempt.link == LinkId(link);
        dialed.under_way.iter().filter(of).map(|(_, target)| host_of(target)).collect()
    }

    /// Ends the oldest attempt of the link.
    fn end_attempt(&mut self, link: u16, trouble: Option<&str>) {
        let at = self.dialed.borrow().under_way.iter().position(|(attempt, _)| attempt.link == LinkId(link));
        self.end_attempt_at(at.expect("an attempt is under way"), trouble);
    }

    fn end_attempt_at(&mut self, at: usize, trouble: Option<&str>) {
        let dialed = &mut *self.dialed.borrow_mut();
        let (attempt, target) = dialed.under_way.remove(at);
        let result = match trouble {
            Some(trouble) => Err(trouble.to_owned()),
            None => {
                let free = (3..).find(|fd| !dialed.open.contains_key(fd)).unwrap();
                dialed.open.insert(free, (attempt.link, target));
                dialed.opened += 1;
                Ok(Conn(free))
            }
        };
        dialed.ready.push_back(Outcome { attempt, result });
    }

    /// The attempt succeeds, and the executor takes the connection if it is given one.
    fn accept(&mut self, link: u16) {
        self.end_attempt(link, None);
        self.step();
        self.adopt();
    }

    fn refuse(&mut self, link: u16, trouble: &str) {
        self.end_attempt(link, Some(trouble));
        self.step();
    }

    fn adopt(&mut self) {
        self.sides.iter_mut().for_each(Side::adopt);
    }

    fn give_back(&mut self, link: u16, reason: CloseReason) {
        let given = self.sides.iter_mut().any(|side| side.give_back(LinkId(link), reason));
        assert!(given, "the executor has a connection of link {link}");
        self.step();
    }

    /// The same, telling what the connection was good for.
    fn give_back_after(&mut self, link: u16, reason: CloseReason, served: Served) {
        let given = self.sides.iter_mut().any(|side| side.give_back_after(LinkId(link), reason, served));
        assert!(given, "the executor has a connection of link {link}");
        self.step();
    }

    /// The connection that an executor has.
    fn conn(&self, link: u16) -> Option<Conn> {
        self.sides.iter().find_map(|side| side.has.get(&LinkId(link)).copied())
    }

    /// Of the connection that an executor has: where it leads.
    fn host(&self, link: u16) -> Option<Arc<str>> {
        let conn = self.conn(link)?;
        self.dialed.borrow().open.get(&conn.0).map(|(_, target)| host_of(target))
    }

    fn note(&self, link: u16) -> Option<LinkNote> {
        self.notes.lock().unwrap().get(&LinkId(link)).cloned()
    }

    fn open(&self) -> usize {
        self.dialed.borrow().open.len()
    }

    /// Waits until the next attempt at the link begins; how long that took.
    fn until_dialled(&mut self, link: u16) -> Nanos {
        let from = self.now;
        while self.dialling(link).is_empty() {
            self.wait(Nanos(1));
            assert!(self.now - from < ms(60_000), "link {link} is not dialled again");
            self.now = self.now.max(self.due.min(self.now + CONNECT_POLL));
            self.step();
        }
        self.now - from
    }

    /// The executors end; nothing may stay open, nothing be closed twice.
    fn stop(mut self) {
        for side in &mut self.sides {
            let links: Vec<LinkId> = side.has.keys().copied().collect();
            for link in links {
                side.give_back(link, CloseReason::Stopped);
            }
        }
        assert!(!self.steps.end(), "the executors are still there");
        self.sides.clear();
        assert!(self.steps.end());
        let dialed = self.dialed.borrow();
        assert!(dialed.wrong.is_empty(), "closed twice: {:?}", dialed.wrong);
        assert!(dialed.open.is_empty(), "left open: {:?}", dialed.open);
        assert_eq!(dialed.opened, dialed.closed);
    }
}
