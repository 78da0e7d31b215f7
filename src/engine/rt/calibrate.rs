//! CPU cost of a request, a sample and a release on this machine, measured at start.
//!
//! A request is what a link makes of it: a send, a wait that reports the reply, a receive; here over a TCP
//! connection of the machine with itself, without a device. The figures are medians, kept within sane limits, for a start may fall into any noise.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use super::clock::monotonic_now;
use super::linux::LinuxWorld;
use super::thread::measure_wake_up;
use super::world::{Conn, Io, Ready, World};
use crate::lane::{Counters, Frame, Image, SampleWriter};
use crate::plan::demand::Costs;
use crate::plan::{GroupPlan, LaneOwner, LanePlan, Pace, Plan, ReleaseMode};
use crate::tag::{GroupId, LaneId, Nanos, ScalarType, TagId, ValueType};

/// How often a machine is measured that seems too slow, and the time between.
const MEASUREMENTS_MAX: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);
const FREE: Costs = Costs { request: Nanos::ZERO, sample: Nanos::ZERO, release: Nanos::ZERO, wake_up: Nanos::ZERO };
/// All of it takes some 30 ms.
const ROUNDS: usize = 9;
const REQUESTS_PER_ROUND: u64 = 64;
const SAMPLES_PER_ROUND: u64 = 1_024;
const WAKE_UPS: usize = 50;
/// Bytes of a request, and of a reply with some dozen registers.
const REQUEST_BYTES: usize = 12;
const REPLY_BYTES: usize = 64;
/// An allowance for what the link does around the system calls (frames, queues, reports, counters), in parts of them.
const BOOKKEEPING: f64 = 0.5;
/// An allowance for decoding, in parts of the way into image and ring.
const DECODING: f64 = 1.0;

/// What things cost on this machine.
///
/// # Errors
/// When the system gives no thread or no sockets to measure with.
pub fn measure() -> io::Result<Costs> {
    let measuring = std::thread::Builder::new().name("fb-calibrate".to_owned()).spawn(|| {
        wake_in_time();
        measure_here()
    })?;
    measuring.join().unwrap_or_else(|_| Err(io::Error::other("the measuring thread died")))
}

/// What `plan` makes of this machine's costs. What is refused by one measurement is measured again: all that another
/// process can do to it is to make it slower, and a gateway that starts in the middle of a busy boot must not stay out
/// of work for that. Then each cost is the least that was seen.
///
/// The error is why nothing could be measured: `plan` got usual costs.
pub fn best_of<T, E>(mut plan: impl FnMut(&Costs) -> Result<T, E>) -> (Result<T, E>, Option<io::Error>) {
    best_of_measured(&mut plan, measure, PAUSE)
}

fn best_of_measured<T, E>(
    plan: &mut impl FnMut(&Costs) -> Result<T, E>,
    mut measure: impl FnMut() -> io::Result<Costs>,
    pause: Duration,
) -> (Result<T, E>, Option<io::Error>) {
    let mut costs = match measure() {
        Ok(costs) => costs,
        Err(error) => return (plan(&Costs::default()), Some(error)),
    };
    let mut planned = plan(&costs);
    for _ in 1..MEASUREMENTS_MAX {
        // What takes no time at all and does not fit never will.
        if planned.is_ok() || plan(&FREE).is_err() {
            break;
        }
        std::thread::sleep(pause);
        if let Ok(again) = measure() {
            costs = Costs {
                request: costs.request.min(again.request),
                sample: costs.sample.min(again.sample),
                release: costs.release.min(again.release),
                wake_up: costs.wake_up.min(again.wake_up),
            };
            planned = plan(&costs);
        }
    }
    (planned, None)
}

/// The calling thread's timers are not late for the sake of power, as those of real-time threads never are.
fn wake_in_time() {
    // SAFETY: PR_SET_TIMERSLACK takes a number and touches no memory.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong);
    }
}

fn measure_here() -> io::Result<Costs> {
    let (near, far) = connection()?;
    let mut world = LinuxWorld::new()?;
    if !world.attach(Conn(near.as_raw_fd()), 0) {
        return Err(io::Error::last_os_error());
    }
    let requests = median((0..ROUNDS).map(|_| round_of_requests(&mut world, &near, &far)).collect::<io::Result<_>>()?);
    let samples = median((0..ROUNDS).map(|_| round_of_samples()).collect());
    let waits = median((0..ROUNDS).map(|_| round_of_waits(&mut world)).collect());
    let wake_up = measure_wake_up(WAKE_UPS).p50;
    let measured = Costs {
        request: Nanos((requests.0 as f64 * (1.0 + BOOKKEEPING)) as u64),
        sample: Nanos((samples.0 as f64 * (1.0 + DECODING)) as u64),
        // It wakes, looks at the clock, and stamps.
        release: Nanos(waits.0 * 2),
        wake_up,
    };
    Ok(sane(&measured))
}

/// Not below a third and not above ten times of what is usual: nearer to that than to a measurement that was hit by
/// something else.
fn sane(costs: &Costs) -> Costs {
    let usual = Costs::default();
    let within = |measured: Nanos, usual: Nanos| measured.clamp(Nanos(usual.0 / 3), Nanos(usual.0 * 10));
    Costs {
        request: within(costs.request, usual.request),
        sample: within(costs.sample, usual.sample),
        release: within(costs.release, usual.release),
        wake_up: within(costs.wake_up, usual.wake_up),
    }
}

/// Both ends of a connection as the connector makes them.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, peer) = listener.accept()?;
    if peer != near.local_addr()? {
        return Err(io::Error::other("another client connected"));
    }
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn median(mut rounds: Vec<Nanos>) -> Nanos {
    rounds.sort_unstable();
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}

/// The executor's part of a request: the device's part is done beforehand and not counted.
fn round_of_requests(world: &mut LinuxWorld, near: &TcpStream, far: &TcpStream) -> io::Result<Nanos> {
    let (near, far) = (Conn(near.as_raw_fd()), Conn(far.as_raw_fd()));
    let mut ready = Ready::with_capacity(1);
    let mut buffer = [0; REPLY_BYTES];
    let mut spent = 0;
    for _ in 0..REQUESTS_PER_ROUND {
        let start = world.now();
        let sent = world.send(near, &[0; REQUEST_BYTES]);
        spent += world.now().since(start).0;
        if sent != Io::Done(REQUEST_BYTES) || world.receive(far, &mut buffer) != Io::Done(REQUEST_BYTES) {
            return Err(io::Error::other("a request did not arrive"));
        }
        world.send(far, &[0; REPLY_BYTES]);
        let start = world.now();
        world.wait(start + Nanos::from_millis(10), &mut ready);
        let received = world.receive(near, &mut buffer);
        spent += world.now().since(start).0;
        if received != Io::Done(REPLY_BYTES) {
            return Err(io::Error::other("a reply did not arrive"));
        }
    }
    Ok(Nanos(spent / REQUESTS_PER_ROUND))
}

/// Into the image and the ring.
fn round_of_samples() -> Nanos {
    let plan = Plan {
        groups: [GroupPlan {
            name: "calibration".into(),
            pace: Pace::Every(Nanos::from_millis(1)),
            release: ReleaseMode::Spread,
        }]
        .into_iter()
        .collect(),
        lanes: vec![LanePlan {
            owner: LaneOwner::Executor { cpu: 0 },
            links: Vec::new(),
            releases: Vec::new(),
            slots_per_s: 0,
        }],
        ..Plan::default()
    };
    let image = Arc::new(Image::new(std::iter::once(0), 0));
    let (ring, mut samples) = rtrb::RingBuffer::new(SAMPLES_PER_ROUND as usize);
    let mut sink = SampleWriter::new(ring, image, Arc::new(Counters::new(&plan)), LaneId(0), 0);
    let code = ValueType::Scalar(ScalarType::Float32).code();
    let mut round = || {
        let start = monotonic_now();
        for value in 0..SAMPLES_PER_ROUND {
            sink.scalar(Frame { group: GroupId(0), cycle: 0, t: start.into() }, TagId(0), code, value);
        }
        sink.flush();
        let spent = monotonic_now().since(start);
        if let Ok(chunk) = samples.read_chunk(samples.slots()) {
            chunk.commit_all();
        }
        spent
    };
    // The first one touches the memory.
    round();
    Nanos(round().0 / SAMPLES_PER_ROUND)
}

/// A wait that is over at once: what there is to a release besides the sleep.
fn round_of_waits(world: &mut LinuxWorld) -> Nanos {
    let mut ready = Ready::with_capacity(1);
    let start = world.now();
    for _ in 0..REQUESTS_PER_ROUND {
        world.wait(Nanos::ZERO, &mut ready);
    }
    Nanos(world.now().since(start).0 / REQUESTS_PER_ROUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_measured_in_a_tenth_of_a_second_and_kept_within_sane_limits() {
        let start = monotonic_now();
        let costs = measure().unwrap();
        let took = monotonic_now().since(start);
        println!("{costs:?} in {} ms", took.0 / 1_000_000);
        assert!(took < Nanos::from_millis(1_000), "a tenth of that, where nothing else runs: {took:?}");
        assert_eq!(costs, sane(&costs));
    }

    #[test]
    fn a_busy_moment_at_start_does_not_keep_a_plan_from_running() {
        let all = |us| {
            let cost = Nanos::from_micros(us);
            Costs { request: cost, sample: cost, release: cost, wake_up: cost }
        };
        let fits = |limit: u64| {
            move |costs: &Costs| {
                if costs.request <= Nanos::from_micros(limit) { Ok(costs.request) } else { Err("too slow") }
            }
        };
        let measured = [90, 80, 30, 70, 20, 10];
        let tried = |limit| {
            let mut next = 0;
            let measure = || {
                next += 1;
                Ok(all(measured[next - 1]))
            };
            let (planned, fault) = best_of_measured(&mut fits(limit), measure, Duration::ZERO);
            assert!(fault.is_none());
            (planned, next)
        };
        assert_eq!(tried(90), (Ok(Nanos::from_micros(90)), 1), "with what was measured first");
        assert_eq!(tried(40), (Ok(Nanos::from_micros(30)), 3));
        assert_eq!(tried(19), (Err("too slow"), MEASUREMENTS_MAX));
        let mut never = |_: &Costs| Err::<(), _>("the line is too slow");
        let (refused, _) = best_of_measured(&mut never, || Ok(all(1)), Duration::from_secs(3600));
        assert_eq!(refused, Err("the line is too slow"), "at once: no machine could do it");
        let unmeasured = best_of_measured(&mut fits(20), || Err(io::Error::other("no sockets")), Duration::ZERO);
        assert!(unmeasured.0.is_ok() && unmeasured.1.is_some(), "with usual costs");
    }

    #[test]
    fn noise_does_not_get_far() {
        let usual = Costs::default();
        let all = |ns| Costs { request: Nanos(ns), sample: Nanos(ns), release: Nanos(ns), wake_up: Nanos(ns) };
        assert_eq!(sane(&all(u64::MAX)).request, Nanos(usual.request.0 * 10));
        assert_eq!(sane(&all(0)).wake_up, Nanos(usual.wake_up.0 / 3));
        assert_eq!(sane(&usual), usual);
    }

    #[test]
    fn the_median_is_not_moved_by_one_bad_round() {
        assert_eq!(median([5, 3, 900, 4, 5].map(Nanos).to_vec()), Nanos(5));
    }
}
