//! The real connector in virtual time, with a simulated way to make connections.

use std::cell::RefCell;
use std::rc::Rc;

use fastrand::Rng;
use rtrb::{Consumer, Producer};

use super::world::Field;
use crate::limits::CONNECT_POLL;
use crate::link::connector::{Attempt, Command, Dialer, ExecutorPort, LinkNotes, Outcome, Steps, Target};
use crate::plan::Plan;
use crate::rt::{Closed, Connected};
use crate::tag::{ExecutorId, LinkId, Nanos};

const MS: u64 = 1_000_000;

/// Of one executor's links.
pub struct SimConnector {
    steps: Steps<SimDialer>,
    field: Rc<RefCell<Field>>,
    next: Nanos,
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
        let port = ExecutorPort { connected, closed };
        let mut steps = Steps::new(vec![port], dialer, LinkNotes::default(), rng);
        for link in links {
            let mut command = Command::add(plan, *link, 0);
            if let Command::Add { executor, .. } = &mut command {
                // Each executor has a machine, a clock and a connector to itself.
                *executor = ExecutorId(0);
            }
            steps.apply(Nanos::ZERO, command);
        }
        SimConnector { steps, field, next: Nanos::ZERO }
    }

    /// Does what is due, at least as often as the real one looks into the rings.
    pub fn step(&mut self) {
        let now = Nanos(self.field.borrow().now);
        if now < self.next {
            return;
        }
        let due = self.steps.step(now, None);
        self.next = due.min(now + CONNECT_POLL).min(self.steps.dialer().next());
    }

    /// The executor is gone.
    ///
    /// # Errors
    /// When it is not, or a connection is left open.
    pub fn end(&mut self) -> Result<(), String> {
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
        let Some(place) = field.place_of(attempt.link) else {
            field.faults.push(format!("link {} is of another executor", attempt.link.0));
            return false;
        };
        let (after, trouble) = match field.places[place].device.connects(now) {
            Some(after) if after <= target.timeout.0 => (after, None),
            None if self.rng.bool() => (self.rng.u64(MS / 10..2 * MS), Some("refused")),
            _ => (target.timeout.0, Some("timed out")),
        };
        self.under_way.push(UnderWay { at: now + after, attempt, trouble });
        true
    }

    fn poll(&mut self) -> Option<Outcome> {
        let field = &mut *self.field.borrow_mut();
        let ended = |(_, u): &(usize, &UnderWay)| u.at <= field.now;
        let (at, _) = self.under_way.iter().enumerate().filter(ended).min_by_key(|(_, u)| u.at)?;
        let UnderWay { attempt, trouble, .. } = self.under_way.swap_remove(at);
        let place = field.place_of(attempt.link)?;
        let result = trouble.map_or_else(|| Ok(field.connect(place)), |trouble| Err(trouble.to_owned()));
        Some(Outcome { attempt, result })
    }

    fn close(&mut self, conn: crate::rt::Conn) {
        self.field.borrow_mut().close(conn);
    }
}
