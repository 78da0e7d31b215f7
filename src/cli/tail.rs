//! `fieldbeat tail`: follows tags of a running gateway out of its journal, from another process.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::files;
use crate::store::{Block, JournalReader};
use crate::tag::{ScalarType, Status, Value, utc_text};

/// A silence that is worth a word, beside two scans.
const QUIET: Duration = Duration::from_secs(3);

#[derive(Args)]
pub struct TailArgs {
    /// Directory with fieldbeat.toml and tags/.
    #[arg(short, long, value_name = "DIR", default_value = files::CONFIG_DIR)]
    config: PathBuf,
    /// Tags to follow; all when none is named. A name that ends in * stands for all that begin with it.
    #[arg(value_name = "TAG")]
    tags: Vec<String>,
    /// Begin with the oldest that the journal has, not with what comes next.
    #[arg(long)]
    from_start: bool,
    /// End after so many lines.
    #[arg(long, value_name = "N")]
    lines: Option<u64>,
}

pub fn tail(args: &TailArgs) -> ExitCode {
    let loaded = match files::load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let reader = match JournalReader::open_read_only(&loaded.config.journal.path) {
        Ok(reader) => reader,
        Err(error) => return super::fail(1, format!("error: {error}")),
    };
    let configured: Vec<&str> = loaded.config.tags.iter().map(|tag| tag.name.as_str()).collect();
    let mut unknown: Vec<&str> = args.tags.iter().map(String::as_str).collect();
    unknown.retain(|wanted| !configured.iter().any(|name| is_named(name, wanted)));
    if let Err(error) = reader.visit_names(args.from_start, |names| {
        unknown.retain(|wanted| !names.tags.iter().any(|tag| is_named(&tag.name, wanted)));
        !unknown.is_empty()
    }) {
        return super::fail(1, format!("error: {error}"));
    }
    let is_waiting = args.lines.is_none() || unknown.is_empty() || unknown.len() < args.tags.len();
    let (kind, waiting) = match is_waiting {
        true if args.lines.is_none() => ("warning", " (waiting; Ctrl-C ends)"),
        true => ("warning", ""),
        false => ("error", ""),
    };
    for wanted in &unknown {
        let near = files::near(wanted.trim_end_matches('*'), configured.iter().copied());
        eprintln!("{kind}: there is no tag \"{wanted}\" in the configuration, nor in the journal{near}{waiting}");
    }
    if !is_waiting {
        return ExitCode::from(1);
    }
    // The fastest of what is wanted says how long nothing is to be expected.
    let wanted = loaded.config.tags.iter().filter(|tag| is_wanted(&tag.name, &args.tags));
    let fastest = wanted.filter_map(|tag| loaded.config.groups.get(tag.group)).map(|group| group.period.0).min();
    let quiet = QUIET + Duration::from_nanos(fastest.unwrap_or(0).saturating_mul(2));
    match follow(&reader, args, quiet) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(1, format!("error: {error}")),
    }
}

fn follow(reader: &JournalReader, args: &TailArgs, quiet: Duration) -> Result<(), String> {
    let text = |error: crate::store::JournalError| error.to_string();
    let mut next = if args.from_start { 0 } else { reader.next_index().map_err(text)? };
    let mut left = args.lines.unwrap_or(u64::MAX);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut quiet_since = Some(Instant::now());
    while left > 0 {
        match reader.block_at_or_after(next).map_err(text)? {
            Some(block) => {
                next = block.index + 1;
                quiet_since = Some(Instant::now());
                // A closed pipe (`tail … | head`) is the end, not an error.
                if print(&mut out, &block, &args.tags, &mut left).and_then(|()| out.flush()).is_err() {
                    return Ok(());
                }
            }
            None => {
                reader.wait_beyond(next, Duration::from_millis(500));
                // Said once a silence.
                if quiet_since.is_some_and(|since| since.elapsed() > quiet) {
                    quiet_since = None;
                    eprintln!("nothing new in the journal for {} s; is the gateway running?", quiet.as_secs());
                }
            }
        }
    }
    Ok(())
}

fn print(out: &mut impl Write, block: &Block, wanted: &[String], left: &mut u64) -> io::Result<()> {
    let mut bytes = Vec::new();
    for item in block.batch.iter() {
        let Some(tag) = block.batch.names.tag(item.sample.tag()) else { continue };
        if *left == 0 || !is_wanted(&tag.name, wanted) {
            continue;
        }
        *left -= 1;
        let value = if item.sample.has_no_value() {
            None
        } else if item.sample.is_long() {
            bytes.clear();
            item.payload_into(&mut bytes);
            Value::from_long(tag.ty, &bytes)
        } else {
            ScalarType::from_code(tag.ty).map(|ty| Value::from_bits(ty, item.sample.value))
        };
        let value = value.map_or("-".to_owned(), |v| v.to_string());
        let has_text = !item.sample.has_no_value() && !item.sample.is_long();
        let text = Some(item.sample.value).filter(|_| has_text).and_then(|bits| tag.texts.of(bits));
        let text = text.map_or(String::new(), |text| format!(" {text:?}"));
        let time = utc_text(block.batch.clock.utc_ns_of(crate::tag::Nanos(item.sample.t_mono_ns)));
        let space = if tag.unit.is_empty() { "" } else { " " };
        writeln!(out, "{time} {} {value}{space}{}{text} {}", tag.name, tag.unit, Status(item.sample.status))?;
    }
    Ok(())
}

fn is_wanted(name: &str, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| is_named(name, wanted))
}

/// Whether a name is what was asked for: itself, or all that begin so.
fn is_named(name: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => !name.is_empty() && name.starts_with(prefix),
        None => name == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_all_that_begin_so() {
        let wanted = ["a.b".to_owned(), "line1.*".to_owned()];
        assert!(is_wanted("a.b", &wanted) && is_wanted("line1.x", &wanted) && !is_wanted("line2.x", &wanted));
    }
}
