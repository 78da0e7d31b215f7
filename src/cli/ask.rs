//! Questions to a running gateway, over its control socket.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;

use super::files;

/// For the gateway to take a question, and between two lines of its answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of one line of an answer: the state of a gateway with thousands of links.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Which gateway is asked.
#[derive(Args)]
pub struct At {
    /// Directory with the gateway's fieldbeat.toml.
    #[arg(short, long, value_name = "DIR", default_value = files::CONFIG_DIR)]
    config: PathBuf,
    /// The gateway's control socket, instead of the configured one.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl At {
    /// Where it is asked.
    pub fn socket(&self) -> Result<PathBuf, ExitCode> {
        self.socket.clone().map_or_else(|| socket_of(&self.config), Ok)
    }
}

/// Where the gateway of this configuration is asked. Its own file alone is read: whatever its tag files say by now, a gateway
/// that runs can be asked.
pub fn socket_of(dir: &Path) -> Result<PathBuf, ExitCode> {
    let control = crate::config::control(dir).map_err(|faults| super::fail(super::EXIT_CONFIG, faults))?;
    control.socket.ok_or_else(|| {
        let message = "error: the gateway has no control socket: control.socket is \"off\" in its configuration";
        super::fail(super::EXIT_CONFIG, message)
    })
}

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens there.
    NoGateway(String),
    /// It may be there, and does not answer.
    Failed(String),
}

impl std::fmt::Display for AskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (AskError::NoGateway(message) | AskError::Failed(message)) = self;
        f.write_str(message)
    }
}

/// A connection to the control socket.
pub fn connect(path: &Path) -> Result<UnixStream, AskError> {
    let shown = path.display();
    UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::NoGateway(format!(
            "no gateway answers at {shown} ({error}): start it (`fieldbeat run`), or name its control socket with --socket"
        )),
        ErrorKind::PermissionDenied => AskError::Failed(format!(
            "no permission for the control socket {shown}: run this as the gateway's user, or set control.group in \
             fieldbeat.toml to a group that you are in"
        )),
        _ => AskError::Failed(format!("the control socket {shown} cannot be used ({error})")),
    })
}

/// The lines of an answer as they come.
pub struct Answer {
    path: PathBuf,
    from: BufReader<UnixStream>,
}

/// Asks a question; the answer may take as long as it likes between lines if `is_endless`.
pub fn ask(path: &Path, question: &Json, is_endless: bool) -> Result<Answer, AskError> {
    let mut socket = connect(path)?;
    let failed = |error: std::io::Error| {
        AskError::Failed(format!("the gateway closed its control socket {} ({error})", path.display()))
    };
    socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    socket.set_read_timeout((!is_endless).then_some(PATIENCE)).map_err(failed)?;
    socket.write_all(format!("{question}\n").as_bytes()).map_err(failed)?;
    Ok(Answer { path: path.to_owned(), from: BufReader::with_capacity(64 << 10, socket) })
}

impl Answer {
    /// The next line; `None`: there are no more.
    pub fn next_line(&mut self) -> Result<Option<Json>, AskError> {
        let shown = self.path.display();
        let mut line = Vec::new();
        let read = (&mut self.from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        read.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                AskError::Failed(format!("the gateway at {shown} gave no answer within {} s", PATIENCE.as_secs()))
            }
            _ => AskError::Failed(format!("the gateway closed its control socket {shown} ({error})")),
        })?;
        if line.is_empty() {
            return Ok(None);
        }
        let row: Json = serde_json::from_slice(&line).map_err(|error| {
            AskError::Failed(format!(
                "the answer at {shown} is not JSON ({error}): is it a gateway's socket, and is \
                the answer complete?"
            ))
        })?;
        if let Some(message) = row["error"].as_str() {
            return Err(AskError::Failed(format!("the gateway refuses the question: {message}")));
        }
        // As one answers that takes every line for a write.
        if row["outcome"] == "refused" {
            return Err(AskError::Failed(format!("the gateway at {shown} is an older version that cannot be queried")));
        }
        Ok(Some(row))
    }

    /// Whether the next line is still to come.
    pub fn is_drained(&self) -> bool {
        self.from.buffer().is_empty()
    }

    /// Every line up to the one that ends the answer, which is returned.
    pub fn each(&mut self, mut row: impl FnMut(&Json)) -> Result<Json, AskError> {
        loop {
            match self.next_line()? {
                Some(end) if end["end"] == true => return Ok(end),
                Some(line) => row(&line),
                None => {
                    let message = "the gateway ended its answer early: it is stopping, or this reader was too slow";
                    return Err(AskError::Failed(message.to_owned()));
                }
            }
        }
    }
}
