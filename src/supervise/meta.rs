//! Lists of tags and of bad tags for the outputs.

use std::sync::Arc;
use std::time::Instant;

use crate::config::OutputConfig;
use crate::limits::{FIRST_VALUE_PATIENCE, META_LOOK};
use crate::output::mqtt::MetaBoard;
use crate::plan::Plan;
use crate::serve::{Observed, Tags};

/// See the module.
pub struct Meta {
    board: Arc<MetaBoard>,
    /// Whether an output publishes it.
    is_wanted: bool,
    looked: Option<Instant>,
    plan: Arc<Plan>,
}

impl Meta {
    pub fn new(outputs: &[OutputConfig]) -> Meta {
        let wants = |output: &OutputConfig| output.kind.mqtt().is_some_and(|mqtt| mqtt.meta_topic.is_some());
        Meta { board: Arc::default(), is_wanted: outputs.iter().any(wants), looked: None, plan: Arc::default() }
    }

    pub fn board(&self) -> Arc<MetaBoard> {
        self.board.clone()
    }

    /// Looks once a second, and at once at another plan.
    pub fn tend(&mut self, observed: &Observed) {
        if !self.is_wanted {
            return;
        }
        let plan = observed.plan();
        if Arc::ptr_eq(&plan, &self.plan) && self.looked.is_some_and(|looked| looked.elapsed() < META_LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let tags = Tags::look(&plan, &observed.image, &observed.counters, FIRST_VALUE_PATIENCE);
        let bad = tags.troubled.iter().map(|trouble| (trouble.tag, trouble.status)).collect();
        self.board.put(&observed.boot, &plan, bad);
        self.plan = plan;
    }
}
