//! What a gateway keeps to be able to reload.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::watch::Watch;
use crate::config::{Config, Loaded};
use crate::limits::IDS_REST;
use crate::plan::admission::Admission;
use crate::plan::{Change, Plan, UsedIds};
use crate::tag::LinkId;

/// What a gateway keeps to be able to reload.
pub struct Reload {
    pub(super) watch: Option<Watch>,
    /// As it runs, but for what the tag files say.
    pub(super) config: Config,
    /// Plans before the one that runs, whose ids rest.
    pub(super) resting: Vec<Rest>,
    /// How many plans were adopted.
    pub(super) number: u32,
    /// What has changed in the gateway's own file, which was told.
    pub(super) told_of_gateway_file: Vec<&'static str>,
    /// Found, and not yet begun.
    pub(super) waiting: Option<Loaded>,
    pub(super) changing: Option<Changing>,
    /// When memory that a plan before has left is given back to the system.
    pub(super) trim_at: Option<Instant>,
    /// From before the first executor changes until the plan is the new one everywhere.
    pub(super) is_changing: Arc<AtomicBool>,
}

impl Reload {
    pub fn new(config: &Config) -> Reload {
        let config = Config { links: Vec::new(), groups: Vec::new(), tags: Vec::new(), ..config.clone() };
        Reload {
            watch: None,
            config,
            resting: Vec::new(),
            number: 0,
            told_of_gateway_file: Vec::new(),
            waiting: None,
            changing: None,
            trim_at: None,
            is_changing: Arc::default(),
        }
    }

    /// Forgets plans whose ids may be given again.
    pub fn forget_rested(&mut self) {
        self.resting.retain(|rest| rest.since.elapsed() < IDS_REST || rest.plan.strong_count() > 0);
    }

    /// True while executors may run by different plans.
    pub fn is_changing(&self) -> Arc<AtomicBool> {
        self.is_changing.clone()
    }
}

/// The ids of a plan that ran before. They rest until nobody can read by it any more.
pub struct Rest {
    pub(super) since: Instant,
    pub(super) plan: Weak<Plan>,
    pub(super) ids: UsedIds,
}

/// A change that executors have yet to adopt.
pub struct Changing {
    pub(super) old: Arc<Plan>,
    pub(super) new: Arc<Plan>,
    pub(super) changes: Vec<(LinkId, Change)>,
    pub(super) admission: Admission,
}
