//! The loop that a gateway is measured against: one thread a device, blocking sockets, rmodbus, SCHED_FIFO on
//! one CPU, absolute sleeps. It reads and decodes, and does nothing with the values.
//!
//! `blocking-loop --cpu N --seconds S --period-us P --registers R [--one-read 1] ADDRESS…` prints one line of
//! JSON. A reply is read as rmodbus shows it, head first and then the rest; with `--one-read 1` in one call.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rmodbus::client::ModbusRequest;
use rmodbus::{ModbusProto, guess_response_frame_len};

/// As the executors of the gateway.
const PRIORITY: libc::c_int = 80;
/// Of one read: rmodbus gives up on replies of more than 255 bytes, so 124 would be too many.
const REGISTERS_MAX: u16 = 100;
const REPLY_TIMEOUT: Duration = Duration::from_millis(200);

struct Args {
    cpu: usize,
    seconds: u64,
    period_ns: u64,
    registers: u16,
    one_read: bool,
    devices: Vec<SocketAddr>,
}

#[derive(Default)]
struct Loop {
    cycles: u64,
    /// Releases that passed while the cycle before was still under way.
    skipped: u64,
    /// Cycles whose last reply came after the next release.
    late: u64,
    errors: u64,
    release_jitter_ns: Vec<u64>,
    issue_jitter_ns: Vec<u64>,
    sample_age_ns: Vec<u64>,
    /// So that decoding has a purpose.
    sum: f64,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match measure(&args) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let devices = Vec::new();
    let mut args = Args { cpu: 0, seconds: 10, period_ns: 10_000_000, registers: 200, one_read: false, devices };
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64, String> {
            let text = words.next().ok_or(format!("{word} needs a number"))?;
            text.parse().map_err(|_| format!("{word} needs a number, not {text}"))
        };
        match word.as_str() {
            "--cpu" => args.cpu = number()? as usize,
            "--seconds" => args.seconds = number()?,
            "--period-us" => args.period_ns = number()? * 1000,
            "--one-read" => args.one_read = number()? != 0,
            "--registers" => args.registers = number()? as u16,
            address => args.devices.push(address.parse().map_err(|_| format!("{address} is no address"))?),
        }
    }
    if args.devices.is_empty() { Err("no device named".to_owned()) } else { Ok(args) }
}

fn measure(args: &Args) -> io::Result<String> {
    // Spread over the period, as the gateway's links are: what suits a thread a device best.
    let step = args.period_ns / args.devices.len() as u64;
    let start = now() + 50_000_000;
    let cpu_ns = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = args
        .devices
        .iter()
        .enumerate()
        .map(|(i, &device)| {
            let (cpu, period, registers, one_read) = (args.cpu, args.period_ns, args.registers, args.one_read);
            let first = start + step * i as u64;
            let cycles = args.seconds * 1_000_000_000 / period;
            let cpu_ns = cpu_ns.clone();
            std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
                let done = become_real_time(cpu)
                    .and_then(|()| follow(Exchange::connect(device, one_read)?, first, period, cycles, registers));
                cpu_ns.fetch_add(clock(libc::CLOCK_THREAD_CPUTIME_ID), Ordering::Relaxed);
                done
            })
        })
        .collect::<io::Result<_>>()?;
    let mut total = Loop::default();
    for thread in threads {
        let one = thread.join().map_err(|_| io::Error::other("a thread failed"))??;
        total.cycles += one.cycles;
        total.skipped += one.skipped;
        total.late += one.late;
        total.errors += one.errors;
        total.sum += one.sum;
        total.release_jitter_ns.extend(one.release_jitter_ns);
        total.issue_jitter_ns.extend(one.issue_jitter_ns);
        total.sample_age_ns.extend(one.sample_age_ns);
    }
    std::hint::black_box(total.sum);
    Ok(format!(
        "{{\"cycles\":{},\"skipped\":{},\"late\":{},\"errors\":{},\"cpu_seconds\":{:.6},\"threads_cpu_seconds\":{:.6},\
         \"anonymous_bytes\":{},\"release_jitter_ns\":{},\"issue_jitter_ns\":{},\"sample_age_ns\":{}}}",
        total.cycles,
        total.skipped,
        total.late,
        total.errors,
        clock(libc::CLOCK_PROCESS_CPUTIME_ID) as f64 / 1e9,
        cpu_ns.load(Ordering::Relaxed) as f64 / 1e9,
        anonymous_bytes(),
        quantiles(total.release_jitter_ns),
        quantiles(total.issue_jitter_ns),
        quantiles(total.sample_age_ns),
    ))
}

/// One device's beat.
fn follow(mut exchange: Exchange, first: u64, period: u64, cycles: u64, registers: u16) -> io::Result<Loop> {
    let mut out = Loop::default();
    let room = cycles as usize + 1;
    out.release_jitter_ns.reserve(room);
    out.issue_jitter_ns.reserve(room * 2);
    out.sample_age_ns.reserve(room * 2);
    let mut values: Vec<f32> = Vec::with_capacity(usize::from(registers) / 2);
    let end = first + cycles * period;
    let mut next = first;
    while next < end {
        sleep_until(next);
        let woken = now();
        out.release_jitter_ns.push(woken - next);
        values.clear();
        let mut at = 0;
        while at < registers {
            let count = (registers - at).min(REGISTERS_MAX);
            match exchange.read(at, count, &mut values) {
                Ok((sent, received)) => {
                    out.issue_jitter_ns.push(sent - next);
                    out.sample_age_ns.push(received - next);
                }
                Err(error) => {
                    if out.errors == 0 {
                        eprintln!("{:?}: {error}", exchange.stream.peer_addr());
                    }
                    out.errors += 1;
                }
            }
            at += count;
        }
        out.sum += values.iter().map(|v| f64::from(*v)).sum::<f64>();
        out.cycles += 1;
        let done = now();
        next += period;
        if done > next {
            out.late += 1;
            let passed = (done - next) / period;
            out.skipped += passed;
            next += passed * period;
        }
    }
    Ok(out)
}

struct Exchange {
    stream: TcpStream,
    request: Vec<u8>,
    reply: Vec<u8>,
    id: u16,
    one_read: bool,
}

impl Exchange {
    fn connect(device: SocketAddr, one_read: bool) -> io::Result<Exchange> {
        let stream = TcpStream::connect(device)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Exchange { stream, request: Vec::with_capacity(16), reply: Vec::with_capacity(260), id: 0, one_read })
    }

    /// Reads `count` registers as float32 and says when the request was sent and the values were there.
    fn read(&mut self, first: u16, count: u16, values: &mut Vec<f32>) -> io::Result<(u64, u64)> {
        let broken = |error| io::Error::other(format!("{error}"));
        self.id = self.id.wrapping_add(1);
        let mut request = ModbusRequest::new_tcp_udp(1, self.id);
        self.request.clear();
        request.generate_get_holdings(first, count, &mut self.request).map_err(broken)?;
        self.stream.write_all(&self.request)?;
        let sent = now();
        self.reply.resize(if self.one_read { 260 } else { 6 }, 0);
        let mut have = 0;
        while have < 6 {
            match self.stream.read(&mut self.reply[have..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => have += n,
            }
        }
        let head = [self.reply[0], self.reply[1], self.reply[2], self.reply[3], self.reply[4], self.reply[5]];
        let length = guess_response_frame_len(&head, ModbusProto::TcpUdp).map_err(broken)?;
        self.reply.resize(usize::from(length), 0);
        self.stream.read_exact(&mut self.reply[have.min(usize::from(length))..])?;
        let bytes = request.parse_slice(&self.reply).map_err(broken)?;
        for four in bytes.chunks_exact(4) {
            values.push(f32::from_be_bytes([four[0], four[1], four[2], four[3]]));
        }
        Ok((sent, now()))
    }
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid timespec to write to.
    unsafe { libc::clock_gettime(id, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

fn now() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

fn sleep_until(until: u64) {
    let ts = libc::timespec { tv_sec: (until / 1_000_000_000) as _, tv_nsec: (until % 1_000_000_000) as _ };
    // SAFETY: `ts` lives through the call; no remainder is wanted with TIMER_ABSTIME.
    unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &ts, std::ptr::null_mut()) };
}

fn become_real_time(cpu: usize) -> io::Result<()> {
    // SAFETY: the set is plain memory, CPU_SET checks its bound, and the parameter lives through the call.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        let param = libc::sched_param { sched_priority: PRIORITY };
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) != 0
            || libc::sched_setscheduler(0, libc::SCHED_FIFO, &param) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn quantiles(mut times: Vec<u64>) -> String {
    times.sort_unstable();
    let at = |q: f64| times.get(((times.len() as f64 * q) as usize).min(times.len().max(1) - 1)).copied().unwrap_or(0);
    format!("{{\"p50\":{},\"p99\":{},\"p999\":{},\"max\":{}}}", at(0.5), at(0.99), at(0.999), at(1.0))
}
