//! A plan's one link on a real executor, in a thread of its own whose allocations count; the other ends of its rings are
//! the test's.

#![allow(dead_code, reason = "each test program uses its part")]

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use fieldbeat::lane::{Counters, Image, SampleWriter};
use fieldbeat::limits::WRITES_PENDING_MAX;
use fieldbeat::plan::Plan;
use fieldbeat::protocol::kinds::FieldLink;
use fieldbeat::rt::{
    Adoption, Clock, Closed, Conn, Connected, Executor, LinuxWorld, Report, Wiring, WriteAnswer, WriteOrder,
    monotonic_now,
};
use fieldbeat::tag::{LaneId, LinkId, Nanos, Sample, Status};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::floor_memory::watched;

pub const LINK: LinkId = LinkId(0);

/// To another plan: none comes.
type Change = Box<Adoption<FieldLink>>;

/// See the file. Stops when dropped.
pub struct Running {
    pub image: Arc<Image>,
    pub counters: Arc<Counters>,
    pub samples: Consumer<Sample>,
    pub reports: Consumer<Report>,
    pub closed: Consumer<Closed>,
    pub orders: Producer<WriteOrder>,
    pub answers: Consumer<WriteAnswer>,
    connected: Producer<Connected>,
    _adoptions: Producer<Change>,
    _adopted: Consumer<Change>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Executor<LinuxWorld, FieldLink>>>,
}

impl Running {
    pub fn start(plan: &Plan) -> Running {
        let counters = Arc::new(Counters::new(plan));
        let long: Vec<usize> = plan.tags.values().map(|tag| tag.ty.long_bytes_max()).collect();
        let image = Arc::new(Image::new(long.iter().copied(), Status::BAD_WAITING_FOR_INITIAL_DATA.0));
        let (ring, samples) = RingBuffer::new(1 << 16);
        let (reports_in, reports) = RingBuffer::new(1 << 16);
        let (connected, connected_out) = RingBuffer::new(4);
        let (closed_in, closed) = RingBuffer::new(4);
        let (orders, orders_out) = RingBuffer::new(WRITES_PENDING_MAX);
        let (answers_in, answers) = RingBuffer::new(WRITES_PENDING_MAX);
        let (adoptions_in, adoptions) = RingBuffer::new(1);
        let (adopted, adopted_out) = RingBuffer::new(1);
        let stop = Arc::new(AtomicBool::new(false));
        let long_bytes_max = long.into_iter().max().unwrap_or(0);
        let wiring = Wiring {
            sink: SampleWriter::new(ring, image.clone(), counters.clone(), LaneId(0), long_bytes_max),
            reports: reports_in,
            connected: connected_out,
            closed: closed_in,
            adoptions,
            adopted,
            orders: orders_out,
            answers: answers_in,
            counters: counters.clone(),
            stop: stop.clone(),
        };
        let links = vec![FieldLink::new(LINK, plan).unwrap()];
        let mut executor = Executor::new(LaneId(0), plan, links, LinuxWorld::new().unwrap(), wiring);
        executor.start_at(Clock { start: monotonic_now(), guard: Nanos::ZERO });
        // What it was made with, and takes with it when it goes, is its own business: what it does between counts.
        let thread = std::thread::spawn(move || {
            watched(|| executor.run());
            executor
        });
        Running {
            image,
            counters,
            samples,
            reports,
            closed,
            orders,
            answers,
            connected,
            _adoptions: adoptions_in,
            _adopted: adopted_out,
            stop,
            thread: Some(thread),
        }
    }

    /// Gives the link a connection, as its connector does.
    pub fn connect(&mut self, socket: OwnedFd) {
        self.connected.push(Connected { link: LINK, conn: Conn(socket.into_raw_fd()), target: 0 }).unwrap();
    }

    /// The connections that were given up since, closed.
    pub fn close(&mut self) -> Vec<Closed> {
        let closed: Vec<Closed> = std::iter::from_fn(|| self.closed.pop().ok()).collect();
        // SAFETY: the executor gave it back, so nobody else has it.
        closed.iter().for_each(|gone| drop(unsafe { OwnedFd::from_raw_fd(gone.conn.0) }));
        closed
    }

    /// Takes samples and reports without looking at them.
    pub fn drain(&mut self) {
        while self.samples.pop().is_ok() {}
        while self.reports.pop().is_ok() {}
    }

    pub fn stop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the executor panicked");
        }
        self.close();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Two ends of a socket that keeps frames apart, as CAN_RAW does; `flags` as of socketpair(2).
pub fn socket_pair(flags: libc::c_int) -> (OwnedFd, OwnedFd) {
    let mut fds: [RawFd; 2] = [0; 2];
    // SAFETY: the array has room for two descriptors.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | flags, 0, fds.as_mut_ptr()) };
    assert_eq!(made, 0);
    // SAFETY: they were just made, and nobody else has them.
    unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) }
}
