//! Log lines, and all else that a running gateway says on standard error: with their time, unless systemd's journal takes
//! them, which stamps them itself.
//!
//! Nobody who serves the plant waits for a line, or dies of one: lines go into a bounded queue that a thread of its own
//! writes out. What does not fit, or can't be written, is counted, and told as soon as something can be written again.

pub mod queue;

use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use tracing_subscriber::fmt::{MakeWriter, SubscriberBuilder};

use queue::Queue;

/// Where lines go once [`start`] was called.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Starts logging. `FIELDBEAT_LOG` sets the level: error, warn, info (default), debug, trace.
pub fn start() {
    let queue = Arc::new(Queue::default());
    if QUEUE.set(queue.clone()).is_err() {
        return;
    }
    let wanted = std::env::var("FIELDBEAT_LOG").ok();
    let level = wanted.as_deref().and_then(|text| text.parse::<Level>().ok()).unwrap_or(Level::INFO);
    let logs = format(Lines(queue.clone()), level);
    if is_journald() {
        logs.without_time().init()
    } else {
        logs.init()
    }
    if let Err(error) = queue::write_out(queue, libc::STDERR_FILENO) {
        tracing::error!("log lines are lost: cannot start a thread to write them ({error})");
    }
    // What a panic says must not wait for a reader either.
    std::panic::set_hook(Box::new(|panic| line(format_args!("{panic}"))));
    if let Some(text) = wanted
        && text.parse::<Level>().is_err()
    {
        tracing::warn!("FIELDBEAT_LOG={text} is not a level; allowed: error, warn, info, debug, trace");
    }
}

/// Whether standard error is systemd's journal, which stamps each line itself: the variable names what it has opened for it
/// (systemd.exec(5)).
fn is_journald() -> bool {
    let found = std::fs::metadata("/proc/self/fd/2").map(|found| (found.dev(), found.ino()));
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| found.is_ok_and(|found| is_stream(&stream, found)))
}

/// `device:inode`
fn is_stream(stream: &str, (device, inode): (u64, u64)) -> bool {
    let named = stream.split_once(':').and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    named == Some((device, inode))
}

/// Formats events of `level` and above, each as one piece for a writer of `lines`.
pub fn format<W>(lines: W, level: Level) -> SubscriberBuilder<DefaultFields, Format, LevelFilter, W>
where
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt().with_max_level(level).with_writer(lines).with_target(false).with_ansi(false)
}

/// Says one line on standard error, behind the log lines where there are some. Where it can't be said there is nobody to
/// tell.
pub fn line(text: fmt::Arguments<'_>) {
    let text = format!("{text}\n");
    match QUEUE.get() {
        Some(queue) => queue.push(text.as_bytes()),
        None => drop(io::stderr().lock().write_all(text.as_bytes())),
    }
}

/// Lines that were lost since the start.
pub fn lost() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.lost())
}

/// Waits until all is written, for so long at most.
pub fn flush(patience: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(patience);
    }
}

/// A writer for each event.
struct Lines(Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Takes an event's text, which comes in one piece.
pub struct Line<'a>(pub &'a Queue);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_what_it_has_opened() {
        assert!(is_stream("9:4711", (9, 4711)));
        for other in ["9:4712", "8:4711", "9", "", "9:x", ":", "9:4711:1"] {
            assert!(!is_stream(other, (9, 4711)), "{other}");
        }
    }
}
