//! What the process may: SCHED_FIFO and locked memory.

use super::{Check, Machine};
use crate::rt::thread;

/// Priority asked for when no configuration says another.
pub const PRIORITY_DEFAULT: u8 = 80;

const FIFO: &str = "Without SCHED_FIFO any other program can delay an executor by milliseconds.";
const MEMLOCK: &str = "Memory that is not locked can be paged out; touching it again waits for the disk.";

/// Bits of `CapEff` in /proc/self/status (capabilities(7)).
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_NICE: u32 = 23;

/// Room that the executors of a full gateway lock: rings, image, stacks and the program itself.
const LOCKED_BYTES_MIN: u64 = 256 << 20;

pub fn checks(machine: &Machine, priority: u8) -> Vec<Check> {
    vec![fifo(machine, priority), memlock(machine)]
}

fn has_capability(machine: &Machine, bit: u32) -> Option<bool> {
    let status = machine.read("proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let set = u64::from_str_radix(line.trim(), 16).ok()?;
    Some(set & (1 << bit) != 0)
}

/// The soft limit of a line in /proc/self/limits; `u64::MAX` for "unlimited".
fn limit(machine: &Machine, name: &str) -> Option<u64> {
    let limits = machine.read("proc/self/limits")?;
    let soft = limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.to_owned();
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

fn fifo(machine: &Machine, priority: u8) -> Check {
    let id = "sched_fifo";
    let mend = format!(
        "LimitRTPRIO={priority} in the unit ([Service]), or `setcap cap_sys_nice+ep $(command -v fieldbeat)`, or \
         `ulimit -r {priority}` in a root shell"
    );
    if machine.is_live() {
        // The kernel's own answer counts more than the files: a container's filter or a control group without
        // real-time budget refuses in spite of them.
        return match thread::try_fifo(priority) {
            Ok(()) => Check::ok(id, FIFO, format!("SCHED_FIFO {priority} is granted to this user")),
            Err(error) => Check::bad(id, FIFO, format!("SCHED_FIFO {priority} is refused: {error}"), mend),
        };
    }
    let (capable, allowed) = (has_capability(machine, CAP_SYS_NICE), limit(machine, "Max realtime priority"));
    match (capable, allowed) {
        (Some(true), _) => Check::ok(id, FIFO, "CAP_SYS_NICE is held"),
        (_, Some(allowed)) if allowed >= u64::from(priority) => {
            Check::ok(id, FIFO, format!("priorities up to {allowed} are allowed"))
        }
        (_, Some(allowed)) => {
            Check::bad(id, FIFO, format!("priority {priority} is needed, {allowed} is allowed (RLIMIT_RTPRIO)"), mend)
        }
        (_, None) => Check::unknown(id, FIFO, "/proc/self/limits can't be read"),
    }
}

fn memlock(machine: &Machine) -> Check {
    let id = "memory_lock";
    let mend = "LimitMEMLOCK=infinity in the unit ([Service]), or `ulimit -l unlimited` in a root shell";
    match (has_capability(machine, CAP_IPC_LOCK), limit(machine, "Max locked memory")) {
        (Some(true), _) => Check::ok(id, MEMLOCK, "CAP_IPC_LOCK is held"),
        (_, Some(u64::MAX)) => Check::ok(id, MEMLOCK, "unlimited"),
        (_, Some(bytes)) => {
            let found = format!("{} KiB may be locked (RLIMIT_MEMLOCK)", bytes >> 10);
            if bytes >= LOCKED_BYTES_MIN {
                Check::warn(id, MEMLOCK, format!("{found}; a large plan needs more"), mend)
            } else {
                Check::bad(id, MEMLOCK, found, mend)
            }
        }
        (_, None) => Check::unknown(id, MEMLOCK, "/proc/self/limits can't be read"),
    }
}
