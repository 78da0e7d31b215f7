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

/// A Modbus server that others wrote, with the contents of `contents.json`.
pub struct Server {
    _peer: Peer,
    pub port: u16,
}

impl Server {
    fn started(mut peer: Peer) -> Server {
        let port = peer.line().parse().unwrap();
        Server { _peer: peer, port }
    }

    /// pymodbus's server.
    pub fn pymodbus() -> Server {
        Server::started(Peer::python("modbus_server.py", &[]))
    }

    /// The same without some functions, such as "5,22".
    pub fn pymodbus_without(functions: &str) -> Server {
        Server::started(Peer::python("modbus_server.py", &[&format!("lacks={functions}")]))
    }

    /// The same, and units that are not there stay silent.
    pub fn pymodbus_silent() -> Server {
        Server::started(Peer::python("modbus_server.py", &["silent"]))
    }

    /// pymodbus's server with frames of RTU on TCP.
    pub fn pymodbus_rtu_over_tcp() -> Server {
        Server::started(Peer::python("modbus_server.py", &["rtu-over-tcp"]))
    }

    /// pymodbus's server on a serial port; `framing` is rtu or ascii.
    pub fn pymodbus_on(port: &Path, framing: &str) -> Server {
        Server::started(Peer::python("modbus_server.py", &[framing, port.to_str().unwrap()]))
    }

    /// libmodbus's server on a serial port, as unit 1.
    pub fn libmodbus_on(port: &Path) -> Server {
        let mut command = Command::new(libmodbus_server());
        command.arg(root().join("tests/peers/contents.txt")).arg(port);
        Server::started(Peer::start(command))
    }

    /// libmodbus's server, built on first use.
    pub fn libmodbus() -> Server {
        let mut command = Command::new(libmodbus_server());
        command.arg(root().join("tests/peers/contents.txt"));
        Server::started(Peer::start(command))
    }
}

fn libmodbus_server() -> &'static Path {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT.get_or_init(|| {
        let (good, flags) = output_of("pkg-config", "pkg-config", &["--cflags", "--libs", "libmodbus"]);
        assert!(good, "libmodbus is missing; install it: apt-get install libmodbus-dev ({flags})");
        let source = root().join("tests/peers/libmodbus_server.c");
        // Of this process's own: another test binary may be running the program.
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libmodbus_server.{}", std::process::id()));
        let mut args = vec!["-O2", "-Wall", "-Wextra", "-o", program.to_str().unwrap(), source.to_str().unwrap()];
        args.extend(flags.split_whitespace());
        let (good, text) = output_of("cc", "gcc", &args);
        assert!(good, "{text}");
        program
    })
}

/// `contents.json`: what the servers hold and what is to be read there.
pub fn contents() -> Json {
    let text = std::fs::read_to_string(root().join("tests/peers/contents.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
