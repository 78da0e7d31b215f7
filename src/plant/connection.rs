//! One client of a simulated device: frames in, replies out, each when it is due.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;

use crate::limits::{MODBUS_ADU_BYTES_MAX, MODBUS_PIPELINE_MAX};
use crate::tag::Nanos;

use super::DeviceCounters;
use super::device::DeviceMemory;
use super::fault::Fault;
use super::protocol::{self, Frame, HEADER_BYTES, Received, UnknownUnit};
use super::signal::{self, hash};

/// Replies that wait on one connection; a client that asks for more is read no further.
const REPLIES_MAX: usize = MODBUS_PIPELINE_MAX;
const INPUT_BYTES: usize = 4096;

/// What a connection needs to know of its device.
pub(super) struct Device<'a> {
    pub(super) memory: &'a DeviceMemory,
    pub(super) counters: &'a DeviceCounters,
    pub(super) fault: Option<Fault>,
    pub(super) delay: Nanos,
    pub(super) unknown_unit: UnknownUnit,
    pub(super) start: Nanos,
}

/// The connection is over.
#[derive(Debug)]
pub(super) struct Closed;

#[derive(Debug)]
struct Reply {
    frame: Frame,
    bytes: usize,
    sent: usize,
    /// Not before this moment of CLOCK_MONOTONIC.
    due: Nanos,
}

#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    pub(super) device: usize,
    input: Box<[u8; INPUT_BYTES]>,
    filled: usize,
    /// A ring: `waiting` replies from `first`.
    replies: Box<[Reply]>,
    first: usize,
    waiting: usize,
    write_blocked: bool,
    served: u64,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, device: usize) -> Connection {
        let reply = || Reply { frame: [0; MODBUS_ADU_BYTES_MAX], bytes: 0, sent: 0, due: Nanos::ZERO };
        Connection {
            socket,
            device,
            input: Box::new([0; INPUT_BYTES]),
            filled: 0,
            replies: (0..REPLIES_MAX).map(|_| reply()).collect(),
            first: 0,
            waiting: 0,
            write_blocked: false,
            served: 0,
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(super) fn wants_read(&self) -> bool {
        self.waiting < REPLIES_MAX
    }

    pub(super) fn wants_write(&self) -> bool {
        self.write_blocked
    }

    /// When there is something to send; [`Nanos::NEVER`] when nothing waits for its time.
    pub(super) fn next_due(&self) -> Nanos {
        if self.waiting == 0 || self.write_blocked { Nanos::NEVER } else { self.replies[self.first].due }
    }

    pub(super) fn readable(&mut self, device: &Device<'_>) -> Result<(), Closed> {
        if self.wants_read() {
            match self.socket.read(&mut self.input[self.filled..]) {
                Ok(0) => return Err(Closed),
                Ok(n) => self.filled += n,
                Err(e) if is_transient(&e) => {}
                Err(_) => return Err(Closed),
            }
        }
        self.advance(device)
    }

    /// Answers what has been received and sends what is due.
    pub(super) fn advance(&mut self, device: &Device<'_>) -> Result<(), Closed> {
        loop {
            let now = super::now();
            self.serve(device, now)?;
            // A reply that left may have made room for a request that is here already.
            if !self.flush(device.fault, now)? || self.filled == 0 {
                return Ok(());
            }
        }
    }

    /// Turns received frames into replies, as far as there is room.
    fn serve(&mut self, device: &Device<'_>, now: Nanos) -> Result<(), Closed> {
        let mut at = 0;
        while self.waiting < REPLIES_MAX {
            match protocol::frame_at(&self.input[at..self.filled]) {
                Received::Partial => break,
                Received::Broken => return Err(Closed),
                Received::Whole(bytes) => {
                    self.answer(at, bytes, device, now)?;
                    at += bytes;
                }
            }
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    fn answer(&mut self, at: usize, bytes: usize, device: &Device<'_>, now: Nanos) -> Result<(), Closed> {
        device.counters.requests.fetch_add(1, Relaxed);
        if device.fault.is_some() {
            device.counters.faults.fetch_add(1, Relaxed);
        }
        let request = &self.input[at..at + bytes];
        let reply = &mut self.replies[(self.first + self.waiting) % REPLIES_MAX];
        let frame = &mut reply.frame;
        let mut delay = device.delay;
        let tick = signal::tick(now, device.start);
        let honest = |frame: &mut Frame| protocol::answer(device.memory, device.unknown_unit, request, tick, frame);
        let length = match device.fault {
            Some(Fault::Silence) => None,
            Some(Fault::DropConnection | Fault::Refuse) => return Err(Closed),
            Some(Fault::Exceptions(code)) => Some(protocol::exception(request, code, frame)),
            Some(Fault::Garbage) => Some(garbage(request, self.served, frame)),
            Some(Fault::WrongTransaction) => {
                let length = honest(frame);
                frame[0] ^= 0x55;
                frame[1] ^= 0x55;
                length
            }
            Some(Fault::WrongUnit) => {
                let length = honest(frame);
                frame[HEADER_BYTES] ^= 0x55;
                length
            }
            Some(Fault::HalfFrame) => honest(frame).map(|length| length / 2),
            Some(Fault::Delay(ms)) => {
                delay += Nanos::from_millis(ms.into());
                honest(frame)
            }
            Some(Fault::Mute(address)) if protocol::reaches(request, address) => None,
            Some(Fault::Mute(_)) => honest(frame),
            // Those of serial lines do not happen here.
            Some(Fault::Trickle(_) | Fault::WrongCrc | Fault::Noise | Fault::Unplug) | None => honest(frame),
        };
        self.served += 1;
        if let Some(length) = length {
            (reply.bytes, reply.sent, reply.due) = (length, 0, now + delay);
            self.waiting += 1;
            device.counters.replies.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Sends the replies that are due; says whether any went out whole.
    fn flush(&mut self, fault: Option<Fault>, now: Nanos) -> Result<bool, Closed> {
        self.write_blocked = false;
        let mut progress = false;
        loop {
            let due = (0..self.waiting).take_while(|i| self.reply(*i).due <= now).count();
            if due == 0 {
                return Ok(progress);
            }
            let trickle = match fault {
                Some(Fault::Trickle(ms)) => Some(Nanos::from_millis(ms.into())),
                _ => None,
            };
            let mut slices = [IoSlice::new(&[]); REPLIES_MAX];
            for (i, slice) in slices.iter_mut().enumerate().take(due) {
                let reply = self.reply(i);
                *slice = IoSlice::new(&reply.frame[reply.sent..reply.bytes]);
            }
            let written = match trickle {
                Some(_) => (&self.socket).write(&slices[0][..1]),
                None => (&self.socket).write_vectored(&slices[..due]),
            };
            match written {
                Ok(bytes) => progress |= self.sent(bytes),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if is_transient(&e) => {
                    self.write_blocked = true;
                    return Ok(progress);
                }
                Err(_) => return Err(Closed),
            }
            if let Some(pause) = trickle {
                // The pause holds between replies too.
                self.replies[self.first].due = now + pause;
                return Ok(progress);
            }
        }
    }

    fn reply(&self, i: usize) -> &Reply {
        &self.replies[(self.first + i) % REPLIES_MAX]
    }

    /// Marks bytes as sent; says whether a reply is through.
    fn sent(&mut self, mut bytes: usize) -> bool {
        let before = self.waiting;
        while self.waiting > 0 {
            let reply = &mut self.replies[self.first];
            let step = bytes.min(reply.bytes - reply.sent);
            reply.sent += step;
            bytes -= step;
            if reply.sent < reply.bytes {
                break;
            }
            self.first = (self.first + 1) % REPLIES_MAX;
            self.waiting -= 1;
        }
        self.waiting < before
    }
}

fn is_transient(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// A reply that breaks the protocol, turn by turn: noise, a header with an impossible length, another
/// function, a byte count that does not fit the frame.
fn garbage(request: &[u8], turn: u64, out: &mut Frame) -> usize {
    let noise = |out: &mut [u8]| {
        for (i, chunk) in out.chunks_mut(8).enumerate() {
            chunk.copy_from_slice(&hash(turn << 8 | i as u64).to_le_bytes()[..chunk.len()]);
        }
    };
    let bytes = 24 + (hash(turn) % 64) as usize;
    noise(&mut out[..bytes]);
    if turn.is_multiple_of(4) {
        // A protocol identifier that is surely not Modbus's.
        out[2] |= 1;
        return bytes;
    }
    out[..HEADER_BYTES + 2].copy_from_slice(&request[..HEADER_BYTES + 2]);
    let length = (bytes - HEADER_BYTES) as u16;
    out[4..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    match turn % 4 {
        1 => out[4..HEADER_BYTES].copy_from_slice(&[0xFF, 0xFF]),
        2 => out[HEADER_BYTES + 1] ^= 0x40,
        _ => out[HEADER_BYTES + 2] = (length - 3) as u8 ^ 1,
    }
    bytes
}
