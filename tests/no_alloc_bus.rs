//! An executor with a local bus neither allocates nor frees, whatever the bus's thread does. The thread is a fake: it
//! speaks the datagrams of `link::bus` by hand over a real socket.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "support/executor.rs"]
mod executor;
#[path = "support/floor_memory.rs"]
mod floor_memory;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use fieldbeat::plan::Plan;
use fieldbeat::plan::demand::Costs;
use fieldbeat::protocol;
use fieldbeat::protocol::load_parts;
use fieldbeat::protocol::local_io::plan::LocalIoPlan;
use fieldbeat::rt::{CloseReason, WriteOrder, WritePayload, monotonic_now};
use fieldbeat::tag::{Nanos, Status};

use executor::{LINK, Running, socket_pair};
use floor_memory::{ALLOCATIONS, FREES, the_detector_bites};

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
    protocol::build_with(&loaded.config, &[0], &COSTS).unwrap().plan
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
    let plan = planned();
    let Some(bus) = plan.links[LINK].protocol.get::<LocalIoPlan>() else { panic!("a local bus") };
    let requests: Vec<u32> = bus.requests.iter().map(|request| request.items.end - request.items.start).collect();
    let mut running = Running::start(&plan);
    let (start, counters) = (Instant::now(), running.counters.clone());
    let (mut reasons, mut answered, mut id) = (Vec::new(), 0, 0);
    let mut threads = Vec::new();
    let mut connect = |running: &mut Running| {
        let (ours, theirs) = socket_pair(0);
        let requests = requests.clone();
        threads.push(thread::spawn(move || fake_thread(&theirs, &requests, start)));
        running.connect(ours);
    };
    connect(&mut running);
    while start.elapsed() < RUN {
        for gone in running.close() {
            reasons.push(gone.reason);
            connect(&mut running);
        }
        running.drain();
        while running.answers.pop().is_ok() {
            answered += 1;
        }
        if id - answered < 4 {
            id += 1;
            let deadline = monotonic_now() + Nanos::from_millis(20);
            let payload = WritePayload::new(&[1]).unwrap();
            let order = WriteOrder { id, link: LINK, slot: 0, generation: 0, deadline, read_back: false, payload };
            running.orders.push(order).unwrap();
        }
        thread::sleep(Duration::from_millis(2));
    }
    running.stop();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    while running.answers.pop().is_ok() {
        answered += 1;
    }
    let c = counters.link(LINK);
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
