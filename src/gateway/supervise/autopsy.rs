//! Diagnosis of a stalled thread: its state in the kernel, and its stack.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::stack;
use super::watchdog::Stall;

/// How long a stalled thread has to take the signal that shows its stack.
const STACK_PATIENCE: Duration = Duration::from_millis(500);
/// Threads of the whole machine that are looked at for one that holds the CPU.
const NEIGHBOURS_MAX: usize = 20_000;

/// A thread that has used less is none that held a CPU: half a second (of 100 ticks a second).
const HOG_TICKS_MIN: u64 = 50;

/// A line of `/proc/…/stat` (proc_pid_stat(5)), as far as it says why a thread does not run.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    user_ticks: u64,
    system_ticks: u64,
    cpu: u32,
    priority: u32,
    policy: u32,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The name may hold spaces and brackets.
        let (head, rest) = text.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some(Stat {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            user_ticks: number(11)?,
            system_ticks: number(12)?,
            cpu: u32::try_from(number(36)?).ok()?,
            priority: u32::try_from(number(37)?).ok()?,
            policy: u32::try_from(number(38)?).ok()?,
        })
    }

    fn policy(&self) -> String {
        match self.policy {
            0 => "SCHED_OTHER".to_owned(),
            1 => format!("SCHED_FIFO {}", self.priority),
            2 => format!("SCHED_RR {}", self.priority),
            6 => "SCHED_DEADLINE".to_owned(),
            other => format!("policy {other}"),
        }
    }

    /// Whether `self` runs before `other` on the same CPU.
    fn is_before(&self, other: &Stat) -> bool {
        let rank = |stat: &Stat| match stat.policy {
            6 => 100,
            1 | 2 => stat.priority,
            _ => 0,
        };
        rank(self) > rank(other)
    }

    fn state(&self) -> &'static str {
        match self.state {
            'R' => "runnable",
            'S' => "sleeping",
            'D' => "waiting for a device, uninterruptible",
            't' => "stopped by a debugger",
            'T' => "stopped by a signal",
            'Z' | 'X' => "dead",
            _ => "in an unknown state",
        }
    }
}

fn read(dir: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(dir.join(name)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The thread of this process that has this name; the youngest, if several have.
fn thread_named(name: &str) -> Option<(libc::pid_t, PathBuf)> {
    let threads = fs::read_dir("/proc/self/task").ok()?.filter_map(Result::ok);
    let named = threads.filter(|entry| read(&entry.path(), "comm").as_deref() == Some(name));
    named.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).max()
}

/// Everything that can be told of it, line by line.
pub fn of(stall: &Stall) -> Vec<String> {
    let name = stall.part.thread_name();
    let Some((thread, dir)) = thread_named(&name) else {
        return vec![format!("no thread is called {name}: it has ended")];
    };
    let mut lines = Vec::new();
    let stat = read(&dir, "stat").and_then(|text| Stat::parse(&text));
    if let Some(stat) = &stat {
        lines.push(format!(
            "thread {thread} is {} ({}), last on CPU {}, {}, {} ticks in user space, {} in the kernel",
            stat.state(),
            stat.state,
            stat.cpu,
            stat.policy(),
            stat.user_ticks,
            stat.system_ticks
        ));
    }
    let status = read(&dir, "status").unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let switches = (field("voluntary_ctxt_switches"), field("nonvoluntary_ctxt_switches"));
    if let (Some(cpus), (Some(given), Some(taken))) = (field("Cpus_allowed_list"), switches) {
        lines.push(format!("may run on CPUs {cpus}; {given} voluntary and {taken} involuntary context switches"));
    }
    if let Some(tracer) = field("TracerPid").filter(|pid| *pid != "0") {
        lines.push(format!("thread {tracer} debugs it"));
    }
    if let Some(call) = read(&dir, "syscall") {
        lines.push(format!("system call: {}", named_call(&call)));
    }
    if let Some(place) = read(&dir, "wchan").filter(|place| place != "0") {
        lines.push(format!("waits in the kernel at {place}"));
    }
    if let Some(kernel) = read(&dir, "stack") {
        lines.extend(kernel.lines().map(|line| format!("kernel: {line}")));
    }
    if let Some(stat) = &stat {
        lines.extend(before(stat));
    }
    match stack::addresses(thread, STACK_PATIENCE) {
        Some(addresses) => lines.extend(stack::names(&addresses).into_iter().map(|frame| format!("stack: {frame}"))),
        None => lines.push(format!(
            "no stack: the thread did not handle a signal within {} ms; it is stopped, preempted by a thread of higher \
             priority, or blocked in the kernel (see the lines above)",
            STACK_PATIENCE.as_millis()
        )),
    }
    lines
}

/// The number of a system call as a name, where it is one that a thread of ours may hang in.
fn named_call(text: &str) -> String {
    const CALLS: &[(libc::c_long, &str)] = &[
        (libc::SYS_epoll_pwait2, "epoll_pwait2"),
        (libc::SYS_clock_nanosleep, "clock_nanosleep"),
        (libc::SYS_futex, "futex"),
        (libc::SYS_fdatasync, "fdatasync"),
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_msync, "msync"),
        (libc::SYS_write, "write"),
        (libc::SYS_pwrite64, "pwrite64"),
        (libc::SYS_pwritev, "pwritev"),
        (libc::SYS_fallocate, "fallocate"),
        (libc::SYS_sendto, "sendto"),
        (libc::SYS_recvfrom, "recvfrom"),
        (libc::SYS_sched_yield, "sched_yield"),
    ];
    let number = text.split_whitespace().next().and_then(|word| word.parse::<libc::c_long>().ok());
    match CALLS.iter().find(|(call, _)| Some(*call) == number) {
        Some((_, name)) => format!("{name} ({text})"),
        None if text == "running" => "none".to_owned(),
        None => text.to_owned(),
    }
}

/// Who is runnable on the same CPU and goes first; or went first, and may have ended its work since.
fn before(stalled: &Stat) -> Vec<String> {
    let mut found = Vec::new();
    let mut looked = 0;
    let numbered = |path: &Path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.parse::<u32>().is_ok());
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
    for process in entries(Path::new("/proc")).filter(|path| numbered(path)) {
        for thread in entries(&process.join("task")) {
            looked += 1;
            if looked > NEIGHBOURS_MAX {
                return found;
            }
            let Some(stat) = read(&thread, "stat").and_then(|text| Stat::parse(&text)) else { continue };
            if stat.cpu != stalled.cpu || !stat.is_before(stalled) {
                continue;
            }
            let (cpu, name, policy, of) = (stat.cpu, &stat.name, stat.policy(), thread.display());
            let ticks = stat.user_ticks + stat.system_ticks;
            if stat.state == 'R' {
                found.push(format!("CPU {cpu} runs {of} \"{name}\" with {policy} before it"));
            } else if ticks >= HOG_TICKS_MIN {
                found.push(format!(
                    "CPU {cpu} ran {of} \"{name}\" with {policy} before it, which has used {ticks} ticks so far"
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::watchdog::Part;

    #[test]
    fn a_stat_line_is_read_whatever_the_thread_is_called() {
        let rest = (4..=52).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        let stat = Stat::parse(&format!("7 (a) R (b) t {rest}")).unwrap();
        assert_eq!((stat.name.as_str(), stat.state), ("a) R (b", 't'));
        assert_eq!((stat.user_ticks, stat.system_ticks, stat.cpu, stat.priority, stat.policy), (14, 15, 39, 40, 41));
        for wrong in ["", "7", "7 (", "7 (x)", "7 (x) S 1 2", "7 (x) S a b c d e f g h i j k l m"] {
            assert_eq!(Stat::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_higher_priority_goes_first() {
        let stat = |policy, priority| Stat {
            name: String::new(),
            state: 'R',
            user_ticks: 0,
            system_ticks: 0,
            cpu: 0,
            priority,
            policy,
        };
        assert!(stat(1, 90).is_before(&stat(1, 80)) && stat(6, 0).is_before(&stat(1, 99)));
        assert!(!stat(1, 80).is_before(&stat(1, 80)) && !stat(0, 0).is_before(&stat(1, 1)));
    }

    #[test]
    fn a_hanging_call_has_its_name() {
        let call = |number: libc::c_long| named_call(&format!("{number} 0x5 0x0"));
        assert_eq!(call(libc::SYS_fdatasync), format!("fdatasync ({} 0x5 0x0)", libc::SYS_fdatasync));
        assert_eq!(named_call("99999 0x0"), "99999 0x0");
        assert_eq!(named_call("running"), "none");
    }

    #[test]
    fn a_thread_that_is_not_there_is_said_to_have_ended() {
        let stall = Stall { part: Part::Executor(977), still: Duration::from_secs(3), count: 5 };
        assert_eq!(of(&stall), ["no thread is called fb-exec977: it has ended"]);
    }
}
