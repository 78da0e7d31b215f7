//! `fieldbeat tail --live`: samples of a running gateway as they come, over its control socket.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::ask::{ask, socket_of};
use super::{print, rows};

/// Follows `tags`, all when there are none, for so many lines.
pub fn live(config: &Path, tags: &[String], lines: Option<u64>) -> ExitCode {
    let socket = match socket_of(config) {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    let mut answer = match ask(&socket, &json!({ "ask": "live", "tags": tags }), true) {
        Ok(answer) => answer,
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: {error}")),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut left = lines.unwrap_or(u64::MAX);
    while left > 0 {
        let row = match answer.next_line() {
            Ok(Some(row)) => row,
            Ok(None) => return super::fail(super::EXIT_FAILED, "error: the gateway closed the connection"),
            Err(error) => return super::fail(super::EXIT_FAILED, format!("error: {error}")),
        };
        if row["end"] == true {
            note!("{}", rows::text(&row, "why"));
            break;
        }
        for asked in row["unknown"].as_array().into_iter().flatten() {
            note!("warning: the gateway has no tag \"{}\" (waiting; Ctrl-C ends)", asked.as_str().unwrap_or_default());
        }
        if let Some(lost) = row["lost"].as_u64() {
            note!("{lost} samples (of all tags) were lost: this reader is too slow");
        }
        if row["tag"].is_null() {
            continue;
        }
        left -= 1;
        // What has come is shown at once; a closed pipe (`tail … | head`) is the end, not an error.
        let is_last = left == 0 || answer.is_drained();
        let shown = writeln!(out, "{}", rows::sample(&row));
        if let Err(error) = shown.and_then(|()| if is_last { out.flush() } else { Ok(()) }) {
            print::failed(&error);
        }
    }
    ExitCode::SUCCESS
}
