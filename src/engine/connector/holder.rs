//! Finds the process that holds a serial port: by its locks, else by open files (proc(5): /proc/locks, /proc/PID/fd).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Name and number of the process, where the system tells; never this one.
pub(super) fn of(port: &Path) -> Option<String> {
    let pid = by_lock(port).or_else(|| by_descriptor(port))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (process {pid})", name.trim_end()))
}

fn by_lock(port: &Path) -> Option<u32> {
    let file = fs::metadata(port).ok()?;
    let (major, minor) = (libc::major(file.dev()), libc::minor(file.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", file.ino());
    locked_by(&fs::read_to_string("/proc/locks").ok()?, &place).filter(|pid| *pid != std::process::id())
}

/// `1: FLOCK  ADVISORY  WRITE 4711 00:18:5 0 EOF`; those who wait for a lock have an arrow behind the number.
fn locked_by(locks: &str, place: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_held = words.next()? == "FLOCK";
        let pid = words.nth(2)?.parse().ok()?;
        (is_held && words.next()? == place).then_some(pid)
    })
}

fn by_descriptor(port: &Path) -> Option<u32> {
    let port = fs::canonicalize(port).ok()?;
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_it = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == port))
    };
    pids.filter(|pid| *pid != std::process::id()).find(has_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_among_those_who_wait_for_it_or_hold_others() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 00:18:5 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 00:18:5 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 12 00:18:5 0 EOF\n3: FLOCK  ADVISORY  READ 13 fd:01:77 0 EOF\n\nx\n";
        assert_eq!(locked_by(locks, "00:18:5"), Some(4711));
        assert_eq!(locked_by(locks, "fd:01:77"), Some(13));
        assert_eq!(locked_by(locks, "00:18:6"), None);
    }
}
