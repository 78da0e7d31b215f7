//! Live consumers of the hub, beside the journal: they attach and detach while it runs, and never block it.
//!
//! The journal is the only consumer for which samples wait in the rings. A tap has a queue of its own, of a bounded number of
//! batches; when that is full its oldest batch is dropped and counted.
//!
//! A tap gets what comes out of the rings, before the filter that holds samples back from the journal. So its batches have
//! numbers of their own: they count, per lane, every sample that came out of the ring and every one that the ring's gap
//! records tell to be missing. Whoever reads a tap sees each loss, at the ring or in its own queue, as a jump of
//! [`Batch::first_sequence`]. Where no filter holds anything back the numbers are the journal's, and the batch is the same
//! one, not a copy.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use crate::tag::Batch;

/// What was lost in the queue of one tap, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    pub samples: u64,
    pub batches: u64,
}

/// One tap as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapView {
    pub name: String,
    pub lost: Lost,
}

/// A handle on all taps of a hub; clones lead to the same ones.
#[derive(Clone)]
pub struct Taps {
    to_hub: Sender<Queue>,
    shared: Arc<Shared>,
}

/// The hub's end. The default is one that nobody can reach.
pub struct TapsEnd {
    come: Receiver<Queue>,
    queues: Vec<Queue>,
    shared: Arc<Shared>,
}

/// A consumer's end. It leaves by being dropped.
pub struct Tap {
    pub batches: Receiver<Arc<Batch>>,
    account: Arc<Account>,
}

#[derive(Default)]
struct Shared {
    /// All that were made and are still there. Never taken by the hub.
    accounts: Mutex<Vec<Weak<Account>>>,
    /// Of all taps that there ever were.
    lost: Counts,
}

struct Account {
    name: String,
    lost: Counts,
}

#[derive(Default)]
struct Counts {
    samples: AtomicU64,
    batches: AtomicU64,
}

impl Counts {
    fn add(&self, samples: u32) {
        self.samples.fetch_add(u64::from(samples), Relaxed);
        self.batches.fetch_add(1, Relaxed);
    }

    fn get(&self) -> Lost {
        Lost { samples: self.samples.load(Relaxed), batches: self.batches.load(Relaxed) }
    }
}

/// The hub's side of one tap.
struct Queue {
    to: Sender<Arc<Batch>>,
    /// The other end of the same channel, to take the oldest out.
    oldest: Receiver<Arc<Batch>>,
    account: Arc<Account>,
}

/// Taps for one hub, none of them made yet.
pub fn taps() -> (Taps, TapsEnd) {
    let (to_hub, come) = unbounded();
    let shared = Arc::<Shared>::default();
    (Taps { to_hub, shared: shared.clone() }, TapsEnd { come, queues: Vec::new(), shared })
}

impl Default for TapsEnd {
    fn default() -> TapsEnd {
        taps().1
    }
}

impl Taps {
    /// A tap that gets what the hub takes out of the rings from its next round on, and holds `capacity` batches. Whoever
    /// calls this bounds how many there are. After the hub's end the channel is disconnected.
    pub fn subscribe(&self, name: impl Into<String>, capacity: usize) -> Tap {
        let (to, batches) = bounded(capacity.max(1));
        let account = Arc::new(Account { name: name.into(), lost: Counts::default() });
        let mut accounts = self.shared.accounts();
        accounts.retain(|account| account.strong_count() > 0);
        accounts.push(Arc::downgrade(&account));
        drop(accounts);
        // A hub that has ended drops the queue, which disconnects it.
        let _ = self.to_hub.send(Queue { to, oldest: batches.clone(), account: account.clone() });
        Tap { batches, account }
    }

    /// Those that there are.
    pub fn all(&self) -> Vec<TapView> {
        let accounts = self.shared.accounts();
        let there = accounts.iter().filter_map(Weak::upgrade);
        there.map(|account| TapView { name: account.name.clone(), lost: account.lost.get() }).collect()
    }

    /// By all that there ever were; it never falls.
    pub fn lost(&self) -> Lost {
        self.shared.lost.get()
    }
}

impl Tap {
    /// What this one's queue has dropped so far.
    pub fn lost(&self) -> Lost {
        self.account.lost.get()
    }
}

impl Shared {
    /// What a panic elsewhere leaves is a whole list.
    fn accounts(&self) -> MutexGuard<'_, Vec<Weak<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TapsEnd {
    /// Takes those that have come, and lets go of those that have left.
    pub(super) fn look(&mut self) {
        self.queues.extend(self.come.try_iter());
        self.queues.retain(|queue| Arc::strong_count(&queue.account) > 1);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Gives a batch to each; never waits.
    pub(super) fn put(&self, batch: &Arc<Batch>) {
        for queue in &self.queues {
            let mut batch = batch.clone();
            // Nobody else sends: after one was taken out there is room.
            while let Err(TrySendError::Full(again)) = queue.to.try_send(batch) {
                batch = again;
                if let Ok(oldest) = queue.oldest.try_recv() {
                    queue.account.lost.add(oldest.samples);
                    self.shared.lost.add(oldest.samples);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
