//! `fieldbeat get` and `fieldbeat list`: the tags of a running gateway, out of its process image and its plan.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value as Json, json};

use super::ask::{At, ask};
use super::{print, rows};

/// Rows that are looked at before the first is shown, to find how wide the names are.
const ALIGNED: usize = 1000;

#[derive(Args)]
pub struct GetArgs {
    #[command(flatten)]
    at: At,
    /// Tags by name, or by a pattern in which * matches any characters ('boiler.*').
    #[arg(required = true, value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    form: Form,
}

#[derive(Args)]
pub struct ListArgs {
    #[command(flatten)]
    at: At,
    /// Tags by name, or by a pattern in which * matches any characters; without it all.
    #[arg(value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    form: Form,
}

#[derive(Args)]
struct Form {
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Print CSV with a header line.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

pub fn get(args: &GetArgs) -> ExitCode {
    let columns = ["tag", "value", "unit", "status", "time", "age_ms", "text", "reason"];
    show("get", &args.at, &args.tags, &args.form, &columns, latest)
}

pub fn list(args: &ListArgs) -> ExitCode {
    let columns = ["tag", "link", "group", "type", "unit", "writable", "description"];
    show("list", &args.at, &args.tags, &args.form, &columns, listed)
}

/// What is shown of a tag, in columns.
type Cells = fn(&Json) -> Vec<String>;

/// `boiler.temperature  81.5 °C  Good  0.7 ms ago`, with all but the name as one.
fn latest(row: &Json) -> Vec<String> {
    vec![rows::text(row, "tag").to_owned(), rows::latest(row)]
}

/// `boiler.temperature  plc1  10ms  float32  °C  writable`
fn listed(row: &Json) -> Vec<String> {
    let text = |key| rows::text(row, key).to_owned();
    let unit = if text("unit").is_empty() { "-".to_owned() } else { text("unit") };
    let access = if row["writable"] == true { "writable" } else { "read only" };
    vec![text("tag"), text("link"), text("group"), text("type"), unit, access.to_owned()]
}

fn show(what: &str, at: &At, tags: &[String], form: &Form, columns: &[&str], cells: Cells) -> ExitCode {
    let socket = match at.socket() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    let mut answer = match ask(&socket, &json!({ "ask": what, "tags": tags }), false) {
        Ok(answer) => answer,
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: {error}")),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut table = Table { cells, waiting: Vec::new(), widths: None };
    let mut failed = Ok(());
    if form.csv {
        failed = writeln!(out, "{}", columns.join(","));
    }
    let end = answer.each(|row| {
        if failed.is_ok() {
            failed = match () {
                () if form.json => writeln!(out, "{row}"),
                () if form.csv => writeln!(out, "{}", rows::csv(row, columns)),
                () => table.add(&mut out, row),
            };
        }
    });
    // A closed pipe (`list | head`) is the end, not an error.
    if let Err(error) = failed.and_then(|()| table.end(&mut out)).and_then(|()| out.flush()) {
        print::failed(&error);
    }
    let end = match end {
        Ok(end) => end,
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: {error}")),
    };
    let unknown = end["unknown"].as_array().map_or(&[][..], Vec::as_slice);
    for asked in unknown {
        let asked = asked.as_str().unwrap_or_default();
        let what = if crate::tag::is_pattern(asked) { "tag that fits" } else { "tag" };
        note!("error: the gateway has no {what} \"{asked}\"; `fieldbeat list` shows all");
    }
    if unknown.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_NO) }
}

/// Rows with their cells in columns, as far as the first of them tell how wide these are.
struct Table {
    cells: Cells,
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl Table {
    fn add(&mut self, out: &mut impl Write, row: &Json) -> io::Result<()> {
        self.waiting.push((self.cells)(row));
        if self.widths.is_some() || self.waiting.len() >= ALIGNED { self.end(out) } else { Ok(()) }
    }

    fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let widths = self.widths.get_or_insert_with(|| rows::widths(&waiting));
        waiting.iter().try_for_each(|row| writeln!(out, "{}", rows::columns(row, widths)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_in_columns() {
        let mut table = Table { cells: listed, waiting: Vec::new(), widths: None };
        let mut out = Vec::new();
        let row = |tag: &str, writable| json!({"tag": tag, "link": "plc", "group": "10ms", "type": "bool", "unit": "", "writable": writable});
        table.add(&mut out, &row("a", false)).unwrap();
        table.add(&mut out, &row("long", true)).unwrap();
        table.end(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "a     plc  10ms  bool  -  read only\nlong  plc  10ms  bool  -  writable\n");
    }
}
