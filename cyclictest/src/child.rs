//! Child processes: each in its own process group, killed with its parent.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Lets time pass; true when the user wants an end.
pub type Pause<'a> = dyn Fn(Duration) -> bool + 'a;

/// How long a program may take to end when it is asked to.
const ASKED_TO_END: Duration = Duration::from_secs(2);

/// A running program. Dropped: its process group is asked to end, then killed.
pub struct Child {
    child: std::process::Child,
    name: String,
    /// Its group is empty, and its number may be another's by now.
    is_reaped: bool,
}

impl Child {
    /// Starts `command` on `cpus`, or on every CPU when there are none named.
    ///
    /// # Errors
    /// When it does not start: the name and the system's words.
    pub fn start(mut command: Command, name: &str, cpus: &[u32]) -> io::Result<Child> {
        command.stdin(Stdio::null()).process_group(0);
        let set = cpu_set(cpus);
        let parent = std::process::id();
        // SAFETY: the three calls are async-signal-safe, and the set is plain memory of this closure.
        unsafe {
            command.pre_exec(move || {
                // The kernel takes away what the machine lacks; where nothing is left, it stays where it is.
                libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                // The starter may have died before the line above.
                if libc::getppid() as u32 == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
            });
        }
        let child = command.spawn().map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        Ok(Child { child, name: name.to_owned(), is_reaped: false })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let ended = self.child.try_wait()?;
        self.is_reaped |= ended.is_some();
        Ok(ended)
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: no pointers. The group is that of our own child, which is not reaped yet.
        unsafe { libc::kill(-(self.child.id() as libc::pid_t), signal) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        self.signal(libc::SIGTERM);
        let deadline = Instant::now() + ASKED_TO_END;
        while Instant::now() < deadline {
            if !matches!(self.ended(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.signal(libc::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A set of `cpus`; of all when there are none.
pub fn cpu_set(cpus: &[u32]) -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is plain memory, for which zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let all: Vec<u32> = if cpus.is_empty() { (0..libc::CPU_SETSIZE as u32).collect() } else { cpus.to_vec() };
    for cpu in all.into_iter().filter(|cpu| *cpu < libc::CPU_SETSIZE as u32) {
        // SAFETY: within the set, by the filter.
        unsafe { libc::CPU_SET(cpu as usize, &mut set) };
    }
    set
}

/// Keeps the calling thread, and those that it starts, on `cpus`. Without any it stays where it is.
pub fn stay_on(cpus: &[u32]) {
    if !cpus.is_empty() {
        let set = cpu_set(cpus);
        // SAFETY: pointer and size are those of the set. Where it fails, the thread may run anywhere: no harm.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    }
}

/// The CPUs that this process may use.
pub fn allowed_cpus() -> Vec<u32> {
    // SAFETY: pointer and size are those of a set that is zeroed before.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return Vec::new();
        }
        (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).map(|cpu| cpu as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exists(pid: u32) -> bool {
        // SAFETY: signal 0 only asks.
        unsafe { libc::kill(pid as libc::pid_t, 0) == 0 }
    }

    #[test]
    fn a_child_and_its_children_end_when_it_is_dropped() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped());
        let mut child = Child::start(command, "sh", &[]).unwrap();
        let mut line = String::new();
        let out = child.child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let grandchild: u32 = line.trim().parse().unwrap();
        assert!(exists(grandchild));
        drop(child);
        let deadline = Instant::now() + Duration::from_secs(5);
        // A grandchild may be a zombie until init takes it: its state tells.
        let is_gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
        };
        while !is_gone() {
            assert!(Instant::now() < deadline, "the grandchild lives on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Child::start(Command::new("/nowhere/at-all"), "at-all", &[]).err().unwrap();
        assert!(error.to_string().starts_with("at-all: "), "{error}");
    }
}
