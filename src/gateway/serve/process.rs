//! What the process itself uses, as the kernel tells it (proc(5), getrusage(2)).

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// What this process uses; zero where the kernel does not say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProcessUsage {
    /// User and system time of all its threads.
    pub cpu_s: f64,
    pub resident_bytes: u64,
    /// Resident memory that no file backs.
    pub anonymous_bytes: u64,
    pub open_fds: u64,
    /// Seconds since the Unix epoch.
    pub started_s: f64,
}

impl ProcessUsage {
    pub fn now() -> ProcessUsage {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu_s = getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
            let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
            seconds(usage.user_time()) + seconds(usage.system_time())
        });
        ProcessUsage {
            cpu_s,
            resident_bytes: status_bytes(&status, "VmRSS:"),
            anonymous_bytes: status_bytes(&status, "RssAnon:"),
            // The one that reads the folder does not count.
            open_fds: fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count().saturating_sub(1) as u64),
            started_s: started_s().unwrap_or_default(),
        }
    }
}

/// A line like `VmRSS:     1234 kB`.
fn status_bytes(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn started_s() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: f64 = start_ticks(&stat)?;
    let boot: f64 =
        fs::read_to_string("/proc/stat").ok()?.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    let per_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    Some(boot + ticks / per_second as f64)
}

/// Field 22; the second field is a name in brackets that may hold anything.
fn start_ticks(stat: &str) -> Option<f64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let usage = ProcessUsage::now();
        assert!(usage.resident_bytes >= usage.anonymous_bytes && usage.anonymous_bytes > 0);
        assert!(usage.open_fds >= 3);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((0.0..3600.0).contains(&(now - usage.started_s + 2.0)), "{usage:?}");
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) ) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_ticks(stat), Some(4711.0));
    }
}
