//! Work for the other CPUs at normal priority: stress-ng's where it is installed, else our own.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child::Child;
use crate::options::LoadKind;

/// How our own loads are started: a word that no option has.
pub const OWN_LOAD_WORD: &str = "own-load";

/// Running loads; they end when this is dropped.
pub struct Loads {
    children: Vec<Child>,
    /// What makes them.
    pub by: &'static str,
    dir: Option<PathBuf>,
}

impl Loads {
    /// Starts the loads of `kind` on `cpus`, for `seconds` at most.
    ///
    /// # Errors
    /// When a program does not start, or the directory for the disk load can't be made.
    pub fn start(kind: LoadKind, cpus: &[u32], seconds: u64, parent_dir: &Path) -> io::Result<Loads> {
        let has_stress_ng = Command::new("stress-ng")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        Loads::start_with(kind, cpus, seconds, parent_dir, has_stress_ng)
    }

    fn start_with(
        kind: LoadKind,
        cpus: &[u32],
        seconds: u64,
        parent_dir: &Path,
        has_stress_ng: bool,
    ) -> io::Result<Loads> {
        let by = if has_stress_ng { "stress-ng" } else { "own load" };
        let mut loads = Loads { children: Vec::new(), by, dir: None };
        let parts = kind.parts();
        let dir = parent_dir.join(format!("fieldbeat-latency-load-{}", std::process::id()));
        if parts.contains(&LoadKind::Disk) {
            let of = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
            std::fs::create_dir(&dir).map_err(of)?;
            loads.dir = Some(dir.clone());
        }
        for part in parts {
            let command = match has_stress_ng {
                true => stress_ng(part, cpus.len(), seconds, &dir),
                false => own(part, cpus.len(), &dir)?,
            };
            loads.children.push(Child::start(command, &format!("{by} for {}", part.name()), cpus)?);
        }
        Ok(loads)
    }

    /// # Errors
    /// When a load ended before it was asked to: what was measured then was measured without it.
    pub fn still_run(&mut self) -> io::Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.ended()? {
                return Err(io::Error::other(format!("the load ended unexpectedly: {}: {status}", child.name())));
            }
        }
        Ok(())
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        self.children.clear();
        if let Some(dir) = &self.dir {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

fn stress_ng(part: LoadKind, workers: usize, seconds: u64, dir: &Path) -> Command {
    let mut command = Command::new("stress-ng");
    let workers = workers.max(1).to_string();
    match part {
        LoadKind::Cpu => command.args(["--cpu", &workers, "--vm", "1", "--vm-bytes", "128m"]),
        LoadKind::Net => command.args(["--sock", &workers]),
        LoadKind::Disk => {
            command.args(["--hdd", "1", "--hdd-bytes", "128m", "--hdd-opts", "fsync", "--temp-path"]).arg(dir)
        }
        // None and All are no parts.
        LoadKind::Inference | LoadKind::None | LoadKind::All => {
            command.args(["--matrix", &workers, "--matrix-size", "256", "--matrix-method", "prod"])
        }
    };
    // Ends by itself even where nobody is left to end it.
    command.args(["--quiet", "--timeout", &format!("{seconds}s")]).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn own(part: LoadKind, workers: usize, dir: &Path) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([OWN_LOAD_WORD, part.name(), &workers.max(1).to_string()]).arg(dir).stdout(Stdio::null());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn stress_ng_runs_as_it_is_told_and_leaves_nothing() {
        if Command::new("stress-ng").arg("--version").output().is_err() {
            println!("skipped: stress-ng is not installed (apt-get install stress-ng)");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let cpu = *crate::child::allowed_cpus().first().unwrap();
        let mut loads = Loads::start_with(LoadKind::All, &[cpu], 30, dir.path(), true).unwrap();
        std::thread::sleep(Duration::from_millis(700));
        loads.still_run().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(loads);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_load_that_ended_is_told() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        let child = Child::start(command, "sh for cpu", &[]).unwrap();
        let mut loads = Loads { children: vec![child], by: "sh", dir: None };
        std::thread::sleep(Duration::from_millis(300));
        let error = loads.still_run().unwrap_err().to_string();
        assert!(error.contains("sh for cpu") && error.contains('3'), "{error}");
    }
}
