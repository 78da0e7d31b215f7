//! `fieldbeat tail`: follows tags of a gateway out of its journal, from another process; with `--live` see `live`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::{files, live, print};
use crate::store::{Block, Found, JournalReader};
use crate::tag::{DictionaryTag, Globs, Status, glob_has, utc_text};

/// A silence that is worth a word, beside two scans.
const QUIET: Duration = Duration::from_secs(3);

/// A gateway that writes a damaged journal begins a new one within a second or two.
const RENEWED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct TailArgs {
    /// Directory with fieldbeat.toml and tags/.
    #[arg(short, long, value_name = "DIR", default_value = files::CONFIG_DIR)]
    config: PathBuf,
    /// Tags to follow by name, or by a pattern in which * matches any characters; without it all.
    #[arg(value_name = "TAG")]
    tags: Vec<String>,
    /// Begin with the oldest sample in the journal, instead of the next one.
    #[arg(long)]
    from_start: bool,
    /// Follow the running gateway directly: every sample, including those suppressed before the journal.
    #[arg(long, conflicts_with = "from_start")]
    live: bool,
    /// Stop after so many lines.
    #[arg(long, value_name = "N")]
    lines: Option<u64>,
}

pub fn tail(args: &TailArgs) -> ExitCode {
    if args.live {
        return live::live(&args.config, &args.tags, args.lines);
    }
    let loaded = match files::load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let reader = match JournalReader::open_read_only(&loaded.config.journal.path) {
        Ok(reader) => reader,
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: {error}")),
    };
    let configured: Vec<&str> = loaded.config.tags.iter().map(|tag| tag.name.as_str()).collect();
    let mut unknown: Vec<&str> = args.tags.iter().map(String::as_str).collect();
    unknown.retain(|wanted| !configured.iter().any(|name| glob_has(wanted, name)));
    if let Err(error) = reader.visit_names(args.from_start, |names| {
        unknown.retain(|wanted| !names.tags.iter().any(|tag| glob_has(wanted, &tag.name)));
        !unknown.is_empty()
    }) {
        return super::fail(super::EXIT_FAILED, format!("error: {error}"));
    }
    let is_waiting = args.lines.is_none() || unknown.is_empty() || unknown.len() < args.tags.len();
    let (kind, waiting) = match is_waiting {
        true if args.lines.is_none() => ("warning", " (waiting; Ctrl-C ends)"),
        true => ("warning", ""),
        false => ("error", ""),
    };
    for wanted in &unknown {
        let near = files::near(wanted.trim_end_matches('*'), configured.iter().copied());
        note!("{kind}: there is no tag \"{wanted}\" in the configuration or in the journal{near}{waiting}");
    }
    if !is_waiting {
        return ExitCode::from(super::EXIT_NO);
    }
    // The fastest of what is wanted says how long nothing is to be expected.
    let globs = Globs::new(&args.tags);
    let wanted = loaded.config.tags.iter().filter(|tag| globs.has(&tag.name));
    let fastest = wanted.filter_map(|tag| loaded.config.groups.get(tag.group)).map(|group| group.interval().0).min();
    let quiet = QUIET + Duration::from_nanos(fastest.unwrap_or(0).saturating_mul(2));
    match Tail::new(reader, args, &loaded.config.journal.path).follow(quiet) {
        Ok(damage) => damage.code(),
        Err(error) => super::fail(super::EXIT_FAILED, format!("error: {error}")),
    }
}

/// What could not be shown.
#[derive(Default)]
struct Damage {
    blocks: u64,
    /// In those whose header can be read.
    samples: u64,
    unknown: u64,
    /// Samples shown by number, for want of a name, and those left out because names were asked for.
    numbered: u64,
    left_out: u64,
}

impl Damage {
    fn code(&self) -> ExitCode {
        if self.blocks > 0 {
            let of_more = match self.unknown {
                0 => String::new(),
                unknown => format!(", and those of {unknown} blocks with an unknown number of samples"),
            };
            note!("error: {} damaged blocks were skipped ({} samples{of_more})", self.blocks, self.samples);
        }
        if self.numbered + self.left_out > 0 {
            note!(
                "error: names are damaged: {} samples are shown with their tag's number, {} were skipped because \
                 tags were selected by name",
                self.numbered,
                self.left_out
            );
        }
        let whole = self.blocks + self.numbered + self.left_out == 0;
        if whole { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_NO) }
    }
}

struct Tail<'a> {
    reader: JournalReader,
    path: &'a Path,
    args: &'a TailArgs,
    wanted: Globs,
    left: u64,
    damage: Damage,
}

impl<'a> Tail<'a> {
    fn new(reader: JournalReader, args: &'a TailArgs, path: &'a Path) -> Tail<'a> {
        Tail {
            reader,
            path,
            args,
            wanted: Globs::new(&args.tags),
            left: args.lines.unwrap_or(u64::MAX),
            damage: Damage::default(),
        }
    }

    fn follow(mut self, quiet: Duration) -> Result<Damage, String> {
        let text = |error: crate::store::JournalError| error.to_string();
        let mut next = if self.args.from_start { 0 } else { self.reader.next_index().map_err(text)? };
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut quiet_since = Some(Instant::now());
        while self.left > 0 {
            let found = match self.reader.found_at_or_after(next) {
                Err(error) if error.is_damage() && self.is_renewed() => {
                    next = self.place(next);
                    continue;
                }
                found => found.map_err(text)?,
            };
            let Some(found) = found else {
                self.reader.wait_beyond(next, Duration::from_millis(500));
                if self.reader.is_left_behind() {
                    // Said once, and waited for.
                    let mut is_told = false;
                    while !self.is_renewed() {
                        if !std::mem::replace(&mut is_told, true) {
                            note!("there is no new journal yet; is the gateway running?");
                        }
                    }
                    next = self.place(next);
                }
                // Said once a silence.
                if quiet_since.is_some_and(|since| since.elapsed() > quiet) {
                    quiet_since = None;
                    note!("nothing new in the journal for {} s; is the gateway running?", quiet.as_secs());
                }
                continue;
            };
            quiet_since = Some(Instant::now());
            let block = match found {
                Found::Block(block) => block,
                Found::Nameless(block, what) => {
                    note!("warning: block {}: {what}; tags are shown by number", block.index);
                    block
                }
                Found::Damaged(damaged) => {
                    self.damage.blocks += 1;
                    self.damage.samples += u64::from(damaged.samples.unwrap_or(0));
                    self.damage.unknown += u64::from(damaged.samples.is_none());
                    note!("warning: block {} is damaged and was skipped: {}", damaged.index, damaged.what);
                    next = damaged.index + 1;
                    continue;
                }
            };
            next = block.index + 1;
            // A closed pipe (`tail … | head`) is the end, not an error.
            if let Err(error) = self.print(&mut out, &block).and_then(|()| out.flush()) {
                print::failed(&error);
            }
        }
        Ok(self.damage)
    }

    /// Follows the gateway to the file that it writes in place of this one. Whether there is one in time.
    fn is_renewed(&mut self) -> bool {
        let end = Instant::now() + RENEWED_WITHIN;
        while Instant::now() < end {
            // Once closed, nothing of the old one is looked at any more; before, no other can be opened here.
            if !self.reader.is_open() || self.reader.is_left_behind() {
                self.reader.close();
                if let Ok(reader) = JournalReader::open_read_only(self.path) {
                    note!(
                        "warning: the journal's file was removed or set aside and replaced by a new one; see the \
                         gateway's log"
                    );
                    self.reader = reader;
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    }

    /// Where to go on in a new file: one that was begun by a new start counts from 0 again.
    fn place(&self, next: u64) -> u64 {
        self.reader.next_index().map_or(next, |end| if end < next { 0 } else { next })
    }

    fn print(&mut self, out: &mut impl Write, block: &Block) -> io::Result<()> {
        let nameless = DictionaryTag::default();
        for item in block.batch.iter() {
            let known = block.batch.names.tag(item.sample.tag());
            if known.is_none() && !self.args.tags.is_empty() {
                self.damage.left_out += 1;
                continue;
            }
            let number;
            let (tag, name) = match known {
                Some(tag) => (tag, tag.name.as_str()),
                None => {
                    number = format!("#{}", item.sample.tag);
                    (&nameless, number.as_str())
                }
            };
            if self.left == 0 || !self.wanted.has(name) {
                continue;
            }
            self.left -= 1;
            self.damage.numbered += u64::from(known.is_none());
            let ty = known.map_or(item.sample.ty, |tag| tag.ty);
            let value = item.value(ty).map_or("-".to_owned(), |v| v.to_string());
            let has_text = !item.sample.has_no_value() && !item.sample.is_long();
            let text = Some(item.sample.value).filter(|_| has_text).and_then(|bits| tag.texts.of(bits));
            let text = text.map_or(String::new(), |text| format!(" {text:?}"));
            let time = utc_text(item.sample.stamp().utc_ns(&block.batch.clock));
            let space = if tag.unit.is_empty() { "" } else { " " };
            writeln!(out, "{time} {name} {value}{space}{}{text} {}", tag.unit, Status(item.sample.status))?;
        }
        Ok(())
    }
}
