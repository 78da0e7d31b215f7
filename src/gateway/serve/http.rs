//! A small HTTP/1.1 server (RFC 9110, RFC 9112) for `/metrics` and `/health`: one thread, a bounded number of
//! connections, bounded requests, a deadline for everything. One request a connection.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::limits::{HTTP_CONNECTIONS_MAX, HTTP_DEADLINE, HTTP_REQUEST_BYTES_MAX};

use super::Observed;
use super::health::{HealthReport, Severity};
use super::metrics::{Format, Metrics};

/// Why the endpoint is not there.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "metrics: cannot listen on {address}: {error}; free the port, set another one under [metrics] listen, or \
         switch the endpoint off there"
    )]
    Listen { address: SocketAddr, error: io::Error },
    #[error("metrics: the thread that serves {address} cannot be started: {error}")]
    Start { address: SocketAddr, error: io::Error },
}

/// A running endpoint. Stops when dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    wake: EventFd,
}

impl HttpServer {
    /// Listens and answers from a thread of its own, named `metrics`. `per_link`: the metrics have the times of each link.
    ///
    /// # Errors
    /// The address is taken or not ours, or there is no thread to be had.
    pub fn start(listen: SocketAddr, observed: Arc<Observed>, per_link: bool) -> Result<HttpServer, ServeError> {
        let listener = TcpListener::bind(listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| ServeError::Listen { address: listen, error })?;
        let start = |error| ServeError::Start { address: listen, error };
        let address = listener.local_addr().map_err(start)?;
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).map_err(|e| start(e.into()))?;
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), wake });
        let site = Site { metrics: Metrics::new(Arc::clone(&observed), per_link), observed };
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("metrics".into())
            .spawn(move || {
                crate::rt::thread::prefer();
                serve(&listener, &site, &for_thread);
            })
            .map_err(start)?;
        Ok(HttpServer { address, shared, thread: Some(thread) })
    }

    /// Where it listens; tells the port when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        let _ = self.shared.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

enum State {
    /// The bytes of the request so far.
    Reading(Vec<u8>),
    /// The reply, and how much of it is sent.
    Writing(Vec<u8>, usize),
    /// The reply is out; closing at once could take it back from a client that is still sending.
    Draining,
    Done,
}

struct Connection {
    socket: TcpStream,
    state: State,
    deadline: Instant,
}

const DEADLINE: Duration = Duration::from_nanos(HTTP_DEADLINE.0);
const DRAIN: Duration = Duration::from_millis(500);
/// Pause after an accept that failed for want of descriptors or memory: the next would fail at once, too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn serve(listener: &TcpListener, site: &Site, shared: &Shared) {
    let mut connections: Vec<Connection> = Vec::with_capacity(HTTP_CONNECTIONS_MAX + 1);
    let mut accept_again = Instant::now();
    while !shared.stop.load(Relaxed) {
        let now = Instant::now();
        let accepting = now >= accept_again;
        let mut fds = Vec::with_capacity(2 + connections.len());
        fds.push(PollFd::new(shared.wake.as_fd(), PollFlags::POLLIN));
        fds.push(PollFd::new(listener.as_fd(), if accepting { PollFlags::POLLIN } else { PollFlags::empty() }));
        for connection in &connections {
            let interest = match connection.state {
                State::Writing(..) => PollFlags::POLLOUT,
                _ => PollFlags::POLLIN,
            };
            fds.push(PollFd::new(connection.socket.as_fd(), interest));
        }
        let deadlines = connections.iter().map(|c| c.deadline).chain((!accepting).then_some(accept_again));
        let timeout = deadlines.min().map_or(PollTimeout::NONE, |next| {
            // Rounded up, so that the deadline has passed when it wakes.
            let ms = next.saturating_duration_since(now).as_millis() + 1;
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // ENOMEM; it passes or it does not, but this thread must not spin.
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        drop(fds);
        for (connection, _) in connections.iter_mut().zip(&ready[2..]).filter(|(_, ready)| **ready) {
            connection.step(site);
        }
        let now = Instant::now();
        connections.retain(|c| !matches!(c.state, State::Done) && c.deadline > now);
        if ready[1] && accepting && !accept(listener, &mut connections, site) {
            accept_again = now + ACCEPT_PAUSE;
        }
    }
}

/// Takes what waits; false when there was no descriptor or memory for it.
fn accept(listener: &TcpListener, connections: &mut Vec<Connection>, site: &Site) -> bool {
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                if socket.set_nonblocking(true).is_err() {
                    continue;
                }
                let state = State::Reading(Vec::new());
                let mut connection = Connection { socket, state, deadline: Instant::now() + DEADLINE };
                // The request is mostly here already.
                connection.step(site);
                if matches!(connection.state, State::Done) {
                    continue;
                }
                if connections.len() == HTTP_CONNECTIONS_MAX
                    && let Some((oldest, _)) = connections.iter().enumerate().min_by_key(|(_, c)| c.deadline)
                {
                    connections.swap_remove(oldest);
                }
                connections.push(connection);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
            Err(_) => return false,
        }
    }
}

impl Connection {
    /// Goes on until the socket has nothing more to give or to take.
    fn step(&mut self, site: &Site) {
        loop {
            let went_on = match &mut self.state {
                State::Reading(request) => match read_request(&mut self.socket, request) {
                    Ok(Some(whole)) => {
                        let reply = if whole { site.answer(request) } else { too_large() };
                        self.state = State::Writing(reply, 0);
                        self.deadline = Instant::now() + DEADLINE;
                        Ok(true)
                    }
                    Ok(None) => Ok(false),
                    Err(e) => Err(e),
                },
                State::Writing(reply, sent) => match self.socket.write(&reply[*sent..]) {
                    Ok(bytes) => {
                        *sent += bytes;
                        if *sent == reply.len() {
                            let _ = self.socket.shutdown(Shutdown::Write);
                            self.state = State::Draining;
                            self.deadline = Instant::now() + DRAIN;
                        }
                        Ok(true)
                    }
                    Err(e) => Err(e),
                },
                State::Draining => match self.socket.read(&mut [0; 4096]) {
                    Ok(0) => Err(ErrorKind::ConnectionAborted.into()),
                    // One read a turn: a client that sends without end takes its turns with the others.
                    Ok(_) => Ok(false),
                    Err(e) => Err(e),
                },
                State::Done => Ok(false),
            };
            match went_on {
                Ok(true) => {}
                Ok(false) => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.state = State::Done;
                    return;
                }
            }
        }
    }
}

/// Reads once; `Some(true)`: the head of the request is there, `Some(false)`: it is too long.
fn read_request(socket: &mut TcpStream, request: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let mut chunk = [0; 2048];
    let bytes = socket.read(&mut chunk)?;
    if bytes == 0 {
        return Err(ErrorKind::ConnectionAborted.into());
    }
    request.extend_from_slice(&chunk[..bytes]);
    if request.windows(4).any(|w| w == b"\r\n\r\n") {
        return Ok(Some(true));
    }
    if request.len() >= HTTP_REQUEST_BYTES_MAX {
        return Ok(Some(false));
    }
    // What is left may already be here.
    Ok(None)
}

/// What is served.
struct Site {
    observed: Arc<Observed>,
    metrics: Metrics,
}

impl Site {
    fn answer(&self, request: &[u8]) -> Vec<u8> {
        match asked(request) {
            Asked::Metrics { format, head } => self.metrics(format, head),
            Asked::Health { head } => self.health(head),
            Asked::Refused(reply) => reply,
        }
    }

    fn metrics(&self, format: Format, head: bool) -> Vec<u8> {
        match self.metrics.write(format) {
            Ok(body) => reply("200 OK", format.content_type(), "", &body, head),
            Err(_) => reply("500 Internal Server Error", PLAIN, "", "the metrics could not be written\n", head),
        }
    }

    fn health(&self, head: bool) -> Vec<u8> {
        let report = HealthReport::of(&self.observed);
        let status = if report.status == Severity::Failed { "503 Service Unavailable" } else { "200 OK" };
        match serde_json::to_string(&report) {
            Ok(body) => reply(status, "application/json", "", &(body + "\n"), head),
            Err(_) => reply("500 Internal Server Error", PLAIN, "", "the report could not be written\n", head),
        }
    }
}

/// What a request wants.
enum Asked {
    Metrics { format: Format, head: bool },
    Health { head: bool },
    Refused(Vec<u8>),
}

/// Reads the head of a request.
fn asked(request: &[u8]) -> Asked {
    let refused = |status, more, why, head| Asked::Refused(reply(status, PLAIN, more, why, head));
    let text = String::from_utf8_lossy(request);
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return refused("400 Bad Request", "", "this is not an HTTP request\n", false);
    };
    let (true, Some(path)) = (version.starts_with("HTTP/1."), path_of(target)) else {
        return refused("400 Bad Request", "", "only HTTP/1.0 and HTTP/1.1 are supported\n", false);
    };
    let head = method == "HEAD";
    if !matches!(path, "/metrics" | "/health") {
        return refused("404 Not Found", "", "use /metrics or /health\n", head);
    }
    if !head && method != "GET" {
        return refused("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "only GET and HEAD are allowed\n", false);
    }
    if path == "/health" {
        return Asked::Health { head };
    }
    let accepts_open = lines.any(|header| {
        header.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("accept") && value.to_ascii_lowercase().contains("application/openmetrics-text")
        })
    });
    Asked::Metrics { format: if accepts_open { Format::OpenMetrics } else { Format::Prometheus }, head }
}

/// Any bytes as a request.
pub fn fuzz(request: &[u8]) {
    if let Asked::Refused(reply) = asked(request) {
        assert!(reply.starts_with(b"HTTP/1.1 4"));
    }
}

/// The path of a request's target: `/metrics?x`, or `http://host/metrics` as proxies and some clients send it (RFC 9112,
/// section 3.2.2: a server must take that form too). `None`: neither.
fn path_of(target: &str) -> Option<&str> {
    let without_query = target.split(['?', '#']).next().unwrap_or(target);
    if target.starts_with('/') {
        return Some(without_query);
    }
    let (scheme, rest) = without_query.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    (!host.is_empty()).then_some(path)
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn too_large() -> Vec<u8> {
    reply("431 Request Header Fields Too Large", PLAIN, "", "the request is too long\n", false)
}

fn reply(status: &str, content_type: &str, more: &str, body: &str, head: bool) -> Vec<u8> {
    let mut out = String::with_capacity(256 + body.len());
    let _ = write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\n{more}\r\n",
        body.len()
    );
    if !head {
        out.push_str(body);
    }
    out.into_bytes()
}
