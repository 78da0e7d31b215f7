//! Lists of tags and of bad tags for the outputs.

use std::sync::Arc;
use std::time::Instant;

use crate::config::OutputConfig;
use crate::limits::{FIRST_VALUE_PATIENCE, META_LOOK};
use crate::output::catalog::{Catalog, GroupEntry, LinkEntry, TagEntry};
use crate::output::mqtt::MetaBoard;
use crate::plan::{GroupPlan, LinkPlan, Plan, TagPlan};
use crate::serve::{Observed, Tags};

/// See the module.
pub struct Meta {
    board: Arc<MetaBoard>,
    /// Whether an output publishes it.
    is_wanted: bool,
    looked: Option<Instant>,
    plan: Arc<Plan>,
    catalog: Arc<Catalog>,
}

impl Meta {
    pub fn new(outputs: &[OutputConfig]) -> Meta {
        let wants = |output: &OutputConfig| output.kind.mqtt().is_some_and(|mqtt| mqtt.meta_topic.is_some());
        Meta {
            board: Arc::default(),
            is_wanted: outputs.iter().any(wants),
            looked: None,
            plan: Arc::default(),
            catalog: Arc::default(),
        }
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
        if !Arc::ptr_eq(&plan, &self.plan) {
            (self.catalog, self.plan) = (Arc::new(catalog(&plan)), plan);
        }
        self.board.put(&observed.boot, &self.catalog, bad);
    }
}

fn catalog(plan: &Plan) -> Catalog {
    let group = |group: &GroupPlan| GroupEntry { name: group.name.clone(), period: group.interval() };
    let link = |link: &LinkPlan| LinkEntry { name: link.name.clone(), protocol: link.protocol.name() };
    let tag = |tag: &TagPlan| TagEntry {
        name: tag.name.clone(),
        link: tag.link,
        group: tag.group,
        ty: tag.ty,
        unit: tag.unit.clone(),
        texts: tag.texts.clone(),
        description: tag.description.clone(),
        range: tag.range,
        write: tag.write.clone(),
    };
    Catalog {
        groups: plan.groups.iter().map(|(id, of)| (id, group(of))).collect(),
        links: plan.links.iter().map(|(id, of)| (id, link(of))).collect(),
        tags: plan.tags.iter().map(|(id, of)| (id, tag(of))).collect(),
    }
}
