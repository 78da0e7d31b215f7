//! Programs that others wrote, as peers for the tests. A missing one fails the test with what to install.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value as Json;

/// A child that does not outlive its test.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python that has the peers' packages.
pub fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("FIELDBEAT_PYTHON") {
        return path.into();
    }
    let own = root().join(".venv/bin/python");
    if own.exists() { own } else { "python3".into() }
}

/// A Python program of `tests/peers`, talked to line by line.
pub struct Peer {
    child: Killed,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    pub fn python(script: &str, args: &[&str]) -> Peer {
        let mut command = Command::new(python());
        command.arg(root().join("tests/peers").join(script)).args(args);
        Peer::start(command)
    }

    pub fn start(mut command: Command) -> Peer {
        let mut child = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(e) => panic!("{command:?} does not start: {e}; make test installs it"),
        };
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Peer { child: Killed(child), input, output }
    }

    /// The next line that the peer prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let bytes = self.output.read_line(&mut line).unwrap();
        assert!(bytes > 0, "the peer ended ({:?}); its message stands above", self.child.0.wait());
        line.trim_end().into()
    }

    pub fn ask(&mut self, request: &Json) -> Json {
        writeln!(self.input, "{request}").unwrap();
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }
}

/// Runs a program to its end and returns what it printed; `package` is what to install when it is missing.
pub fn output_of(program: &str, package: &str, args: &[&str]) -> (bool, String) {
    match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Ok(out) => {
            let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
            (out.status.success(), text)
        }
        Err(e) => panic!("{program} does not start: {e}; install it: apt-get install {package}"),
    }
}
