//! Assigns ids: what stays keeps its id, what is new gets one that cannot be confused with an old one.

use std::collections::{HashMap, HashSet};

use super::model::*;
use crate::config::{Config, GroupConfig};
use crate::limits::{GROUPS_MAX, LINKS_MAX, TAGS_MAX};
use crate::plan::scan::ScanId;
use crate::tag::{ById, GroupId, Id, LinkId, Nanos, TagId, ValueType};

/// What a new plan goes on from.
pub struct Base<'a> {
    /// The plan that runs.
    pub plan: &'a Plan,
    /// Of plans before it by whose ids someone may still read; these ids are not given to anything else.
    pub resting: &'a [UsedIds],
    /// Whether a long value of so many bytes can live at an id (see [`crate::lane::Image`]).
    pub long_fits: &'a dyn Fn(TagId, usize) -> bool,
}

/// The ids of a configuration's things, each table in the configuration's order.
pub struct Allotted {
    pub tags: Vec<TagId>,
    pub groups: Vec<GroupId>,
    pub links: Vec<LinkId>,
}

impl Allotted {
    pub fn new(config: &Config, base: Option<&Base<'_>>) -> Result<Allotted, String> {
        let Some(base) = base else {
            return Ok(Allotted {
                tags: (0..config.tags.len()).map(TagId::from_index).collect(),
                groups: (0..config.groups.len()).map(GroupId::from_index).collect(),
                links: (0..config.links.len()).map(LinkId::from_index).collect(),
            });
        };
        let running = UsedIds::of(base.plan);
        let used = || std::iter::once(&running).chain(base.resting);

        let known: HashMap<&str, LinkId> = base.plan.links.iter().map(|(id, link)| (&*link.name, id)).collect();
        let mut free = Free::new("links", LINKS_MAX, used().map(|used| &used.links));
        let links = config.links.iter().map(|link| keep_or(known.get(&*link.name), || free.take(|_| true)));
        let links = links.collect::<Result<Vec<LinkId>, String>>()?;

        let known = KnownGroups::of(config, base.plan);
        let mut free = Free::new("groups", GROUPS_MAX, used().map(|used| &used.groups));
        let groups = config.groups.iter().map(|group| keep_or(known.get(group).as_ref(), || free.take(|_| true)));
        let groups = groups.collect::<Result<Vec<GroupId>, String>>()?;

        type Known<'a> = HashMap<(&'a str, LinkId, ValueType, &'a str), TagId>;
        let known: Known<'_> =
            base.plan.tags.iter().map(|(id, tag)| ((&*tag.name, tag.link, tag.ty, &*tag.unit), id)).collect();
        let mut free = Free::new("tags", TAGS_MAX, used().map(|used| &used.tags));
        let tags = config.tags.iter().map(|tag| {
            let ty = tag.value_type();
            let long_bytes = ty.long_bytes_max();
            keep_or(known.get(&(&*tag.name, links[tag.link], ty, &*tag.unit)), || {
                free.take(|id| long_bytes == 0 || (base.long_fits)(id, long_bytes))
            })
        });
        let tags = tags.collect::<Result<Vec<TagId>, String>>()?;
        Ok(Allotted { tags, groups, links })
    }
}

/// The groups of the plan that runs: by name and period, and by name alone where one and the same group is meant whatever its
/// period.
struct KnownGroups<'a> {
    exact: HashMap<(&'a str, Nanos), GroupId>,
    /// `None`: there are several of that name.
    by_name: HashMap<&'a str, Option<GroupId>>,
}

impl<'a> KnownGroups<'a> {
    fn of(config: &'a Config, plan: &'a Plan) -> KnownGroups<'a> {
        let exact = plan.groups.iter().map(|(id, group)| ((&*group.name, group.interval()), id)).collect();
        let mut by_name: HashMap<&str, Option<GroupId>> = HashMap::new();
        for (id, group) in plan.groups.iter() {
            by_name.entry(&group.name).and_modify(|known| *known = None).or_insert(Some(id));
        }
        let mut seen = HashSet::new();
        for group in config.groups.iter().filter(|group| !seen.insert(group.name.as_str())) {
            by_name.insert(&group.name, None);
        }
        KnownGroups { exact, by_name }
    }

    fn get(&self, group: &GroupConfig) -> Option<GroupId> {
        let name = group.name.as_str();
        self.exact.get(&(name, group.interval())).copied().or_else(|| self.by_name.get(name).copied().flatten())
    }
}

fn keep_or<I: Copy>(known: Option<&I>, fresh: impl FnOnce() -> Result<I, String>) -> Result<I, String> {
    known.map_or_else(fresh, |id| Ok(*id))
}

/// The ids that a plan uses, without the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedIds {
    tags: Vec<bool>,
    groups: Vec<bool>,
    links: Vec<bool>,
    scans: Vec<bool>,
}

impl UsedIds {
    pub fn of(plan: &Plan) -> UsedIds {
        fn used<I: Id, T>(table: &ById<I, T>) -> Vec<bool> {
            (0..table.end()).map(|at| table.contains(I::from_index(at))).collect()
        }
        UsedIds {
            tags: used(&plan.tags),
            groups: used(&plan.groups),
            links: used(&plan.links),
            scans: used(&plan.scans),
        }
    }
}

/// What any of them has.
fn all_of<'a>(sets: impl Iterator<Item = &'a Vec<bool>>) -> Vec<bool> {
    let mut all = Vec::new();
    for set in sets {
        all.resize(all.len().max(set.len()), false);
        all.iter_mut().zip(set).for_each(|(all, one)| *all |= one);
    }
    all
}

/// Ids that no plan uses.
struct Free<I> {
    what: &'static str,
    taken: Vec<bool>,
    max: usize,
    /// No free id lies below it.
    next: usize,
    of: std::marker::PhantomData<I>,
}

impl<I: Id> Free<I> {
    fn new<'a>(what: &'static str, max: usize, used: impl Iterator<Item = &'a Vec<bool>>) -> Free<I> {
        let taken = all_of(used);
        Free { what, taken, max, next: 0, of: std::marker::PhantomData }
    }

    /// The lowest free id that suits.
    fn take(&mut self, suits: impl Fn(I) -> bool) -> Result<I, String> {
        while self.taken.get(self.next) == Some(&true) {
            self.next += 1;
        }
        let free = |at: &usize| self.taken.get(*at) != Some(&true) && suits(I::from_index(*at));
        let Some(at) = (self.next..self.max).find(free) else {
            return Err(format!(
                "too many {} were added and removed since the gateway started: restart it to use this configuration",
                self.what
            ));
        };
        if at >= self.taken.len() {
            self.taken.resize(at + 1, false);
        }
        self.taken[at] = true;
        Ok(I::from_index(at))
    }
}

/// Ids of scans, given out as the scans are made.
pub struct ScanIds {
    known: HashMap<(GroupId, LinkId), ScanId>,
    taken: Vec<bool>,
    next: usize,
}

impl ScanIds {
    pub fn new(base: Option<&Base<'_>>) -> ScanIds {
        let mut ids = ScanIds { known: HashMap::new(), taken: Vec::new(), next: 0 };
        if let Some(base) = base {
            ids.known = base.plan.scans.iter().map(|(id, scan)| ((scan.group, scan.link), id)).collect();
            let running = UsedIds::of(base.plan);
            ids.taken = all_of(std::iter::once(&running).chain(base.resting).map(|used| &used.scans));
        }
        ids
    }

    /// The scan of a group on a link.
    pub fn of(&mut self, group: GroupId, link: LinkId) -> ScanId {
        let ScanIds { known, taken, next } = self;
        *known.entry((group, link)).or_insert_with(|| {
            while taken.get(*next) == Some(&true) {
                *next += 1;
            }
            *next += 1;
            ScanId(*next as u32 - 1)
        })
    }
}
