//! What outputs may say of tags beside their samples: names, types, units, limits, and where they belong.

use std::sync::Arc;

use crate::config::WriteConfig;
use crate::tag::{ById, GroupId, LinkId, Nanos, TagId, Texts, ValueType};

/// All groups, links and tags of the configuration that runs, by the ids that samples carry.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub groups: ById<GroupId, GroupEntry>,
    pub links: ById<LinkId, LinkEntry>,
    pub tags: ById<TagId, TagEntry>,
}

#[derive(Debug, Clone)]
pub struct GroupEntry {
    pub name: Arc<str>,
    pub period: Nanos,
}

#[derive(Debug, Clone)]
pub struct LinkEntry {
    pub name: Arc<str>,
    /// The family of protocols.
    pub protocol: &'static str,
}

#[derive(Debug, Clone)]
pub struct TagEntry {
    pub name: Arc<str>,
    pub link: LinkId,
    pub group: GroupId,
    pub ty: ValueType,
    pub unit: Arc<str>,
    pub texts: Texts,
    pub description: Arc<str>,
    /// The lowest and the highest value that are usual.
    pub range: Option<[f64; 2]>,
    /// Within which limits it may be written; `None`: it is only read.
    pub write: Option<WriteConfig>,
}

impl Catalog {
    pub fn group_of(&self, tag: &TagEntry) -> &str {
        self.groups.get(tag.group).map_or("", |group| &group.name)
    }
}
