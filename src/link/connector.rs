//! Resolving, connecting and closing, away from the floor.
//!
//! A manager thread takes dead connections from the executors and plans the next attempt of each link, with
//! exponential pauses and jitter; a crew of workers makes the attempts, since a name server may take its time.
//! The finished connection goes to the link's executor through a ring.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rtrb::{Consumer, Producer};

use crate::limits::{CONNECT_PAUSE_MAX, CONNECT_PAUSE_MIN};
use crate::plan::{LinkProtocolPlan, Plan};
use crate::rt::{CloseReason, Closed, Conn, Connected};
use crate::tag::LinkId;

/// Attempts under way at once.
const WORKERS_MAX: usize = 16;
/// How often the executors' rings are looked into.
const POLL: Duration = Duration::from_millis(20);
/// A connection that lives this long was a good one: the next pause starts small again.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// A connection that lives this long has ended the trouble before it: a device that accepts and drops, or talks
/// nonsense, is not told as well again with each attempt.
const MENDED_AFTER: Duration = Duration::from_secs(1);

/// What is known of a link's connection, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkNote {
    /// Why it is not connected, or was not a moment ago; empty when it is.
    pub trouble: String,
    /// Attempts that failed, and connections that did not last, since the last good one.
    pub failures: u32,
}

/// By LinkId. Written by the connector, read by whoever shows it; never touched by the floor.
pub type LinkNotes = Arc<Mutex<Vec<LinkNote>>>;

/// The connector's ends of the rings to one executor.
pub struct ExecutorPort {
    pub connected: Producer<Connected>,
    pub closed: Consumer<Closed>,
}

/// A running connector. Stops and closes everything when told and joined.
pub struct Connector {
    manager: JoinHandle<()>,
}

struct Job {
    link: LinkId,
    host: Arc<str>,
    port: u16,
    timeout: Duration,
}

struct Outcome {
    link: LinkId,
    result: Result<TcpStream, String>,
}

/// A link as the manager sees it.
struct Entry {
    name: Arc<str>,
    executor: usize,
    state: EntryState,
    pause: Duration,
    /// What was last told in the log, to tell each trouble once.
    told: Option<String>,
}

enum EntryState {
    Waiting { until: Instant },
    Connecting,
    Connected { since: Instant },
}

impl Connector {
    /// `ports` has one entry an executor. Runs until `stop`, then until every executor has handed back its
    /// connections and gone.
    pub fn start(plan: &Plan, ports: Vec<ExecutorPort>, notes: LinkNotes, stop: Arc<AtomicBool>) -> Connector {
        let (job_sender, jobs) = bounded::<Job>(plan.links.len().max(1));
        let (outcome_sender, outcomes) = bounded::<Outcome>(plan.links.len().max(1));
        for _ in 0..plan.links.len().min(WORKERS_MAX) {
            let (jobs, outcomes) = (jobs.clone(), outcome_sender.clone());
            drop(spawn("fb-connect", move || work(&jobs, &outcomes)));
        }
        let entries = plan
            .links
            .values()
            .map(|link| Entry {
                name: link.name.clone(),
                executor: link.executor.index(),
                state: EntryState::Waiting { until: Instant::now() },
                pause: Duration::from_nanos(CONNECT_PAUSE_MIN.0),
                told: None,
            })
            .collect();
        let targets = plan.links.values().map(|link| target(&link.protocol)).collect();
        let manager = Manager { entries, targets, ports, jobs: job_sender, outcomes, notes };
        Connector { manager: spawn("fb-connector", move || manager.run(&stop)) }
    }

    /// Waits for its end; the executors must have been told to stop. A name that is still being resolved, or a
    /// connection that is still being tried, is not waited for: what comes of it is closed at once.
    pub fn join(self) {
        let _ = self.manager.join();
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(256 << 10)
        .spawn(body)
        .unwrap_or_else(|error| panic!("the system gives no thread for {name}: {error}"))
}

fn target(protocol: &LinkProtocolPlan) -> (Arc<str>, u16, Duration) {
    let LinkProtocolPlan::ModbusTcp(modbus) = protocol;
    (modbus.config.host.as_str().into(), modbus.config.port, Duration::from_nanos(modbus.config.connect_timeout.0))
}

struct Manager {
    entries: Vec<Entry>,
    targets: Vec<(Arc<str>, u16, Duration)>,
    ports: Vec<ExecutorPort>,
    jobs: Sender<Job>,
    outcomes: Receiver<Outcome>,
    notes: LinkNotes,
}

impl Manager {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.take_closed();
            self.start_due();
            self.tell_mended();
            if let Ok(outcome) = self.outcomes.recv_timeout(POLL) {
                self.settle(outcome);
            }
        }
        // The executors give back what they hold, then drop their ends.
        while self.ports.iter().any(|port| !port.closed.is_abandoned()) {
            self.take_closed();
            thread::sleep(Duration::from_millis(2));
        }
        self.take_closed();
    }

    fn take_closed(&mut self) {
        for port in &mut self.ports {
            while let Ok(Closed { link, conn, reason }) = port.closed.pop() {
                close(conn);
                if reason == CloseReason::Stopped {
                    continue;
                }
                let entry = &mut self.entries[link.index()];
                if let EntryState::Connected { since } = entry.state
                    && since.elapsed() > STABLE_AFTER
                {
                    entry.pause = Duration::from_nanos(CONNECT_PAUSE_MIN.0);
                }
                let until = Instant::now() + jittered(entry.pause);
                entry.state = EntryState::Waiting { until };
                entry.pause = next_pause(entry.pause);
                entry.tell(&self.notes, link, lost_text(reason));
            }
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for (at, entry) in self.entries.iter_mut().enumerate() {
            let EntryState::Waiting { until } = entry.state else { continue };
            if until > now {
                continue;
            }
            let (host, port, timeout) = self.targets[at].clone();
            if self.jobs.try_send(Job { link: LinkId(at as u16), host, port, timeout }).is_ok() {
                entry.state = EntryState::Connecting;
            }
        }
    }

    fn tell_mended(&mut self) {
        for (at, entry) in self.entries.iter_mut().enumerate() {
            if let EntryState::Connected { since } = entry.state
                && since.elapsed() > MENDED_AFTER
                && entry.told.take().is_some()
            {
                tracing::info!("link \"{}\": connected", entry.name);
                note(&self.notes, LinkId(at as u16), LinkNote::default());
            }
        }
    }

    fn settle(&mut self, Outcome { link, result }: Outcome) {
        let entry = &mut self.entries[link.index()];
        match result {
            Ok(stream) => {
                let conn = Conn(stream.into_raw_fd());
                if self.ports[entry.executor].connected.push(Connected { link, conn, target: 0 }).is_err() {
                    close(conn);
                    entry.state = EntryState::Waiting { until: Instant::now() + entry.pause };
                    return;
                }
                entry.state = EntryState::Connected { since: Instant::now() };
                if entry.told.is_none() {
                    tracing::info!("link \"{}\": connected", entry.name);
                }
            }
            Err(trouble) => {
                entry.state = EntryState::Waiting { until: Instant::now() + jittered(entry.pause) };
                entry.pause = next_pause(entry.pause);
                entry.tell(&self.notes, link, &trouble);
            }
        }
    }
}

impl Entry {
    /// Each trouble goes to the log once; the notes keep count.
    fn tell(&mut self, notes: &LinkNotes, link: LinkId, trouble: &str) {
        if self.told.as_deref() != Some(trouble) {
            tracing::warn!("link \"{}\": {trouble}; trying again until it works", self.name);
            self.told = Some(trouble.to_owned());
        }
        if let Ok(mut notes) = notes.lock()
            && let Some(note) = notes.get_mut(link.index())
        {
            note.failures += 1;
            trouble.clone_into(&mut note.trouble);
        }
    }
}

fn note(notes: &LinkNotes, link: LinkId, new: LinkNote) {
    if let Ok(mut notes) = notes.lock()
        && let Some(note) = notes.get_mut(link.index())
    {
        *note = new;
    }
}

fn lost_text(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Lost | CloseReason::Stopped | CloseReason::Removed => "connection lost",
        CloseReason::Garbage => "the device sent something that is not Modbus TCP; is this the right port?",
        CloseReason::Silent => "connected, but nothing is answered; is the device busy, or are the unit ids right?",
        CloseReason::Refused => "the connection could not be watched (out of kernel memory?)",
    }
}

/// Half to all of the pause, so that links lost together do not come back together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

fn next_pause(pause: Duration) -> Duration {
    (pause * 2).min(Duration::from_nanos(CONNECT_PAUSE_MAX.0))
}

fn close(conn: Conn) {
    // SAFETY: the descriptor came from `into_raw_fd` in `settle`; the executor gave it back, so this is its
    // only owner again.
    drop(unsafe { TcpStream::from_raw_fd(conn.0) });
}

fn work(jobs: &Receiver<Job>, outcomes: &Sender<Outcome>) {
    while let Ok(job) = jobs.recv() {
        let result = connect(&job);
        if outcomes.send(Outcome { link: job.link, result }).is_err() {
            return;
        }
    }
}

fn connect(job: &Job) -> Result<TcpStream, String> {
    let place = format!("{}:{}", job.host, job.port);
    let addresses: Vec<SocketAddr> = (&*job.host, job.port)
        .to_socket_addrs()
        .map_err(|error| format!("host \"{}\" does not resolve ({error}); check the name or use an address", job.host))?
        .collect();
    let mut last = format!("host \"{}\" has no address", job.host);
    for address in addresses {
        match TcpStream::connect_timeout(&address, job.timeout) {
            Ok(stream) => {
                let ready = stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true));
                return ready.map(|()| stream).map_err(|error| format!("{place}: {error}"));
            }
            Err(error) => last = format!("cannot connect to {place}: {error}"),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_jitter_stays_below() {
        let mut pause = Duration::from_nanos(CONNECT_PAUSE_MIN.0);
        for _ in 0..20 {
            let j = jittered(pause);
            assert!(j >= pause / 2 && j <= pause);
            pause = next_pause(pause);
        }
        assert_eq!(pause, Duration::from_nanos(CONNECT_PAUSE_MAX.0));
    }

    #[test]
    fn a_host_that_does_not_resolve_says_so() {
        let job =
            Job { link: LinkId(0), host: "no-such-host.invalid".into(), port: 502, timeout: Duration::from_secs(1) };
        let error = connect(&job).unwrap_err();
        assert!(error.contains("no-such-host.invalid") && error.contains("does not resolve"), "{error}");
    }
}
