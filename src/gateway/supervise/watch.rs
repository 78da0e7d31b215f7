//! Watching the files of a configuration: what has settled is read and validated, away from everything that runs.
//!
//! The files are looked at, not notified of: that works on every file system, and for every way in which files come
//! (scp, rsync, editors, copies that are renamed), and half a file is not read while it grows.

use std::io;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::config::{Diagnostics, DirTimes, Fingerprint, Loaded};
use crate::protocol;

/// What the files say now.
pub type Found = Result<Loaded, Diagnostics>;

/// A thread that watches.
pub struct Watch {
    found: Receiver<Found>,
    /// Has the thread look at once; dropped to end it.
    hurry: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Looks at `dir` every `period`. What it holds at first is found, too.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(dir: PathBuf, period: Duration) -> io::Result<Watch> {
        let (tell, found) = bounded(1);
        let (hurry, hurried) = bounded(1);
        // The parser recurses to a bounded depth.
        let thread = thread::Builder::new().name("fb-reload".to_owned()).stack_size(2 << 20).spawn(move || {
            let mut files = Files { dir, seen: None, read: None, unsettled: 0 };
            loop {
                let new = match hurried.recv_timeout(period) {
                    Err(RecvTimeoutError::Timeout) => files.look(),
                    // Whoever asks for it says that the files are what they should be.
                    Ok(()) => files.look_at_once(),
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                if new.is_some_and(|new| tell.send(new).is_err()) {
                    return;
                }
            }
        })?;
        Ok(Watch { found, hurry: Some(hurry), thread: Some(thread) })
    }

    /// Has the files looked at now, though they may have changed just before.
    pub fn look_at_once(&self) {
        if let Some(hurry) = &self.hurry {
            // One that waits already is enough.
            let _ = hurry.try_send(());
        }
    }

    /// What was found since the last call.
    pub fn found(&self) -> Option<Found> {
        self.found.try_recv().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hurry = None;
        // It may be waiting to tell.
        while self.found.try_recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A directory in which something else comes and goes all the time does not keep the files from being read for longer
/// than so many looks.
const DIR_LOOKS_MAX: u32 = 25;

/// The files as they were seen last, and as they were when they were read last.
struct Files {
    dir: PathBuf,
    seen: Option<(Fingerprint, DirTimes)>,
    read: Option<Fingerprint>,
    /// Looks in a row that found the files as they were and their directories changed.
    unsettled: u32,
}

impl Files {
    /// Reads the files when they are not those that were read last, and have stayed the same since the last look
    /// and while they were read.
    fn look(&mut self) -> Option<Found> {
        let now = (Fingerprint::of(&self.dir), DirTimes::of(&self.dir));
        let is_same = self.seen.as_ref().is_some_and(|(files, _)| *files == now.0);
        let is_quiet = self.seen.as_ref().is_some_and(|(_, dirs)| *dirs == now.1);
        self.unsettled = if is_same && !is_quiet { self.unsettled + 1 } else { 0 };
        self.seen = Some(now);
        if is_same && (is_quiet || self.unsettled >= DIR_LOOKS_MAX) { self.read_new() } else { None }
    }

    /// The same, without waiting until they have stayed the same.
    fn look_at_once(&mut self) -> Option<Found> {
        self.seen = Some((Fingerprint::of(&self.dir), DirTimes::of(&self.dir)));
        self.read_new()
    }

    fn read_new(&mut self) -> Option<Found> {
        let (files, dirs) = self.seen.as_ref()?;
        if self.read.as_ref() == Some(files) {
            return None;
        }
        let found = protocol::load(&self.dir);
        let after = Fingerprint::of(&self.dir);
        let is_quiet = *dirs == DirTimes::of(&self.dir) || self.unsettled >= DIR_LOOKS_MAX;
        if *files != after || !is_quiet {
            return None;
        }
        self.read = Some(after);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const TOML: &str = "[gateway]\nid = \"g\"\n";

    fn tags(name: &str) -> String {
        format!(
            r#"{{"links":[{{"name":"l{name}","protocol":"modbus_tcp","host":"127.0.0.1"}}],
                "tags":[{{"name":"{name}","address":"l{name}:1:3:40001:1","data_type":"uint16","scan_rate_ms":100}}]}}"#
        )
    }

    fn names(found: Option<Found>) -> Option<Vec<String>> {
        found.map(|found| found.unwrap().config.tags.into_iter().map(|tag| tag.name).collect())
    }

    fn files() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tags")).unwrap();
        fs::write(dir.path().join("fieldbeat.toml"), TOML).unwrap();
        fs::write(dir.path().join("tags/a.json"), tags("a")).unwrap();
        let files = Files { dir: dir.path().to_owned(), seen: None, read: None, unsettled: 0 };
        (dir, files)
    }

    #[test]
    fn what_stays_the_same_for_two_looks_is_read_once() {
        let (dir, mut files) = files();
        assert!(files.look().is_none());
        assert_eq!(names(files.look()).unwrap(), ["a"]);
        assert!(files.look().is_none());
        fs::write(dir.path().join("tags/b.json"), tags("b")).unwrap();
        assert!(files.look().is_none());
        assert_eq!(names(files.look()).unwrap(), ["a", "b"]);
        fs::remove_file(dir.path().join("tags/a.json")).unwrap();
        assert!(files.look().is_none());
        assert_eq!(names(files.look()).unwrap(), ["b"]);
    }

    #[test]
    fn a_file_that_grows_is_not_read_and_one_that_stays_half_is_told() {
        let (dir, mut files) = files();
        let text = tags("b");
        for end in [10, 40, 90] {
            fs::write(dir.path().join("tags/b.json"), &text[..end]).unwrap();
            assert!(files.look().is_none());
        }
        let told = files.look().unwrap().unwrap_err().to_string();
        assert!(told.contains("tags/b.json"), "{told}");
        fs::write(dir.path().join("tags/b.json"), &text).unwrap();
        assert!(files.look().is_none());
        assert_eq!(names(files.look()).unwrap(), ["a", "b"]);
    }

    #[test]
    fn copies_under_way_and_other_files_do_not_count() {
        let (dir, mut files) = files();
        files.look();
        files.look();
        for name in [".b.json.Xy12", "b.json.tmp", "b.json~", "README"] {
            fs::write(dir.path().join("tags").join(name), "half").unwrap();
            assert!(files.look().is_none() && files.look().is_none(), "{name}");
        }
        fs::rename(dir.path().join("tags/b.json.tmp"), dir.path().join("tags/b.json")).unwrap();
        files.look();
        assert!(files.look().unwrap().is_err());
    }

    #[test]
    fn the_thread_finds_and_ends() {
        let (dir, _) = files();
        let watch = Watch::start(dir.path().to_owned(), Duration::from_millis(5)).unwrap();
        let found = watch.found.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(found.is_ok());
        // Two more than there is room for: it waits to tell.
        for name in ["b", "c", "d"] {
            fs::write(dir.path().join(format!("tags/{name}.json")), tags(name)).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
        drop(watch);
    }

    #[test]
    fn what_is_missing_while_it_is_replaced_is_not_taken_for_removed() {
        let (dir, mut files) = files();
        files.look();
        assert_eq!(names(files.look()).unwrap(), ["a"]);
        let at = dir.path().join("tags/a.json");
        for _ in 0..DIR_LOOKS_MAX / 2 {
            // It is there between the looks, and not when they come.
            fs::write(&at, tags("a")).unwrap();
            fs::remove_file(&at).unwrap();
            assert!(files.look().is_none());
        }
        fs::write(&at, tags("b")).unwrap();
        files.look();
        assert_eq!(names(files.look()).unwrap(), ["b"]);
    }

    #[test]
    fn names_that_come_and_go_beside_the_files_do_not_keep_them_from_being_read() {
        let (dir, mut files) = files();
        let mut found = None;
        for look in 0..=DIR_LOOKS_MAX + 2 {
            let beside = dir.path().join(format!("tags/{look}.tmp"));
            fs::write(beside, "").unwrap();
            found = found.or(names(files.look()));
        }
        assert_eq!(found.unwrap(), ["a"]);
    }

    #[test]
    fn who_asks_for_it_has_the_files_looked_at_at_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tags")).unwrap();
        fs::write(dir.path().join("fieldbeat.toml"), TOML).unwrap();
        fs::write(dir.path().join("tags/a.json"), tags("a")).unwrap();
        let watch = Watch::start(dir.path().to_owned(), Duration::from_secs(3600)).unwrap();
        watch.look_at_once();
        assert_eq!(names(watch.found.recv_timeout(Duration::from_secs(60)).ok()).unwrap(), ["a"]);
    }
}
