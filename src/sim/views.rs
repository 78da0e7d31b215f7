//! What each link may ask, of whom, and how often at once: by the plan that its executor has.

use super::line::LineView;
use super::memory::Area;
use super::model::host_of_link;
use crate::plan::{Change, Plan};
use crate::protocol::canopen::plan::CanOpenPlan;
use crate::protocol::modbus::plan::ModbusPlan;
use crate::tag::{ById, LaneId, LinkId};

/// A connection that takes no bytes is given up within this.
const REST_NS: u64 = 60_000_000_000;
/// A CAN frame of eight bytes and 11 bits of identifier with the most stuff bits, and the pause behind it (ISO 11898-1).
const FRAME_BITS: u64 = 135;

/// One link under one plan.
#[derive(Debug, Clone)]
pub struct View {
    pub host: u32,
    /// See [`crate::rt::LinkChange::target`].
    pub target: u32,
    pub pipeline: usize,
    pub timeout: u64,
    pub expected: u64,
    /// Where frames carry no transaction id.
    pub line: Option<LineView>,
    /// Of a CANopen network: what a frame takes on the bus.
    pub frame_ns: u64,
    areas: Vec<Area>,
    /// What may be written, and read around that.
    writes: Vec<Area>,
}

/// Of one executor's links.
#[derive(Debug, Clone, Default)]
pub struct Views {
    now: ById<LinkId, View>,
    /// Under a plan that is on its way.
    coming: Option<ById<LinkId, View>>,
    /// Under earlier plans, and when they ended: the rest of a request that was begun may follow.
    before: Vec<(u64, ById<LinkId, View>)>,
}

impl View {
    fn of(plan: &Plan, link: LinkId, target: u32) -> View {
        let host = host_of_link(plan, link);
        let Some(modbus) = plan.links[link].protocol.get::<ModbusPlan>() else {
            // What such a link may ask, its device's own thread knows; of a CANopen node, how fast it answers.
            let (expected, frame_ns) = match plan.links[link].protocol.get::<CanOpenPlan>() {
                Some(canopen) => {
                    let config = &canopen.config;
                    (config.reply_expected.0, FRAME_BITS * 1_000_000_000 / u64::from(config.bit_rate))
                }
                _ => (0, 0),
            };
            return View {
                host,
                target,
                pipeline: 1,
                timeout: 0,
                expected,
                line: None,
                frame_ns,
                areas: Vec::new(),
                writes: Vec::new(),
            };
        };
        let area = |r: &crate::protocol::modbus::plan::ModbusRequest| Area {
            unit: modbus.units[usize::from(r.unit)].0,
            table: r.table,
            first: r.first,
            count: r.count,
        };
        let written = |w: &crate::protocol::modbus::plan::ModbusWrite| Area {
            unit: modbus.units[usize::from(w.unit)].0,
            table: w.table,
            first: w.place.first,
            count: w.count,
        };
        View {
            host,
            target,
            pipeline: usize::from(modbus.config.pipeline),
            timeout: modbus.config.timeout.0,
            expected: modbus.config.reply_expected.0,
            line: LineView::of(&modbus.config),
            frame_ns: 0,
            areas: modbus.requests.iter().map(area).collect(),
            writes: modbus.writes.iter().map(written).collect(),
        }
    }
}

impl Views {
    pub fn new(plan: &Plan, executor: LaneId) -> Views {
        let own = plan.lanes[executor.index()].links.iter();
        Views { now: own.map(|link| (*link, View::of(plan, *link, 0))).collect(), ..Views::default() }
    }

    /// A plan is on its way to the executor.
    pub fn announce(&mut self, plan: &Plan, executor: LaneId, changes: &[(LinkId, Change)], target: u32) {
        let own = plan.lanes[executor.index()].links.iter();
        let view = |link: &LinkId| {
            let change = changes.iter().find(|(id, _)| id == link).map(|(_, change)| *change);
            let stays = self.now.get(*link).filter(|_| !matches!(change, Some(Change::New | Change::Target)));
            (*link, View::of(plan, *link, stays.map_or(target, |view| view.target)))
        };
        self.coming = Some(own.map(view).collect());
    }

    /// The executor has it.
    pub fn adopt(&mut self, at: u64) {
        if let Some(coming) = self.coming.take() {
            self.before.retain(|(end, _)| end + REST_NS > at);
            self.before.push((at, std::mem::replace(&mut self.now, coming)));
        }
    }

    fn both(&self, link: LinkId) -> impl Iterator<Item = &View> {
        let coming = self.coming.as_ref().and_then(|coming| coming.get(link));
        self.now.get(link).into_iter().chain(coming)
    }

    /// How the line is set up to which this place of the link is connected.
    pub fn line(&self, link: LinkId, target: u32) -> Option<LineView> {
        self.both(link).find(|view| view.target == target)?.line
    }

    /// What is declared of the CANopen nodes there: the time until they answer, and that of a frame.
    pub fn pace(&self, link: LinkId, target: u32) -> (u64, u64) {
        let found = self.both(link).find(|view| view.target == target);
        found.map_or((0, 0), |view| (view.expected, view.frame_ns))
    }

    /// Whether a connection to this place of the link is one that it uses, now or soon.
    pub fn wants(&self, link: LinkId, target: u32) -> bool {
        self.both(link).any(|view| view.target == target)
    }

    /// The link uses a connection to this place, and a plan that is on its way does not change that.
    pub fn keeps(&self, link: LinkId, target: u32) -> bool {
        let kept = |views: &ById<LinkId, View>| views.get(link).is_some_and(|view| view.target == target);
        kept(&self.now) && self.coming.as_ref().is_none_or(kept)
    }

    /// The view by which a request is right that was begun at `begun` on a connection to `target`.
    pub fn allows(&self, link: LinkId, target: u32, area: Area, begun: u64, is_write: bool) -> Option<View> {
        let late = || self.before.iter().filter(|(end, _)| begun <= *end).filter_map(|(_, views)| views.get(link));
        let mut fitting = self.both(link).chain(late()).filter(|view| {
            let known = view.writes.contains(&area) || !is_write && view.areas.contains(&area);
            view.target == target && known
        });
        let mut found = fitting.next()?.clone();
        // On the way from one plan to another either may hold already; and a request that was begun under an earlier
        // one was given up by its timeout.
        for other in self.both(link).chain(late()) {
            found.pipeline = found.pipeline.max(other.pipeline);
            found.timeout = found.timeout.min(other.timeout);
        }
        Some(found)
    }
}
