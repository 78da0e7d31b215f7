//! What goes over the socket: frames to whom they belong, and whose turn it is to send.

use super::emcy::Emergency;
use super::message::{ERROR_CONTROL, Message, Received, SDO_REQUEST, SYNC};
use super::nmt::{self, Heard, NodeState, Silence};
use super::node::{Job, NONE, Node, Phase, Sweep};
use super::rpdo::Spot;
use super::sdo::Taken;
use super::{CanOpenLink, Owner, values};
use crate::lane::{CanCounters, Frame};
use crate::limits::{
    CAN_SEND_PAUSE, CANOPEN_FRAMES_PER_STEP, PDO_LATE_PERIODS, PDO_LOST_PERIODS, PROBE_PAUSE_MIN, WRITE_HAND_OVER,
};
use crate::protocol::can::link::frame::Trouble;
use crate::protocol::can::plan::bits::CAN_DATA_ROOM;
use crate::rt::{CloseReason, Io, NodeEvent, StepContext, World};
use crate::tag::{Nanos, NodeFault, Object, Status};

/// What every node has (CiA 301, 7.5.2.1): asked to see whether it is there.
const DEVICE_TYPE: Object = Object { index: 0x1000, sub: 0 };

impl CanOpenLink {
    pub(super) fn start_clocks(&mut self, now: Nanos) {
        self.sync_at = self.plan.config.sync.map_or(Nanos::NEVER, |_| now);
        self.heartbeat_at = self.plan.config.heartbeat.map_or(Nanos::NEVER, |_| now);
    }

    pub(super) fn take_frame<W: World>(&mut self, bytes: &[u8], now: Nanos, floor: &mut StepContext<W>) {
        let counters = &floor.counters.links[self.id.index()];
        let message = match Message::from_can_frame(bytes) {
            Received::Message(message) if !message.remote => message,
            Received::Message(_) => {
                counters.can.remote.add(1);
                return;
            }
            Received::Error { classes, about } => {
                count_trouble(&counters.can, classes, about);
                return;
            }
            Received::Other => {
                counters.garbage.add(1);
                return;
            }
        };
        counters.can.received.add(1);
        match self.owners.get(usize::from(message.cob_id)).copied().unwrap_or(Owner::Nobody) {
            Owner::Nobody => counters.foreign.add(1),
            Owner::Sdo(at) => self.take_sdo(usize::from(at), &message, now, floor),
            Owner::ErrorControl(at) => self.take_error_control(usize::from(at), &message, now, floor),
            Owner::Emergency(at) => self.take_emergency(usize::from(at), &message, floor),
            Owner::Tpdo(at, tpdo) => self.take_pdo(usize::from(at), usize::from(tpdo), &message, now, floor),
        }
    }

    fn take_sdo<W: World>(&mut self, at: usize, message: &Message, now: Nanos, floor: &mut StepContext<W>) {
        let counters = &floor.counters.links[self.id.index()];
        if message.len != 8 {
            counters.garbage.add(1);
            return;
        }
        let node = &mut self.nodes[at];
        // What came before the request was begun, and is taken only now, answers an earlier one of the same object.
        if node.job != Job::None && now < node.job_sent {
            counters.late.add(1);
            return;
        }
        match node.client.take(&message.data, now) {
            Taken::Progress => {}
            Taken::Foreign => counters.late.add(1),
            Taken::Ended(outcome) => self.job_ended(at, outcome, now, floor),
        }
    }

    fn take_error_control<W: World>(&mut self, at: usize, message: &Message, now: Nanos, floor: &mut StepContext<W>) {
        let starts = self.plan.nodes[at].start;
        let node = &mut self.nodes[at];
        let Heard::State(state) = node.watch.take(message, now) else {
            floor.counters.links[self.id.index()].garbage.add(1);
            return;
        };
        node.state = Some(state);
        self.refuse_pdos(at, now, floor);
        let node = &mut self.nodes[at];
        match (state, node.phase) {
            (NodeState::BootUp, Phase::Away { .. }) => {
                self.end_job(at, now, crate::rt::RequestResult::Aborted, floor);
                self.boot(at, floor);
            }
            (NodeState::BootUp, _) => self.rebooted(at, now, floor),
            (_, Phase::Away { .. }) if node.may_boot() => self.boot(at, floor),
            (_, Phase::Running) => {
                if std::mem::take(&mut node.late) {
                    self.doubt_ended(at, now);
                }
                let node = &mut self.nodes[at];
                if state == NodeState::Operational || !starts {
                    node.restart_at = Nanos::NEVER;
                } else if node.restart_at == Nanos::NEVER {
                    node.restart_at = now + PROBE_PAUSE_MIN;
                }
            }
            _ => {}
        }
    }

    /// It was late, and is heard of again: what comes by PDO is read once, since it may not be sent for long.
    fn doubt_ended(&mut self, at: usize, now: Nanos) {
        self.nodes[at].ready_at = now;
        for item in &self.plan.nodes[at].items {
            let item = &mut self.items[*item as usize];
            item.wanted |= item.bound.is_some();
        }
    }

    fn take_emergency<W: World>(&mut self, at: usize, message: &Message, floor: &mut StepContext<W>) {
        let Some(emergency) = Emergency::read(message) else {
            floor.counters.links[self.id.index()].garbage.add(1);
            return;
        };
        let node = &mut self.nodes[at];
        node.emergency = emergency;
        node.emergencies = node.emergencies.wrapping_add(1);
        let Emergency { code, register, manufacturer } = emergency;
        self.tell(at, NodeEvent::Emergency { code, register, manufacturer }, floor);
    }

    /// The image has it at once; its samples follow with the next release.
    fn take_pdo<W: World>(
        &mut self,
        at: usize,
        number: usize,
        message: &Message,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let Some(tpdo) = self.nodes[at].tpdos.get_mut(number) else { return };
        if self.nodes[at].phase != Phase::Running {
            return;
        }
        if tpdo.period > Nanos::ZERO {
            tpdo.due = now + Nanos(tpdo.period.0 * PDO_LATE_PERIODS);
            tpdo.late = false;
        }
        let node = at;
        let mut next = tpdo.head;
        while let Some(item) = self.items.get_mut(next as usize) {
            let at = next;
            next = item.next;
            let Some((_, place)) = item.bound else { continue };
            if place.bytes() > message.len {
                self.hold(at, Status::BAD_DECODING_ERROR, Some(NodeFault::PdoShort), now, floor);
                continue;
            }
            let raw = place.read(&message.data);
            (item.raw, item.at, item.fresh, item.wanted) = (raw, now, true, false);
            if let Some(Spot { rpdo, place: there }) = item.follower
                && let Some(rpdo) = self.nodes[node].rpdos.get_mut(usize::from(rpdo))
                && there.bits == place.bits
            {
                rpdo.follow(there, raw);
            }
            let planned = &self.plan.items[at as usize];
            let cycle = self.scans[usize::from(item.rank)].cycle;
            let frame = Frame { group: planned.group, cycle, t: now.into() };
            for decode in self.plan.decodes_of(planned) {
                let (bits, status) = values::judged(&self.plan.checks, decode, raw);
                if status.is_bad() {
                    floor.sink.hold(frame, decode.tag, decode.ty.code(), false, status);
                } else {
                    floor.sink.show(frame, decode.tag, bits, status);
                }
            }
        }
    }

    /// Sends what is due, up to the bound of a step.
    pub(super) fn pump<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        for _ in 0..CANOPEN_FRAMES_PER_STEP {
            // What the step has done so far took its time.
            let now = floor.world.now().max(now);
            let Some(conn) = self.connection.filter(|_| now >= self.send_again_at) else { return };
            let pdo = if self.unsent.is_none() { self.next_pdo(now) } else { None };
            let pending = self.unsent.take().or(pdo.map(|pdo| pdo.message));
            let Some(message) = pending.or_else(|| self.next_message(now, floor)) else { return };
            if let Some(at) = self.overdue_write(&message, now) {
                self.expire_orders(at, now + WRITE_HAND_OVER, floor);
                continue;
            }
            match floor.world.send(conn, &message.to_can_frame()) {
                Io::Done(_) => {
                    floor.counters.links[self.id.index()].can.sent.add(1);
                    if let Some(pdo) = &pdo {
                        self.pdo_sent(pdo, now, floor);
                    }
                }
                Io::WouldBlock => {
                    floor.counters.links[self.id.index()].can.send_retries.add(1);
                    // What is written by PDO waits where it was: it may be too late when there is room.
                    self.unsent = if pdo.is_none() { Some(message) } else { None };
                    self.send_again_at = now + CAN_SEND_PAUSE;
                    return;
                }
                Io::Closed => {
                    self.drop_connection(CloseReason::Lost, now, floor);
                    return;
                }
            }
        }
    }

    /// The node to which a message would write after the time of its order, also because there was no room before.
    fn overdue_write(&self, message: &Message, now: Nanos) -> Option<usize> {
        let is_asked = |node: &Node| node.job == Job::Write && message.cob_id == SDO_REQUEST + u16::from(node.id);
        let at = self.nodes.iter().position(is_asked)?;
        let order = self.nodes[at].under_way.and_then(|place| self.nodes[at].orders[place])?;
        (now + WRITE_HAND_OVER >= order.order.deadline).then_some(at)
    }

    /// What the interface had no room for is not sent once nobody waits for its answer.
    pub(super) fn withdraw(&mut self, at: usize) {
        let cob_id = SDO_REQUEST + u16::from(self.nodes[at].id);
        self.unsent.take_if(|message| message.cob_id == cob_id);
    }

    /// By urgency, behind what is written by PDO: SYNC, the master's heartbeat, commands, guarding, SDOs in turn.
    fn next_message<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) -> Option<Message> {
        if let Some(period) = self.plan.config.sync
            && now >= self.sync_at
        {
            self.sync_at = after(self.sync_at, period, now);
            return Some(Message::new(SYNC, &[]));
        }
        if let Some(own) = self.plan.config.heartbeat
            && now >= self.heartbeat_at
        {
            self.heartbeat_at = after(self.heartbeat_at, own.period, now);
            return Some(Message::new(ERROR_CONTROL + u16::from(own.id), &[NodeState::Operational as u8]));
        }
        for node in &mut self.nodes {
            if let Some(command) = node.command.take() {
                return Some(nmt::command(command, node.id));
            }
        }
        for node in &mut self.nodes {
            if let Some(question) = node.watch.question(node.id, now) {
                return Some(question);
            }
        }
        for step in 1..=self.nodes.len() {
            let at = (self.turn + step) % self.nodes.len();
            if self.nodes[at].job == Job::None && self.nodes[at].client.is_free(now) {
                self.next_job(at, now, floor);
            }
            let node = &mut self.nodes[at];
            if let Some(frame) = node.client.next_frame(now) {
                self.turn = at;
                return Some(Message::new(SDO_REQUEST + u16::from(node.id), &frame));
            }
        }
        None
    }

    /// What a node's server is asked next.
    fn next_job<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        let node = &mut self.nodes[at];
        match node.phase {
            Phase::Away { probe_at } if now >= probe_at => {
                node.client.upload(DEVICE_TYPE, false, now, self.plan.config.timeout);
                (node.job, node.job_sent) = (Job::Probe, now);
            }
            Phase::Refused { retry_at } if now >= retry_at => {
                node.begin_boot();
                self.next_of_boot(at, now);
            }
            Phase::Boot { .. } => self.next_of_boot(at, now),
            Phase::Running => {
                self.expire_orders(at, now, floor);
                if !self.next_write(at, now) {
                    self.next_read(at, now, floor);
                }
            }
            Phase::Away { .. } | Phase::Refused { .. } | Phase::Binding { .. } => {}
        }
    }

    pub(super) fn next_deadline(&self) -> Nanos {
        let own = match self.connection {
            None if self.lost_for_good_at == Nanos::ZERO => Nanos::NEVER,
            None => self.lost_for_good_at,
            Some(_) => {
                let frame = self.nodes.iter().any(|node| node.command.is_some() || node.client.has_frame());
                let next = if frame { Nanos::ZERO } else { self.sync_at.min(self.heartbeat_at) };
                next.max(self.send_again_at)
            }
        };
        self.nodes.iter().enumerate().fold(own, |soonest, (at, node)| {
            if node.sweep.is_some() || matches!(node.phase, Phase::Binding { .. }) {
                return Nanos::ZERO;
            }
            let tpdos = node.tpdos.iter().map(|tpdo| tpdo.due).min().unwrap_or(Nanos::NEVER);
            let orders = node.orders.iter().flatten().map(|order| order.order.deadline).min().unwrap_or(Nanos::NEVER);
            // What would send waits for the interface.
            let pdos = if self.connection.is_some() { self.pdos_due(at) } else { Nanos::NEVER };
            let sends = node.phase_deadline(self.write_at).min(node.watch.deadline()).min(pdos).max(self.send_again_at);
            soonest.min(node.client.deadline()).min(sends).min(tpdos).min(orders).min(node.restart_at)
        })
    }

    /// What time does to nodes. Long work, statuses and ties, is done for one node a step.
    pub(super) fn expire_nodes<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let mut worked = false;
        for at in 0..self.nodes.len() {
            self.expire_orders(at, now, floor);
            if let Some(outcome) = self.nodes[at].client.expire(now) {
                self.withdraw(at);
                self.job_ended(at, outcome, now, floor);
            }
            match self.nodes[at].watch.expire(now) {
                Some(Silence::Late) => {
                    let node = &mut self.nodes[at];
                    node.late = true;
                    node.sweep = Some(Sweep::doubt(NodeFault::Late, false));
                    self.tell(at, NodeEvent::Late, floor);
                }
                Some(Silence::Lost) => self.lost(at, now, floor),
                None => {}
            }
            if now >= self.nodes[at].restart_at {
                let node = &mut self.nodes[at];
                node.command = Some(nmt::Command::Start);
                node.restart_at = now + PROBE_PAUSE_MIN;
                node.sweep = Some(Sweep::doubt(NodeFault::PdoSilent, true));
            }
            self.expire_pdos(at, now, floor);
            if !worked && self.nodes[at].sweep.is_some() {
                self.sweep_step(at, now, floor);
                worked = true;
            } else if !worked && matches!(self.nodes[at].phase, Phase::Binding { .. }) {
                self.bind_some(at, now, floor);
                worked = true;
            }
        }
    }

    /// A cyclic PDO that stays away: its values are held, then bad.
    fn expire_pdos<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        for number in 0..self.nodes[at].tpdos.len() {
            let tpdo = &mut self.nodes[at].tpdos[number];
            if now < tpdo.due {
                continue;
            }
            let (status, due) = match tpdo.late {
                false => {
                    let more = Nanos(tpdo.period.0 * (PDO_LOST_PERIODS - PDO_LATE_PERIODS));
                    (Status::UNCERTAIN_LAST_USABLE, now + more)
                }
                true => (Status::BAD_NO_COMMUNICATION, Nanos::NEVER),
            };
            (tpdo.late, tpdo.due) = (true, due);
            let mut next = tpdo.head;
            while next != NONE {
                let item = next;
                next = self.items[item as usize].next;
                self.hold(item, status, Some(NodeFault::PdoSilent), now, floor);
            }
        }
    }
}

/// Trouble of the controller is counted; what comes of it, silence, is noticed of the nodes.
fn count_trouble(counters: &CanCounters, classes: u32, about: [u8; 8]) {
    let mut data = [0; CAN_DATA_ROOM];
    for (to, from) in data.iter_mut().zip(about) {
        *to = from;
    }
    let trouble = Trouble::of(classes, &data);
    let counts = [
        (trouble.bus_off, &counters.bus_offs),
        (trouble.passive, &counters.passives),
        (trouble.overflow, &counters.overflows),
        (trouble.lost_arbitration, &counters.lost_arbitrations),
        (trouble.no_acknowledge, &counters.unacknowledged),
        (trouble.bus_error, &counters.bus_errors),
    ];
    counts.into_iter().filter(|(happened, _)| *happened).for_each(|(_, count)| count.add(1));
}

/// The next of a beat, without those that it has missed.
fn after(due: Nanos, period: Nanos, now: Nanos) -> Nanos {
    due + Nanos((now.since(due).0 / period.0.max(1) + 1) * period.0)
}
