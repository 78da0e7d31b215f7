//! The connector's part in virtual time: takes back what an executor gave up, makes new connections.

use std::cell::RefCell;
use std::rc::Rc;

use fastrand::Rng;
use rtrb::{Consumer, Producer};

use super::world::Field;
use crate::limits::CONNECT_PAUSE_MIN;
use crate::rt::{CloseReason, Closed, Connected};

/// The longest pause: shorter than the real one, so that more happens in an hour.
const PAUSE_MAX_NS: u64 = 4_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: u64 },
    Connecting { until: u64 },
    Connected { since: u64 },
}

/// Of one executor's links.
pub struct SimConnector {
    connected: Producer<Connected>,
    closed: Consumer<Closed>,
    field: Rc<RefCell<Field>>,
    links: Vec<(State, u64)>,
    next: u64,
    rng: Rng,
}

impl SimConnector {
    pub fn new(
        connected: Producer<Connected>,
        closed: Consumer<Closed>,
        field: Rc<RefCell<Field>>,
        rng: Rng,
    ) -> SimConnector {
        let links = vec![(State::Waiting { until: 0 }, CONNECT_PAUSE_MIN.0); field.borrow().places.len()];
        SimConnector { connected, closed, field, links, next: 0, rng }
    }

    /// Does what is due.
    pub fn step(&mut self) {
        let field = &mut *self.field.borrow_mut();
        while let Ok(Closed { link, conn, reason }) = self.closed.pop() {
            field.log.borrow_mut().add(
                field.now,
                "given back: link {} connection {} reason {}",
                [u64::from(link.0), conn.0 as u64, reason as u64, 0],
            );
            field.close(conn);
            let place = field.places.iter().position(|p| p.link == link);
            let Some((state, pause)) = place.and_then(|place| self.links.get_mut(place)) else { continue };
            let State::Connected { since } = *state else {
                field.faults.push(format!("link {} gave back a connection that it was not given", link.0));
                continue;
            };
            if reason == CloseReason::Stopped {
                continue;
            }
            if field.now - since > 10_000_000_000 {
                *pause = CONNECT_PAUSE_MIN.0;
            }
            *state = State::Waiting { until: field.now + self.rng.u64(*pause / 2..=*pause) };
            *pause = (*pause * 2).min(PAUSE_MAX_NS);
            self.next = 0;
        }
        if field.now < self.next {
            return;
        }
        let now = field.now;
        for (place, (state, pause)) in self.links.iter_mut().enumerate() {
            match *state {
                State::Waiting { until } if until <= now => match field.places[place].device.connects(now) {
                    Some(after) => *state = State::Connecting { until: now + after },
                    None => {
                        *state = State::Waiting { until: now + self.rng.u64(*pause / 2..=*pause) };
                        *pause = (*pause * 2).min(PAUSE_MAX_NS);
                    }
                },
                State::Connecting { until } if until <= now => {
                    let conn = field.connect(place);
                    let link = field.places[place].link;
                    if self.connected.push(Connected { link, conn, target: 0 }).is_err() {
                        field.faults.push(format!("no room to hand link {} its connection", link.0));
                    }
                    *state = State::Connected { since: now };
                }
                _ => {}
            }
        }
        let due = |(state, _): &(State, u64)| match *state {
            State::Waiting { until } | State::Connecting { until } => until,
            State::Connected { .. } => u64::MAX,
        };
        self.next = self.links.iter().map(due).min().unwrap_or(u64::MAX);
    }
}
