//! Log lines, and all else that a running gateway says on standard error, as systemd's journal likes them.
//!
//! Nobody who serves the plant waits for a line, or dies of one: lines go into a bounded queue that a thread of its own
//! writes out. What does not fit, or can't be written, is counted, and told as soon as something can be written again.

pub(crate) mod queue;

use std::fmt;
use std::io::{self, IsTerminal, Write};
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
    if io::stderr().is_terminal() {
        logs.init()
    } else {
        logs.without_time().init()
    }
    if let Err(error) = queue::write_out(queue, libc::STDERR_FILENO) {
        tracing::error!("log lines are lost: the system gives no thread to write them ({error})");
    }
    // What a panic says must not wait for a reader either.
    std::panic::set_hook(Box::new(|panic| line(format_args!("{panic}"))));
    if let Some(text) = wanted
        && text.parse::<Level>().is_err()
    {
        tracing::warn!("FIELDBEAT_LOG={text} is no level; allowed: error, warn, info, debug, trace");
    }
}

/// Formats events of `level` and above, each as one piece for a writer of `lines`.
pub(crate) fn format<W>(lines: W, level: Level) -> SubscriberBuilder<DefaultFields, Format, LevelFilter, W>
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
struct Line<'a>(&'a Queue);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
