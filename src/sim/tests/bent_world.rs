//! The simulated world, with a fault in it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{SimWorld, line};
use super::planted::Fault;
use crate::rt::{Conn, Io, Ready, Stamped, World};
use crate::tag::{Nanos, Status};

pub struct BentWorld {
    inner: SimWorld,
    fault: Fault,
    shown: u64,
    behind: bool,
    transaction: [u8; 2],
    /// Connections whose frames have transaction ids.
    tcp: BTreeSet<i32>,
    /// By connection with RTU frames: the unit that was asked, until something comes back.
    asked: BTreeMap<i32, u8>,
    /// By connection that is out of step: what it has not shown yet.
    kept: BTreeMap<i32, u8>,
    /// By connection, source and destination: the next packet.
    packets: BTreeMap<(i32, u8, u8), u8>,
}

impl BentWorld {
    pub fn new(inner: SimWorld, fault: Fault) -> BentWorld {
        let (tcp, asked, kept) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let packets = BTreeMap::new();
        BentWorld { inner, fault, shown: 0, behind: false, transaction: [0; 2], tcp, asked, kept, packets }
    }

    /// Packets of J1939 (0xEB00), which get the numbers that are due by what opens or resumes their message (0xEC00).
    fn renumber(&mut self, conn: Conn, frame: &mut [u8]) {
        match *frame {
            [source, to, 0xEC, _, _, _, _, _, 16 | 32, ..] => drop(self.packets.insert((conn.0, source, to), 1)),
            [to, source, 0xEC, _, _, _, _, _, 17, count, from, ..] if count > 0 => {
                self.packets.insert((conn.0, source, to), from);
            }
            [source, to, 0xEB, ..] => {
                let next = self.packets.entry((conn.0, source, to)).or_insert(1);
                (frame[8], *next) = (*next, next.wrapping_add(1));
            }
            _ => {}
        }
    }

    /// Bytes of an RTU reply, as the fault has them.
    fn bend_reply(&mut self, conn: Conn, bytes: &mut [u8]) {
        let asked = self.asked.remove(&conn.0);
        let whole = bytes.len().saturating_sub(2);
        if self.fault == Fault::AnyUnit && whole > 2 && line::crc(bytes) == 0 {
            bytes[0] = asked.unwrap_or(bytes[0]);
            let crc = line::crc(&bytes[..whole]);
            bytes[whole..].copy_from_slice(&crc.to_le_bytes());
        }
        if self.fault == Fault::OutOfStep
            && (self.kept.contains_key(&conn.0) || asked.is_some_and(|unit| unit != bytes[0]))
        {
            let last = bytes[bytes.len() - 1];
            bytes.rotate_right(1);
            bytes[0] = self.kept.insert(conn.0, last).unwrap_or(0);
        }
    }
}

impl World for BentWorld {
    fn now(&mut self) -> Nanos {
        let now = self.inner.now().0;
        self.behind |= now > self.shown + 60_000_000;
        if self.fault != Fault::Burst || !self.behind || self.shown + 500_000 >= now {
            self.shown = now;
            self.behind = false;
        } else {
            self.shown += 500_000;
        }
        Nanos(self.shown)
    }

    fn spin_until(&mut self, until: Nanos) -> Nanos {
        self.shown = self.shown.max(until.0);
        self.inner.spin_until(until)
    }

    fn wait(&mut self, until: Nanos, ready: &mut Ready) {
        self.inner.wait(until, ready);
    }

    fn attach(&mut self, conn: Conn, token: u32) -> bool {
        self.inner.attach(conn, token)
    }

    fn detach(&mut self, conn: Conn) {
        self.inner.detach(conn);
    }

    fn send(&mut self, conn: Conn, bytes: &[u8]) -> Io {
        if bytes.len() == 12 {
            self.transaction.copy_from_slice(&bytes[..2]);
            self.tcp.insert(conn.0);
        }
        if bytes.len() == 8 {
            self.asked.insert(conn.0, bytes[0]);
        }
        let id = bytes.first_chunk().filter(|_| bytes.len() == 16).map(|id| u32::from_ne_bytes(*id));
        let to_rpdo = id.is_some_and(|id| (0x201..0x204).contains(&id));
        let mut bent = bytes.to_vec();
        match self.fault {
            Fault::OtherOutputs if to_rpdo => bent[12..].fill(0),
            Fault::Swallowed if to_rpdo => return Io::Done(bytes.len()),
            _ => {}
        }
        let outcome = self.inner.send(conn, &bent);
        if self.fault == Fault::Blocking {
            let until = self.inner.now() + Nanos::from_millis(200);
            self.inner.wait(until, &mut Ready::with_capacity(1));
        }
        outcome
    }

    fn receive_stamped(&mut self, conn: Conn, buffer: &mut [u8]) -> Stamped {
        let stamped = self.inner.receive_stamped(conn, buffer);
        if self.fault == Fault::AnyPacket {
            self.renumber(conn, buffer);
        }
        match self.fault {
            Fault::AsStamped => Stamped { at: stamped.hardware.unwrap_or(stamped.at), hardware: None, ..stamped },
            Fault::Unclocked => Stamped { hardware: None, ..stamped },
            Fault::Undropped => Stamped { dropped: 0, ..stamped },
            Fault::Unstamped if matches!(buffer, [low, 5, ..] if *low & 0x80 != 0) => {
                Stamped { at: self.inner.now(), ..stamped }
            }
            _ => stamped,
        }
    }

    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io {
        let outcome = self.inner.receive(conn, buffer);
        let on_tcp = self.tcp.contains(&conn.0);
        if self.fault == Fault::AnyTransaction
            && on_tcp
            && matches!(outcome, Io::Done(n) if n > 8)
            && buffer[2..4] == [0, 0]
        {
            buffer[..2].copy_from_slice(&self.transaction);
        }
        if let Io::Done(n) = outcome
            && self.fault == Fault::ByLength
            && on_tcp
            && is_too_long(&buffer[..n])
        {
            return Io::Closed;
        }
        if let Io::Done(n) = outcome {
            self.bend_reply(conn, &mut buffer[..n]);
            if self.fault == Fault::AllGood && buffer[..4] == 1u32.to_ne_bytes() {
                let entries = buffer[16.min(n)..n].chunks_exact_mut(24);
                entries.for_each(|entry| entry[16..20].fill(0));
            }
            if self.fault == Fault::Slander
                && n == 40
                && buffer[..4] == 1u32.to_ne_bytes()
                && buffer[16].is_multiple_of(16)
            {
                buffer[32..36].copy_from_slice(&Status::BAD_SENSOR_FAILURE.0.to_ne_bytes());
            }
        }
        outcome
    }
}

/// Whether a frame's header counts more bytes than its PDU.
fn is_too_long(bytes: &[u8]) -> bool {
    let &[_, _, 0, 0, high, low, _, function, count, ..] = bytes else { return false };
    let own = if function & 0x80 != 0 { 3 } else { 3 + u16::from(count) };
    matches!(function & 0x7F, 1..=4) && u16::from_be_bytes([high, low]) > own
}
