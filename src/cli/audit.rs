//! `fieldbeat audit`: the audit log of writes in a gateway's journal, read from another process.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{files, print};
use crate::store::{AuditOutcome, AuditRecord, AuditTail, JournalReader};
use crate::tag::utc_text;

#[derive(Args)]
pub struct AuditArgs {
    /// Directory with fieldbeat.toml and tags/.
    #[arg(short, long, value_name = "DIR", default_value = files::CONFIG_DIR)]
    config: PathBuf,
    /// Show the newest N records.
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

pub fn audit(args: &AuditArgs) -> ExitCode {
    let loaded = match files::load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let tail = JournalReader::open_read_only(&loaded.config.journal.path).and_then(|reader| reader.audit(args.last));
    let tail = match tail {
        Ok(tail) => tail,
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: {error}")),
    };
    if tail.records.is_empty() {
        note!("no writes are recorded");
    }
    // A closed pipe (`audit … | head`) is the end, not an error.
    if let Err(error) = write(&mut io::BufWriter::new(io::stdout().lock()), &tail, args.json) {
        print::failed(&error);
    }
    for (number, why) in &tail.damaged {
        note!("warning: record {number} can't be read: {why}");
    }
    if tail.dropped > 0 {
        note!("{} older records were removed because the audit log is full", tail.dropped);
    }
    if tail.damaged.is_empty() {
        return ExitCode::SUCCESS;
    }
    super::fail(super::EXIT_NO, format!("error: {} damaged records were skipped", tail.damaged.len()))
}

fn write(out: &mut impl Write, tail: &AuditTail, as_json: bool) -> io::Result<()> {
    for (number, record) in &tail.records {
        let line = if as_json { json_of(*number, record).to_string() } else { line_of(record) };
        writeln!(out, "{line}")?;
    }
    out.flush()
}

fn json_of(number: u64, record: &AuditRecord) -> Json {
    let text = |text: &str| if text.is_empty() { Json::Null } else { Json::from(text) };
    // A refused value may have been cut.
    let value = |text: &str| match text {
        "" => Json::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| Json::from(text)),
    };
    let time = |utc_ns: i64| if utc_ns == 0 { Json::Null } else { Json::from(utc_text(utc_ns)) };
    json!({
        "number": number,
        "asked": time(record.asked_utc_ns),
        "ended": time(record.ended_utc_ns),
        "outcome": record.outcome.name(),
        "way": text(&record.way),
        "who": text(&record.who),
        "from": text(&record.from),
        "id": text(&record.request),
        "tag": text(&record.tag),
        "old": value(&record.old),
        "old_status": record.old_status.map(|status| status.name()),
        "new": value(&record.new),
        "read_back": value(&record.back),
        "reason": text(&record.reason),
        "message": text(&record.message),
    })
}

/// Values and names come from outside: nothing of them may move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn line_of(record: &AuditRecord) -> String {
    let time = utc_text(record.asked_utc_ns);
    if record.outcome == AuditOutcome::Summary {
        return format!("{time} refused {} {}", record.request, record.message);
    }
    let outcome = match record.outcome {
        AuditOutcome::Open => "SENT, OUTCOME NOT RECORDED",
        outcome => outcome.name(),
    };
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { plain(text) };
    let mut line = format!(
        "{time} {outcome} {}: {} -> {} by {} ({}) over {}",
        or_dash(&record.tag),
        or_dash(&record.old),
        or_dash(&record.new),
        or_dash(&record.who),
        or_dash(&record.from),
        or_dash(&record.way),
    );
    if let Some(status) = record.old_status.filter(|status| !status.is_good()) {
        line += &format!(", old value {}", status.name());
    }
    if !record.back.is_empty() {
        line += &format!(", read back {}", plain(&record.back));
    }
    if !record.request.is_empty() {
        line += &format!(", id {}", plain(&record.request));
    }
    if !record.reason.is_empty() {
        line += &format!(": {} ({})", plain(&record.message), record.reason);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Status;

    #[test]
    fn a_record_is_one_line_whatever_it_holds() {
        let done = AuditRecord {
            outcome: AuditOutcome::Done,
            asked_utc_ns: 951_782_400_000_000_000,
            ended_utc_ns: 951_782_400_010_000_000,
            way: "socket".into(),
            who: "anna (uid 1000)".into(),
            from: "process 77".into(),
            request: "4\u{1b}[2J2".into(),
            tag: "boiler.setpoint".into(),
            old: "20".into(),
            old_status: Some(Status::GOOD),
            new: "21.5".into(),
            back: "21.5".into(),
            ..AuditRecord::default()
        };
        assert_eq!(
            line_of(&done),
            "2000-02-29T00:00:00.000000Z done boiler.setpoint: 20 -> 21.5 by anna (uid 1000) (process 77) over socket, \
             read back 21.5, id 4\u{fffd}[2J2"
        );
        assert_eq!(json_of(7, &done)["ended"], "2000-02-29T00:00:00.010000Z");
        assert_eq!((json_of(7, &done)["old"].clone(), json_of(7, &done)["reason"].clone()), (json!(20), Json::Null));
        let open = AuditRecord { outcome: AuditOutcome::Open, ..done };
        assert!(line_of(&open).contains("SENT, OUTCOME NOT RECORDED boiler.setpoint"));
    }
}
