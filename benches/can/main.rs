//! CAN frames from the socket into the image: frames a second on one core, by the executor as it runs, beside plain
//! receiving of the same frames from the same kind of socket, in turns of one run; and what cantools decodes of them.
//! Then the way of a single frame, from its sender to the image, with the executor in a thread of its own.
//!
//! The socket is one of UDP on the loopback: where the kernel has no CAN, it comes nearest, with a queue, time stamps
//! and a system call for each frame. cantools decodes frames that it has already: no socket.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fieldbeat::lane::{Counters, Image, SampleWriter};
use fieldbeat::limits::CAN_FRAMES_PER_STEP;
use fieldbeat::protocol;
use fieldbeat::protocol::can::link::pure::encode;
use fieldbeat::protocol::kinds::FieldLink;
use fieldbeat::protocol::load_parts;
use fieldbeat::rt::{Arrival, Clock, Conn, Connected, Executor, Io, LinuxWorld, Wiring, World, monotonic_now};
use fieldbeat::tag::{LaneId, LinkId, Nanos, Status};

/// Frames that wait in the socket when a turn begins, and turns of each kind.
const FRAMES: usize = 128;
const TURNS: usize = 2_000;
/// So few that all of their memory was touched before most turns, as the gateway touches its own before it starts.
const RING_SLOTS: usize = 1 << 12;
/// Frames whose way is timed.
const SINGLE: usize = 1_000;

const DBC: &str = r#"BO_ 256 Motor: 8 Node
 SG_ Speed : 0|16@1+ (0.25,-100) [0|0] "rpm" Node
 SG_ Torque : 23|16@0- (1,0) [0|0] "Nm" Node
 SG_ Gear : 32|4@1+ (1,0) [0|0] "" Node
 SG_ Running : 36|1@1+ (1,0) [0|0] "" Node
"#;
const SIGNALS: [&str; 4] = ["Speed", "Torque", "Gear", "Running"];

/// The other ends of the executor's rings, which have to live as long as it.
struct Ends(#[expect(dead_code, reason = "kept, not read")] Box<dyn std::any::Any>);

struct Rig {
    executor: Executor<LinuxWorld, FieldLink>,
    image: Arc<Image>,
    counters: Arc<Counters>,
    samples: rtrb::Consumer<fieldbeat::tag::Sample>,
    stop: Arc<AtomicBool>,
    _ends: Ends,
}

fn rig(conn: i32, sampling: &str) -> Rig {
    let tag = |name: &&str| format!(r#"{{"name":"{name}","address":"can0:Motor.{name}","scan_rate_ms":100}}"#);
    let tags: Vec<String> = SIGNALS.iter().map(tag).collect();
    let file = format!(
        r#"{{"links":[{{"name":"can0","protocol":"can","interface":"can0","dbc":"b.dbc","sampling":"{sampling}"}}],"tags":[{}]}}"#,
        tags.join(",")
    );
    let files = [("tags/b.json", file.as_str()), ("tags/b.dbc", DBC)];
    let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"bench\"\n"), &files)
        .unwrap_or_else(|error| panic!("the configuration of the bench: {error}"));
    let plan = protocol::build(&loaded.config, &[0]).expect("a plan").plan;
    let counters = Arc::new(Counters::new(&plan));
    let image = Arc::new(Image::new(plan.tags.values().map(|_| 0), Status::BAD_WAITING_FOR_INITIAL_DATA.0));
    let (ring, samples) = rtrb::RingBuffer::new(RING_SLOTS);
    let (reports, reports_out) = rtrb::RingBuffer::new(16);
    let (mut connected_in, connected) = rtrb::RingBuffer::new(1);
    let (closed, closed_out) = rtrb::RingBuffer::new(4);
    let (adoptions_in, adoptions) = rtrb::RingBuffer::new(1);
    let (adopted, adopted_out) = rtrb::RingBuffer::new(1);
    let (orders_in, orders) = rtrb::RingBuffer::new(1);
    let (answers, answers_out) = rtrb::RingBuffer::new(1);
    let stop = Arc::new(AtomicBool::new(false));
    let sink = SampleWriter::new(ring, image.clone(), counters.clone(), LaneId(0), 0);
    let wiring = Wiring {
        sink,
        reports,
        connected,
        closed,
        adoptions,
        adopted,
        orders,
        answers,
        counters: counters.clone(),
        stop: stop.clone(),
    };
    connected_in.push(Connected { link: LinkId(0), conn: Conn(conn), target: 0 }).expect("room");
    let links = FieldLink::new(LinkId(0), &plan).into_iter().collect();
    let world = LinuxWorld::new().expect("epoll");
    let mut executor = Executor::new(LaneId(0), &plan, links, world, wiring);
    executor.start_at(Clock { start: monotonic_now(), guard: Nanos::ZERO });
    let ends =
        Ends(Box::new((reports_out, connected_in, closed_out, adoptions_in, adopted_out, orders_in, answers_out)));
    Rig { executor, image, counters, samples, stop, _ends: ends }
}

/// A sender and a receiver that keep frames apart, with a queue for a turn's frames and the kernel's times.
fn sockets() -> (UdpSocket, UdpSocket) {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    sender.connect(receiver.local_addr().expect("its address")).expect("connected");
    receiver.set_nonblocking(true).expect("an option");
    (sender, receiver)
}

/// As the connector sets it for CAN: software times and the count of what was dropped.
fn ask_for_times(socket: &UdpSocket) {
    for (option, value) in [(libc::SO_TIMESTAMPING, 1 << 3 | 1 << 4), (libc::SO_RXQ_OVFL, 1)] {
        let value: libc::c_int = value;
        let bytes = std::mem::size_of_val(&value) as libc::socklen_t;
        // SAFETY: pointer and length are those of a live value.
        let set =
            unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), bytes) };
        assert_eq!(set, 0);
    }
}

fn frame(n: u32) -> ([u8; 72], usize) {
    encode(0x100, false, false, &(u64::from(n) * 0x9E37_79B9_7F4A_7C15).to_le_bytes())
}

fn fill(sender: &UdpSocket, n: &mut u32) {
    for _ in 0..FRAMES {
        *n += 1;
        let (bytes, len) = frame(*n);
        sender.send(&bytes[..len]).expect("sent");
    }
}

/// Frames as they wait, one a call.
fn receive_plainly(socket: &UdpSocket) {
    let mut buffer = [0u8; 72];
    for _ in 0..FRAMES {
        assert_eq!(socket.recv(&mut buffer).expect("a frame"), 16);
        std::hint::black_box(&buffer);
    }
}

/// The same with what the kernel says of each: nobody looks at it.
fn receive_with_times(socket: &UdpSocket) {
    let (mut buffer, mut control) = ([0u8; 72], [0u64; 16]);
    for _ in 0..FRAMES {
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: msghdr is a plain structure for which zeroes are a value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        // SAFETY: the message points to a live, writable array and to live control bytes, each with its length.
        assert_eq!(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) }, 16);
        std::hint::black_box((&buffer, &control));
    }
}

/// As a link takes them: so many a call, each with its time on the executor's clock and its drop count.
fn receive_as_a_link(world: &mut LinuxWorld, socket: &UdpSocket) {
    let mut room = [Arrival::new([0u8; 72]); CAN_FRAMES_PER_STEP];
    let mut left = FRAMES;
    while left > 0 {
        let Io::Done(n) = world.receive_frames(Conn(socket.as_raw_fd()), &mut room) else { panic!("no frame") };
        std::hint::black_box(&room);
        left -= n;
    }
}

/// Nanoseconds a frame.
fn timed(receive: impl FnOnce()) -> f64 {
    let start = Instant::now();
    receive();
    start.elapsed().as_nanos() as f64 / FRAMES as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn turns(sampling: &str) {
    let [raw, stamped, batched, whole] = [(); 4].map(|()| sockets());
    [&stamped, &batched, &whole].into_iter().for_each(|(_, receiver)| ask_for_times(receiver));
    let mut rig = rig(whole.1.as_raw_fd(), sampling);
    rig.executor.turn();
    let mut world = LinuxWorld::new().expect("epoll");
    let mut times = [(); 4].map(|()| Vec::with_capacity(TURNS));
    let mut n = 0;
    for _ in 0..TURNS {
        fill(&raw.0, &mut n);
        times[0].push(timed(|| receive_plainly(&raw.1)));
        fill(&stamped.0, &mut n);
        times[1].push(timed(|| receive_with_times(&stamped.1)));
        fill(&batched.0, &mut n);
        times[2].push(timed(|| receive_as_a_link(&mut world, &batched.1)));
        fill(&whole.0, &mut n);
        let received = &rig.counters.links[0].can.received;
        let wanted = received.get() + FRAMES as u64;
        times[3].push(timed(|| {
            while received.get() < wanted {
                rig.executor.turn();
            }
        }));
        let slots = rig.samples.slots();
        rig.samples.read_chunk(slots).expect("so many").commit_all();
    }
    let times = times.map(median);
    println!("sampling \"{sampling}\", {} signals a frame:", SIGNALS.len());
    let names = [
        "recv, one by one",
        "recvmsg with time and drop count",
        "the same as a link does it",
        "executor: time, decode, image, ring",
    ];
    for (name, time) in names.iter().zip(times) {
        let (frames, share) = (1e9 / time, 100.0 * times[0] / time);
        println!("  {name:35} {time:7.0} ns a frame  {frames:9.0} frames/s  {share:3.0} % of recv");
    }
}

fn cantools() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let script = "import sys, time, cantools\n\
                  m = cantools.database.load_string(sys.stdin.read(), 'dbc').messages[0]\n\
                  d = [(n * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, 'little') for n in range(20000)]\n\
                  t = time.perf_counter()\n\
                  for x in d: m.decode(x, decode_choices=False)\n\
                  print((time.perf_counter() - t) / len(d) * 1e9)";
    let child = Command::new(&python)
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), DBC.as_bytes())?;
            child.wait_with_output()
        });
    let ns = child.ok().and_then(|out| String::from_utf8_lossy(&out.stdout).trim().parse::<f64>().ok());
    match ns {
        Some(ns) => println!("cantools, decoding alone                {ns:7.0} ns a frame  {:9.0} frames/s", 1e9 / ns),
        None => println!("cantools: not there, run sh tests/setup.sh"),
    }
}

/// From before the frame is sent until the image shows it, seen from another thread.
fn single() {
    let (sender, receiver) = sockets();
    ask_for_times(&receiver);
    let mut rig = rig(receiver.as_raw_fd(), "latest");
    let (image, stop) = (rig.image.clone(), rig.stop.clone());
    let thread = std::thread::spawn(move || rig.executor.run());
    let mut times = Vec::with_capacity(SINGLE);
    let mut lost = 0;
    for n in 1..=SINGLE as u32 {
        let (bytes, len) = encode(0x100, false, false, &[n as u8, (n >> 8) as u8, 0, 0, 0, 0, 0, 0]);
        let wanted = f64::from(n) * 0.25 - 100.0;
        let start = Instant::now();
        sender.send(&bytes[..len]).expect("sent");
        loop {
            if image.read(0).is_some_and(|reading| f64::from_bits(reading.value) == wanted) {
                times.push(start.elapsed().as_nanos() as f64 / 1e3);
                break;
            }
            if start.elapsed() > Duration::from_secs(1) {
                lost += 1;
                break;
            }
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().expect("the executor ends");
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "frame to image, the executor asleep before: p50 {:.1} µs, p99 {:.1} µs, longest {:.1} µs ({} frames, {lost} \
         not seen)",
        at(0.5),
        at(0.99),
        at(1.0),
        times.len()
    );
}

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    turns("latest");
    turns("every");
    cantools();
    single();
}
