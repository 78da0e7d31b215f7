//! Connections that carry a stream of bytes: Modbus requests in, answers out, over TCP and over serial lines.

use std::collections::VecDeque;

use super::device::{Asked, Bent, Meaning, Reaction, Told};
use super::field::Field;
use super::line::Heard;
use super::memory::Area;
use super::writes::{self, Place, Seen};
use crate::protocol::modbus::model::Table;
use crate::rt::Io;
use crate::tag::LinkId;

/// A request and its right answer, as the wire saw them.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    pub link: LinkId,
    pub host: u32,
    pub area: Area,
    /// First byte tried; last byte of the answer taken, and seen on the clock.
    pub sent: u64,
    pub received: u64,
    pub meaning: Meaning,
}

/// Bytes under way to the executor.
pub struct Piece {
    pub at: u64,
    pub bytes: Vec<u8>,
    pub taken: usize,
    /// Follows the piece before it without anything between.
    pub glued: bool,
    /// Of which frame on a line; 0 where that is of no meaning.
    pub frame: u32,
    /// With the last piece of a frame.
    pub ends: Option<(u16, Exchange)>,
}

impl Field {
    /// Bytes for the executor.
    pub(super) fn take_bytes(&mut self, at: usize, buffer: &mut [u8]) -> Io {
        let field = self;
        let now = field.now;
        let line = &mut field.lines[at];
        let mut filled = 0;
        let mut completed = Vec::new();
        while let Some(piece) = line.out.front_mut()
            && piece.at <= now
            && filled < buffer.len()
        {
            let n = (piece.bytes.len() - piece.taken).min(buffer.len() - filled);
            buffer[filled..filled + n].copy_from_slice(&piece.bytes[piece.taken..piece.taken + n]);
            piece.taken += n;
            filled += n;
            if let Some(wire) = &mut line.wire {
                wire.took(piece.at);
                // Whatever it was, the link may have had its answer.
                line.open.clear();
            }
            if piece.taken == piece.bytes.len() {
                if let Some((transaction, exchange)) = piece.ends {
                    line.open.retain(|(open, _)| *open != transaction);
                    completed.push(Exchange { received: now, ..exchange });
                }
                line.out.pop_front();
            }
        }
        if filled == 0 {
            return if line.closes_at.is_some_and(|at| at <= now) { Io::Closed } else { Io::WouldBlock };
        }
        field.unseen += completed.len();
        field.exchanges.append(&mut completed);
        Io::Done(filled)
    }

    /// Whole requests are understood, judged and answered.
    pub(super) fn take_requests(&mut self, at: usize) {
        while let Some(length) = self.lines[at].inbound.get(5).map(|length| 6 + usize::from(*length))
            && self.lines[at].inbound.len() >= length
        {
            let line = &mut self.lines[at];
            let bytes: Vec<u8> = line.inbound.drain(..length).collect();
            let sent = line.first_try.take().unwrap_or(self.now);
            self.take_request(at, &bytes, sent);
        }
    }

    fn take_request(&mut self, at: usize, bytes: &[u8], sent: u64) {
        let now = self.now;
        let line = &mut self.lines[at];
        let (link, host) = (line.link, line.host);
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let transaction = word(0);
        let function = bytes[7];
        let write = writes::parse(&bytes[7..], bytes[6]);
        let area = match (&write, Table::from_read_function(function)) {
            (Some((area, ..)), _) => Some(*area),
            (None, Some(table)) => Some(Area { unit: bytes[6], table, first: word(8), count: word(10) }),
            (None, None) => None,
        };
        let allowed = |area: Area| self.views.allows(link, line.target, area, sent, write.is_some());
        let Some((area, view)) = area.and_then(|area| Some((area, allowed(area)?))) else {
            let text = format!("link {}: a request that is not in its plan, to host {host}: {bytes:?}", link.0);
            self.faults.push(text);
            return;
        };
        self.requests += 1;
        line.open.retain(|(_, until)| *until > now);
        line.open.push((transaction, sent + view.timeout));
        if line.open.len() > view.pipeline {
            let text = format!("{} requests outstanding, allowed: {}", line.open.len(), view.pipeline);
            self.faults.push(format!("link {}: {text}", link.0));
        }
        self.log.borrow_mut().add(
            now,
            "request: link {} transaction {} from {} on {}",
            [u64::from(link.0), u64::from(transaction), u64::from(area.first), u64::from(area.count)],
        );
        let asked = Asked { transaction, area, expected: view.expected, timeout: view.timeout, on_line: false };
        let mute = line.mute;
        let reaction = match write {
            Some((_, payload, confirmation)) => {
                let (reaction, told) = self.device(host).answer_write(now, &asked, function, &confirmation);
                let told = if mute { Told::Nothing } else { told };
                self.written.push(Seen { at: now, link, place: Place::Registers { function, area }, payload, told });
                reaction
            }
            None if mute => Reaction::default(),
            None => self.device(host).answer(now, &asked),
        };
        if mute {
            return;
        }
        let line = &mut self.lines[at];
        line.mute |= reaction.mute;
        if let Some(at) = reaction.idle_close_at {
            line.closes_at = Some(at);
        }
        if let Some(at) = reaction.close_at {
            line.closes_at = Some(line.closes_at.map_or(at, |old| old.min(at)));
        }
        for outgoing in reaction.send {
            let exchange = Exchange { link, host, area, sent, received: 0, meaning: outgoing.meaning };
            let ends = (outgoing.meaning != Meaning::Poison).then_some((transaction, exchange));
            let end = enqueue(&mut line.out, outgoing.at, outgoing.bytes, outgoing.pieces, ends);
            if line.mute {
                // What comes behind half a frame would be taken for its rest by anyone.
                line.out.truncate(end);
            }
        }
    }

    /// Bytes on a line without transaction ids.
    pub(super) fn send_on_line(&mut self, at: usize, now: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let line = &mut self.lines[at];
        let Some(wire) = &mut line.wire else { return };
        match wire.send(now, bytes, &mut line.out, &mut self.line_rng) {
            Ok(None) => {}
            Ok(Some(heard)) => self.take_from_line(at, &heard),
            Err(what) => self.faults.push(format!("link {}: {what}", line.link.0)),
        }
    }

    /// A whole request on a line is judged and answered.
    fn take_from_line(&mut self, at: usize, heard: &Heard) {
        let line = &mut self.lines[at];
        let (link, host) = (line.link, line.host);
        let body = &heard.body;
        let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let write = writes::parse(&body[1..], body[0]);
        let area = match (&write, Table::from_read_function(body[1])) {
            (Some((area, ..)), _) => Some(*area),
            (None, Some(table)) => Some(Area { unit: body[0], table, first: word(2), count: word(4) }),
            (None, None) => None,
        };
        let is_write = write.is_some();
        let view = |area: Area| Some((area, self.views.allows(link, line.target, area, heard.began, is_write)?));
        let Some((area, view)) = area.and_then(view) else {
            let text = format!("link {}: a request that is not in its plan, to host {host}: {body:?}", link.0);
            return self.faults.push(text);
        };
        self.requests += 1;
        let now = self.now;
        // The link may have tried before the port took anything.
        let sent = line.first_try.take().unwrap_or(heard.began);
        let on_wire = line.wire.as_ref().map_or(0, |wire| wire.view.characters(body.len() + 2));
        line.open.retain(|(_, until)| *until > now);
        if !line.open.is_empty() {
            self.faults.push(format!("link {}: requests outstanding on a line: more than one", link.0));
        }
        line.open.push((0, sent + view.timeout + on_wire));
        let numbers = [u64::from(link.0), u64::from(area.unit), u64::from(area.first), u64::from(area.count)];
        self.log.borrow_mut().add(now, "request on a line: link {} unit {} from {} on {}", numbers);
        let asked = Asked { transaction: 0, area, expected: view.expected, timeout: view.timeout, on_line: true };
        if heard.lost {
            self.note("lost: it met something on the line", [0; 4]);
            return;
        }
        let reaction = match write {
            None => self.device(host).answer(heard.ends, &asked),
            Some((_, payload, confirmation)) => {
                let function = body[1];
                let (reaction, told) = self.device(host).answer_write(heard.ends, &asked, function, &confirmation);
                let place = Place::Registers { function, area };
                self.written.push(Seen { at: heard.began, link, place, payload, told });
                reaction
            }
        };
        let line = &mut self.lines[at];
        if let Some(at) = reaction.close_at {
            line.closes_at = Some(line.closes_at.map_or(at, |old| old.min(at)));
        }
        let Some(wire) = &mut line.wire else { return };
        let mut free = heard.ends + wire.view.silence();
        for outgoing in reaction.send {
            let body = if outgoing.bent == Bent::Raw { &outgoing.bytes[..] } else { &outgoing.bytes[6..] };
            let bytes = wire.bend(body, outgoing.bent, &mut self.line_rng);
            let exchange = Exchange { link, host, area, sent, received: 0, meaning: outgoing.meaning };
            let ends = (outgoing.meaning != Meaning::Poison).then_some((0, exchange));
            let start = outgoing.at.max(free);
            if wire.view.is_serial() {
                free = wire.put(start, bytes, ends, &mut line.out, &mut self.line_rng);
            } else {
                enqueue(&mut line.out, start, bytes, outgoing.pieces, ends);
                free = start;
            }
        }
    }
}

/// Frames overtake each other, their pieces do not part. Returns the place behind the new ones.
fn enqueue(out: &mut VecDeque<Piece>, at: u64, bytes: Vec<u8>, pieces: usize, ends: Option<(u16, Exchange)>) -> usize {
    let mut place = out.len();
    while place > 0 && out[place - 1].at > at && !out[place - 1].glued && out[place - 1].taken == 0 {
        place -= 1;
    }
    let size = bytes.len().div_ceil(pieces.max(1)).max(1);
    let count = bytes.len().div_ceil(size);
    for (i, chunk) in bytes.chunks(size).enumerate() {
        let piece = Piece {
            at: at + i as u64 * 1_500_000,
            bytes: chunk.to_vec(),
            taken: 0,
            glued: i > 0,
            frame: 0,
            ends: ends.filter(|_| i + 1 == count),
        };
        out.insert(place + i, piece);
    }
    place + count
}
