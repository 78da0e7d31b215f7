//! One line: its pseudo terminal, the pace of its bytes, what its units answer.
//!
//! A pseudo terminal hands bytes over at once. Here a line is paced: a request counts as arrived when its characters
//! could have been sent, the reply begins after the silence that a device needs to see the request's end (Modbus over
//! Serial Line V1.02, 2.5.1.1), and its bytes come 16 at a time, as from the buffer of a UART.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use super::super::device::DeviceMemory;
use super::super::fault::{Fault, Faulty, ScheduledFault};
use super::super::protocol::{self, HEADER_BYTES, UnknownUnit};
use super::super::{now, signal};
use super::{SerialSettings, Shared};
use crate::limits::{MODBUS_ADU_BYTES_MAX, RTU_FRAME_BYTES_MAX};
use crate::tag::{NANOS_PER_SEC, Nanos};

/// Start, 8 data bits, even parity, one stop bit.
const BITS_PER_CHARACTER: u64 = 11;
/// Of a read, and of a write of one register or coil.
const REQUEST_BYTES: usize = 8;
const UART_BYTES: usize = 16;
/// How often a line looks whether it shall end, or misbehave; and how often there is noise when there is.
const PATIENCE_MS: u8 = 20;
const PATIENCE: Duration = Duration::from_millis(PATIENCE_MS as u64);
/// More than a real-time thread's wake-up is usually late, also on a virtual machine.
const SPIN_MARGIN: Nanos = Nanos::from_micros(200);

/// See the module.
pub(super) struct Line {
    port: PathBuf,
    terminal: Option<Terminal>,
    memories: Arc<Vec<DeviceMemory>>,
    number: usize,
    start: Nanos,
    baud_rate: u64,
    faults: Vec<ScheduledFault>,
    shared: Arc<Shared>,
    /// Since when the line is silent.
    silent_since: Nanos,
    noise: u64,
    /// It spins instead of sleeping so long before something is due.
    margin: Nanos,
}

struct Terminal {
    master: File,
    /// Held open, so that the line outlives who uses it.
    _slave: OwnedFd,
}

impl Terminal {
    /// A new one, which `port` leads to.
    fn open(port: &PathBuf) -> io::Result<Terminal> {
        let pty = openpty(None, None)?;
        for end in [&pty.master, &pty.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        let mut raw = tcgetattr(&pty.slave)?;
        cfmakeraw(&mut raw);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &raw)?;
        let path = fs::read_link(format!("/proc/self/fd/{}", pty.slave.as_raw_fd()))?;
        // What an earlier run left.
        let _ = fs::remove_file(port);
        std::os::unix::fs::symlink(path, port)?;
        Ok(Terminal { master: File::from(pty.master), _slave: pty.slave })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.port);
    }
}

impl Line {
    pub fn new(
        (number, port): (usize, PathBuf),
        settings: &SerialSettings,
        memories: Arc<Vec<DeviceMemory>>,
        start: Nanos,
        shared: Arc<Shared>,
    ) -> io::Result<Line> {
        Ok(Line {
            terminal: Some(Terminal::open(&port)?),
            port,
            memories,
            number,
            start,
            baud_rate: u64::from(settings.baud_rate.max(1)),
            faults: settings.plant.faults.clone(),
            shared,
            silent_since: Nanos::ZERO,
            noise: 1,
            margin: settings.exact.map_or(Nanos::ZERO, |_| SPIN_MARGIN),
        })
    }

    fn fault(&self) -> Option<Fault> {
        let scheduled = || ScheduledFault::now(&self.faults, Faulty::Line(Some(self.number)), now().since(self.start));
        self.shared.fault.get().or_else(scheduled)
    }

    pub fn run(mut self) {
        let mut received = Vec::with_capacity(RTU_FRAME_BYTES_MAX);
        let mut buffer = [0u8; 256];
        let mut began = Nanos::ZERO;
        while !self.shared.stop.load(Relaxed) {
            if self.fault() == Some(Fault::Unplug) {
                received.clear();
                if self.pull_out().is_err() {
                    return;
                }
            }
            if !self.readable() {
                // A part of a request that does not go on is none.
                received.clear();
                if self.fault() == Some(Fault::Noise) {
                    self.make_noise();
                }
                continue;
            }
            let Some(terminal) = &mut self.terminal else { return };
            let Ok(n) = terminal.master.read(&mut buffer) else { return };
            if received.is_empty() {
                began = now();
            }
            received.extend_from_slice(&buffer[..n]);
            let Some(length) = request_bytes(&received).filter(|length| received.len() >= *length) else { continue };
            if received.len() == length && crc16(&received) == 0 {
                self.answer(&received, began);
            }
            received.clear();
        }
    }

    /// Until the fault is over; then there is a new terminal under the old name.
    fn pull_out(&mut self) -> io::Result<()> {
        self.shared.faults.fetch_add(1, Relaxed);
        fs::remove_file(&self.port)?;
        self.terminal = None;
        while self.fault() == Some(Fault::Unplug) && !self.shared.stop.load(Relaxed) {
            std::thread::sleep(PATIENCE);
        }
        self.silent_since = Nanos::ZERO;
        self.terminal = Some(Terminal::open(&self.port)?);
        Ok(())
    }

    fn make_noise(&mut self) {
        let bytes = [(); 5].map(|()| self.noise_byte());
        let count = 1 + usize::from(self.noise_byte()) % bytes.len();
        if let Some(terminal) = &mut self.terminal {
            let _ = terminal.master.write_all(&bytes[..count]);
        }
        self.shared.faults.fetch_add(1, Relaxed);
        self.silent_since = now();
    }

    /// Waits for a request; false: none came for a while.
    fn readable(&self) -> bool {
        let Some(terminal) = &self.terminal else { return false };
        let ready = |patience: PollTimeout| {
            let mut ends = [PollFd::new(terminal.master.as_fd(), PollFlags::POLLIN)];
            poll(&mut ends, patience).is_ok_and(|ready| ready > 0)
        };
        if self.margin > Nanos::ZERO && self.silent_since > Nanos::ZERO {
            // The next may be there as soon as the silence is over.
            let due = self.silent_since + self.silence();
            sleep_until(Nanos(due.0.saturating_sub(self.margin.0)));
            while now() < due + self.margin {
                if ready(PollTimeout::ZERO) {
                    return true;
                }
            }
        }
        ready(PollTimeout::from(PATIENCE_MS))
    }

    /// Sleeps, and spins where the line is exact.
    fn until(&self, at: Nanos) {
        sleep_until(Nanos(at.0.saturating_sub(self.margin.0)));
        while now() < at {
            std::hint::spin_loop();
        }
    }

    fn characters(&self, count: u64) -> Nanos {
        Nanos(count * BITS_PER_CHARACTER * NANOS_PER_SEC / self.baud_rate)
    }

    /// 3.5 characters, or 1.75 ms above 19200 baud.
    fn silence(&self) -> Nanos {
        if self.baud_rate > 19_200 { Nanos::from_micros(1_750) } else { Nanos(self.characters(7).0 / 2) }
    }

    fn answer(&mut self, request: &[u8], began: Nanos) {
        let shared = self.shared.clone();
        shared.requests.fetch_add(1, Relaxed);
        let arrived = began + self.characters(request.len() as u64);
        if began < self.silent_since + self.silence() && self.silent_since != Nanos::ZERO {
            shared.too_soon.fetch_add(1, Relaxed);
            self.silent_since = arrived;
            return;
        }
        if self.silent_since != Nanos::ZERO {
            let idle = began.since(self.silent_since + self.silence());
            shared.idle_ns.fetch_add(idle.0, Relaxed);
        }
        let seen = arrived + self.silence();
        let Some(mut reply) = self.reply(request) else {
            self.silent_since = arrived;
            return;
        };
        let fault = self.fault();
        shared.faults.fetch_add(u64::from(fault.is_some()), Relaxed);
        let mut at = seen;
        let mut gap = Nanos::ZERO;
        match fault {
            None | Some(Fault::Exceptions(_) | Fault::Noise) => {}
            Some(Fault::Delay(ms)) => at += Nanos::from_millis(u64::from(ms)),
            Some(Fault::Trickle(ms)) => gap = Nanos::from_millis(u64::from(ms)),
            Some(Fault::HalfFrame) => reply.truncate(reply.len() / 2),
            Some(Fault::WrongCrc) => {
                if let Some(last) = reply.last_mut() {
                    *last ^= 0x55;
                }
            }
            Some(Fault::WrongUnit) => {
                reply[0] ^= 0x55;
                let whole = reply.len() - 2;
                let crc = crc16(&reply[..whole]);
                reply[whole..].copy_from_slice(&crc.to_le_bytes());
            }
            Some(Fault::Garbage) => reply.iter_mut().for_each(|byte| *byte = self.noise_byte()),
            Some(
                Fault::Silence
                | Fault::Unplug
                | Fault::WrongTransaction
                | Fault::DropConnection
                | Fault::Refuse
                | Fault::Mute(_),
            ) => {
                self.silent_since = arrived;
                return;
            }
        }
        let piece = if gap == Nanos::ZERO { UART_BYTES } else { 1 };
        let mut sent = 0;
        while sent < reply.len() {
            let end = reply.len().min(sent + piece);
            at += self.characters((end - sent) as u64) + gap;
            self.until(at);
            let Some(terminal) = &mut self.terminal else { return };
            if terminal.master.write_all(&reply[sent..end]).is_err() || shared.stop.load(Relaxed) {
                return;
            }
            sent = end;
        }
        self.silent_since = at;
        shared.late_ns.fetch_add(now().since(at).0, Relaxed);
        let busy = at.since(began) + self.silence();
        shared.busy_ns.fetch_add(busy.0, Relaxed);
        shared.replies.fetch_add(1, Relaxed);
    }

    /// The reply of the line's devices, with its CRC; `None`: none of them answers.
    fn reply(&self, request: &[u8]) -> Option<Vec<u8>> {
        // The devices know Modbus TCP; the header is put before and taken off again.
        let pdu = &request[..request.len() - 2];
        let mut framed = vec![0, 0, 0, 0, 0, pdu.len() as u8];
        framed.extend_from_slice(pdu);
        let mut out = [0; MODBUS_ADU_BYTES_MAX];
        let device = self.memories.get(self.number)?;
        let tick = signal::tick(now(), self.start);
        let mut bytes = protocol::answer(device, UnknownUnit::Silence, &framed, tick, &mut out)?;
        if let Some(Fault::Exceptions(code)) = self.fault() {
            bytes = protocol::exception(&framed, code, &mut out);
        }
        let mut reply = out[HEADER_BYTES..bytes].to_vec();
        let crc = crc16(&reply);
        reply.extend(crc.to_le_bytes());
        Some(reply)
    }

    fn noise_byte(&mut self) -> u8 {
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.noise >> 56) as u8
    }
}

/// How long the request is that begins so; `None`: too little of it is here to tell.
fn request_bytes(received: &[u8]) -> Option<usize> {
    let counted = |overhead: usize, at: usize| received.get(at).map(|bytes| overhead + usize::from(*bytes));
    match *received.get(1)? {
        15 | 16 => counted(9, 6),
        22 => Some(10),
        23 => counted(13, 10),
        _ => Some(REQUEST_BYTES),
    }
}

fn sleep_until(at: Nanos) {
    let left = at.since(now());
    if left > Nanos::ZERO {
        std::thread::sleep(Duration::from_nanos(left.0));
    }
}

/// Appendix B of the serial line's specification, bit by bit: not the gateway's own way.
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}
