//! The program under test as a child, its configuration, and what it left behind.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fieldbeat::plant::{GatewaySettings, Plant};
use fieldbeat::store::JournalReader;
use fieldbeat::tag::{Nanos, ScalarType, Status, Value};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::peers::Killed;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fieldbeat");

/// A folder with a configuration.
pub struct Site {
    pub dir: TempDir,
}

impl Site {
    pub fn of(plant: &Plant, settings: &GatewaySettings) -> Site {
        let dir = TempDir::new().unwrap();
        plant.write_config(dir.path(), settings).unwrap();
        Site { dir }
    }

    /// `tags`: the whole of a tag file.
    pub fn with_tags(toml: &str, tags: &Json) -> Site {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("fieldbeat.toml"), toml).unwrap();
        std::fs::create_dir(dir.path().join("tags")).unwrap();
        std::fs::write(dir.path().join("tags/all.json"), tags.to_string()).unwrap();
        Site { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn report_path(&self) -> PathBuf {
        self.path().join("report.json")
    }

    pub fn journal(&self) -> PathBuf {
        self.path().join("journal")
    }

    /// Runs a command of the program to its end: exit code, standard output, standard error.
    pub fn command(&self, command: &str, more: &[&str]) -> (i32, String, String) {
        let mut program = Command::new(PROGRAM);
        program.arg(command).arg("--config").arg(self.path()).args(more).stdin(Stdio::null());
        let out = program.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
    }

    /// Starts the gateway; `more` are further arguments of `run`.
    pub fn run(&self, more: &[&str]) -> Running {
        self.run_as(Command::new(PROGRAM), more)
    }

    /// The same with a program that starts the gateway's.
    pub fn run_as(&self, mut program: Command, more: &[&str]) -> Running {
        program.arg("run").arg("--config").arg(self.path()).arg("--report").arg(self.report_path()).args(more);
        let mut child = program.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let shared = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                shared.lock().unwrap().push(line);
            }
        });
        Running { child: Killed(child), lines, reader: Some(reader), report: self.report_path() }
    }

    pub fn samples(&self) -> Stored {
        Stored::read(&self.journal())
    }
}

/// A gateway that was started.
pub struct Running {
    child: Killed,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    report: PathBuf,
}

/// How a gateway ended.
pub struct Ended {
    pub code: i32,
    pub log: String,
    /// `null` when none was written.
    pub report: Json,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits until a line of its log has `text`, and returns that line.
    pub fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.lines.lock().unwrap().iter().find(|line| line.contains(text)).cloned();
            if let Some(line) = found {
                return line;
            }
            let ended = self.child.0.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "no {text:?} ({ended:?}):\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Address of the metrics, as the log tells it.
    pub fn metrics(&mut self) -> String {
        let line = self.wait_for("metrics on http://");
        line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: no pointers; the child is ours and was not waited for.
        assert_eq!(unsafe { libc::kill(self.pid() as i32, signal) }, 0);
    }

    pub fn stop(self) -> Ended {
        self.signal(libc::SIGTERM);
        self.end()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let end = Instant::now() + Duration::from_secs(30);
        let status = loop {
            match self.child.0.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < end, "it does not end:\n{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        self.reader.take().unwrap().join().unwrap();
        let report = std::fs::read_to_string(&self.report).map_or(Json::Null, |t| serde_json::from_str(&t).unwrap());
        Ended { code: status.code().unwrap_or(-1), log: self.log(), report }
    }
}

impl Ended {
    pub fn samples(&self, key: &str) -> u64 {
        self.report["samples"][key].as_u64().unwrap_or_else(|| panic!("no report:\n{}", self.log))
    }

    /// Exit code 0, and every sample is stored or counted as dropped.
    pub fn assert_clean(&self) {
        assert_eq!(self.code, 0, "{}", self.log);
        assert!(self.samples("produced") > 0, "{}", self.log);
        let told = self.samples("stored") + self.samples("dropped") + self.samples("suppressed");
        assert_eq!(self.samples("produced"), told, "{}", self.report);
    }
}

/// Everything in a journal.
#[derive(Default)]
pub struct Stored {
    pub samples: u64,
    /// Of each tag, in order.
    pub tags: HashMap<String, Vec<Seen>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub value: Option<Value>,
    pub status: Status,
    pub time: Nanos,
}

impl Stored {
    pub fn read(path: &Path) -> Stored {
        let reader = JournalReader::open_read_only(path).unwrap();
        let (mut stored, mut next) = (Stored::default(), 0);
        let mut sequence = None;
        while let Some(block) = reader.block_at_or_after(next).unwrap() {
            next = block.index + 1;
            for item in block.batch.iter() {
                assert!(sequence.is_none_or(|last| item.sequence > last), "the order of one executor is kept");
                sequence = Some(item.sequence);
                stored.samples += 1;
                let tag = block.batch.names.tag(item.sample.tag()).unwrap();
                let value = if item.sample.has_no_value() {
                    None
                } else if item.sample.is_long() {
                    let mut bytes = Vec::new();
                    item.payload_into(&mut bytes);
                    Value::from_long(tag.ty, &bytes)
                } else {
                    ScalarType::from_code(tag.ty).map(|ty| Value::from_bits(ty, item.sample.value))
                };
                let seen = Seen { value, status: Status(item.sample.status), time: Nanos(item.sample.t) };
                stored.tags.entry(tag.name.clone()).or_default().push(seen);
            }
        }
        stored
    }

    pub fn last(&self, tag: &str) -> &Seen {
        self.tags.get(tag).and_then(|all| all.last()).unwrap_or_else(|| panic!("nothing was stored of {tag}"))
    }
}

/// Status code and body.
pub fn http_get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Asks until it is so, or fails with what was asked for.
pub fn wait_until(what: &str, timeout: Duration, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + timeout;
    while !so() {
        assert!(Instant::now() < end, "{what}: not within {timeout:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
