//! An executor with a local bus neither allocates nor frees, whatever the bus's thread does. The thread is a fake: it
//! speaks the datagrams of `link::bus` by hand over a real socket.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "support/floor_memory.rs"]
mod floor_memory;

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fieldbeat::config::load_parts;
use fieldbeat::limits::WRITES_PENDING_MAX;
use fieldbeat::link::FieldLink;
use fieldbeat::plan::{self, Costs, Plan};
use fieldbeat::rt::{
    Clock, CloseReason, Conn, Connected, Counters, Executor, Image, LinuxWorld, Sink, Wiring, WriteOrder, WritePayload,
    monotonic_now,
};
use fieldbeat::tag::{ExecutorId, LinkId, Nanos, Status};
use floor_memory::{ALLOCATIONS, ARMED, FREES, the_detector_bites};
use rtrb::RingBuffer;

const COSTS: Costs = Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) };
const TAGS: u32 = 6;
const RUN: Duration = Duration::from_secs(6);

fn planned() -> Plan {
    let tag = |n: u32| {
        format!(
            r#"{{"name": "t{n}", "address": "io:{n}", "edge": "both", "scan_rate_ms": {}}}"#,
            if n < 4 { 1 } else { 5 }
        )
    };
    let tags: Vec<String> = (0..TAGS).map(tag).collect();
    let text = format!(
        r#"{{"links": [{{"name": "io", "protocol": "gpio", "chip": "/dev/null", "timeout_ms": 4, "overhead_ms": 0}}], "tags": [{}]}}"#,
        tags.join(",")
    );
    let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &text)]).unwrap();
    plan::build_with(&loaded.config, &[0], &COSTS).unwrap().plan
}

/// What the fake thread does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Every value is bad.
    Failing,
    /// Later than the timeout.
    Late,
    /// Not at all.
    Silent,
    /// A datagram that is none.
    Nonsense,
    /// The end of the socket.
    Gone,
}

const MOODS: [Mood; 6] = [Mood::Failing, Mood::Late, Mood::Silent, Mood::Nonsense, Mood::Gone, Mood::Well];

fn socket_pair() -> (OwnedFd, OwnedFd) {
    let mut fds: [RawFd; 2] = [0; 2];
    // SAFETY: the array has room for two descriptors.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, fds.as_mut_ptr()) };
    assert_eq!(made, 0);
    // SAFETY: they were just made, and nobody else has them.
    unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) }
}

/// Kind and three words; then time, value, status and item of each entry.
fn datagram(kind: u32, words: [u32; 3], entries: &[(u64, u64, u32, u32)]) -> Vec<u8> {
    let mut bytes: Vec<u8> = [kind, words[0], words[1], words[2]].iter().flat_map(|word| word.to_ne_bytes()).collect();
    for (t, value, status, item) in entries {
        bytes.extend(t.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
        bytes.extend(status.to_ne_bytes());
        bytes.extend(item.to_ne_bytes());
    }
    bytes
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> bool {
    // SAFETY: pointer and length are those of a live slice.
    unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) > 0 }
}

/// Answers until its socket ends; the mood changes with the time since `start`.
fn fake_thread(socket: &OwnedFd, requests: &[u32], start: Instant) {
    let mut buffer = [0u8; 4096];
    loop {
        // SAFETY: pointer and length are those of a live, writable array.
        let len = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        if len <= 0 {
            return;
        }
        let word = |at: usize| u32::from_ne_bytes(buffer[at..at + 4].try_into().unwrap());
        let phase = start.elapsed().as_millis() as usize / 250;
        // Well in between, so that each of them begins with values that are held.
        let mood = if phase.is_multiple_of(2) { Mood::Well } else { MOODS[phase / 2 % MOODS.len()] };
        let now = monotonic_now().0;
        if word(0) == 2 {
            // A write: done, with its id and time.
            let mut bytes = datagram(2, [0, 0, 0], &[]);
            bytes.extend_from_slice(&buffer[16..24]);
            bytes.extend(now.to_ne_bytes());
            send(socket, &bytes);
            continue;
        }
        let (request, sequence) = (word(4), word(8));
        let status = if mood == Mood::Failing { Status::BAD_DEVICE_FAILURE.0 } else { 0 };
        let entries: Vec<_> = (0..requests[request as usize]).map(|n| (now, u64::from(n & 1), status, 0)).collect();
        match mood {
            Mood::Gone => return,
            Mood::Silent => continue,
            Mood::Nonsense => {
                send(socket, &[7; 20]);
                continue;
            }
            Mood::Late => thread::sleep(Duration::from_millis(6)),
            Mood::Well | Mood::Failing => {}
        }
        let edges: Vec<_> = (0..8).map(|n| (now, n & 1, 0, n as u32 % TAGS)).collect();
        send(socket, &datagram(3, [1, 0, 0], &edges));
        send(socket, &datagram(1, [request, sequence, 0], &entries));
    }
}

#[test]
fn an_executor_with_a_local_bus_neither_allocates_nor_frees_whatever_its_fake_thread_does() {
    the_detector_bites();
    let plan = Arc::new(planned());
    let link = LinkId(0);
    let fieldbeat::plan::LinkProtocolPlan::Bus(bus) = &plan.links[link].protocol else { panic!() };
    let requests: Vec<u32> = bus.requests.iter().map(|request| request.items.end - request.items.start).collect();
    let counters = Arc::new(Counters::new(&plan));
    let image = Arc::new(Image::new(plan.tags.ids().map(|_| 0), Status::BAD_WAITING_FOR_INITIAL_DATA.0));
    let (ring, mut samples) = RingBuffer::new(1 << 16);
    let (reports, mut reports_out) = RingBuffer::new(1 << 14);
    let (mut connected, connected_out) = RingBuffer::new(4);
    let (closed_in, mut closed) = RingBuffer::new(4);
    let (mut orders, orders_out) = RingBuffer::new(WRITES_PENDING_MAX);
    let (answers_in, mut answers) = RingBuffer::new(WRITES_PENDING_MAX);
    let (_adoptions, to_executor) = RingBuffer::new(1);
    let (from_executor, _adopted) = RingBuffer::new(1);
    let stop = Arc::new(AtomicBool::new(false));
    let wiring = Wiring {
        adoptions: to_executor,
        adopted: from_executor,
        sink: Sink::new(ring, image, counters.clone(), ExecutorId(0), 0),
        reports,
        connected: connected_out,
        closed: closed_in,
        orders: orders_out,
        answers: answers_in,
        counters: counters.clone(),
        stop: stop.clone(),
    };
    let start = Instant::now();
    let executor = {
        let (plan, links) = (plan.clone(), vec![FieldLink::new(link, &plan)]);
        thread::Builder::new().name("fb-exec0".into()).spawn(move || {
            let mut executor = Executor::new(ExecutorId(0), &plan, links, LinuxWorld::new().unwrap(), wiring);
            executor.start_at(Clock { start: monotonic_now(), guard: Nanos::ZERO });
            // What it was made with is its own business; from here on it runs.
            ARMED.store(true, Relaxed);
            executor.run();
            ARMED.store(false, Relaxed);
        })
    };
    let executor = executor.unwrap();
    let (mut reasons, mut answered, mut id) = (Vec::new(), 0, 0);
    let mut threads = Vec::new();
    let mut connect = |connected: &mut rtrb::Producer<Connected>| {
        let (ours, theirs) = socket_pair();
        let requests = requests.clone();
        threads.push(thread::spawn(move || fake_thread(&theirs, &requests, start)));
        connected.push(Connected { link, conn: Conn(ours.into_raw_fd()), target: 0 }).unwrap();
    };
    connect(&mut connected);
    while start.elapsed() < RUN {
        while let Ok(gone) = closed.pop() {
            // SAFETY: the executor gave it back, so nobody else has it.
            drop(unsafe { OwnedFd::from_raw_fd(gone.conn.0) });
            reasons.push(gone.reason);
            connect(&mut connected);
        }
        while samples.pop().is_ok() {}
        while reports_out.pop().is_ok() {}
        while answers.pop().is_ok() {
            answered += 1;
        }
        if id - answered < 4 {
            id += 1;
            let deadline = monotonic_now() + Nanos::from_millis(20);
            let payload = WritePayload::new(&[1]).unwrap();
            orders.push(WriteOrder { id, link, slot: 0, generation: 0, deadline, read_back: false, payload }).unwrap();
        }
        thread::sleep(Duration::from_millis(2));
    }
    stop.store(true, Relaxed);
    executor.join().unwrap();
    while let Ok(gone) = closed.pop() {
        // SAFETY: as above.
        drop(unsafe { OwnedFd::from_raw_fd(gone.conn.0) });
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    while answers.pop().is_ok() {
        answered += 1;
    }
    let c = counters.link(link);
    println!(
        "{} requests, {} good, {} exceptions, {} timeouts, {} late, {} aborted, {} suppressed, {} edges lost, {id} writes",
        c.requests.get(),
        c.replies.get(),
        c.exceptions.get(),
        c.timeouts.get(),
        c.late.get(),
        c.aborted.get(),
        c.suppressed.get(),
        c.lost.get()
    );
    assert_eq!((ALLOCATIONS.load(Relaxed), FREES.load(Relaxed)), (0, 0), "allocations and frees of the executor");
    for (what, count) in
        [("exceptions", &c.exceptions), ("timeouts", &c.timeouts), ("late", &c.late), ("lost", &c.lost)]
    {
        assert!(count.get() > 0, "no {what} happened: nothing was shown about them");
    }
    for reason in [CloseReason::Silent, CloseReason::Garbage, CloseReason::Lost] {
        assert!(reasons.contains(&reason), "{reason:?} never happened");
    }
    assert!(c.replies.get() > 1_000, "{} replies were too few to say anything", c.replies.get());
    let ends = c.replies.get() + c.exceptions.get() + c.timeouts.get() + c.aborted.get() + c.broken.get();
    assert_eq!(c.requests.get(), ends, "each request came to one end");
    assert_eq!(answered, id, "each write was answered once");
}
