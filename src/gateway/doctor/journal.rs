//! The journal's directory: whether it can be written, and whether the whole journal fits.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::Check;
use crate::config::JournalConfig;
use crate::limits::JOURNAL_BYTES_MIN;

const WRITABLE: &str = "Without a journal the gateway does not start: samples would be lost while a broker is \
    unreachable.";
const ROOM: &str = "On a full disk new samples are refused and counted as lost.";

pub fn checks(journal: &JournalConfig) -> Vec<Check> {
    let place = nearest(&journal.path);
    vec![writable(journal, &place), room(journal, &place)]
}

/// The directory itself, or the nearest one above it: the gateway makes what is missing.
fn nearest(path: &Path) -> PathBuf {
    let mut above = path.ancestors().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    above.find(|dir| dir.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn writable(journal: &JournalConfig, place: &Path) -> Check {
    let id = "journal_directory";
    let path = journal.path.display();
    if !place.is_dir() {
        let mend = format!("move {} away, or set another journal.path", place.display());
        return Check::bad(id, WRITABLE, format!("{} is not a directory", place.display()), mend);
    }
    match access(place, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if place == journal.path => Check::ok(id, WRITABLE, format!("{path} can be written")),
        Ok(()) => Check::ok(id, WRITABLE, format!("{path} will be created in {}", place.display())),
        Err(error) => {
            let mend = format!("install -d -o fieldbeat -g fieldbeat -m 0750 {path}, or run as the gateway's user");
            Check::bad(id, WRITABLE, format!("{} can't be written by this user: {error}", place.display()), mend)
        }
    }
}

fn room(journal: &JournalConfig, place: &Path) -> Check {
    let id = "journal_room";
    let free = match statvfs(place) {
        // The width of these fields differs between architectures.
        #[allow(clippy::unnecessary_cast, reason = "c_ulong is 32 bits wide on 32-bit machines")]
        Ok(found) => found.blocks_available() as u64 * found.fragment_size() as u64,
        Err(error) => return Check::unknown(id, ROOM, format!("{}: {error}", place.display())),
    };
    // What the journal already has belongs to its bound.
    let own: u64 = std::fs::read_dir(&journal.path)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum())
        .unwrap_or(0);
    let needed = journal.bytes_max.saturating_sub(own);
    let found = format!("{} MiB free, the journal may grow by {} MiB", free >> 20, needed >> 20);
    let mend = format!("free space on the file system of {}, or lower journal.max_bytes", place.display());
    if free >= needed {
        Check::ok(id, ROOM, found)
    } else if free + own < JOURNAL_BYTES_MIN {
        Check::bad(id, ROOM, found, mend)
    } else {
        Check::warn(id, ROOM, found, mend)
    }
}
