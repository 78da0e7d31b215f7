//! Resolving, connecting and closing, away from the floor.
//!
//! One thread takes dead connections from the executors and plans the next attempt of each link, with exponential
//! pauses and jitter; a crew of workers makes the attempts, since a name server may take its time. The finished
//! connection goes to the link's executor through a ring. Links come, go and get other targets while it runs.
//!
//! | file | subject |
//! |---|---|
//! | `steps` | what is done when: a state machine that is given the time, so that the simulator runs it too |
//! | `backoff` | how long a link waits for its next attempt |
//! | `dial` | the crew that resolves and connects |
//! | `serial` | opening a serial port and setting it up |
//! | `can` | opening a CAN interface |
//! | `notes` | what people are told of a link, in the log and on request |

mod backoff;
mod can;
mod dial;
mod holder;
mod notes;
mod serial;
mod steps;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use fastrand::Rng;
use rtrb::{Consumer, Producer};

use crate::limits::{CONNECT_POLL, LINKS_MAX};
use crate::plan::{LinkWork, Place, Plan};
use crate::rt::{Closed, Connected, Waker, monotonic_now};
use crate::tag::{LaneId, LinkId, Nanos};

use dial::Crew;
pub use notes::{LinkNote, LinkNotes};
pub use steps::{Attempt, Dialer, Outcome, Steps};

/// The connector's ends of the rings to one executor.
pub struct ExecutorPort {
    pub connected: Producer<Connected>,
    pub closed: Consumer<Closed>,
    /// Wakes the executor, so that a new connection is taken at once.
    pub waker: Option<Waker>,
}

/// Where a link's device is to be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub place: Place,
    /// For each address that the host has.
    pub timeout: Nanos,
    /// See [`crate::rt::LinkChange::target`].
    pub number: u32,
}

/// What is asked of a running connector.
///
/// It is told before the executors get the plan that brings the change. Each connection carries the number of the
/// target that it leads to ([`Target::number`]): an executor leaves one for a plan that is still on its way in the
/// ring, and gives one back that was made for where a device was before.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A link to be kept connected. Its id may have been another link's, even one whose connection is still out:
    /// the new one is then dialled once that has come back. A link that is there with this id is removed first.
    Add { link: LinkId, name: Arc<str>, executor: LaneId, target: Target },
    /// The link's device is elsewhere now. A connection that the executor has is not taken from it: it gives it
    /// back by itself, and the new target is dialled then.
    Retarget { link: LinkId, target: Target },
    /// The link's connection, which was to be made when it is needed, is needed now: it has other work.
    Hurry { link: LinkId },
    /// The link is kept connected no longer. Its connection is closed when the executor gives it back.
    Remove { link: LinkId },
}

/// The connector's thread has ended though nobody told it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connector has ended; links no longer connect")]
pub struct Gone;

/// A running connector. Stops and closes everything when told and joined.
pub struct Connector {
    thread: JoinHandle<()>,
    commands: Sender<Command>,
    bell: Waker,
}

impl Target {
    /// `None`: there is nothing to connect to.
    pub fn of(work: &dyn LinkWork, number: u32) -> Option<Target> {
        let (place, timeout) = work.place()?;
        Some(Target { place, timeout, number })
    }
}

impl Command {
    /// Adds a link of the plan; `None`: there is nothing to connect to.
    pub fn add(plan: &Plan, link: LinkId, number: u32) -> Option<Command> {
        let of = &plan.links[link];
        let target = Target::of(&*of.protocol, number)?;
        Some(Command::Add { link, name: of.name.clone(), executor: of.lane, target })
    }
}

impl Connector {
    /// Keeps the plan's links connected; `ports` has one entry an executor, and `bell` is what executors ring that give a
    /// connection back. Runs until `stop`, then until every executor has handed back its connections and gone.
    pub fn start(
        plan: &Plan,
        ports: Vec<ExecutorPort>,
        bell: Waker,
        notes: LinkNotes,
        stop: Arc<AtomicBool>,
    ) -> Connector {
        let links = plan.links.ids().filter_map(|id| Command::add(plan, id, 0));
        Connector::start_with(links, ports, bell, notes, stop)
    }

    /// As [`Connector::start`], with these commands first.
    pub fn start_with(
        first: impl IntoIterator<Item = Command>,
        ports: Vec<ExecutorPort>,
        bell: Waker,
        notes: LinkNotes,
        stop: Arc<AtomicBool>,
    ) -> Connector {
        let mut steps = Steps::new(ports, Crew::new(bell.clone()), notes, Rng::new());
        let now = monotonic_now();
        for command in first {
            steps.apply(now, command);
        }
        // A reload that changes every link does not wait long for room.
        let (commands, told) = bounded(LINKS_MAX);
        let rung = bell.clone();
        let thread = thread::Builder::new()
            .name("fb-connector".to_owned())
            .stack_size(256 << 10)
            .spawn(move || run(steps, &told, &rung, &stop))
            .unwrap_or_else(|error| panic!("cannot start the connector's thread: {error}"));
        Connector { thread, commands, bell }
    }

    /// Hands it a command; waits a moment where many are under way.
    ///
    /// # Errors
    /// When its thread has ended.
    pub fn tell(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).map_err(|_| Gone)?;
        self.bell.wake();
        Ok(())
    }

    /// Waits for its end; the executors must have been told to stop. A name that is still being resolved, or a
    /// connection that is still being tried, is not waited for: what comes of it is closed at once.
    pub fn join(self) {
        let _ = self.thread.join();
    }
}

fn run(mut steps: Steps<Crew>, commands: &Receiver<Command>, bell: &Waker, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let due = steps.step(monotonic_now(), commands.try_iter());
        bell.wait(due.since(monotonic_now()).min(CONNECT_POLL));
    }
    // The executors give back what they hold, then drop their ends.
    while !steps.end() {
        thread::sleep(Duration::from_millis(2));
    }
}
