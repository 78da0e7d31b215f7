//! How requests leave and replies come in: plain calls beside io_uring and busy polling, on ten loopback connections.
//!
//! Each beat sends one request on every connection (together) or on one of them in turn (one at a time), waits for the
//! replies and sleeps until the next. The ways take turns, several rounds. The sender runs at SCHED_FIFO 80 on the
//! last CPU, the peer on the first. A request is on the wire when the kernel stamps its arrival (SO_TIMESTAMPNS), which
//! on loopback is within the sender's call.
//!
//! `cargo bench --bench send -- [--seconds N] [--rounds N]`; real-time priority needs root.

mod peer;
mod plain;
mod ring;

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fieldbeat::rt::thread::{enter, hold_cpu_awake};
use fieldbeat::rt::{monotonic_now, thread_cpu_time};
use fieldbeat::tag::Nanos;

use peer::Arrivals;
use plain::Plain;
use ring::{Receive, Ring};

const LINKS: usize = 10;
const PERIOD: Nanos = Nanos::from_millis(1);
/// The spin before a beat, for all ways.
const GUARD: Nanos = Nanos::from_micros(20);
/// A reply that takes longer is the machine's fault, and ends the bench.
const PATIENCE: Nanos = Nanos::from_millis(5_000);
const NAMES: [&str; 6] = [
    "send, epoll, recv",
    "send, recv in a loop",
    "io_uring SEND, epoll, recv",
    "io_uring SEND and RECV (5.15)",
    "io_uring SEND, multishot RECV (6.1)",
    "the same with SQPOLL",
];

/// One way to send and receive.
trait Way {
    /// Sends a request on each of `links`, or makes ready what the next call for replies sends.
    fn issue(&mut self, links: &[usize]);

    /// Takes what replies there are, or waits for some until `until`; says how many.
    fn replies(&mut self, until: Nanos) -> usize;

    /// While no reply is awaited.
    fn sleep(&mut self, until: Nanos);

    /// System calls so far.
    fn calls(&self) -> u64;
}

/// What one run of one way gave; times in nanoseconds.
#[derive(Default)]
struct Run {
    /// From the first request on the wire to the last.
    between: Vec<u64>,
    /// From the wake-up to the last request on the wire, and to the last reply taken.
    last_sent: Vec<u64>,
    last_reply: Vec<u64>,
    requests: u64,
    calls: u64,
    cpu: u64,
    /// Of the kernel's polling thread.
    kernel_cpu: u64,
    seconds: f64,
}

/// A way by its name's number, and its runs: together, one at a time.
type Entrant = (usize, Box<dyn Way>, [Vec<Run>; 2]);

fn realtime_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// CPU time of the threads that poll for submissions.
fn polling_cpu() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("a process").flatten();
    let polling = threads.filter(|thread| {
        std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.starts_with("iou-sqp"))
    });
    polling
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

fn run(way: &mut dyn Way, arrivals: &[std::sync::atomic::AtomicU64], together: bool, time: Duration) -> Run {
    let mut run = Run::default();
    // By then, the kernel's thread of the way before sleeps.
    way.sleep(monotonic_now() + Nanos::from_millis(20));
    let (cpu, kernel_cpu, calls) = (thread_cpu_time(), polling_cpu(), way.calls());
    let start = monotonic_now();
    let end = Nanos(start.0 + time.as_nanos() as u64);
    let all: [usize; LINKS] = std::array::from_fn(|at| at);
    let mut next = start + PERIOD;
    while next < end {
        way.sleep(Nanos(next.0 - GUARD.0));
        while monotonic_now() < next {
            std::hint::spin_loop();
        }
        let links = if together { &all[..] } else { &all[run.requests as usize % LINKS..][..1] };
        let woken = realtime_now();
        way.issue(links);
        let mut open = links.len();
        let patience = monotonic_now() + PATIENCE;
        while open > 0 {
            open -= way.replies(patience);
            assert!(open == 0 || monotonic_now() < patience, "no reply");
        }
        run.last_reply.push(realtime_now().saturating_sub(woken));
        let stamps = links.iter().map(|at| arrivals[*at].load(Ordering::Acquire));
        let (first, last) = stamps.fold((u64::MAX, 0), |(first, last), at| (first.min(at), last.max(at)));
        run.between.push(last - first);
        run.last_sent.push(last.saturating_sub(woken));
        run.requests += links.len() as u64;
        while next <= monotonic_now() {
            next += PERIOD;
        }
    }
    run.seconds = (monotonic_now() - start).as_secs_f64();
    run.calls = way.calls() - calls;
    run.cpu = (thread_cpu_time() - cpu).0;
    run.kernel_cpu = polling_cpu() - kernel_cpu;
    for values in [&mut run.between, &mut run.last_sent, &mut run.last_reply] {
        values.sort_unstable();
    }
    run
}

fn quantile(values: &[u64], of_1000: usize) -> f64 {
    let rank = (values.len() * of_1000).div_ceil(1000).max(1);
    values[rank - 1] as f64 / 1e3
}

/// The median over rounds.
fn median(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    let mut all: Vec<f64> = runs.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Ten connections for each way, and when what they carry arrives.
fn connections() -> (Vec<Vec<TcpStream>>, Arrivals) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut accepted = Vec::new();
    let mut connect = || {
        let ours = TcpStream::connect(address).expect("a connection");
        let (theirs, _) = listener.accept().expect("a connection");
        ours.set_nodelay(true).expect("an option");
        theirs.set_nodelay(true).expect("an option");
        accepted.push(theirs);
        ours
    };
    let ours = NAMES.iter().map(|_| (0..LINKS).map(|_| connect()).collect()).collect();
    (ours, peer::serve(accepted))
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let number = |name: &str, usual: u64| {
        let at = words.iter().position(|w| w == name);
        at.map_or(usual, |at| words[at + 1].parse().expect("a number"))
    };
    let (seconds, rounds) = (number("--seconds", 1), number("--rounds", 9));
    let (links, arrivals) = connections();
    let cpu = std::thread::available_parallelism().map_or(1, |n| n.get()) - 1;
    let missing = enter(cpu as u32, 80);
    assert!(missing.is_empty(), "real-time priority needs root: {missing:?}");
    let _awake = hold_cpu_awake();
    let mut ways: Vec<Entrant> = Vec::new();
    for (at, links) in links.into_iter().enumerate() {
        let ring = |links, receive| Ring::new(links, receive).map(|ring| Box::new(ring) as Box<dyn Way>);
        let made = match at {
            0 | 1 => Plain::new(links, at == 1).map(|plain| Box::new(plain) as Box<dyn Way>),
            2 => ring(links, Receive::Epoll),
            3 => ring(links, Receive::Once),
            4 => ring(links, Receive::Multishot),
            _ => ring(links, Receive::Polled),
        };
        match made {
            Ok(way) => ways.push((at, way, Default::default())),
            Err(error) => println!("{}: not on this machine: {error}\n", NAMES[at]),
        }
    }
    for round in 0..rounds as usize {
        for turn in 0..ways.len() {
            let count = ways.len();
            let (at, way, runs) = &mut ways[(round + turn) % count];
            let arrivals = &arrivals[*at * LINKS..][..LINKS];
            for (shape, runs) in runs.iter_mut().enumerate() {
                runs.push(run(&mut **way, arrivals, shape == 0, Duration::from_secs(seconds)));
            }
        }
    }
    for (shape, name) in ["ten together, 1 kHz", "one at a time, 1 kHz"].into_iter().enumerate() {
        println!("{name}; medians of {rounds} rounds of {seconds} s, times in µs.\n");
        println!(
            "| way | first to last on the wire p50, p99 | wake-up to the last on the wire p50, p99 | to the last reply \
             p50, p99 | system calls a request | CPU a request | of all CPU, %: sender, kernel's thread |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (at, _, runs) in &ways {
            let runs = &runs[shape];
            let pair = |of: fn(&Run) -> &Vec<u64>| {
                let [p50, p99] = [500, 990].map(|q| median(runs, |run| quantile(of(run), q)));
                format!("{p50:.1}, {p99:.1}")
            };
            println!(
                "| {} | {} | {} | {} | {:.2} | {:.1} | {:.1}, {:.1} |",
                NAMES[*at],
                pair(|run| &run.between),
                pair(|run| &run.last_sent),
                pair(|run| &run.last_reply),
                median(runs, |run| run.calls as f64 / run.requests as f64),
                median(runs, |run| (run.cpu + run.kernel_cpu) as f64 / 1e3 / run.requests as f64),
                median(runs, |run| run.cpu as f64 / 1e7 / run.seconds),
                median(runs, |run| run.kernel_cpu as f64 / 1e7 / run.seconds),
            );
        }
        println!();
    }
}
