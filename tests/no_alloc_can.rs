//! An executor with a CAN link neither allocates nor frees, whatever is on the bus. The bus is a fake: a pair of sockets
//! that keep frames apart stands in for the raw CAN socket, which the kernel here may lack.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "support/executor.rs"]
mod executor;
#[path = "support/floor_memory.rs"]
mod floor_memory;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use fieldbeat::lane::LinkState;
use fieldbeat::plan::Plan;
use fieldbeat::plan::demand::Costs;
use fieldbeat::protocol;
use fieldbeat::protocol::can::link::pure::encode;
use fieldbeat::protocol::load_parts;
use fieldbeat::rt::{WriteOrder, WriteOutcome, WritePayload, monotonic_now};
use fieldbeat::tag::Nanos;

use executor::{LINK, Running, socket_pair};
use floor_memory::{ALLOCATIONS, FREES, the_detector_bites};

const COSTS: Costs = Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) };
const RUN: Duration = Duration::from_secs(6);
/// linux/can.h.
const ERROR: u32 = 1 << 29;
const REMOTE: u32 = 1 << 30;

const DBC: &str = r#"BO_ 256 Motor: 8 Node
 SG_ Speed : 0|16@1+ (0.25,-100) [0|0] "rpm" Node
 SG_ Gear : 32|4@1+ (1,0) [0|0] "" Node
BO_ 257 Pages: 8 Node
 SG_ Page M : 0|8@1+ (1,0) [0|0] "" Node
 SG_ A m1 : 8|16@1+ (1,0) [0|0] "" Node
 SG_ B m2 : 8|16@1- (1,0) [0|0] "" Node
BO_ 512 Command: 2 Gateway
 SG_ Target : 0|16@1+ (1,0) [0|0] "" Node
VAL_ 256 Gear 0 "neutral" 1 "first" 15 "reverse" ;
"#;

fn planned() -> Plan {
    let tag = |name: &str, address: &str, more: &str| {
        format!(r#"{{"name": "{name}", "address": "can0:{address}", "scan_rate_ms": 2 {more}}}"#)
    };
    let tags = [
        tag("speed", "Motor.Speed", ""),
        tag("gear", "Motor.Gear", r#", "data_type": "string""#),
        tag("a", "Pages.A", ""),
        tag("b", "Pages.B", ""),
        tag("group", "pgn:0xF004:24:16", ""),
        tag("packets", "pgn:0xFECA:800:32", ""),
        tag("target", "Command.Target", r#", "write": {"min": 0, "max": 65535}"#),
    ];
    let text = format!(
        r#"{{"links": [{{"name": "can0", "protocol": "can", "interface": "can0", "dbc": "v.dbc", "silent_after_ms": 20,
             "transmit": [{{"message": "Command", "period_ms": 5, "on_change": true, "min_distance_ms": 1,
                            "initial": {{"Target": 0}}}}] }}], "tags": [{}]}}"#,
        tags.join(",")
    );
    let files = [("tags/a.json", text.as_str()), ("tags/v.dbc", DBC)];
    let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &files);
    protocol::build_with(&loaded.unwrap_or_else(|error| panic!("{error}")).config, &[0], &COSTS).unwrap().plan
}

fn send(socket: &OwnedFd, bytes: &[u8]) {
    // SAFETY: pointer and length are those of a live slice.
    unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
}

/// Hands back what the gateway sends, as a bus does, and counts it.
fn echo(socket: &OwnedFd, back: bool) -> u64 {
    let (mut buffer, mut count) = ([0u8; 72], 0);
    loop {
        // SAFETY: pointer and length are those of a live, writable array.
        let len = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        if len <= 0 {
            return count;
        }
        count += 1;
        if back {
            send(socket, &buffer[..len as usize]);
        }
    }
}

fn data(socket: &OwnedFd, id: u32, bytes: &[u8]) {
    let (frame, n) = encode(id & 0x1FFF_FFFF, id >> 31 != 0, false, bytes);
    send(socket, &frame[..n]);
}

fn special(socket: &OwnedFd, id: u32, bytes: [u8; 8]) {
    let (mut frame, n) = encode(0, false, false, &bytes);
    frame[..4].copy_from_slice(&id.to_ne_bytes());
    send(socket, &frame[..n]);
}

/// One step on the bus, by what the time says is going on there.
fn step(socket: &OwnedFd, n: u64, phase: usize) {
    let byte = n as u8;
    match phase % 8 {
        // Silence.
        1 => {}
        2 => special(socket, ERROR | 0x40, [0; 8]),
        3 => {
            special(socket, ERROR | 0x100, [0; 8]);
            special(socket, ERROR | 0x04, [0, 0x21, 0, 0, 0, 0, 0, 0]);
            special(socket, ERROR | 0xAA, [byte; 8]);
        }
        4 => {
            send(socket, &[byte; 20]);
            special(socket, 0x100 | REMOTE, [0; 8]);
            data(socket, 0x100, &[byte]);
            data(socket, 0x555, &[byte; 8]);
        }
        _ => {
            for gear in [0, 1, 7, 15] {
                data(socket, 0x100, &[byte, 1, 0, 0, gear, 0, 0, 0]);
                data(socket, 0x101, &[gear & 3, byte, byte, 0, 0, 0, 0, 0]);
                data(socket, 0x8CF0_0400 | u32::from(byte), &[0, 0, 0, byte, byte, 0, 0, 0]);
            }
            // A message of 17 packets; now and then one is missing.
            data(socket, 0x9CEC_FF05, &[32, 113, 0, 17, 255, 0xCA, 0xFE, 0]);
            for packet in (1..=17).filter(|packet| !n.is_multiple_of(5) || *packet != 9) {
                data(socket, 0x9CEB_FF05, &[packet, byte, 1, 2, 3, 4, 5, 6]);
            }
        }
    }
}

#[test]
fn an_executor_with_a_can_link_neither_allocates_nor_frees_whatever_is_on_a_fake_bus() {
    the_detector_bites();
    let mut running = Running::start(&planned());
    let (start, counters) = (Instant::now(), running.counters.clone());
    let (mut bus, mut heard, mut id, mut n, mut losses) = (None, 0, 0, 0, 0);
    let (mut outcomes, mut states) = (Vec::new(), Vec::new());
    while start.elapsed() < RUN {
        let phase = (start.elapsed().as_millis() / 120) as usize;
        if bus.is_none() {
            let (ours, theirs) = socket_pair(libc::SOCK_NONBLOCK);
            bus = Some(theirs);
            running.connect(ours);
        }
        if let Some(socket) = &bus {
            step(socket, n, phase);
            heard += echo(socket, !phase.is_multiple_of(3));
        }
        n += 1;
        // The interface goes now and then.
        if phase % 12 == 11 && n % 40 == 0 {
            bus = None;
            losses += 1;
        }
        states.push(counters.link(LINK).state());
        running.close();
        running.drain();
        outcomes.extend(std::iter::from_fn(|| running.answers.pop().ok()).map(|answer| answer.outcome));
        if id - (outcomes.len() as u64) < 4 {
            id += 1;
            let deadline = monotonic_now() + Nanos::from_millis(20);
            let payload = WritePayload::new(&(id & 0xFFFF).to_le_bytes()).unwrap();
            let read_back = id % 2 == 0;
            let order = WriteOrder { id, link: LINK, slot: 0, generation: 0, deadline, read_back, payload };
            running.orders.push(order).unwrap();
        }
        thread::sleep(Duration::from_millis(1));
    }
    running.stop();
    outcomes.extend(std::iter::from_fn(|| running.answers.pop().ok()).map(|answer| answer.outcome));
    let c = counters.link(LINK);
    println!("{:?}, {heard} frames heard of it, {losses} losses, {id} writes", c.can.all().map(|(e, n)| (e, n.get())));
    assert_eq!((ALLOCATIONS.load(Relaxed), FREES.load(Relaxed)), (0, 0), "allocations and frees of the executor");
    for (what, count) in [
        ("short frames", &c.short_frames),
        ("foreign frames", &c.foreign),
        ("malformed frames", &c.garbage),
        ("remote frames", &c.can.remote),
        ("bus-offs", &c.can.bus_offs),
        ("passives", &c.can.passives),
        ("messages of packets", &c.can.tp_messages),
        ("messages without a packet", &c.can.tp_lost),
        ("disconnects", &c.disconnects),
    ] {
        assert!(count.get() > 0, "no {what} happened: nothing was shown about them");
    }
    for state in [LinkState::Up, LinkState::BusOff, LinkState::Down] {
        assert!(states.contains(&state), "the link was never {state:?}");
    }
    for outcome in [WriteOutcome::Done, WriteOutcome::NotSent] {
        assert!(outcomes.contains(&outcome), "no write came to {outcome:?}");
    }
    assert!(c.can.received.get() > 5_000 && c.can.sent.get() > 300, "too little to say anything");
    // Those that the executor had not taken when it was told to stop stay in the ring.
    assert!(id - (outcomes.len() as u64) <= 4, "each write was answered once");
}
