//! What commands print: results on standard output, all else on standard error.
//!
//! One rule for all of them: a reader that is gone ends the command quietly; output that can't be written for another
//! reason ends it with that reason and exit code 3. What can't be said on standard error is no reason to end.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::limits::LOG_END_PATIENCE;
use crate::logs;

/// A line on standard output.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::print::out(format_args!($($text)*)) };
}

/// A line on standard error.
macro_rules! note {
    ($($text:tt)*) => { $crate::logs::line(format_args!($($text)*)) };
}

/// The command runs until it is stopped, and ends as if it had been when its output can't be written.
static ENDS_BY_SIGNAL: AtomicBool = AtomicBool::new(false);
/// Nothing more is printed; and it is not for want of a reader.
static FAILED: AtomicBool = AtomicBool::new(false);
static IS_ERROR: AtomicBool = AtomicBool::new(false);

/// From now on, output that can't be written stops the command as SIGTERM does.
pub fn end_by_signal() {
    ENDS_BY_SIGNAL.store(true, Relaxed);
}

/// See [`out!`](crate::cli).
pub fn out(text: fmt::Arguments<'_>) {
    if FAILED.load(Relaxed) {
        return;
    }
    if let Err(error) = writeln!(io::stdout().lock(), "{text}") {
        failed(&error);
    }
}

/// Standard output could not be written.
pub fn failed(error: &io::Error) {
    FAILED.store(true, Relaxed);
    if error.kind() != ErrorKind::BrokenPipe {
        IS_ERROR.store(true, Relaxed);
        note!("error: standard output cannot be written: {error}");
    }
    if ENDS_BY_SIGNAL.load(Relaxed) {
        // SAFETY: a signal to this process, which takes it.
        unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    } else {
        logs::flush(LOG_END_PATIENCE);
        std::process::exit(if IS_ERROR.load(Relaxed) { i32::from(super::EXIT_FAILED) } else { 0 });
    }
}

/// A command's exit code, in view of what could not be printed.
pub fn code(code: ExitCode) -> ExitCode {
    if code == ExitCode::SUCCESS && IS_ERROR.load(Relaxed) { ExitCode::from(super::EXIT_FAILED) } else { code }
}
