//! The executor's world in virtual time: bytes and datagrams to and from simulated devices, a CPU that stalls.

use std::cell::RefCell;
use std::rc::Rc;

use super::field::Field;
use super::script::Stall;
use crate::rt::{Conn, Io, Ready, Stamped, World};
use crate::tag::Nanos;

/// What things cost an executor, in nanoseconds.
const LOOK_AT_CLOCK: u64 = 40;
const SYSTEM_CALL: u64 = 2_000;
const WAKE_UP_MAX: u64 = 40_000;

/// The world that an executor is given.
pub struct SimWorld(pub Rc<RefCell<Field>>);

impl World for SimWorld {
    fn now(&mut self) -> Nanos {
        let field = &mut *self.0.borrow_mut();
        field.now += LOOK_AT_CLOCK;
        while let Some(Stall { length_ns, .. }) = field.stalls.due(field.now) {
            field.note("stall: {} ns", [length_ns, 0, 0, 0]);
            field.now += length_ns;
            field.stalled += length_ns;
        }
        let seen = field.exchanges.len() - std::mem::take(&mut field.unseen);
        for exchange in &mut field.exchanges[seen..] {
            exchange.received = field.now;
        }
        field.first_look.get_or_insert(field.now);
        Nanos(field.now)
    }

    fn spin_until(&mut self, until: Nanos) -> Nanos {
        let mut field = self.0.borrow_mut();
        field.now = field.now.max(until.0);
        Nanos(field.now)
    }

    fn wait(&mut self, until: Nanos, ready: &mut Ready) {
        ready.clear();
        let field = &mut *self.0.borrow_mut();
        field.now += SYSTEM_CALL / 2;
        let watched = || field.lines.iter().filter(|line| line.token.is_some());
        let next = watched().map(Field::readable_at).min().unwrap_or(u64::MAX);
        let target = next.min(until.0);
        if target > field.now {
            field.now = target + field.rng.u64(..WAKE_UP_MAX);
        }
        for line in &field.lines {
            if let Some(token) = line.token
                && Field::readable_at(line) <= field.now
            {
                ready.push(token);
            }
        }
    }

    fn attach(&mut self, conn: Conn, token: u32) -> bool {
        let mut field = self.0.borrow_mut();
        match field.line(conn) {
            Some(at) => {
                let link = field.lines[at].link;
                if field.lines.iter().any(|line| line.link == link && line.token.is_some()) {
                    field.faults.push(format!("link {} gets a connection beside the one that it has", link.0));
                }
                field.lines[at].token = Some(token);
                true
            }
            None => false,
        }
    }

    fn detach(&mut self, conn: Conn) {
        let mut field = self.0.borrow_mut();
        if let Some(at) = field.line(conn) {
            field.lines[at].token = None;
        }
    }

    fn send(&mut self, conn: Conn, bytes: &[u8]) -> Io {
        let field = &mut *self.0.borrow_mut();
        let now = field.now;
        field.now += SYSTEM_CALL;
        let Some(at) = field.line(conn) else { return Io::Closed };
        let line = &mut field.lines[at];
        if line.closes_at.is_some_and(|at| at <= now) {
            return Io::Closed;
        }
        if line.peer.is_some() {
            return field.send_datagram(at, now, bytes);
        }
        line.first_try.get_or_insert(now);
        let host = line.host;
        let taken = field.device(host).takes(now, bytes.len());
        if field.lines[at].wire.is_some() {
            field.send_on_line(at, now, &bytes[..taken]);
        } else {
            field.lines[at].inbound.extend_from_slice(&bytes[..taken]);
            field.take_requests(at);
        }
        if taken == 0 { Io::WouldBlock } else { Io::Done(taken) }
    }

    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io {
        let field = &mut *self.0.borrow_mut();
        field.now += SYSTEM_CALL;
        let Some(at) = field.line(conn) else { return Io::Closed };
        if field.is_stream(at) { field.take_bytes(at, buffer) } else { field.take_datagram(at, buffer).io }
    }

    fn receive_stamped(&mut self, conn: Conn, buffer: &mut [u8]) -> Stamped {
        let field = &mut *self.0.borrow_mut();
        field.now += SYSTEM_CALL;
        let closed = Stamped { io: Io::Closed, at: Nanos(field.now), hardware: None, dropped: 0 };
        let Some(at) = field.line(conn) else { return closed };
        field.take_datagram(at, buffer)
    }
}
