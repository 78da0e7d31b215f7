//! Reloads at any moment: the configuration is changed as people change it, and the new plan is brought to the
//! executors as the gateway brings it.

use std::sync::Arc;

use rtrb::{Consumer, RingBuffer};

use super::broken::{Broken, Kind, OfKind};
use super::parts::Parts;
use super::scenario::{Scenario, load};
use super::script::{Changes, Coming, TagChange};
use crate::config::{Config, Suppress};
use crate::door::NewPlan;
use crate::lane::{Counters, EventRates, Image, ReportFilter, SampleWriter};
use crate::plan::{self, Base, Change, Plan, UsedIds};
use crate::protocol;
use crate::rt::{Adoption, LinkChange};
use crate::tag::{LaneId, LinkId, Sample, Status, TagId};
use fieldbeat_engine::connector::{Command, Target};

/// A plan whose ids someone may still read is as old as this at most.
const RECENT_NS: u64 = 10_000_000_000;

/// What comes of one reload for one executor.
pub struct ForExecutor<L> {
    pub executor: LaneId,
    pub adoption: Box<Adoption<L>>,
    pub ring: Consumer<Sample>,
    pub commands: Vec<Command>,
}

/// What comes of one reload for a source.
pub struct ForSource {
    pub lane: LaneId,
    pub new: NewPlan,
    pub ring: Consumer<Sample>,
}

/// One reload.
pub struct Reload<L> {
    pub config: Config,
    pub plan: Arc<Plan>,
    pub changes: Vec<(LinkId, Change)>,
    pub target: u32,
    pub executors: Vec<ForExecutor<L>>,
    pub sources: Vec<ForSource>,
}

/// Whoever changes the configuration.
pub struct Reloads {
    changes: Changes,
    coming: Option<Coming>,
    plan: Arc<Plan>,
    /// Earlier plans, and when the next one took their place.
    replaced: Vec<(u64, Arc<Plan>)>,
    target: u32,
    ring_slots: usize,
    has_source: bool,
    /// When the next reload begins.
    pub next: u64,
    /// Executors that have not taken up the newest plan.
    pub waiting: usize,
    pub count: u64,
    pub refused: u64,
    /// Where a record is wanted: when each was begun, and what it was.
    pub made: Option<Vec<(u64, TagChange)>>,
}

impl Reloads {
    pub fn new(scenario: &Scenario) -> Reloads {
        let mut reloads = Reloads {
            changes: scenario.script.changes(scenario.seed),
            coming: None,
            plan: Arc::new(scenario.plan.clone()),
            replaced: Vec::new(),
            target: 0,
            ring_slots: scenario.ring_slots,
            has_source: scenario.source,
            next: u64::MAX,
            waiting: 0,
            count: 0,
            refused: 0,
            made: None,
        };
        reloads.pause(0);
        reloads
    }

    /// An executor has taken up the newest plan at `now`; after the last of them, the next reload may come.
    pub fn adopted(&mut self, now: u64) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 {
            self.pause(now);
        }
    }

    fn pause(&mut self, now: u64) {
        self.coming = self.changes.next();
        self.next = self.coming.as_ref().map_or(u64::MAX, |coming| now.saturating_add(coming.pause_ns));
    }

    /// Begins a reload; `None`: the new configuration was refused, and the old plan runs on.
    ///
    /// # Errors
    /// What a plan must not do.
    pub fn begin<P: Parts>(
        &mut self,
        now: u64,
        parts: &P,
        image: &Image,
        counters: &Counters,
    ) -> Result<Option<Reload<P::Link>>, Broken> {
        self.replaced.retain(|(at, _)| at + RECENT_NS > now);
        let Some(Coming { pause_ns, text }) = self.coming.take() else { return Ok(None) };
        let config = load(&text, self.has_source).of(Kind::Unrunnable)?;
        if let Some(made) = &mut self.made {
            let tags = serde_json::from_str(&text).map_err(|error| error.to_string()).of(Kind::Unrunnable)?;
            made.push((now, TagChange { pause_ns, tags }));
        }
        let recent: Vec<Arc<Plan>> = self.replaced.iter().map(|(_, plan)| plan.clone()).collect();
        let long_fits = |id: TagId, bytes| image.long_fits(id.index(), bytes);
        let resting: Vec<UsedIds> = recent.iter().map(|plan| UsedIds::of(plan)).collect();
        let base = Base { plan: &self.plan, resting: parts.resting(&resting), long_fits: &long_fits };
        let new = match protocol::rebuild(&config, &base) {
            Ok(planned) => Arc::new(planned.plan),
            Err(_) => {
                self.refused += 1;
                self.pause(now);
                return Ok(None);
            }
        };
        self.check_ids(&new, &recent).of(Kind::Reload)?;
        self.changes.taken();
        let old = std::mem::replace(&mut self.plan, new.clone());
        self.replaced.push((now, old.clone()));
        self.target += 1;
        self.count += 1;

        counters.prepare(&new, &old);
        for (id, tag) in new.tags.iter().filter(|(id, _)| !old.tags.contains(*id)) {
            image.prepare(id.index(), tag.ty.long_bytes_max(), Status::BAD_WAITING_FOR_INITIAL_DATA.0);
        }
        let changes = plan::changes(&old, &new);
        let (mut executors, mut sources) = (Vec::new(), Vec::new());
        for id in (0..new.lanes.len()).map(|at| LaneId(at as u16)) {
            let of_executor =
                |link: LinkId| new.links.get(link).or_else(|| old.links.get(link)).is_some_and(|link| link.lane == id);
            let own: Vec<(LinkId, Change)> = changes.iter().filter(|(link, _)| of_executor(*link)).copied().collect();
            if plan::lane_stays(id, &own, &old, &new) {
                continue;
            }
            if new.lanes[id.index()].owner.source().is_some() {
                sources.push(for_source(id, &old, &new, self.ring_slots));
                continue;
            }
            let commands = own.iter().filter_map(|(link, change)| self.command(*link, *change, &new)).collect();
            let links = own.iter().map(|(link, change)| LinkChange {
                id: *link,
                link: match change {
                    Change::Work => Some(Box::new(parts.following(*link, &new, &old))),
                    Change::Target | Change::New => Some(Box::new(parts.link(*link, &new))),
                    Change::Gone => None,
                },
                takes_over: *change == Change::Work,
                target: self.target,
            });
            let (samples, ring) = RingBuffer::new(self.ring_slots);
            let adoption = Box::new(Adoption::new(id, &old, &new, links.collect(), samples));
            executors.push(ForExecutor { executor: id, adoption, ring, commands });
        }
        self.waiting = executors.len() + sources.len();
        if self.waiting == 0 {
            self.pause(now);
        } else {
            self.next = u64::MAX;
        }
        Ok(Some(Reload { config, plan: new, changes, target: self.target, executors, sources }))
    }

    fn command(&self, link: LinkId, change: Change, new: &Plan) -> Option<Command> {
        match change {
            Change::New => Command::add(new, link, self.target),
            Change::Target => {
                let target = Target::of(&*new.links[link].protocol, self.target)?;
                Some(Command::Retarget { link, target })
            }
            Change::Gone => Some(Command::Remove { link }),
            Change::Work if plan::is_slow(&self.plan, link) => Some(Command::Hurry { link }),
            Change::Work => None,
        }
    }

    /// What stays keeps its id, and no id means two things within a short time.
    fn check_ids(&self, new: &Plan, recent: &[Arc<Plan>]) -> Result<(), String> {
        let old = &self.plan;
        for (id, tag) in new.tags.iter() {
            let same = |plan: &Plan| {
                plan.tags.get(id).is_none_or(|was| {
                    (&was.name, was.link, was.ty, &was.unit) == (&tag.name, tag.link, tag.ty, &tag.unit)
                })
            };
            if !same(old) || !recent.iter().all(|plan| same(plan)) {
                return Err(format!("tag \"{}\" gets the id {} too soon after another", tag.name, id.0));
            }
        }
        for (id, link) in new.links.iter() {
            let same = |plan: &Plan| plan.links.get(id).is_none_or(|was| was.name == link.name);
            if !same(old) || !recent.iter().all(|plan| same(plan)) {
                return Err(format!("link \"{}\" gets the id {} too soon after another", link.name, id.0));
            }
            let moved = old.links.iter().any(|(was, o)| o.name == link.name && (was != id || o.lane != link.lane));
            if moved {
                return Err(format!("link \"{}\" stays and gets another id or executor", link.name));
            }
        }
        for (id, tag) in old.tags.iter() {
            let again = new.tags.iter().find(|(_, n)| n.name == tag.name);
            let stays = again.filter(|(_, n)| (n.link, n.ty, &n.unit) == (tag.link, tag.ty, &tag.unit));
            if stays.is_some_and(|(now, _)| now != id) {
                return Err(format!("tag \"{}\" stays and gets another id", tag.name));
            }
        }
        for (id, scan) in new.scans.iter() {
            let same =
                |plan: &Plan| plan.scans.get(id).is_none_or(|was| (was.group, was.link) == (scan.group, scan.link));
            if !same(old) || !recent.iter().all(|plan| same(plan)) {
                return Err(format!("scan {} means another group or link too soon", id.0));
            }
        }
        Ok(())
    }
}

/// As the gateway does it for a source.
fn for_source(lane: LaneId, old: &Plan, new: &Arc<Plan>, ring_slots: usize) -> ForSource {
    let (samples, ring) = RingBuffer::new(ring_slots);
    let long_bytes_max = new.tags.values().map(|tag| tag.ty.long_bytes_max()).max().unwrap_or(0);
    let new = NewPlan {
        plan: new.clone(),
        ring: samples,
        scratch: SampleWriter::scratch(long_bytes_max),
        filter: ReportFilter::following(lane, Suppress::Ring, old, new),
        rates: EventRates::new(lane, new),
    };
    ForSource { lane, new, ring }
}
