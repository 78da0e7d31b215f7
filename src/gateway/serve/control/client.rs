//! One client of the control socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Uid, User};

use super::super::ask::Question;
use super::{Mail, closed};
use crate::command::{Answer, Desk, Malformed, Reason, Request, Requester, Way};
use crate::limits::{COMMAND_BYTES_MAX, CONTROL_PATIENCE};

/// Bytes of one read.
const CHUNK: usize = 8 << 10;
/// Steps of one client before the others have theirs.
const TURNS_MAX: usize = 32;

enum State {
    /// The bytes of the next line so far.
    Reading,
    /// A request is under way.
    Waiting,
    /// An answer is on its way out; then the next line, or the end.
    Writing { sent: usize },
    /// Gone, or in other hands: those that answer its question.
    Done,
}

pub(super) struct Client {
    pub(super) number: u64,
    pub(super) socket: UnixStream,
    /// When it last did something.
    pub(super) active: Instant,
    who: Requester,
    state: State,
    input: Vec<u8>,
    output: Vec<u8>,
    /// It sends nothing more.
    ended: bool,
    /// There is more to do, though the socket may have nothing: others had to have their turn.
    pub(super) again: bool,
    /// What it asked last; the answer is not this client's matter.
    question: Option<Result<Question, String>>,
    /// For the line that has begun, or the answer that goes out.
    deadline: Option<Instant>,
}

/// The user and process at the other end, as the kernel knows them.
fn requester(socket: &UnixStream) -> Requester {
    let (who, from) = match getsockopt(socket, sockopt::PeerCredentials) {
        Ok(peer) => {
            let name = User::from_uid(Uid::from_raw(peer.uid())).ok().flatten().map(|user| user.name);
            let name = name.unwrap_or_else(|| "unknown".to_owned());
            (format!("{name} (uid {})", peer.uid()), format!("process {}", peer.pid()))
        }
        Err(_) => ("unknown".to_owned(), String::new()),
    };
    Requester { way: Way::Socket, who, from }
}

/// Says that there is no room, as far as that goes without waiting.
pub(super) fn turn_away(mut socket: UnixStream) {
    let answer = Answer::refused(None, None, Reason::Busy, "too many clients have pending requests; retry later");
    let _ = socket.write(format!("{}\n", answer.to_json()).as_bytes());
}

impl Client {
    pub(super) fn new(number: u64, socket: UnixStream) -> Client {
        Client {
            number,
            who: requester(&socket),
            socket,
            active: Instant::now(),
            state: State::Reading,
            input: Vec::new(),
            output: Vec::new(),
            ended: false,
            again: false,
            question: None,
            deadline: None,
        }
    }

    /// The question that it ends with, and who asks.
    pub(super) fn take_question(&mut self) -> Option<(Result<Question, String>, String)> {
        let question = self.question.take()?;
        Some((question, format!("{}, {}", self.who.who, self.who.from)))
    }

    pub(super) fn interest(&self) -> PollFlags {
        match self.state {
            State::Reading => PollFlags::POLLIN,
            State::Writing { .. } => PollFlags::POLLOUT,
            // Only whether it has gone.
            State::Waiting | State::Done => PollFlags::empty(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// Lets a client go that takes too long.
    pub(super) fn check_patience(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.state = State::Done;
        }
    }

    /// Goes on as far as the socket has something to give or to take.
    pub(super) fn step(&mut self, desk: &Desk, mail: &Mail) {
        self.again = false;
        for _ in 0..TURNS_MAX {
            let went_on = match self.state {
                State::Reading => self.read(desk, mail),
                State::Writing { sent } => self.write(sent),
                // Woken without having asked for anything: it has gone. What it asked for goes on.
                State::Waiting => self.socket.take_error().and_then(|_| self.look_for_end()),
                State::Done => return,
            };
            match went_on {
                Ok(true) => self.active = Instant::now(),
                Ok(false) => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.state = State::Done;
                    return;
                }
            }
        }
        self.again = true;
    }

    /// Whether the other end is there while its request is under way; one that only sends no more waits for its answer.
    fn look_for_end(&mut self) -> std::io::Result<bool> {
        use nix::poll::{PollFd, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(_) if fds[0].revents().is_some_and(|now| now.intersects(gone)) => Err(closed()),
            Ok(_) | Err(Errno::EINTR | Errno::ENOMEM) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, desk: &Desk, mail: &Mail) -> std::io::Result<bool> {
        if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let rest = self.input.split_off(end + 1);
            let line = std::mem::replace(&mut self.input, rest);
            self.deadline = (!self.input.is_empty()).then(|| Instant::now() + CONTROL_PATIENCE);
            self.take(line.trim_ascii(), desk, mail);
            return Ok(true);
        }
        if self.input.len() > COMMAND_BYTES_MAX {
            let message = format!("the line is longer than {COMMAND_BYTES_MAX} bytes; the connection is closed");
            self.refuse(desk, Malformed { id: None, tag: None, message });
            self.ended = true;
            self.input.clear();
            return Ok(true);
        }
        if self.ended {
            if self.input.is_empty() {
                return Err(closed());
            }
            // The last line may have no end.
            let line = std::mem::take(&mut self.input);
            self.take(line.trim_ascii(), desk, mail);
            return Ok(true);
        }
        let mut chunk = [0; CHUNK];
        let bytes = self.socket.read(&mut chunk)?;
        self.ended = bytes == 0;
        if bytes > 0 && self.input.is_empty() {
            self.deadline = Some(Instant::now() + CONTROL_PATIENCE);
        }
        self.input.extend_from_slice(&chunk[..bytes]);
        Ok(true)
    }

    fn take(&mut self, line: &[u8], desk: &Desk, mail: &Mail) {
        if line.is_empty() {
            return;
        }
        if let Some(question) = Question::parse(line) {
            self.question = Some(question);
            self.state = State::Done;
            return;
        }
        match Request::parse(line) {
            Ok(request) => {
                self.state = State::Waiting;
                self.deadline = None;
                let (mail, number) = (mail.clone(), self.number);
                desk.ask(self.who.clone(), request, Box::new(move |answer| mail.send(number, answer)));
            }
            Err(malformed) => self.refuse(desk, malformed),
        }
    }

    fn refuse(&mut self, desk: &Desk, malformed: Malformed) {
        let answer = desk.refuse(self.who.clone(), malformed, Reason::Malformed);
        self.answer(&answer);
    }

    /// Its answer goes out next.
    pub(super) fn answer(&mut self, answer: &Answer) {
        self.output = answer.to_json().into_bytes();
        self.output.push(b'\n');
        self.state = State::Writing { sent: 0 };
        self.deadline = Some(Instant::now() + CONTROL_PATIENCE);
    }

    fn write(&mut self, sent: usize) -> std::io::Result<bool> {
        let bytes = self.socket.write(self.output.get(sent..).unwrap_or_default())?;
        if bytes == 0 {
            return Err(closed());
        }
        let sent = sent + bytes;
        if sent < self.output.len() {
            self.state = State::Writing { sent };
            return Ok(true);
        }
        self.output = Vec::new();
        self.state = State::Reading;
        self.deadline = (!self.input.is_empty()).then(|| Instant::now() + CONTROL_PATIENCE);
        Ok(true)
    }
}
