//! Where the checks read: `/proc`, `/sys` and `/dev` below a root, so that a tree of files can stand for a machine.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::limits::DOCTOR_FILE_BYTES_MAX;

/// A machine, as the files below a root show it.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
    live: bool,
}

impl Machine {
    /// The machine that this process runs on.
    pub fn this() -> Machine {
        Machine { root: PathBuf::from("/"), live: true }
    }

    /// The machine whose `/proc`, `/sys` and `/dev` lie in `root`. Only files are looked at.
    pub fn at(root: &Path) -> Machine {
        Machine { root: root.to_owned(), live: false }
    }

    /// Whether the kernel may be asked what this process is allowed to do.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Where `path` (without a leading slash) lies.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The text of a file without white space around it; `None` if it can't be read.
    pub fn read(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        fs::File::open(self.path(path)).ok()?.take(DOCTOR_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A file that holds one number.
    pub fn number(&self, path: &str) -> Option<i64> {
        self.read(path)?.parse().ok()
    }

    /// The chosen word of a file such as `always [madvise] never`.
    pub fn chosen(&self, path: &str) -> Option<String> {
        let text = self.read(path)?;
        let (_, rest) = text.split_once('[')?;
        Some(rest.split_once(']')?.0.to_owned())
    }

    /// Names in a directory, sorted; none if it can't be read.
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else { return Vec::new() };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The value of `name=` on the kernel command line; the last one counts, as for the kernel.
    pub fn boot_option(&self, name: &str) -> Option<String> {
        let line = self.read("proc/cmdline")?;
        line.split_whitespace().rev().find_map(|word| {
            let (key, value) = word.split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
    }
}
