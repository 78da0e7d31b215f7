//! Logs to standard error, as systemd's journal likes them.

use std::io::IsTerminal;

use tracing::Level;

/// Starts logging. `FIELDBEAT_LOG` sets the level: error, warn, info (default), debug, trace.
pub fn start() {
    let wanted = std::env::var("FIELDBEAT_LOG").ok();
    let level = wanted.as_deref().and_then(|text| text.parse::<Level>().ok()).unwrap_or(Level::INFO);
    let terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false);
    if terminal {
        logs.init()
    } else {
        logs.without_time().init()
    }
    if let Some(text) = wanted
        && text.parse::<Level>().is_err()
    {
        tracing::warn!("FIELDBEAT_LOG={text} is no level; allowed: error, warn, info, debug, trace");
    }
}
