//! One executor with its machine, its field and its connector, step by step.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rtrb::{Consumer, Producer, RingBuffer};

use super::beat::Beat;
use super::broken::{Broken, Kind, OfKind};
use super::connector::SimConnector;
use super::field::Field;
use super::invariants::Books;
use super::log::Log;
use super::parts::Parts;
use super::scenario::Scenario;
use super::script::{Series, Storm};
use super::views::Views;
use super::world::SimWorld;
use super::writes::Writes;
use crate::config::Guard;
use crate::lane::{Counters, SampleWriter};
use crate::limits::{ADOPTION_PATIENCE, EXECUTOR_SLEEP_MAX};
use crate::plan::{Change, Plan};
use crate::rt::{Adoption, Clock, Executor, Report, Wiring};
use crate::tag::{LaneId, LinkId, Nanos};

const MS: u64 = 1_000_000;
/// Room in the rings to and from a connector: more than links ever are.
const CONNECTIONS: usize = 64;
/// The beat's first instant.
const START: Nanos = Nanos::from_millis(20);
/// What an executor's own work may add to the time that a plan waits to be taken up.
const ADOPTION_SLACK_NS: u64 = EXECUTOR_SLEEP_MAX.0 + 10 * MS;

pub type Message<P> = Box<Adoption<<P as Parts>::Link>>;

/// A plan on its way to an executor.
pub struct Pending {
    pub old: Arc<Plan>,
    pub new: Arc<Plan>,
    pub changes: Vec<(LinkId, Change)>,
    /// When it was handed over, and how long the CPU had stalled before.
    pub since: u64,
    pub stalled: u64,
}

pub struct Cell<P: Parts> {
    pub id: LaneId,
    pub adoptions: Producer<Message<P>>,
    pub adopted: Consumer<Message<P>>,
    pub plan: Arc<Plan>,
    pub pending: Option<Pending>,
    pub executor: Executor<P::World, P::Link>,
    pub field: Rc<RefCell<Field>>,
    pub reports: Consumer<Report>,
    pub connector: SimConnector,
    pub beat: Beat,
    pub stop: Arc<AtomicBool>,
    storms: Series<Storm>,
    pub writes: Writes,
}

/// The changes that concern an executor.
pub fn of_executor(changes: &[(LinkId, Change)], id: LaneId, old: &Plan, new: &Plan) -> Vec<(LinkId, Change)> {
    let concerns =
        |link: LinkId| new.links.get(link).or_else(|| old.links.get(link)).is_some_and(|link| link.lane == id);
    changes.iter().filter(|(link, _)| concerns(*link)).copied().collect()
}

/// An executor with its machine, its field and its connector.
pub fn cell<P: Parts>(
    id: LaneId,
    plan: &Arc<Plan>,
    (scenario, parts): (&Scenario, &P),
    sink: SampleWriter,
    counters: Arc<Counters>,
    log: Rc<RefCell<Log>>,
) -> Cell<P> {
    let links = &plan.lanes[id.index()].links;
    let (hosts, ends) = (scenario.hosts.clone(), scenario.ends());
    let rng = |part: &str| scenario.rng(part, id.0);
    let mut field =
        Field::new((hosts.clone(), scenario.exact), ends.trouble, Views::new(plan, id), log.clone(), rng("field"));
    field.fast = scenario.fast;
    field.stalls = scenario.script.stalls(scenario.seed, id.0, ends);
    let field = Rc::new(RefCell::new(field));
    let (reports_in, reports) = RingBuffer::new(1 << 12);
    let (connected_in, connected) = RingBuffer::new(CONNECTIONS);
    let (closed, closed_out) = RingBuffer::new(CONNECTIONS);
    let (adoptions, to_executor) = RingBuffer::new(1);
    let (from_executor, adopted) = RingBuffer::new(1);
    // What is promised is so with writes, too.
    let (eager, spare_steady) = (scenario.promised, scenario.calm && !scenario.promised);
    let script = scenario.script.writes(scenario.seed, id.0, eager, ends);
    let (writes, orders, answers_in) =
        Writes::new(script, plan.clone(), hosts, spare_steady, parts.outcome(), log.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let wiring = Wiring {
        sink,
        reports: reports_in,
        connected,
        closed,
        adoptions: to_executor,
        adopted: from_executor,
        orders,
        answers: answers_in,
        counters,
        stop: stop.clone(),
    };
    let parts_of_links = links.iter().map(|link| parts.link(*link, plan)).collect();
    let world = parts.world(SimWorld(field.clone()));
    let mut executor = Executor::new(id, plan, parts_of_links, world, wiring);
    let any_guard = Nanos::from_micros(rng("guard").u64(..60));
    let guard = match scenario.config.realtime.guard {
        Guard::Auto => any_guard,
        Guard::Fixed(guard) => guard,
    };
    executor.start_at(Clock { start: START, guard });
    let connector = SimConnector::new((plan, links), connected_in, closed_out, field.clone(), rng("connector"));
    let storms = scenario.script.storms(scenario.seed, id.0, ends);
    let beat = Beat::new(plan, id, START);
    let (plan, pending) = (plan.clone(), None);
    Cell { id, adoptions, adopted, plan, pending, executor, field, reports, connector, beat, stop, storms, writes }
}

/// One turn of one executor, and what its connector does beside it. True: it took up a new plan.
pub fn step<P: Parts>(cell: &mut Cell<P>, books: &mut Books<'_>, counters: &Counters) -> Result<bool, Broken> {
    let now = cell.field.borrow().now;
    if cell.storms.due(now).is_some() {
        cell.field.borrow_mut().storm();
    }
    cell.connector.step();
    let stalled = cell.field.borrow().stalled;
    cell.writes.step(now, stalled, &cell.plan, &cell.plan.lanes[cell.id.index()].links);
    cell.field.borrow_mut().first_look = None;
    cell.executor.turn();
    let adopted = change_over(cell, books, counters)?;
    settle(cell, now, books, false)?;
    Ok(adopted)
}

/// What came with a new plan, if the executor has taken one up in its last turn.
pub fn change_over<P: Parts>(cell: &mut Cell<P>, books: &mut Books<'_>, counters: &Counters) -> Result<bool, Broken> {
    let Some(pending) = &cell.pending else { return Ok(false) };
    let mut field = cell.field.borrow_mut();
    let Ok(back) = cell.adopted.pop() else {
        let waited = field.now.saturating_sub(pending.since);
        let stalled = field.stalled - pending.stalled;
        if waited > ADOPTION_PATIENCE.0 + ADOPTION_SLACK_NS + stalled {
            let id = cell.id.0;
            let what = format!("executor {id}: a new plan waits for {waited} ns, {stalled} of them stalled");
            return Err(Kind::Reload.says(what));
        }
        return Ok(false);
    };
    drop(back);
    let at = field.first_look.unwrap_or(field.now);
    field.views.adopt(at);
    field.log.borrow_mut().add(at, "adopted: executor {}", [u64::from(cell.id.0), 0, 0, 0]);
    drop(field);
    cell.beat.change(&pending.old, &pending.new, at, counters).of(Kind::Beat)?;
    books.adopted(cell.id, &pending.changes, at, counters).of(Kind::SteadyLinkMissed)?;
    if let Some(pending) = cell.pending.take() {
        cell.writes.adopted(pending.new.clone());
        cell.plan = pending.new;
    }
    Ok(true)
}

/// Looks at what a step left behind.
pub fn settle<P: Parts>(cell: &mut Cell<P>, step: u64, books: &mut Books<'_>, ended: bool) -> Result<(), Broken> {
    let field = &mut *cell.field.borrow_mut();
    if let Some(fault) = field.faults.pop() {
        return Err(Kind::Misuse.says(fault));
    }
    for seen in field.written.drain(..) {
        cell.writes.seen(&seen)?;
    }
    cell.writes.settle(field.now, field.stalled, ended)?;
    for exchange in field.exchanges.drain(..) {
        books.exchange(cell.id, exchange);
    }
    for given in field.given.drain(..) {
        books.given(cell.id, given);
    }
    while let Ok(report) = cell.reports.pop() {
        if let Report::Released { group, nominal, .. } = report {
            let numbers = [u64::from(group.0), nominal.0, 0, 0];
            field.log.borrow_mut().add(field.now, "released: group {} nominal {}", numbers);
        }
        if let Report::Finished { link, sent, result, .. } = report {
            let result = match result {
                crate::rt::RequestResult::Good => 0,
                crate::rt::RequestResult::Exception(code) => u64::from(code),
                crate::rt::RequestResult::Timeout => 1001,
                crate::rt::RequestResult::Aborted => 1002,
                crate::rt::RequestResult::Broken => 1003,
            };
            let numbers = [u64::from(link.0), sent.0, result, 0];
            field.log.borrow_mut().add(field.now, "finished: link {} sent {} result {}", numbers);
        }
        cell.beat.check(&report, step).of(Kind::Beat)?;
    }
    Ok(())
}
