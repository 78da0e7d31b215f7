//! Virtual time, and scripted devices in it.

use std::collections::BTreeMap;

use crate::rt::*;
use crate::tag::Nanos;

/// What a look at the world takes that does not sleep.
const LOOK: u64 = 100;

/// Every request, and when it was sent (nanoseconds).
pub(super) type Sent = std::rc::Rc<std::cell::RefCell<Vec<(u64, Vec<u8>)>>>;

/// What a device does with a request: the bytes it sends, and when (nanoseconds later).
pub(super) type Script = Box<dyn FnMut(&[u8]) -> Vec<(u64, Vec<u8>)>>;

#[derive(Default)]
pub(super) struct Device {
    pub script: Option<Script>,
    /// Bytes under way, by arrival time.
    pub under_way: Vec<(u64, Vec<u8>)>,
    pub arrived: Vec<u8>,
    pub closed: bool,
    /// It closes behind each reply; when it was so long idle (nanoseconds); and then, whatever is under way.
    pub closes_after_reply: bool,
    pub closes_when_idle: Option<u64>,
    pub closes_at: Option<u64>,
    /// So many bytes it still takes; `None`: all.
    pub takes: Option<usize>,
    /// Bytes that were sent and have not arrived, as the kernel would tell.
    pub unsent: usize,
    pub aborted: bool,
}

/// Virtual time; one device a connection.
pub(super) struct ScriptedWorld {
    pub now: u64,
    pub devices: BTreeMap<i32, Device>,
    pub tokens: BTreeMap<i32, u32>,
    pub requests: Sent,
    /// The machine stalls once: from when, for how long.
    pub stall: Option<(u64, u64)>,
    /// When RTS was set, and how.
    pub rts: Vec<(u64, bool)>,
    /// Sleeps end so much late.
    pub oversleeps: u64,
    /// Someone wakes it so often (nanoseconds).
    pub woken_each: Option<u64>,
}

impl ScriptedWorld {
    fn deliver(&mut self) {
        for device in self.devices.values_mut() {
            device.under_way.sort_by_key(|(t, _)| *t);
            while device.under_way.first().is_some_and(|(t, _)| *t <= self.now) {
                let (_, bytes) = device.under_way.remove(0);
                device.arrived.extend(bytes);
            }
            device.closed |= device.closes_at.is_some_and(|at| at <= self.now);
        }
    }
}

impl World for ScriptedWorld {
    fn now(&mut self) -> Nanos {
        if let Some((from, length)) = self.stall
            && self.now >= from
        {
            self.now += length;
            self.stall = None;
        }
        Nanos(self.now)
    }

    fn spin_until(&mut self, until: Nanos) -> Nanos {
        self.now = self.now.max(until.0);
        Nanos(self.now)
    }

    fn wait(&mut self, until: Nanos, ready: &mut Ready) {
        ready.clear();
        self.deliver();
        let watched = |conn: &i32| self.tokens.contains_key(conn);
        if self.devices.iter().all(|(conn, d)| d.arrived.is_empty() || !watched(conn)) {
            let closes = self.devices.values().filter(|d| !d.closed).filter_map(|d| d.closes_at);
            let next = self.devices.values().flat_map(|d| d.under_way.iter().map(|(t, _)| *t)).chain(closes).min();
            let woken = self.woken_each.map_or(u64::MAX, |each| self.now + each);
            let wakes = until.0.min(next.unwrap_or(u64::MAX)).min(woken);
            // A look without a sleep takes its time, too.
            self.now = if wakes > self.now { wakes + self.oversleeps } else { self.now + LOOK };
            self.deliver();
        }
        for (conn, device) in &self.devices {
            if (!device.arrived.is_empty() || device.closed) && self.tokens.contains_key(conn) {
                ready.push(self.tokens[conn]);
            }
        }
    }

    fn attach(&mut self, conn: Conn, token: u32) -> bool {
        self.tokens.insert(conn.0, token);
        true
    }

    fn detach(&mut self, conn: Conn) {
        self.tokens.remove(&conn.0);
    }

    fn send(&mut self, conn: Conn, bytes: &[u8]) -> Io {
        self.requests.borrow_mut().push((self.now, bytes.to_vec()));
        let now = self.now;
        let Some(device) = self.devices.get_mut(&conn.0) else { return Io::Closed };
        if device.closed {
            return Io::Closed;
        }
        if let Some(room) = &mut device.takes {
            let taken = bytes.len().min(*room);
            *room -= taken;
            return if taken == 0 { Io::WouldBlock } else { Io::Done(taken) };
        }
        if let Some(script) = &mut device.script {
            let replies = script(bytes);
            device.under_way.extend(replies.into_iter().map(|(after, bytes)| (now + after, bytes)));
            if device.closes_after_reply {
                device.closes_at = device.under_way.iter().map(|(at, _)| *at).max();
            }
            if let Some(idle) = device.closes_when_idle {
                device.closes_at = Some(now + idle);
            }
        }
        Io::Done(bytes.len())
    }

    fn unsent(&mut self, conn: Conn) -> usize {
        self.devices.get(&conn.0).map_or(0, |device| device.unsent)
    }

    fn abort(&mut self, conn: Conn) {
        self.devices.entry(conn.0).and_modify(|device| device.aborted = true);
    }

    fn set_rts(&mut self, _conn: Conn, high: bool) {
        self.rts.push((self.now, high));
    }

    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io {
        // The kernel has what has come, also where nobody has waited for it.
        self.deliver();
        let Some(device) = self.devices.get_mut(&conn.0) else { return Io::Closed };
        if device.arrived.is_empty() {
            return if device.closed { Io::Closed } else { Io::WouldBlock };
        }
        let n = device.arrived.len().min(buffer.len());
        buffer[..n].copy_from_slice(&device.arrived[..n]);
        device.arrived.drain(..n);
        Io::Done(n)
    }
}
