//! One node of the network, as its master knows it: where it stands, how it is set up, what it is asked.

use super::emcy::Emergency;
use super::nmt::{Command, NodeState, Watch, Watching};
use super::pdo::Mapping;
use super::rpdo::{Rpdo, Spot};
use super::sdo::Client;
use crate::lane::region_of;
use crate::limits::{CANOPEN_NODE_WRITES_MAX, PROBE_PAUSE_MAX, PROBE_PAUSE_MIN};
use crate::protocol::canopen::model::NodeWatching;
use crate::protocol::canopen::plan::{BootStep, CanOpenNodePlan};
use crate::protocol::queue::Queue;
use crate::rt::WriteOrder;
use crate::tag::{Nanos, NodeFault, Object, ObjectAt, Status};

/// No item: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// Where a node stands on its way from nothing to values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is heard of it: it is asked who it is at `probe_at`.
    Away {
        probe_at: Nanos,
    },
    /// It is being set up: `part` of step `step`, after so many timeouts.
    Boot {
        step: u16,
        part: u8,
        timeouts: u32,
    },
    /// Its items are being tied to its PDOs, `next` of its list.
    Binding {
        next: u32,
    },
    Running,
    /// It would not be set up; tried again at `retry_at`.
    Refused {
        retry_at: Nanos,
    },
}

/// What its SDO server is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    None,
    Probe,
    Boot,
    Item(u32),
    Write,
    ReadBack,
}

/// A PDO that it sends.
pub(super) struct Tpdo {
    pub number: u16,
    pub map: Mapping,
    /// The first of the items that it carries.
    pub head: u32,
    /// Between two of its frames; zero: by event.
    pub period: Nanos,
    /// When the next silence is to be told; never: none is.
    pub due: Nanos,
    pub late: bool,
}

/// Statuses still to be given to its items, some a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    pub status: Status,
    /// `None`: the link has no connection.
    pub fault: Option<NodeFault>,
    pub next: usize,
    /// Only what comes by PDO.
    pub bound_only: bool,
}

impl Sweep {
    /// All of its items are bad.
    pub fn bad(status: Status, fault: NodeFault) -> Sweep {
        Sweep { status, fault: Some(fault), next: 0, bound_only: false }
    }

    /// What was last heard of them may still be usable.
    pub fn doubt(fault: NodeFault, bound_only: bool) -> Sweep {
        Sweep { status: Status::UNCERTAIN_LAST_USABLE, fault: Some(fault), next: 0, bound_only }
    }
}

/// A write that waits for its turn or its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub order: WriteOrder,
    pub by: By,
    pub stage: Stage,
    /// Of the node's RPDOs, the one that carries its object as well.
    pub beside: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Sdo,
    Pdo(Spot),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing of it is sent.
    Waiting,
    /// Sent by PDO: what the node holds is read, not before `read_at`, after so many reads that said otherwise.
    Sent { read_at: Nanos, reads: u8 },
}

pub(super) struct Node {
    pub id: u8,
    pub phase: Phase,
    /// Before it is tried again: grows as long as it is not running.
    pub pause: Nanos,
    /// It was lost while it was being set up: it speaks, and answers no SDO.
    pub failed_boot: bool,
    /// Neither set up yet nor lost or refused since the start: what is not asked of it meanwhile is not missed.
    pub starting: bool,
    pub client: Client,
    pub job: Job,
    pub job_sent: Nanos,
    pub watch: Watch,
    /// Its heartbeat is overdue: what it said is in doubt.
    pub late: bool,
    pub state: Option<NodeState>,
    /// The next command, and when a node that left the operational state is started again.
    pub command: Option<Command>,
    pub restart_at: Nanos,
    pub tpdos: Box<[Tpdo]>,
    /// Items that wait for its server.
    pub queue: Queue,
    /// SDO timeouts in a row.
    pub timeouts: u32,
    /// It refused to transfer in blocks.
    pub no_blocks: bool,
    pub ready_at: Nanos,
    pub emergency: Emergency,
    pub emergencies: u32,
    pub sweep: Option<Sweep>,
    /// Why it would not be set up the last time, and at which object.
    pub refusal: Option<(NodeFault, ObjectAt)>,
    pub rpdos: Box<[Rpdo]>,
    /// By the plan's writes by PDO.
    pub spots: Box<[Option<Spot>]>,
    pub orders: [Option<Order>; CANOPEN_NODE_WRITES_MAX],
    /// The order whose transfer its server is busy with.
    pub under_way: Option<usize>,
    /// Something was heard of it since the link came up.
    pub heard: bool,
}

impl Node {
    /// `capacities`: its items in each of the link's scans, the fastest first.
    pub fn new(plan: &CanOpenNodePlan, capacities: impl Iterator<Item = usize>) -> Node {
        let how = match plan.watching {
            NodeWatching::Nothing => Watching::Nothing,
            NodeWatching::Heartbeat(period) => Watching::Heartbeat { period },
            NodeWatching::Guarding { period, life } => Watching::Guarding { period, life },
        };
        let tpdo = |number| Tpdo {
            number,
            map: Mapping::default(),
            head: NONE,
            period: Nanos::ZERO,
            due: Nanos::NEVER,
            late: false,
        };
        Node {
            id: plan.id,
            phase: Phase::Away { probe_at: Nanos::NEVER },
            pause: PROBE_PAUSE_MIN,
            failed_boot: false,
            starting: true,
            client: Client::new(plan.value_bytes_max),
            job: Job::None,
            job_sent: Nanos::ZERO,
            watch: Watch::new(how),
            late: false,
            state: None,
            command: None,
            restart_at: Nanos::NEVER,
            tpdos: plan.tpdos.iter().map(|pdo| tpdo(pdo.number)).collect(),
            queue: Queue::new(capacities),
            timeouts: 0,
            no_blocks: false,
            ready_at: Nanos::ZERO,
            emergency: Emergency::default(),
            emergencies: 0,
            sweep: None,
            refusal: None,
            rpdos: plan.rpdos.iter().map(Rpdo::new).collect(),
            spots: vec![None; plan.pdo_writes.len()].into_boxed_slice(),
            orders: [None; CANOPEN_NODE_WRITES_MAX],
            under_way: None,
            heard: false,
        }
    }

    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        [region_of(&self.tpdos), region_of(self.client.buffer()), region_of(&self.rpdos), region_of(&self.spots)]
            .into_iter()
            .chain(self.queue.regions())
    }

    /// The bus is there: it is asked who it is at once.
    pub fn connected(&mut self, plan: &CanOpenNodePlan, now: Nanos) {
        self.forget();
        self.heard = false;
        self.command = plan.reset.then_some(Command::ResetCommunication);
        // After a reset it says itself when it is there; the question is for the one that does not.
        let wait = if plan.reset { PROBE_PAUSE_MIN } else { Nanos::ZERO };
        self.phase = Phase::Away { probe_at: now + wait };
        (self.pause, self.failed_boot) = (PROBE_PAUSE_MIN, false);
    }

    /// Nothing that was under way counts any more.
    pub fn forget(&mut self) {
        self.client.reset();
        self.stop_watching();
    }

    fn stop_watching(&mut self) {
        self.job = Job::None;
        self.watch.stop();
        self.late = false;
        self.timeouts = 0;
        self.restart_at = Nanos::NEVER;
        self.state = None;
        for tpdo in &mut self.tpdos {
            (tpdo.due, tpdo.late) = (Nanos::NEVER, false);
        }
        self.rpdos.iter_mut().for_each(Rpdo::stop);
    }

    pub fn is_away(&self) -> bool {
        matches!(self.phase, Phase::Away { .. })
    }

    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// It is gone. The next question comes after a pause that grows as long as it does not run.
    pub fn lose(&mut self, now: Nanos) {
        self.failed_boot = matches!(self.phase, Phase::Boot { .. });
        self.starting = false;
        self.client.cancel();
        self.stop_watching();
        self.phase = Phase::Away { probe_at: now + self.grown_pause() };
    }

    fn grown_pause(&mut self) -> Nanos {
        let pause = self.pause;
        self.pause = Nanos(pause.0 * 2).min(PROBE_PAUSE_MAX);
        pause
    }

    /// It was heard of while it was away. Whether it is set up now: one that has just failed at that waits for its turn.
    pub fn may_boot(&self) -> bool {
        self.is_away() && !self.failed_boot && matches!(self.job, Job::None | Job::Probe)
    }

    /// It is there: it is set up from the first step on.
    pub fn begin_boot(&mut self) {
        self.phase = Phase::Boot { step: 0, part: 0, timeouts: 0 };
        self.rpdos.iter_mut().for_each(Rpdo::forget);
    }

    /// It would not be set up.
    pub fn refuse(&mut self, now: Nanos) {
        self.starting = false;
        self.phase = Phase::Refused { retry_at: now + self.grown_pause() };
    }

    /// When its phase has something to do by itself; a write may begin at `write_at`.
    pub fn phase_deadline(&self, write_at: Nanos) -> Nanos {
        match self.phase {
            Phase::Away { probe_at } if self.job == Job::None => probe_at.max(self.client.resting_until()),
            Phase::Refused { retry_at } => retry_at,
            Phase::Binding { .. } => Nanos::ZERO,
            Phase::Boot { .. } if self.job == Job::None => self.client.resting_until(),
            Phase::Running if self.job == Job::None => self.work_at(write_at).max(self.client.resting_until()),
            _ => Nanos::NEVER,
        }
    }

    /// From when on its server can be asked for an order. SYNC goes out before what may go at the same time.
    fn sdo_at(&self, order: &Order) -> Nanos {
        match (order.by, order.stage) {
            (By::Sdo, _) => {
                let rpdo = order.beside.and_then(|at| self.rpdos.get(usize::from(at)));
                rpdo.map_or(Nanos::ZERO, Rpdo::taken_at)
            }
            (By::Pdo(_), Stage::Sent { read_at, .. }) => read_at,
            (By::Pdo(_), Stage::Waiting) => Nanos::NEVER,
        }
    }

    /// When its server has something to do; orders wait until `write_at`.
    fn work_at(&self, write_at: Nanos) -> Nanos {
        if !self.queue.is_empty() {
            return Nanos::ZERO;
        }
        self.orders.iter().flatten().map(|order| self.sdo_at(order)).min().unwrap_or(Nanos::NEVER).max(write_at)
    }

    /// The order that came first of those that its server can be asked for now.
    pub fn first_order(&self, now: Nanos) -> Option<usize> {
        self.in_order().find(|at| self.orders[*at].as_ref().is_some_and(|order| now >= self.sdo_at(order)))
    }

    /// The places of its orders, the first one first.
    pub fn in_order(&self) -> impl Iterator<Item = usize> + use<> {
        let mut places: [usize; CANOPEN_NODE_WRITES_MAX] = std::array::from_fn(|at| at);
        places.sort_unstable_by_key(|at| self.orders[*at].as_ref().map_or(u64::MAX, |order| order.order.id));
        places.into_iter()
    }

    /// The object of a part of a step; `None`: the step has no such part. With it what is written, if it is not read.
    pub fn boot_object<'p>(
        &self,
        plan: &'p CanOpenNodePlan,
        step: u16,
        part: u8,
    ) -> Option<(Object, Option<&'p [u8]>)> {
        match plan.steps.get(usize::from(step))? {
            BootStep::Check { object, .. } => (part == 0).then_some((*object, None)),
            BootStep::Write { object, value } => (part == 0).then_some((*object, Some(value.as_slice()))),
            BootStep::ReadRpdo(at) => Some((self.rpdos.get(usize::from(*at))?.parameter(part)?, None)),
            BootStep::ReadImage(at) => Some((self.rpdos.get(usize::from(*at))?.object(part)?.0, None)),
            BootStep::ReadTpdo(at) => {
                let tpdo = self.tpdos.get(usize::from(*at))?;
                if part > 0 && !tpdo.map.valid {
                    return None;
                }
                let communication = 0x1800 + (tpdo.number - 1);
                let (index, sub) = match part {
                    0 => (communication, 1),
                    1 => (communication, 2),
                    2 => (communication, 5),
                    _ if part - 3 > tpdo.map.count => return None,
                    _ => (communication + 0x200, part - 3),
                };
                Some((Object { index, sub }, None))
            }
        }
    }

    /// What it has of the parameters of one of its PDOs. `value`: `None`, it has no such object.
    pub fn learn(&mut self, at: u16, part: u8, value: Option<u64>) {
        let Some(tpdo) = self.tpdos.get_mut(usize::from(at)) else { return };
        let map = &mut tpdo.map;
        match (part, value) {
            (0, Some(cob_id)) => map.set_cob_id(cob_id),
            (0, None) => map.valid = false,
            (1, kind) => map.kind = kind.map_or(255, |kind| kind.min(255) as u8),
            (2, timer) => map.event_timer_ms = timer.map_or(0, |timer| timer.min(u64::from(u16::MAX)) as u16),
            (3, count) => map.begin(count.unwrap_or(0)),
            (_, Some(entry)) => map.add(entry),
            (_, None) => map.valid = false,
        }
    }
}
