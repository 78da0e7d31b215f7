//! The real connector in virtual time, with a simulated way to make connections.

use std::cell::RefCell;
use std::rc::Rc;

use fastrand::Rng;
use rtrb::{Consumer, Producer, RingBuffer};

use super::field::Field;
use super::model::host_of;
use crate::limits::CONNECT_POLL;
use crate::plan::Plan;
use crate::rt::{CloseReason, Closed, Connected};
use crate::tag::{LaneId, LinkId, Nanos};
use fieldbeat_engine::connector::{Attempt, Command, Dialer, ExecutorPort, LinkNotes, Outcome, Steps, Target};

const MS: u64 = 1_000_000;

/// Of one executor's links.
pub struct SimConnector {
    steps: Steps<SimDialer>,
    field: Rc<RefCell<Field>>,
    /// Told and not yet looked at.
    commands: Vec<Command>,
    /// What the executor gives back is looked at on its way to the connector.
    closed: Consumer<Closed>,
    on: Option<Producer<Closed>>,
    next: Nanos,
    rng: Rng,
}

impl SimConnector {
    pub fn new(
        (plan, links): (&Plan, &[LinkId]),
        connected: Producer<Connected>,
        closed: Consumer<Closed>,
        field: Rc<RefCell<Field>>,
        mut rng: Rng,
    ) -> SimConnector {
        let dialer = SimDialer { field: field.clone(), under_way: Vec::new(), rng: rng.fork() };
        let (on, looked_at) = RingBuffer::new(closed.buffer().capacity());
        let port = ExecutorPort { connected, closed: looked_at, waker: None };
        let steps = Steps::new(vec![port], dialer, LinkNotes::default(), rng.fork());
        let mut connector =
            SimConnector { steps, field, commands: Vec::new(), closed, on: Some(on), next: Nanos::ZERO, rng };
        connector.tell(links.iter().filter_map(|link| Command::add(plan, *link, 0)));
        connector.next = Nanos::ZERO;
        connector
    }

    /// Its thread comes to it a moment later; commands are never overtaken by what they bring about.
    pub fn tell(&mut self, commands: impl IntoIterator<Item = Command>) {
        for mut command in commands {
            if let Command::Add { executor, .. } = &mut command {
                // Each executor has a machine, a clock and a connector to itself.
                *executor = LaneId(0);
            }
            self.commands.push(command);
        }
        let late_max = if self.rng.u8(..8) == 0 { 300 * MS } else { 2 * MS };
        let late = self.rng.u64(..late_max);
        self.next = Nanos(self.field.borrow().now + late);
    }

    /// Does what is due, at least as often as the real one looks into the rings.
    pub fn step(&mut self) {
        let now = Nanos(self.field.borrow().now);
        if now < self.next {
            return;
        }
        self.pass_on();
        let due = self.steps.step(now, self.commands.drain(..));
        self.next = due.min(now + CONNECT_POLL).min(self.steps.dialer().next());
    }

    fn pass_on(&mut self) {
        while let Ok(closed) = self.closed.pop() {
            if closed.reason == CloseReason::Removed {
                self.field.borrow_mut().removed(closed.conn);
            }
            let room = self.on.as_mut().is_none_or(|on| on.push(closed).is_ok());
            if !room {
                self.field.borrow_mut().faults.push("more connections came back than were out".to_owned());
            }
        }
    }

    /// The executor is gone.
    ///
    /// # Errors
    /// When it is not, or a connection is left open.
    pub fn end(&mut self) -> Result<(), String> {
        self.pass_on();
        if self.closed.is_abandoned() {
            self.on = None;
        }
        if !self.steps.end() {
            return Err("the connector waits for an executor that is gone".to_owned());
        }
        match self.field.borrow().open() {
            0 => Ok(()),
            open => Err(format!("{open} connections were left open at the end")),
        }
    }
}

/// An attempt and when it ends; why it fails, if it does.
struct UnderWay {
    at: u64,
    attempt: Attempt,
    host: u32,
    target: Target,
    trouble: Option<&'static str>,
}

/// Devices accept after a while, refuse, or say nothing; some drop what they accepted.
struct SimDialer {
    field: Rc<RefCell<Field>>,
    under_way: Vec<UnderWay>,
    rng: Rng,
}

impl SimDialer {
    fn next(&self) -> Nanos {
        Nanos(self.under_way.iter().map(|u| u.at).min().unwrap_or(u64::MAX))
    }
}

impl Dialer for SimDialer {
    fn start(&mut self, attempt: Attempt, target: &Target) -> bool {
        if self.rng.u8(..16) == 0 {
            return false;
        }
        let field = &mut *self.field.borrow_mut();
        let now = field.now;
        let Some(host) = host_of(&target.place) else {
            field.faults.push(format!("link {} is to be connected to {:?}", attempt.link.0, target.place));
            return false;
        };
        let (after, trouble) = match field.connects(host, &target.place) {
            Some(after) if after <= target.timeout.0 => (after, None),
            None if self.rng.bool() => (self.rng.u64(MS / 10..2 * MS), Some("refused")),
            _ => (target.timeout.0, Some("timed out")),
        };
        self.under_way.push(UnderWay { at: now + after, attempt, host, target: target.clone(), trouble });
        true
    }

    fn poll(&mut self) -> Option<Outcome> {
        let field = &mut *self.field.borrow_mut();
        let ended = |(_, u): &(usize, &UnderWay)| u.at <= field.now;
        let (at, _) = self.under_way.iter().enumerate().filter(ended).min_by_key(|(_, u)| u.at)?;
        let UnderWay { attempt, host, target, trouble, .. } = self.under_way.swap_remove(at);
        let result = match trouble {
            None => Ok(field.connect(attempt.link, target.number, host, &target.place)),
            Some(trouble) => Err(trouble.to_owned()),
        };
        Some(Outcome { attempt, result })
    }

    fn close(&mut self, conn: crate::rt::Conn) {
        self.field.borrow_mut().close(conn);
    }
}
