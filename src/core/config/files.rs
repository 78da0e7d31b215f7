//! The files of a configuration directory: which are read, and how much of them.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::diagnostic::Report;
use super::text::Source;
use crate::limits::{
    CONFIG_BYTES_MAX, CONFIG_FILE_BYTES_MAX, GATEWAY_FILE_BYTES_MAX, SIDE_FILE_BYTES_MAX, TAG_FILES_MAX,
};

/// The gateway's file.
pub const GATEWAY_FILE: &str = "fieldbeat.toml";
/// The directory of the tag files.
pub const TAGS_DIR: &str = "tags";
/// Lies beside the tag files for editors, and is none.
pub const SCHEMA_FILE: &str = "tags.schema.json";

/// The bytes of one file and the name messages give it.
pub struct Input {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The files of a configuration.
#[derive(Default)]
pub struct Inputs {
    pub gateway: Option<Input>,
    /// By name.
    pub tags: Vec<Input>,
    /// A file that should be here could not be read, which has been reported.
    pub incomplete: bool,
}

fn whole(name: &str) -> Source {
    Source { file: name.into(), line: 0, column: 0 }
}

/// Reads `dir/fieldbeat.toml`. False: there is no such directory.
pub fn collect_gateway(dir: &Path, report: &Report, inputs: &mut Inputs) -> bool {
    let shown = dir.display().to_string();
    if !dir.is_dir() {
        let message = if dir.exists() { "is not a directory" } else { "there is no such directory" };
        let help = format!("it must contain {GATEWAY_FILE} and {TAGS_DIR}/*.json");
        report.error(whole(&shown), "", message, help);
        return false;
    }
    match read_file(&dir.join(GATEWAY_FILE), GATEWAY_FILE_BYTES_MAX) {
        Ok(bytes) => inputs.gateway = Some(Input { name: GATEWAY_FILE.into(), bytes }),
        Err(Unread::Missing) => {
            let help = "it needs at least [gateway] and below it id = \"line-4\"";
            report.error(whole(GATEWAY_FILE), "", format!("there is no such file in {shown}"), help);
        }
        Err(Unread::Other(message)) => report.error(whole(GATEWAY_FILE), "", message, ""),
    }
    true
}

/// Reads `dir/fieldbeat.toml` and `dir/tags/*.json`.
pub fn collect(dir: &Path, report: &Report) -> Inputs {
    let mut inputs = Inputs::default();
    if !collect_gateway(dir, report, &mut inputs) {
        return inputs;
    }
    let shown = dir.display();
    let names = match tag_file_names(&dir.join(TAGS_DIR), report) {
        Ok(names) => names,
        Err(error) => {
            let message = if error.kind() == io::ErrorKind::NotFound {
                format!("there is no such directory in {shown}")
            } else {
                format!("cannot be read: {error}")
            };
            report.error(whole(TAGS_DIR), "", message, "it holds the links and tags, in files named *.json");
            inputs.incomplete = true;
            return inputs;
        }
    };
    if names.len() > TAG_FILES_MAX {
        report.error(whole(TAGS_DIR), "", format!("{} tag files", names.len()), format!("allowed: {TAG_FILES_MAX}"));
        inputs.incomplete = true;
        return inputs;
    }
    read_tag_files(&dir.join(TAGS_DIR), names, report, &mut inputs);
    inputs
}

fn read_tag_files(dir: &Path, names: Vec<std::ffi::OsString>, report: &Report, inputs: &mut Inputs) {
    let mut bytes_left = CONFIG_BYTES_MAX;
    for name in names {
        let shown = format!("{TAGS_DIR}/{}", name.to_string_lossy());
        match read_file(&dir.join(&name), CONFIG_FILE_BYTES_MAX) {
            Ok(bytes) if bytes.len() as u64 > bytes_left => {
                let message = format!("the tag files are larger than {} MiB together", CONFIG_BYTES_MAX >> 20);
                report.error(whole(&shown), "", message, "");
                inputs.incomplete = true;
                return;
            }
            Ok(bytes) => {
                bytes_left -= bytes.len() as u64;
                inputs.tags.push(Input { name: shown, bytes });
            }
            Err(unread) => {
                let message = match unread {
                    Unread::Missing => "the file is gone, or it is a broken link".into(),
                    Unread::Other(message) => message,
                };
                report.error(whole(&shown), "", message, "");
                inputs.incomplete = true;
            }
        }
    }
}

/// What tells one state of a configuration's files from another, without reading them. Two that are equal with some
/// time between them were made of the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(Vec<(OsString, Result<FileState, io::ErrorKind>)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileState {
    bytes: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// Of `dir/fieldbeat.toml`, `dir/tags/*.json` and the files beside them that links may name, as they are now.
    pub fn of(dir: &Path) -> Fingerprint {
        let tags = dir.join(TAGS_DIR);
        let mut files = vec![(GATEWAY_FILE.into(), file_state(&dir.join(GATEWAY_FILE)))];
        match tag_file_names(&tags, &Report::default()) {
            Ok(names) => files.extend(names.into_iter().map(|name| {
                let state = file_state(&tags.join(&name));
                (name, state)
            })),
            Err(error) => files.push((TAGS_DIR.into(), Err(error.kind()))),
        }
        files.extend(side_file_names(&tags).into_iter().map(|name| {
            let state = file_state(&tags.join(&name));
            (name, state)
        }));
        Fingerprint(files)
    }
}

/// When names came, went or were given to other files in a configuration's directories: files that are replaced one by
/// one are looked at again once that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirTimes([Option<(i64, i64)>; 2]);

impl DirTimes {
    pub fn of(dir: &Path) -> DirTimes {
        DirTimes([dir.to_owned(), dir.join(TAGS_DIR)].map(|dir| {
            let dir = fs::metadata(dir).ok()?;
            Some((dir.mtime(), dir.mtime_nsec()))
        }))
    }
}

/// Names of the files that links may name, sorted.
fn side_file_names(dir: &Path) -> Vec<OsString> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<OsString> = names.filter(|name| is_one(&name.to_string_lossy())).collect();
    names.sort();
    names.truncate(TAG_FILES_MAX);
    names
}

/// Reads a file that a link names.
pub fn read_side_file(path: &Path) -> Result<Vec<u8>, String> {
    read_file(path, SIDE_FILE_BYTES_MAX).map_err(|unread| match unread {
        Unread::Missing => "there is no such file".to_owned(),
        Unread::Other(message) => message,
    })
}

fn file_state(path: &Path) -> Result<FileState, io::ErrorKind> {
    let file = fs::metadata(path).map_err(|error| error.kind())?;
    Ok(FileState {
        bytes: file.len(),
        inode: file.ino(),
        modified: (file.mtime(), file.mtime_nsec()),
        changed: (file.ctime(), file.ctime_nsec()),
    })
}

/// Names of the tag files, sorted. What only looks like one gets a warning, as its tags would be missing silently.
fn tag_file_names(dir: &Path, report: &Report) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        // Editors and copies write under such names before they rename.
        if text.starts_with('.') || text.ends_with('~') || text.ends_with(".tmp") || text == SCHEMA_FILE {
            continue;
        }
        let lower = text.to_ascii_lowercase();
        if text.ends_with(".json") {
            names.push(name);
        } else if [".json", ".jsonc", ".json5"].iter().any(|end| lower.ends_with(end)) {
            let message = "not read: tag files are named *.json";
            report.warning(whole(&format!("{TAGS_DIR}/{text}")), "", message, "rename it");
        }
    }
    names.sort();
    Ok(names)
}

enum Unread {
    Missing,
    Other(String),
}

/// Reads a regular file of at most `bytes_max`: anything else (a pipe, a device) could wait or run for ever.
fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Unread> {
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Missing,
        _ => Unread::Other(format!("cannot be read: {error}")),
    };
    if !fs::metadata(path).map_err(unread)?.is_file() {
        return Err(Unread::Other("is not a file".into()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unread)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Unread::Other(format!("the file is larger than {} MiB", bytes_max >> 20)));
    }
    Ok(bytes)
}

/// What names of such files end in, in small letters.
pub const ENDS: [&str; 3] = [".dbc", ".eds", ".dcf"];

/// Where they are looked for.
#[derive(Clone, Copy)]
pub enum Beside<'a> {
    /// In `tags/` of this directory.
    Dir(&'a Path),
    /// Among these, each its name as messages give it, and its text.
    Parts(&'a [(&'a str, &'a str)]),
}

/// Whether a name is that of a file that a link may name.
pub fn is_one(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ENDS.iter().any(|end| name.ends_with(end))
}
