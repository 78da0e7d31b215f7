//! Worker threads that resolve and connect, each one attempt at a time.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::steps::{Attempt, Dialer, Outcome};
use super::{Target, can, serial};
use crate::limits::CONNECT_WORKERS_MAX;
use crate::plan::Place;
use crate::rt::{Conn, Waker};
use crate::tag::Nanos;

/// What a worker brings back; closed by itself when nobody takes it.
pub struct Done {
    attempt: Attempt,
    result: Result<OwnedFd, String>,
}

/// Attempts at real devices. Ends when dropped, without waiting for what is under way.
pub struct Crew {
    jobs: Sender<(Attempt, Target)>,
    queue: Receiver<(Attempt, Target)>,
    results: Sender<Done>,
    outcomes: Receiver<Done>,
    workers: usize,
    under_way: usize,
    /// That the system gives no thread was told.
    told: bool,
    /// Woken when an attempt has ended.
    bell: Waker,
}

impl Crew {
    /// Without workers: each comes when there is something to do for it, up to the most there may be.
    pub fn new(bell: Waker) -> Crew {
        // Short: what waits in here has lost its place in the order of what is due.
        let (jobs, queue) = bounded(CONNECT_WORKERS_MAX);
        let (results, outcomes) = bounded(CONNECT_WORKERS_MAX);
        Crew { jobs, queue, results, outcomes, workers: 0, under_way: 0, told: false, bell }
    }

    #[cfg(test)]
    pub fn workers(&self) -> usize {
        self.workers
    }

    fn hire(&mut self) {
        let (queue, results, bell) = (self.queue.clone(), self.results.clone(), self.bell.clone());
        let thread = thread::Builder::new().name("fb-connect".to_owned()).stack_size(256 << 10);
        match thread.spawn(move || work(&queue, &results, &bell)) {
            Ok(_) => self.workers += 1,
            Err(error) if !self.told => {
                self.told = true;
                let workers = self.workers;
                tracing::error!(
                    "cannot start another thread that connects links, {workers} are running ({error}); raise the \
                     limit of tasks"
                );
            }
            Err(_) => {}
        }
    }
}

impl Dialer for Crew {
    fn start(&mut self, attempt: Attempt, target: &Target) -> bool {
        if self.under_way >= self.workers && self.workers < CONNECT_WORKERS_MAX {
            self.hire();
        }
        let taken = self.workers > 0 && self.jobs.try_send((attempt, target.clone())).is_ok();
        self.under_way += usize::from(taken);
        taken
    }

    fn poll(&mut self) -> Option<Outcome> {
        let Done { attempt, result } = self.outcomes.try_recv().ok()?;
        self.under_way -= 1;
        Some(Outcome { attempt, result: result.map(|stream| Conn(stream.into_raw_fd())) })
    }

    fn close(&mut self, conn: Conn) {
        serial::let_go(conn.0);
        // SAFETY: the descriptor came from `into_raw_fd` in `poll`, and whoever had it gave it back, so this is
        // its only owner again.
        drop(unsafe { OwnedFd::from_raw_fd(conn.0) });
    }
}

fn work(jobs: &Receiver<(Attempt, Target)>, outcomes: &Sender<Done>, bell: &Waker) {
    while let Ok((attempt, target)) = jobs.recv() {
        let result = match &target.place {
            Place::Tcp { host, port } => connect(host, *port, target.timeout).map(OwnedFd::from),
            Place::Serial(config) => serial::open(config),
            Place::Can(socket) => can::open(socket),
            Place::Own(device) => device.clone().open(),
        };
        if outcomes.send(Done { attempt, result }).is_err() {
            return;
        }
        bell.wake();
    }
}

fn connect(host: &str, port: u16, timeout: Nanos) -> Result<TcpStream, String> {
    let place = format!("{host}:{port}");
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("host \"{host}\" does not resolve ({error}); check the name or use an address"))?
        .collect();
    let mut last = format!("host \"{host}\" has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, Duration::from_nanos(timeout.0)) {
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
    use crate::tag::LinkId;

    #[test]
    fn a_host_that_does_not_resolve_says_so() {
        let error = connect("no-such-host.invalid", 502, Nanos::from_millis(1_000)).unwrap_err();
        assert!(error.contains("no-such-host.invalid") && error.contains("does not resolve"), "{error}");
    }

    #[test]
    fn the_crew_grows_with_its_work_up_to_its_bound_and_its_queue_ends() {
        // Never accepts: the backlog fills, then attempts hang for their whole time.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let place = Place::Tcp { host: "127.0.0.1".into(), port };
        let target = Target { place, timeout: Nanos::from_millis(500), number: 0 };
        let mut crew = Crew::new(Waker::new().unwrap());
        for number in 1..=3 {
            assert!(crew.start(Attempt { link: LinkId(number as u16), number }, &target));
            assert_eq!(crew.workers(), number as usize);
        }
        let taken = (0..500_u64).filter(|n| crew.start(Attempt { link: LinkId(9), number: 10 + n }, &target)).count();
        assert!((CONNECT_WORKERS_MAX - 3..500).contains(&taken), "{taken}");
        assert_eq!(crew.workers(), CONNECT_WORKERS_MAX);
        let mut ended = 0;
        while ended < taken + 3 {
            let done = crew.outcomes.recv_timeout(Duration::from_secs(20)).expect("each attempt comes to an end");
            drop(done);
            ended += 1;
        }
    }
}
