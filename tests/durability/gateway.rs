//! The real program on a configuration directory, as an operator runs and watches it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fieldbeat::limits::JOURNAL_BYTES_MIN;
use fieldbeat::plant::{GatewaySettings, Plant};
use fieldbeat::store::{Account, JournalReader};
use serde_json::Value;
use tempfile::TempDir;

use crate::peers::{free_port, wait};

/// The commit time of every gateway here.
pub const COMMIT_MS: u32 = 100;

/// A configured gateway, running or not.
pub struct Site {
    dir: TempDir,
    pub journal: PathBuf,
    metrics_port: u16,
}

impl Site {
    /// `outputs`: TOML. `journal`: in the site's own directory unless given.
    pub fn new(plant: &Plant, journal: Option<&Path>, outputs: &str) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal.map_or_else(|| dir.path().join("journal"), Path::to_path_buf);
        let metrics_port = free_port();
        let settings = GatewaySettings {
            id: "line-4".into(),
            journal_path: Some(journal.clone()),
            journal_bytes_max: Some(JOURNAL_BYTES_MIN),
            commit_ms: Some(COMMIT_MS),
            metrics_listen: Some(format!("127.0.0.1:{metrics_port}")),
            more: outputs.into(),
            ..GatewaySettings::default()
        };
        plant.write_config(dir.path(), &settings).unwrap();
        Site { dir, journal, metrics_port }
    }

    pub fn start(&self, arguments: &[&str]) -> Gateway<'_> {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_fieldbeat"))
            .args(["run", "--config"])
            .arg(self.dir.path())
            .arg("--report")
            .arg(self.report_path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Gateway { site: self, child }
    }

    /// The configuration's directory.
    pub fn config(&self) -> &Path {
        self.dir.path()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn report_path(&self) -> PathBuf {
        self.dir.path().join("report.json")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What the last run that ended by itself wrote.
    pub fn report(&self) -> Report {
        Report(serde_json::from_slice(&std::fs::read(self.report_path()).unwrap()).unwrap())
    }

    /// What the journal on the disk holds; nothing when there is none yet.
    pub fn accounts(&self) -> Vec<Account> {
        if !self.journal.join("data.mdb").exists() {
            return Vec::new();
        }
        JournalReader::open_read_only(&self.journal).and_then(|reader| reader.accounts()).unwrap()
    }
}

/// A running gateway; killed when dropped.
pub struct Gateway<'a> {
    site: &'a Site,
    child: Child,
}

impl Gateway<'_> {
    /// Status code and body.
    pub fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.site.metrics_port))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
        let mut reply = String::new();
        socket.read_to_string(&mut reply)?;
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_default();
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((code.ok_or(std::io::ErrorKind::UnexpectedEof)?, body.into()))
    }

    /// `None` before it listens.
    pub fn metrics(&self) -> Option<Metrics> {
        let (code, body) = self.get("/metrics").ok()?;
        (code == 200).then_some(Metrics(body))
    }

    /// Waits until the metrics say so.
    pub fn until(&self, what: &str, done: impl Fn(&Metrics) -> bool) {
        wait(what, || self.metrics().is_some_and(|metrics| done(&metrics)));
    }

    /// Waits until nothing is wrong: health is told a few times a second.
    pub fn until_well(&self) {
        wait("health is ok", || self.get("/health").is_ok_and(|(code, body)| code == 200 && body.contains("\"ok\"")));
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(self, patience: Duration) -> ExitStatus {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
        self.ended(patience)
    }

    /// Fails when it takes longer.
    pub fn ended(mut self, patience: Duration) -> ExitStatus {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the gateway does not end within {patience:?}:\n{}", self.site.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A scrape.
pub struct Metrics(String);

impl Metrics {
    /// The sum of a metric's rows that contain `label`; it must have one.
    pub fn sum_of(&self, name: &str, label: &str) -> f64 {
        let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let rows: Vec<f64> = (self.0.lines().filter(of).filter(|line| line.contains(label)))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert!(!rows.is_empty(), "no metric {name} with {label}:\n{}", self.0);
        rows.iter().sum()
    }

    /// No commit took longer: the bound of the highest bucket of the histogram that has one.
    pub fn longest_commit_ms(&self) -> f64 {
        let count = self.sum("fieldbeat_journal_commit_seconds_count");
        let buckets =
            self.0.lines().filter_map(|line| line.strip_prefix("fieldbeat_journal_commit_seconds_bucket{le=\""));
        let whole = buckets.filter_map(|row| row.split_once("\"} ")).find(|row| row.1.parse() == Ok(count));
        whole.map_or(0.0, |(bound, _)| bound.parse::<f64>().unwrap_or(f64::INFINITY) * 1e3)
    }

    pub fn sum(&self, name: &str) -> u64 {
        self.sum_of(name, "") as u64
    }

    pub fn produced(&self) -> u64 {
        self.sum("fieldbeat_samples_produced_total")
    }

    pub fn dropped_at_rings(&self) -> u64 {
        self.sum("fieldbeat_samples_dropped_total")
    }

    pub fn stored(&self) -> u64 {
        self.sum("fieldbeat_journal_stored_samples_total")
    }

    pub fn lag(&self) -> u64 {
        self.sum("fieldbeat_output_cursor_lag_samples")
    }

    pub fn output_is_up(&self) -> bool {
        self.sum_of("fieldbeat_output_state", "state=\"up\"") == 1.0
    }
}

/// The JSON report of a run.
pub struct Report(Value);

impl Report {
    pub fn samples(&self, what: &str) -> u64 {
        self.0["samples"][what].as_u64().unwrap()
    }

    /// Of the output "cloud".
    pub fn output(&self, what: &str) -> u64 {
        self.0["outputs"]["cloud"][what].as_u64().unwrap()
    }

    pub fn expect_closed(&self) {
        let [produced, stored, dropped] = ["produced", "stored", "dropped"].map(|what| self.samples(what));
        assert_eq!(produced, stored + dropped, "{stored} stored, {dropped} dropped");
    }
}
