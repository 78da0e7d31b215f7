//! The control socket: writes are asked for over a Unix socket, one JSON object a line, one answer a line; questions are
//! asked there, too.
//!
//! One thread, a bounded number of clients, bounded lines. A client has one request under way; its next line is read
//! when the answer is out. A question is the last that a client says: others answer it ([`super::ask`]). Who may connect is a
//! matter of the socket's file: its owner, or a group.

mod client;
mod place;

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::command::{Answer, Desk};
use crate::config::ControlConfig;
use crate::limits::CONTROL_CLIENTS_MAX;

use super::ask::Questions;
use super::{Health, Observed, Severity};
use client::Client;
pub use place::ControlError;
use place::Place;

/// The name of the condition under which a socket that is not there shows on `/health`.
pub const PART: &str = "control socket";
/// How often it is looked whether the socket's file is still there.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Pause after an accept that failed for want of descriptors or memory: the next would fail at once, too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running socket. Stops when dropped, and removes its file.
pub struct ControlSocket {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    wake: EventFd,
}

/// Where answers come back to the thread, each with its client's number.
#[derive(Clone)]
struct Mail {
    to: Sender<(u64, Answer)>,
    shared: Arc<Shared>,
}

impl Mail {
    fn send(&self, client: u64, answer: Answer) {
        // One for each request that the desk took, of which there is a bounded number.
        let _ = self.to.send((client, answer));
        let _ = self.shared.wake.write(1);
    }
}

impl ControlSocket {
    /// Listens, from a thread of its own named `control`. `None`: it is switched off.
    ///
    /// # Errors
    /// Another gateway has it, or there cannot be a socket there.
    pub fn start(
        config: &ControlConfig,
        desk: Desk,
        observed: Arc<Observed>,
    ) -> Result<Option<ControlSocket>, ControlError> {
        let Some(path) = &config.socket else { return Ok(None) };
        let (place, listener) = Place::take(path, config.group.as_deref())?;
        let failed = |error| ControlError::Failed { path: path.clone(), error };
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).map_err(|e| failed(e.into()))?;
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), wake });
        let (to, answers) = unbounded();
        let mail = Mail { to, shared: shared.clone() };
        let health = observed.health.clone();
        let mut server = Server {
            listener,
            answers,
            mail,
            desk,
            questions: Questions::new(observed),
            clients: Vec::new(),
            next: 0,
            place,
            trouble: None,
            health,
        };
        let thread =
            std::thread::Builder::new().name("control".into()).spawn(move || server.serve()).map_err(failed)?;
        Ok(Some(ControlSocket { path: path.clone(), shared, thread: Some(thread) }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        let _ = self.shared.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Server {
    listener: UnixListener,
    answers: Receiver<(u64, Answer)>,
    mail: Mail,
    desk: Desk,
    questions: Questions,
    clients: Vec<Client>,
    /// The number of the next client.
    next: u64,
    place: Place,
    /// Why there is no place, as it was told last.
    trouble: Option<String>,
    health: Arc<Health>,
}

impl Server {
    fn serve(&mut self) {
        let mut accept_again = Instant::now();
        let mut look_at = accept_again + LOOK_PERIOD;
        while !self.mail.shared.stop.load(Relaxed) {
            let now = Instant::now();
            let accepting = now >= accept_again;
            let ready = self.wait(now, accepting, accept_again, look_at);
            let _ = self.mail.shared.wake.read();
            self.hand_out();
            for (client, ready) in self.clients.iter_mut().zip(&ready[2..]) {
                if client.again || !ready.is_empty() {
                    client.step(&self.desk, &self.mail);
                }
            }
            let now = Instant::now();
            self.clients.iter_mut().for_each(|client| client.check_patience(now));
            self.clients.iter_mut().for_each(|client| hand_over(client, &mut self.questions));
            self.clients.retain(|client| !client.is_done());
            if accepting && !ready[1].is_empty() && !self.accept() {
                accept_again = now + ACCEPT_PAUSE;
            }
            if now >= look_at {
                look_at = now + LOOK_PERIOD;
                self.keep_place();
            }
        }
        // What was answered at the very end.
        self.hand_out();
    }

    /// Makes the socket anew where its file is gone: without it, nobody could write.
    fn keep_place(&mut self) {
        if self.place.is_in_place() {
            return;
        }
        match self.place.make_again() {
            Ok(listener) => {
                self.listener = listener;
                self.health.clear(PART);
                self.trouble = None;
                let path = self.place.path().display();
                tracing::warn!("the control socket {path} was removed by another program: it is created again");
            }
            Err(error) => {
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    tracing::error!(
                        "the control socket is not available (`fieldbeat status`, `get`, `list`, `tail --live`, \
                         `write`): {text}; retrying every second"
                    );
                    self.health.set(PART, Severity::Degraded, text.clone());
                    self.trouble = Some(text);
                }
            }
        }
    }

    /// Until something is to be done: what each descriptor is ready for.
    fn wait(&self, now: Instant, accepting: bool, accept_again: Instant, look_at: Instant) -> Vec<PollFlags> {
        let mut fds = Vec::with_capacity(2 + self.clients.len());
        fds.push(PollFd::new(self.mail.shared.wake.as_fd(), PollFlags::POLLIN));
        fds.push(PollFd::new(self.listener.as_fd(), if accepting { PollFlags::POLLIN } else { PollFlags::empty() }));
        fds.extend(self.clients.iter().map(|client| PollFd::new(client.socket.as_fd(), client.interest())));
        let own = (!accepting).then_some(accept_again).into_iter().chain([look_at]);
        let deadlines = self.clients.iter().filter_map(Client::deadline).chain(own);
        let again = self.clients.iter().any(|client| client.again).then_some(now);
        let timeout = deadlines.chain(again).min().map_or(PollTimeout::NONE, |next| {
            // Rounded up, so that the deadline has passed when it wakes.
            let ms = if next <= now { 0 } else { next.saturating_duration_since(now).as_millis() + 1 };
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // ENOMEM; it passes or it does not, but this thread must not spin.
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
        fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect()
    }

    /// Answers to their clients, as far as those are still there.
    fn hand_out(&mut self) {
        while let Ok((number, answer)) = self.answers.try_recv() {
            if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
                client.answer(&answer);
                client.step(&self.desk, &self.mail);
            }
        }
    }

    /// Takes who waits; false when there was no descriptor or memory for it.
    fn accept(&mut self) -> bool {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => {
                    if socket.set_nonblocking(true).is_err() {
                        continue;
                    }
                    if self.clients.len() >= CONTROL_CLIENTS_MAX && !self.push_one_out() {
                        client::turn_away(socket);
                        continue;
                    }
                    self.next += 1;
                    let mut client = Client::new(self.next, socket);
                    client.step(&self.desk, &self.mail);
                    hand_over(&mut client, &mut self.questions);
                    if !client.is_done() {
                        self.clients.push(client);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(_) => return false,
            }
        }
    }

    /// Lets go of the client that was idle longest; false: each has a request under way.
    fn push_one_out(&mut self) -> bool {
        let idle = self.clients.iter().enumerate().filter(|(_, client)| !client.is_waiting());
        let Some((at, _)) = idle.min_by_key(|(_, client)| client.active) else { return false };
        self.clients.swap_remove(at);
        true
    }
}

/// A client that asked a question is answered elsewhere.
fn hand_over(client: &mut Client, questions: &mut Questions) {
    if let Some((question, who)) = client.take_question() {
        questions.begin(question, &client.socket, who);
    }
}

#[cfg(test)]
mod tests;

/// What a write of no bytes means for a stream.
fn closed() -> io::Error {
    ErrorKind::ConnectionAborted.into()
}
