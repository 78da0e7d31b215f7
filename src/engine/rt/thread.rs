//! Turns an ordinary thread into a real-time one, and says what to do when the machine does not allow it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use super::clock::monotonic_now;
use crate::tag::Nanos;

/// Something the machine does not give. The gateway runs without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub what: String,
    /// How to get it.
    pub how: &'static str,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.how)
    }
}

/// The stack of an executor: its deepest call needs a few KiB, and all of it is locked.
pub const STACK_BYTES: usize = 256 << 10;

/// Touched when the thread starts, so that no page fault comes later.
const STACK_PREFAULT_BYTES: usize = 128 << 10;

/// Pins the calling thread, gives it SCHED_FIFO and touches its stack.
pub fn enter(cpu: u32, priority: u8) -> Vec<Missing> {
    let mut missing = Vec::new();
    if let Err(error) = pin(cpu) {
        missing.push(Missing {
            what: format!("executor is not pinned to CPU {cpu}: {error}"),
            how: "set realtime.cores to CPUs that exist and that the process may use (see `nproc --all`, \
                  `taskset -p $$`, AllowedCPUs= of the unit)",
        });
    }
    if let Err(error) = set_fifo(priority) {
        missing.push(Missing {
            what: format!("executor has no SCHED_FIFO priority {priority}: {error}"),
            how: "run as root, or give the unit LimitRTPRIO=99, or `setcap cap_sys_nice+ep` the program",
        });
    }
    prefault_stack();
    missing
}

/// How far the calling thread of [`prefer`] is put before others of ordinary priority.
const PREFERRED_NICE: libc::c_int = -10;

/// Puts the calling thread before the process's other ordinary threads, where the system lets it: for one that has little to
/// do, and must answer when everything else is busy. Executors stay far above it.
pub fn prefer() {
    // SAFETY: it takes no pointers; 0 is the calling thread. Without the right to it, nothing changes.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, PREFERRED_NICE);
    }
}

fn pin(cpu: u32) -> io::Result<()> {
    // SAFETY: cpu_set_t is plain memory; CPU_SET is bounded by the check; the pointer and size are those of
    // the set.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if cpu as usize >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        libc::CPU_SET(cpu as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_fifo(priority: u8) -> io::Result<()> {
    let param = libc::sched_param { sched_priority: libc::c_int::from(priority) };
    // SAFETY: `param` lives through the call; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &param) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether this process may run at SCHED_FIFO `priority`: asked of the kernel in a thread that ends at once.
///
/// # Errors
/// What the kernel, or the start of the thread, said.
pub fn try_fifo(priority: u8) -> io::Result<()> {
    let asked = std::thread::Builder::new().stack_size(64 << 10).spawn(move || set_fifo(priority))?;
    asked.join().unwrap_or_else(|_| Err(io::Error::other("the asking thread died")))
}

#[inline(never)]
fn prefault_stack() {
    let mut stack = [0u8; STACK_PREFAULT_BYTES];
    for byte in stack.iter_mut().step_by(4096) {
        // SAFETY: `byte` is a valid place; the write must not be optimised away.
        unsafe { std::ptr::write_volatile(byte, 1) };
    }
    std::hint::black_box(&stack);
}

/// Locks what is mapped now. Called when the floor is there and before the journal, the outputs and the rest
/// are opened: their maps would be pinned too.
pub fn lock_memory() -> Option<Missing> {
    // SAFETY: no pointers.
    let locked = unsafe { libc::mlockall(libc::MCL_CURRENT) == 0 };
    (!locked).then(|| Missing {
        what: format!("memory of the executors is not locked: {}", io::Error::last_os_error()),
        how: "run as root, or give the unit LimitMEMLOCK=infinity, or `ulimit -l unlimited`",
    })
}

/// Locks what was added to the floor later: address and bytes. Where the system refuses, it has refused
/// [`lock_memory`], too, and that was told.
pub fn lock_region((start, bytes): (*const u8, usize)) {
    // SAFETY: mlock changes no memory, and refuses what is not mapped.
    unsafe {
        libc::mlock(start.cast(), bytes);
    }
}

/// Keeps the CPUs out of deep sleep while the file is open (kernel documentation, PM Quality of Service).
pub fn hold_cpu_awake() -> Result<File, Missing> {
    let path = "/dev/cpu_dma_latency";
    let held = OpenOptions::new().write(true).open(path).and_then(|mut file| {
        file.write_all(&0i32.to_ne_bytes())?;
        Ok(file)
    });
    held.map_err(|error| Missing {
        what: format!("CPUs may sleep deeply between releases: {path}: {error}"),
        how: "run as root, or allow the user to write that file by a udev rule; on a kernel without it, disable \
              deep C-states with processor.max_cstate=1",
    })
}

/// The CPUs taken from the scheduler by `isolcpus=`, ascending.
pub fn isolated_cpus() -> Vec<u32> {
    std::fs::read_to_string("/sys/devices/system/cpu/isolated").map(|text| parse_cpu_list(&text)).unwrap_or_default()
}

/// CPUs of executors when none are named: the isolated ones, else the last online one.
pub fn default_cpus() -> Vec<u32> {
    let isolated = isolated_cpus();
    if !isolated.is_empty() {
        return isolated;
    }
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    vec![parse_cpu_list(&online).last().copied().unwrap_or(0)]
}

/// `0-3,6` as the kernel writes it. What is no number is left out.
pub fn parse_cpu_list(text: &str) -> Vec<u32> {
    text.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?.min(4095))
        })
        .flatten()
        .collect()
}

/// How late a thread wakes from a short sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WakeUp {
    /// The 10th percentile: nearly every wake-up is at least this late.
    pub p10: Nanos,
    pub p50: Nanos,
    /// The 95th percentile.
    pub p95: Nanos,
}

/// The guard is at least and at most this.
pub const GUARD_MIN: Nanos = Nanos::from_micros(5);
pub const GUARD_MAX: Nanos = Nanos::from_micros(200);
/// Wake-ups measured to set the guard.
pub const CALIBRATION_ROUNDS: usize = 200;
/// Share of a CPU that may be spent spinning before releases beyond what a wake-up usually takes, when the guard
/// is "auto".
const GUARD_CPU_SHARE: f64 = 0.004;

/// The guard covers what a wake-up is usually late, as long as the spinning stays cheap.
pub fn guard_for(late: WakeUp, wake_ups_per_s: f64) -> Nanos {
    // What nearly every wake-up is late is not spun away: only what is left of the guard costs.
    let spin = Nanos((GUARD_CPU_SHARE * 1e9 / wake_ups_per_s.max(1.0)) as u64);
    Nanos(late.p95.0 + late.p95.0 / 4).min(late.p10 + spin).clamp(GUARD_MIN, GUARD_MAX)
}

/// Arenas of the allocator: with one, what a large plan leaves behind is given back, where several keep pieces of it.
pub const MALLOC_ARENAS_MAX: i32 = 1;

/// How late a thread is taken to wake where no sleep could be measured.
const UNMEASURED: Nanos = Nanos::from_micros(50);

/// How late the calling thread wakes, of `rounds` short sleeps.
pub fn measure_wake_up(rounds: usize) -> WakeUp {
    let mut late: Vec<u64> = (0..rounds)
        .filter_map(|_| {
            let until = monotonic_now() + Nanos::from_micros(300);
            let ts = libc::timespec {
                tv_sec: (until.0 / crate::tag::NANOS_PER_SEC) as libc::time_t,
                tv_nsec: (until.0 % crate::tag::NANOS_PER_SEC) as libc::c_long,
            };
            // SAFETY: `ts` lives through the call; no remainder is wanted with TIMER_ABSTIME.
            let refused = unsafe {
                libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &ts, std::ptr::null_mut()) != 0
            };
            // A sleep that was refused or interrupted took no time, and was not early.
            let now = monotonic_now();
            (!refused || now >= until).then(|| now.since(until).0)
        })
        .collect();
    late.sort_unstable();
    let at = |percent: usize| Nanos(late.get(late.len() * percent / 100).copied().unwrap_or(UNMEASURED.0));
    WakeUp { p10: at(10), p50: at(50), p95: at(95) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_list_reads_like_the_kernel_writes_it() {
        assert_eq!(parse_cpu_list("0-2,5\n"), [0, 1, 2, 5]);
        assert!(parse_cpu_list("\n").is_empty());
    }

    #[test]
    fn a_guard_covers_late_wake_ups_as_far_as_spinning_is_cheap() {
        let guard = |p10, p95, wake_ups_per_s| {
            guard_for(
                WakeUp { p10: Nanos::from_micros(p10), p50: Nanos::from_micros(p10), p95: Nanos::from_micros(p95) },
                wake_ups_per_s,
            )
        };
        assert_eq!(guard(10, 40, 10.0), Nanos::from_micros(50));
        assert_eq!(guard(10, 40, 1000.0), Nanos::from_micros(14));
        assert_eq!(guard(0, 0, 1.0), GUARD_MIN);
        assert_eq!(guard(4000, 9000, 1.0), GUARD_MAX);
    }

    #[test]
    fn there_is_always_a_cpu_to_run_on() {
        assert!(!default_cpus().is_empty());
    }
}
