//! Signals, taken synchronously by the main thread: no signal ends a gateway without its last commit but SIGKILL, and
//! those that say that the program itself is at fault.
//!
//! | signal | meaning |
//! |---|---|
//! | SIGTERM, SIGINT, SIGQUIT | stop cleanly |
//! | SIGHUP | look for changed files at once; stop cleanly, if the terminal that the command was started from is gone |
//! | all others that would end a process | nothing |

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// What is left to the kernel: faults of the program itself, what can't be blocked, job control, and what ends nothing.
const LEFT_ALONE: [libc::c_int; 17] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGCONT,
    libc::SIGCHLD,
    libc::SIGWINCH,
    libc::SIGURG,
    // Ignored, as everywhere in Rust: a write fails instead.
    libc::SIGPIPE,
];

/// Lets a command that only prints end quietly when nobody reads on (`fieldbeat check | head`).
pub fn end_with_the_reader() {
    // SAFETY: SIG_DFL is a valid disposition, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Stop,
    /// Look for changed files.
    Look,
    /// The signal of this number.
    Nothing(i32),
}

/// The signals that are taken. Blocked in every thread that is started afterwards.
pub struct StopSignals {
    set: libc::sigset_t,
    /// Started from a terminal, and to end with it.
    has_terminal: bool,
}

impl StopSignals {
    /// To be called before any thread is started.
    pub fn block() -> StopSignals {
        // SAFETY: the set is initialised by sigfillset before it is used, and lives through the calls; SIG_IGN is a valid
        // disposition.
        let set = unsafe {
            // A file that would grow beyond its limit: the write fails, and says so.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut set);
            for signal in LEFT_ALONE {
                libc::sigdelset(&mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            set
        };
        StopSignals { set, has_terminal: !is_ignored(libc::SIGHUP) && terminal().is_some() }
    }

    /// Waits up to `timeout` for one of them.
    pub fn wait(&self, timeout: Duration) -> Option<Wanted> {
        let ts = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
        };
        // SAFETY: set and timespec live through the call; no siginfo is wanted.
        let signal = unsafe { libc::sigtimedwait(&self.set, std::ptr::null_mut(), &ts) };
        let error = std::io::Error::last_os_error();
        if signal < 0 && !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) {
            // Refused, so that it took no time: whoever calls this in a loop must not spin.
            std::thread::sleep(timeout);
        }
        match signal {
            ..=0 => None,
            libc::SIGTERM | libc::SIGINT | libc::SIGQUIT => Some(Wanted::Stop),
            libc::SIGHUP if self.has_terminal && terminal().is_none() => Some(Wanted::Stop),
            libc::SIGHUP => Some(Wanted::Look),
            other => Some(Wanted::Nothing(other)),
        }
    }
}

/// The terminal that this process belongs to.
fn terminal() -> Option<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open("/dev/tty").ok()
}

/// As nohup has it.
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: the old action is written to a local that lives through the call; nothing is changed.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut old) == 0 && old.sa_sigaction == libc::SIG_IGN
    }
}
