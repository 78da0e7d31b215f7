//! The thread of one device: it waits for datagrams and edges, works on the device, and answers.
//!
//! It ends when its executor's end of the socket is closed, and when the device is gone; the device is closed then. Each
//! access is bounded in time by the device's driver.
//!
//! | file | subject |
//! |---|---|
//! | `open` | devices opened and set up, and what is said when that fails |
//! | `device` | what is asked of hardware, as traits |
//! | `gpio`, `i2c`, `spi`, `iio`, `iio_buffer` | the kernel's hardware behind them |
//! | `uapi` | the kernel's structures and numbers |
//! | `lines`, `registers`, `channels`, `samples` | what a scan and a write come to |
//! | `allowance` | how much is told by itself |
//! | `formula`, `bme280`, `scan_element` | bytes to values |

mod allowance;
mod bme280;
mod channels;
mod device;
pub(super) mod formula;
mod gpio;
mod i2c;
mod iio;
mod iio_buffer;
mod lines;
mod open;
mod registers;
mod samples;
mod scan_element;
mod spi;
#[cfg(test)]
mod tests;
mod uapi;
mod unopened;

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;
use std::{io, thread};

use super::wire::{self, Asked, Datagram, Entry, WriteEnd};
use crate::limits::{LOCAL_IO_DATAGRAM_BYTES_MAX, LOCAL_IO_EDGES_AT_ONCE_MAX, WRITE_BYTES_MAX};
use crate::protocol::local_io::plan::{LocalIoItem, LocalIoSetup};
use crate::rt::monotonic_now;
use crate::tag::{Nanos, Status};
use device::{Clock, Fault};
use formula::Convert;
pub use open::open;

/// One item of a scan.
struct Answer {
    t: Nanos,
    result: Result<(u64, Status), Status>,
    news: u32,
}

impl Answer {
    fn read(t: Nanos, result: Result<(u64, Status), Status>) -> Answer {
        Answer { t, result, news: wire::NEW }
    }

    /// The last value has this status now.
    fn held(t: Nanos, status: Status) -> Answer {
        Answer { t, result: Err(status), news: wire::NEW }
    }

    /// Nothing came since.
    fn unchanged(t: Nanos) -> Answer {
        Answer { t, result: Ok((0, Status::GOOD)), news: wire::UNCHANGED }
    }
}

/// An edge, or a sample, to be told by itself.
struct Edge {
    t: Nanos,
    item: u32,
    value: u64,
    status: Status,
}

/// A device as the thread knows it.
trait Reader: Send {
    /// Reads the items of a request, an answer for each.
    ///
    /// # Errors
    /// Only that the device is gone.
    fn scan(&mut self, request: usize, answers: &mut Vec<Answer>) -> Result<(), Fault>;

    /// Writes to a slot of the setup.
    fn write(&mut self, slot: usize, payload: &[u8]) -> Result<(), Fault>;

    /// Reads what a slot holds, as it is written.
    fn read_back(&mut self, slot: usize, back: &mut Vec<u8>) -> Result<(), Fault>;

    /// Readable when there are edges.
    fn descriptors(&self) -> &[RawFd] {
        &[]
    }

    /// Takes edges without waiting; `lost` counts those that are too many to be told. True: there may be more.
    fn edges(&mut self, _edges: &mut Vec<Edge>, _lost: &mut u32) -> Result<bool, Fault> {
        Ok(false)
    }
}

fn convert_of(item: &LocalIoItem) -> Convert {
    Convert { ty: item.ty, scaling: item.scaling, sensor: item.sensor }
}

/// CLOCK_MONOTONIC and the thread's own sleep.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&mut self) -> Nanos {
        monotonic_now()
    }

    fn sleep(&mut self, pause: Nanos) {
        thread::sleep(Duration::from_nanos(pause.0));
    }
}

/// Starts the thread of a device; what comes back is the executor's end of its socket.
fn start(reader: Box<dyn Reader>, setup: &LocalIoSetup) -> io::Result<OwnedFd> {
    let (ours, theirs) = socket_pair()?;
    let priority = setup.priority;
    let thread = thread::Builder::new().name(format!("fb-{}", setup.device.protocol())).stack_size(256 << 10);
    thread.spawn(move || {
        raise(priority);
        Served { socket: theirs, reader, datagram: Box::default() }.run();
    })?;
    Ok(ours)
}

fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(io::Error::from)
}

/// Below the executors, above everything else; where that is not allowed, the executors have no priority either.
fn raise(priority: u8) {
    if priority > 0 {
        // SAFETY: zeroes are a value of the structure.
        let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
        param.sched_priority = i32::from(priority);
        // SAFETY: the structure lives through the call; 0 is the calling thread.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const param) };
    }
}

/// A device, and the executor that it serves.
struct Served {
    socket: OwnedFd,
    reader: Box<dyn Reader>,
    datagram: Box<Datagram>,
}

impl Served {
    fn run(mut self) {
        let descriptors = std::iter::once(self.socket.as_raw_fd()).chain(self.reader.descriptors().iter().copied());
        let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut waiting: Vec<libc::pollfd> = descriptors.map(poll).collect();
        let mut buffer = vec![0; LOCAL_IO_DATAGRAM_BYTES_MAX];
        loop {
            // SAFETY: the array lives through the call and has so many entries.
            let ready = unsafe { libc::poll(waiting.as_mut_ptr(), waiting.len() as libc::nfds_t, -1) };
            if ready < 0 {
                if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                    return;
                }
                // What is said of the descriptors is that of the time before.
                continue;
            }
            let edges = waiting.iter().skip(1).any(|fd| fd.revents != 0);
            // Edges first: what a scan reads is newer than they are.
            if edges && self.tell_edges().is_err() {
                return;
            }
            if waiting.first().is_some_and(|fd| fd.revents != 0) && self.serve(&mut buffer).is_err() {
                return;
            }
        }
    }

    /// Takes one datagram and does what it asks. Failing: this was the end.
    fn serve(&mut self, buffer: &mut [u8]) -> Result<(), Fault> {
        // SAFETY: pointer and length are those of a live, writable slice.
        let len = unsafe { libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let Some(bytes) = usize::try_from(len).ok().filter(|len| *len > 0).and_then(|len| buffer.get(..len)) else {
            let interrupted = len < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
            return if interrupted { Ok(()) } else { Err(Fault::Gone) };
        };
        match wire::asked(bytes) {
            Some(Asked::Scan { request, sequence }) => self.scan(request, sequence),
            Some(Asked::Write { slot, id, read_back, deadline, payload }) => {
                let mut copy = [0; WRITE_BYTES_MAX];
                let Some(copy) = copy.get_mut(..payload.len()) else { return Err(Fault::Gone) };
                copy.copy_from_slice(payload);
                self.write(slot, id, read_back, deadline, copy)
            }
            None => Err(Fault::Gone),
        }
    }

    fn scan(&mut self, request: u32, sequence: u32) -> Result<(), Fault> {
        let mut answers = Vec::new();
        self.reader.scan(request as usize, &mut answers)?;
        // Edges that came meanwhile are older than the answer, or the answer knows of them.
        self.tell_edges()?;
        self.datagram.scanned(request, sequence);
        for Answer { t, result, news } in answers {
            let (value, status) = result.unwrap_or_else(|status| (0, status));
            self.datagram.entry(Entry { t, value, status, item: news });
        }
        self.send(0)
    }

    fn write(&mut self, slot: u32, id: u64, read_back: bool, deadline: Nanos, payload: &[u8]) -> Result<(), Fault> {
        let mut back = Vec::new();
        let end = if monotonic_now() >= deadline {
            WriteEnd::TooLate
        } else {
            match self.reader.write(slot as usize, payload) {
                Ok(()) if !read_back => WriteEnd::Done,
                Ok(()) => match self.reader.read_back(slot as usize, &mut back) {
                    Ok(()) => WriteEnd::Done,
                    Err(_) => WriteEnd::NotReadBack,
                },
                Err(fault) => WriteEnd::Refused(number_of(fault)),
            }
        };
        self.datagram.written(id, end, monotonic_now(), &back);
        self.send(0)
    }

    /// Tells the edges that are there; what the executor has no room for is counted with the next.
    fn tell_edges(&mut self) -> Result<(), Fault> {
        let mut edges = Vec::with_capacity(LOCAL_IO_EDGES_AT_ONCE_MAX);
        let mut lost = 0;
        loop {
            let more = self.reader.edges(&mut edges, &mut lost)?;
            // By time, whichever line they are of.
            edges.sort_by_key(|edge| edge.t);
            for chunk in edges.chunks(LOCAL_IO_EDGES_AT_ONCE_MAX) {
                self.datagram.edges(std::mem::take(&mut lost));
                for Edge { t, item, value, status } in chunk {
                    self.datagram.entry(Entry { t: *t, value: *value, status: *status, item: *item });
                }
                match self.send(libc::MSG_DONTWAIT) {
                    Err(Fault::Failed(libc::EAGAIN)) => lost = lost.saturating_add(chunk.len() as u32),
                    other => other?,
                }
            }
            edges.clear();
            if !more {
                break;
            }
        }
        if lost > 0 {
            self.datagram.edges(lost);
            // Where there is no room for this either, the count is lost, and the edges are still in the counts.
            let _ = self.send(libc::MSG_DONTWAIT);
        }
        Ok(())
    }

    fn send(&self, flags: i32) -> Result<(), Fault> {
        let bytes = self.datagram.bytes();
        loop {
            // SAFETY: pointer and length are those of a live slice.
            let sent = unsafe {
                let socket = self.socket.as_raw_fd();
                libc::send(socket, bytes.as_ptr().cast(), bytes.len(), flags | libc::MSG_NOSIGNAL)
            };
            if sent >= 0 {
                return Ok(());
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return Err(Fault::Failed(libc::EAGAIN)),
                _ => return Err(Fault::Gone),
            }
        }
    }
}

/// As the system numbers it, for people.
fn number_of(fault: Fault) -> u32 {
    let number = match fault {
        Fault::Silent | Fault::Other => libc::ENXIO,
        Fault::Stuck => libc::ETIMEDOUT,
        Fault::Failed(number) => number,
        Fault::Gone => libc::ENODEV,
    };
    number.unsigned_abs()
}
