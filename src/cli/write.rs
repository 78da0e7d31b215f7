//! `fieldbeat write`: one value to one tag of a running gateway, over its control socket.
//!
//! Exit codes: 0 done, 1 refused (nothing was sent), 2 the command line or the configuration is wrong, 3 failed, or the
//! outcome is unknown.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{ask, files};
use crate::limits::{COMMAND_BYTES_MAX, WRITE_TIMEOUT_MAX, WRITE_TIMEOUT_MIN};
use crate::protocol;
use crate::tag::ValueType;

/// Beyond the write's own time: commits of the journal on a slow disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time of a write when the tag says none, at most.
const TIMEOUT_MAX: Duration = Duration::from_nanos(WRITE_TIMEOUT_MAX.0);
/// Bytes of an answer: the largest array, twice or thrice.
const ANSWER_BYTES_MAX: u64 = 4 * COMMAND_BYTES_MAX as u64;

#[derive(Args)]
pub struct WriteArgs {
    /// Directory with fieldbeat.toml and tags/.
    #[arg(short, long, value_name = "DIR", default_value = files::CONFIG_DIR)]
    config: PathBuf,
    /// The gateway's control socket, instead of the configured one.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Name of the tag.
    #[arg(value_name = "TAG")]
    tag: String,
    /// A number, true or false, a string, or a list as JSON.
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
    /// Read the value back from the device after the write.
    #[arg(long)]
    read_back: bool,
    /// Timeout from the request to its answer, in milliseconds, instead of the tag's.
    #[arg(long, value_name = "MS")]
    timeout: Option<u64>,
    /// Id of the request: a repeated id gets the same answer and is not written again.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

pub fn write(args: &WriteArgs) -> ExitCode {
    let (min_ms, max_ms) = (WRITE_TIMEOUT_MIN.0 / 1_000_000, WRITE_TIMEOUT_MAX.0 / 1_000_000);
    if args.timeout.is_some_and(|ms| !(min_ms..=max_ms).contains(&ms)) {
        return super::fail(super::EXIT_CONFIG, format!("error: --timeout: allowed are {min_ms} to {max_ms}"));
    }
    let (socket, is_text) = match place(args) {
        Ok(place) => place,
        Err(code) => return code,
    };
    let mut request = json!({ "tag": args.tag, "value": value(&args.value, is_text), "read_back": args.read_back });
    if let Some(id) = &args.id {
        request["id"] = json!(id);
    }
    if let Some(ms) = args.timeout {
        request["timeout_ms"] = json!(ms);
    }
    let patience = args.timeout.map_or(TIMEOUT_MAX, Duration::from_millis) + PATIENCE;
    match send(&socket, &request, patience) {
        Ok(answer) => tell(args, &answer),
        Err(message) => super::fail(super::EXIT_FAILED, format!("error: {message}")),
    }
}

/// The socket, and whether the tag is known to hold text.
fn place(args: &WriteArgs) -> Result<(PathBuf, bool), ExitCode> {
    let config = match args.socket {
        // Files that are wrong now do not matter to a gateway that runs by what they were.
        Some(_) => protocol::load(&args.config).ok().map(|loaded| loaded.config),
        None => Some(files::load(&args.config)?.config),
    };
    let tag = config.as_ref().and_then(|config| config.tags.iter().find(|tag| tag.name == args.tag));
    let is_text = tag.is_some_and(|tag| matches!(tag.value_type(), ValueType::Text { .. }));
    let socket = args.socket.clone().or_else(|| config.and_then(|config| config.control.socket));
    let Some(socket) = socket else {
        let message = "error: the gateway has no control socket: control.socket is \"off\" in its configuration";
        return Err(super::fail(super::EXIT_CONFIG, message));
    };
    Ok((socket, is_text))
}

/// As JSON if it reads like that, else as a text.
fn value(text: &str, is_text: bool) -> Json {
    match serde_json::from_str::<Json>(text) {
        Ok(Json::String(inner)) => Json::String(inner),
        Ok(json) if !is_text => json,
        _ => Json::String(text.to_owned()),
    }
}

fn send(path: &Path, request: &Json, patience: Duration) -> Result<Json, String> {
    let shown = path.display();
    let mut socket = ask::connect(path).map_err(|error| error.to_string())?;
    let io = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!(
            "the gateway gave no answer within {} s; the outcome of the write is unknown: see `fieldbeat audit`",
            patience.as_secs()
        ),
        _ => format!(
            "the gateway closed the control socket ({error}); the outcome of the write is unknown: see \
            `fieldbeat audit`"
        ),
    };
    socket.set_read_timeout(Some(patience)).and_then(|()| socket.set_write_timeout(Some(PATIENCE))).map_err(io)?;
    socket.write_all(format!("{request}\n").as_bytes()).map_err(io)?;
    let mut line = String::new();
    let read = BufReader::new(socket.take(ANSWER_BYTES_MAX)).read_line(&mut line).map_err(io)?;
    if read == 0 {
        return Err(io(ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_str(&line)
        .map_err(|error| format!("the answer at {shown} is not JSON ({error}): is it a gateway's socket?"))
}

fn tell(args: &WriteArgs, answer: &Json) -> ExitCode {
    let text = |key: &str| answer[key].as_str().unwrap_or_default();
    let code = match text("outcome") {
        "done" => 0,
        "refused" => super::EXIT_NO,
        _ => super::EXIT_FAILED,
    };
    if args.json {
        out!("{answer}");
        return ExitCode::from(code);
    }
    let line = line_of(&args.tag, answer);
    if code == 0 {
        out!("{line}");
        return ExitCode::SUCCESS;
    }
    super::fail(code, line)
}

/// `boiler.setpoint: 20 -> 21.5 done in 12.3 ms`
fn line_of(tag: &str, answer: &Json) -> String {
    let text = |key: &str| answer[key].as_str().unwrap_or_default();
    let shown = |key: &str| match &answer[key] {
        Json::Null => "-".to_owned(),
        json => json.to_string(),
    };
    let old = match text("old_status") {
        "" | "Good" => shown("old"),
        status => format!("{} ({status})", shown("old")),
    };
    let mut line = format!("{tag}: {old} -> {} {}", shown("new"), text("outcome"));
    if !answer["read_back"].is_null() {
        line += &format!(", read back {}", answer["read_back"]);
    }
    line += &format!(" in {:.1} ms", answer["took_ms"].as_f64().unwrap_or_default());
    if answer["repeated"] == true {
        line += ", earlier: this id was used before, nothing was written now";
    }
    match (text("reason"), text("message")) {
        ("", "") => line,
        ("", message) => format!("{line}; {message}"),
        (reason, message) => format!("{line}: {message} ({reason})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_they_are_typed() {
        assert_eq!(value("21.5", false), json!(21.5));
        assert_eq!(value("-3", false), json!(-3));
        assert_eq!(value("true", false), json!(true));
        assert_eq!(value("[1, 2]", false), json!([1, 2]));
        assert_eq!(value("batch 7", false), json!("batch 7"));
        assert_eq!(value("\"7\"", false), json!("7"));
        assert_eq!(value("7", true), json!("7"));
        assert_eq!(value("true", true), json!("true"));
        assert_eq!(value("NaN", false), json!("NaN"));
    }

    #[test]
    fn an_answer_is_one_line() {
        let done = json!({"outcome": "done", "old": 20, "old_status": "Good", "new": 21.5, "took_ms": 12.34});
        assert_eq!(line_of("boiler.setpoint", &done), "boiler.setpoint: 20 -> 21.5 done in 12.3 ms");
        let refused = json!({"outcome": "refused", "reason": "out_of_range", "message": "the value is 900; allowed: 0 to 120",
                             "old": 20, "old_status": "BadNoCommunication", "new": 900, "took_ms": 0.1});
        assert_eq!(
            line_of("a", &refused),
            "a: 20 (BadNoCommunication) -> 900 refused in 0.1 ms: the value is 900; allowed: 0 to 120 (out_of_range)"
        );
    }
}
