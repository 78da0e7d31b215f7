//! A line without transaction ids: one request at a time, silence before each, and what is done about noise.
//!
//! Modbus over Serial Line Specification and Implementation Guide V1.02: silences by 2.5.1.1, the master's states by
//! 2.4.1. A reply is known by its unit, function and length alone, so nothing of an earlier exchange may be left on the
//! line when a request goes out:
//!
//! - what has come and was not looked at, because the executor came late, is taken before a request goes out;
//! - after noise, the line must have been quiet for a while before the next request;
//! - a unit that gave no answer is left alone for as long again, so that an answer that is late meets no request that
//!   it could be taken for; other units are asked meanwhile;
//! - a line that is never quiet is not waited for longer than for a reply: the request goes out, and fails in its own
//!   time, so that its tags show it.

use super::super::ascii::BINARY_BYTES_MAX;
use super::super::frame::Shape;
use super::super::framing::Framing;
use super::super::{frame, rtu};
use super::later::Known;
use super::pauses::{Soonest, UnitPauses};
use super::wire::Next;
use super::write::Turn;
use super::{Asks, InFlight, ModbusLink};
use crate::config::{Rs485Switch, SerialFraming};
use crate::limits::{LINE_LOOK, LINE_RESYNC};
use crate::protocol::modbus::line_time::SerialLine;
use crate::protocol::modbus::link::expected::{Expected, Found};
use crate::protocol::modbus::model::ModbusTransport;
use crate::protocol::modbus::plan::ModbusPlan;
use crate::rt::{RequestResult, StepContext, World};
use crate::tag::{Fault, Nanos, Status};

/// See the module.
pub(super) struct Line {
    framing: Framing,
    /// Of a serial port; over TCP, nothing is known of the time on the wire.
    serial: Option<SerialLine>,
    /// Silence before each request, and after noise.
    gap: Nanos,
    resync: Nanos,
    /// The longest wait for a silence, and for a late answer.
    patience: Nanos,
    echo: bool,
    /// Replies are taken with any unit's id.
    any_unit: bool,
    rts: Option<Rts>,
    /// When the line may be used again, and since when a request waits for that.
    free_at: Nanos,
    /// Before this nothing goes out, whoever waits: devices do what they were told by a broadcast.
    hold_until: Nanos,
    waits_since: Option<Nanos>,
    /// When a request that waits may go out.
    next_try: Nanos,
    units: UnitPauses,
    /// Of the last request, so many bytes are still to be heard back.
    echo_left: usize,
    /// Noise was counted, and is not counted again until the next request.
    noisy: bool,
    /// The last request was not answered in time: what comes unasked may be its reply.
    owed: bool,
    /// Whose request was the last that was not answered, while none was since.
    unheard: Option<usize>,
    /// When it was seen last what has come.
    looked_at: Nanos,
}

/// RTS switched by hand.
struct Rts {
    on_send: bool,
    before: Nanos,
    after: Nanos,
    /// Since when it is on; when it goes off.
    on_since: Option<Nanos>,
    off_at: Nanos,
}

impl Line {
    /// `None` for Modbus TCP.
    pub fn new(plan: &ModbusPlan) -> Option<Line> {
        let config = &plan.config;
        let (framing, echo, rts) = match &config.transport {
            ModbusTransport::Tcp(_) => return None,
            ModbusTransport::RtuOverTcp(_) => (Framing::Rtu, false, None),
            ModbusTransport::Serial(serial) => {
                let framing = match serial.framing {
                    SerialFraming::Rtu => Framing::Rtu,
                    SerialFraming::Ascii => Framing::Ascii,
                };
                let manual = serial.rs485.filter(|rs485| rs485.switched_by == Rs485Switch::Manual);
                let rts = manual.map(|rs485| Rts {
                    on_send: rs485.rts_on_send,
                    before: rs485.delay_before,
                    after: rs485.delay_after,
                    on_since: None,
                    off_at: Nanos::NEVER,
                });
                (framing, serial.echo, rts)
            }
        };
        let serial = SerialLine::of(config);
        let silence = serial.map_or(Nanos::ZERO, |line| line.silence());
        let gap = silence.max(config.turnaround);
        Some(Line {
            framing,
            serial,
            gap,
            resync: gap + LINE_RESYNC,
            patience: config.timeout.max(Nanos((gap + LINE_RESYNC).0 * 2)),
            echo,
            any_unit: config.tolerance.any_unit,
            rts,
            free_at: Nanos::ZERO,
            hold_until: Nanos::ZERO,
            waits_since: None,
            next_try: Nanos::NEVER,
            units: UnitPauses::new(plan),
            echo_left: 0,
            noisy: false,
            owed: false,
            unheard: None,
            looked_at: Nanos::ZERO,
        })
    }

    pub fn looked(&mut self, now: Nanos) {
        self.looked_at = now;
    }

    /// Whether there may be something that nobody has looked at.
    pub fn is_unseen(&self, now: Nanos) -> bool {
        now > self.looked_at + LINE_LOOK
    }

    pub fn framing(&self) -> Framing {
        self.framing
    }

    pub fn region(&self) -> (*const u8, usize) {
        self.units.region()
    }

    pub fn deadline(&self) -> Nanos {
        self.next_try.min(self.rts.as_ref().map_or(Nanos::NEVER, |rts| rts.off_at))
    }

    /// A request waits for the line alone: what its executor wakes late, the line stands idle.
    pub fn is_punctual(&self) -> bool {
        self.serial.is_some() && self.next_try != Nanos::NEVER
    }

    pub fn opened(&mut self, now: Nanos) {
        self.closed();
        self.free_at = now + self.gap;
        self.units.clear();
        self.noisy = false;
        self.owed = false;
        self.unheard = None;
    }

    pub fn closed(&mut self) {
        self.hold_until = Nanos::ZERO;
        self.waits_since = None;
        self.next_try = Nanos::NEVER;
        self.echo_left = 0;
        if let Some(rts) = &mut self.rts {
            (rts.on_since, rts.off_at) = (None, Nanos::NEVER);
        }
    }

    fn characters(&self, count: u32) -> Nanos {
        self.serial.map_or(Nanos::ZERO, |line| line.characters(count))
    }

    /// What a frame of so many characters takes on the wire.
    pub fn time_of(&self, characters: usize) -> Nanos {
        self.characters(characters as u32)
    }

    /// From sending so many characters until the reply, whose PDU has so many bytes, has come from a device that takes the
    /// declared time, and the line is free again.
    pub fn time_of_exchange(&self, characters: usize, reply_bytes: usize, expected: Nanos) -> Nanos {
        let back = self.serial.map_or(expected, |line| {
            line.turnaround.max(line.silence()) + line.characters(line.pdu_characters(reply_bytes as u32))
        });
        self.time_of(characters) + back + self.gap
    }

    /// Nothing goes out before `until`.
    pub fn hold(&mut self, until: Nanos) {
        self.hold_until = until;
    }

    /// A request of so many characters is on its way, and its reply's PDU has so many bytes; returns what the frames of
    /// the exchange take on the wire.
    pub fn sent(&mut self, sent: Nanos, characters: usize, reply_bytes: usize) -> Nanos {
        let out = self.time_of(characters);
        let back = self.serial.map_or(0, |line| line.pdu_characters(reply_bytes as u32));
        self.free_at = sent + out + self.gap;
        self.waits_since = None;
        self.noisy = false;
        self.owed = false;
        self.echo_left = if self.echo { characters } else { 0 };
        if let Some(rts) = &mut self.rts {
            rts.off_at = sent + out + rts.after;
        }
        out + self.characters(back)
    }

    /// The port took a part of a request. On a serial line the rest is not sent later: a frame with a pause in it is
    /// none, and what there is of it must have been followed by silence before the next. False where that is of no
    /// meaning, and the rest may follow.
    pub fn cut_off(&mut self, now: Nanos) -> bool {
        self.free_at = self.free_at.max(now + self.resync);
        self.serial.is_some()
    }

    /// Something that belongs to nothing is on the line. True when it was not yet counted.
    fn noise(&mut self, now: Nanos) -> bool {
        self.free_at = self.free_at.max(now + self.resync);
        !std::mem::replace(&mut self.noisy, true)
    }

    /// A unit's reply is not waited for any longer, and may come until `until` and a while after.
    /// `None`: the unit is not asked any more.
    pub fn leave_alone(&mut self, unit_at: Option<usize>, until: Nanos) {
        let until = until + self.patience;
        match unit_at {
            // It could be taken for that of any other.
            _ if self.any_unit => self.units.leave_all_alone(until),
            Some(unit_at) => self.units.leave_alone(unit_at, until),
            None => {}
        }
    }

    /// A unit has said what it had to say.
    fn heard(&mut self, unit_at: usize, now: Nanos) {
        self.free_at = now + self.gap;
        self.unheard = None;
        self.units.heard(unit_at, now);
    }

    /// Goes on under a new plan of the same port; `units` are new and old places.
    pub fn continue_from(&mut self, old: &Line, units: &[(u16, u16)]) {
        (self.free_at, self.waits_since, self.next_try) = (old.free_at, old.waits_since, old.next_try);
        self.hold_until = old.hold_until;
        (self.echo_left, self.noisy, self.owed) = (old.echo_left, old.noisy, old.owed);
        if let (Some(rts), Some(before)) = (&mut self.rts, &old.rts) {
            (rts.on_since, rts.off_at) = (before.on_since, before.off_at);
        }
        self.units.continue_from(&old.units, units);
    }
}

impl ModbusLink {
    /// The next request, once the line and its unit are free for it. `write` may go as far as all but the line is
    /// concerned.
    pub(super) fn next_on_line<W: World>(
        &mut self,
        write: Option<Turn>,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) -> Option<Next> {
        let (Some(line), Some(connection)) = (&mut self.line, &self.connection) else { return None };
        line.next_try = Nanos::NEVER;
        let (plan, later) = (&self.plan, &mut self.later);
        if self.queue.is_empty() && later.queue.is_empty() && write.is_none() {
            line.waits_since = None;
            return None;
        }
        let since = *line.waits_since.get_or_insert(now);
        let free_at = line.free_at.min(since + line.patience).max(line.hold_until);
        if now < free_at {
            line.next_try = free_at;
            return None;
        }
        let known = Known { plan, requests: &self.requests, units: &self.units, waits_for_suspect: false };
        let soonest = Soonest::of(&self.queue, (later, known), &line.units, write);
        if now < soonest.any {
            line.next_try = soonest.any;
            // Waiting for a unit is not waiting for the line.
            line.waits_since = None;
            return None;
        }
        if let Some(rts) = &mut line.rts {
            let on_since = *rts.on_since.get_or_insert_with(|| {
                floor.world.set_rts(connection.conn, rts.on_send);
                now
            });
            // Off again in any case, also when the request is taken back before it is sent.
            rts.off_at = on_since + rts.before + line.patience;
            if now < on_since + rts.before {
                line.next_try = on_since + rts.before;
                return None;
            }
        }
        let read_first = self.writes.lets_read_first();
        if let Some(turn) = write.filter(|turn| soonest.is_write(*turn, read_first, now)) {
            return Some(Next::Write(turn));
        }
        let units = &line.units;
        let unit_free_at = |at: u32| units.free_at(usize::from(plan.requests[at as usize].unit));
        let (scan_at, at) = later.next(&mut self.queue, now, known, unit_free_at)?;
        Some(Next::Read(scan_at, at))
    }

    /// RTS goes off after the last bit.
    pub(super) fn release_line<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(Line { rts: Some(rts), .. }) = &mut self.line else { return };
        if now < rts.off_at {
            return;
        }
        (rts.on_since, rts.off_at) = (None, Nanos::NEVER);
        if let Some(connection) = &self.connection {
            floor.world.set_rts(connection.conn, !rts.on_send);
        }
    }

    /// Looks at everything that came since the request, and was not yet dropped. Returns how much of it is done with.
    pub(super) fn take_from_line<W: World>(&mut self, bytes: &[u8], now: Nanos, floor: &mut StepContext<W>) -> usize {
        let all = bytes.len();
        let (Some(line), Some(connection)) = (&mut self.line, &self.connection) else { return all };
        line.free_at = line.free_at.max(now + line.gap);
        let echoed = line.echo_left.min(all);
        if echoed > 0 {
            let sent = connection.out.bytes();
            let start = sent.len().saturating_sub(line.echo_left);
            line.echo_left -= echoed;
            if sent.get(start..start + echoed) != Some(&bytes[..echoed]) {
                // Someone else has spoken at the same time: the request is lost.
                line.echo_left = 0;
                self.count_noise(now, floor);
                if let Some(flight) = self.in_flight[0].take() {
                    self.end_broken(flight, Fault::Noise, now, floor);
                }
                return all;
            }
        }
        let bytes = &bytes[echoed..];
        if bytes.is_empty() {
            return all;
        }
        let Some(flight) = self.in_flight[0] else {
            // What a transceiver adds behind a reply may come a moment after it; the line's silence counts from there.
            let padding = line.framing == Framing::Rtu && !line.owed && rtu::is_padding(bytes);
            if !padding {
                self.unasked(now, floor);
            }
            return all;
        };
        let Some((unit_at, function, shape)) = self.expected(flight.asks) else {
            if let Some(unfinished) = self.take_unwanted(flight, bytes, now, floor) {
                return unfinished.map_or(all, |at| echoed + at);
            }
            self.in_flight[0] = None;
            if let Some(line) = &mut self.line {
                line.owed = true;
            }
            self.unasked(now, floor);
            return all;
        };
        let Some(line) = &mut self.line else { return all };
        let tolerance = self.plan.config.tolerance;
        let expected = Expected { unit: self.plan.units[unit_at].0, function, shape, tolerance };
        let mut room = [0; BINARY_BYTES_MAX];
        match line.framing.find(bytes, &expected, &mut room) {
            Found::Nothing => {
                self.reasons.saw(0, Fault::Noise);
                self.count_noise(now, floor);
                all
            }
            Found::Begun { at } => {
                if at > 0 {
                    self.count_noise(now, floor);
                }
                echoed + at
            }
            Found::Foreign(what) => {
                let header = line.framing.header(bytes, &room);
                self.mismatched_read(0, what, header, floor);
                all
            }
            Found::Broken => {
                self.in_flight[0] = None;
                line.noisy = true;
                line.noise(now);
                floor.counters.links[self.id.index()].crc_errors.add(1);
                self.end_broken(flight, Fault::Broken, now, floor);
                all
            }
            Found::Reply(pdu) => {
                line.heard(unit_at, now);
                match (flight.asks, shape) {
                    (Asks::Read(at), Shape::Values(bytes)) => {
                        let header = [expected.unit, *pdu.first().unwrap_or(&0), *pdu.get(1).unwrap_or(&0)];
                        let reply = frame::reply(pdu, function, bytes, tolerance);
                        self.take_reply(0, (at, flight), (reply, header), now, floor);
                    }
                    _ => self.take_write_reply(0, expected.unit, pdu, now, floor),
                }
                all
            }
        }
    }

    /// The reply of a request that nobody wants any more is no noise: its unit has said what it had to say, and the line is
    /// free. `None`: it is something else; `Some(Some)`: it has begun there, and its rest is still to come.
    fn take_unwanted<W: World>(
        &mut self,
        flight: InFlight,
        bytes: &[u8],
        now: Nanos,
        floor: &mut StepContext<W>,
    ) -> Option<Option<usize>> {
        let Asks::Nobody(Some(expected)) = flight.asks else { return None };
        let line = self.line.as_mut()?;
        match line.framing.find(bytes, &expected, &mut [0; BINARY_BYTES_MAX]) {
            Found::Begun { at: 0 } => Some(Some(0)),
            Found::Reply(_) => {
                line.free_at = now + line.gap;
                if let Some(unit_at) = self.plan.units.iter().position(|unit| unit.0 == expected.unit) {
                    line.heard(unit_at, now);
                }
                self.in_flight[0] = None;
                floor.counters.links[self.id.index()].late.add(1);
                Some(None)
            }
            _ => None,
        }
    }

    /// What the reply to a request must look like; `None`: nobody waits for one.
    pub(super) fn expected_frame(&self, asks: Asks) -> Option<Expected> {
        if let Asks::Nobody(expected) = asks {
            return expected;
        }
        let (unit_at, function, shape) = self.expected(asks)?;
        let tolerance = self.plan.config.tolerance;
        Some(Expected { unit: self.plan.units[unit_at].0, function, shape, tolerance })
    }

    /// Unit, function and shape of the reply that is waited for; `None`: nobody waits for one.
    fn expected(&self, asks: Asks) -> Option<(usize, u8, Shape)> {
        match asks {
            Asks::Read(at) => {
                let request = &self.plan.requests[at as usize];
                let shape = Shape::Values(request.value_bytes());
                Some((usize::from(request.unit), request.table.read_function(), shape))
            }
            Asks::Write => self.expected_of_write(),
            Asks::Nobody(_) => None,
        }
    }

    fn count_noise<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if let Some(line) = &mut self.line
            && line.noise(now)
        {
            floor.counters.links[self.id.index()].garbage.add(1);
        }
    }

    /// Bytes for which no request waits: the late reply of one that has, or noise. Counted once until the next.
    fn unasked<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(line) = &mut self.line else { return };
        let owed = std::mem::take(&mut line.owed);
        if line.noise(now) || owed {
            let counters = &floor.counters.links[self.id.index()];
            if owed { counters.late.add(1) } else { counters.garbage.add(1) }
        }
        if owed {
            self.came_late(None, now, floor);
        }
    }

    /// The reply of a request can't be read.
    fn end_broken<W: World>(&mut self, flight: InFlight, fault: Fault, now: Nanos, floor: &mut StepContext<W>) {
        let at = match flight.asks {
            Asks::Read(at) => at,
            Asks::Write => return self.write_reply_broken(now, floor),
            Asks::Nobody(_) => return,
        };
        self.finish(at, flight, now, RequestResult::Broken, floor);
        let unit_at = usize::from(self.plan.requests[at as usize].unit);
        let away = self.units[unit_at].answered_badly();
        let cause = self.cause(at, fault);
        floor.counters.links[self.id.index()].lately.note(cause);
        if away {
            self.hold(at, flight.cycle, (Status::BAD_NO_COMMUNICATION, cause), now, floor);
        } else {
            self.doubt(at, flight.cycle, cause, now, floor);
        }
        self.end_trial(at, now, floor);
    }

    /// A request got no whole reply in time. Returns whether it came right behind one that another unit left unanswered:
    /// its own unit may have taken it for the answer to that (libmodbus does).
    pub(super) fn unanswered_on_line<W: World>(
        &mut self,
        unit_at: usize,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) -> bool {
        let Some(line) = &mut self.line else {
            self.pauses.heard(unit_at, now);
            return false;
        };
        line.owed = true;
        let is_behind_other = line.unheard.replace(unit_at).is_some_and(|other| other != unit_at);
        line.leave_alone(Some(unit_at), now);
        let has_begun = std::mem::take(&mut self.received) > 0;
        if has_begun {
            // What came of it has been counted; what may still come is its rest.
            floor.counters.links[self.id.index()].short_frames.add(1);
            line.owed = false;
            line.noise(now);
        }
        line.echo_left = 0;
        is_behind_other && !has_begun
    }
}
