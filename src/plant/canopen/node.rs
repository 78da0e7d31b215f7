//! The node's behaviour on the bus: network management, heartbeat and guarding, PDOs, emergencies (CiA 301 V4.2, 7.2).

use super::objects::{Mapped, Objects, abort};
use super::sdo::{Message, SdoServer};
use crate::can::fault::BusFault;
use crate::can::frame::{Frame, FrameKind};
use crate::tag::Nanos;

const MILLI: u64 = 1_000_000;
/// How often values are looked at that are sent when they change.
const LOOK: Nanos = Nanos(10 * MILLI);
/// Objects of the two TPDOs and the RPDO: communication and mapping.
const TPDOS: [(u16, u16); 2] = [(0x1800, 0x1A00), (0x1801, 0x1A01)];
const RPDO: (u16, u16) = (0x1400, 0x1600);
/// A PDO or an emergency with this bit in its COB-ID is off.
const IS_OFF: u32 = 0x8000_0000;
const ERROR_GENERIC: u8 = 1;

/// States of network management, as the heartbeat tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum NmtState {
    Stopped = 4,
    Operational = 5,
    PreOperational = 127,
}

#[derive(Debug, Default)]
struct Tpdo {
    /// SYNCs since it was sent.
    syncs: u32,
    due: Nanos,
    last: Vec<u8>,
}

/// A node with its dictionary.
#[derive(Debug)]
pub(crate) struct CanOpenNode {
    id: u8,
    start: Nanos,
    objects: Objects,
    server: SdoServer,
    state: NmtState,
    heartbeat_due: Nanos,
    guard_toggle: u8,
    tpdos: [Tpdo; 2],
    /// A PDO that waits for the next SYNC.
    received: Option<Vec<u8>>,
    /// The emergency that holds.
    emergency: Option<u16>,
    restarted: bool,
}

impl CanOpenNode {
    /// Boots with its first turn.
    pub(crate) fn new(id: u8, start: Nanos) -> CanOpenNode {
        CanOpenNode {
            id,
            start,
            objects: Objects::new(id),
            server: SdoServer::default(),
            state: NmtState::PreOperational,
            heartbeat_due: Nanos::ZERO,
            guard_toggle: 0,
            tpdos: Default::default(),
            received: None,
            emergency: None,
            restarted: true,
        }
    }

    fn tick(&self, now: Nanos) -> u64 {
        now.since(self.start).0 / MILLI
    }

    fn cob_id(&self, base: u32) -> u32 {
        base + u32::from(self.id)
    }

    /// When it next wants its turn.
    pub(crate) fn due(&self, now: Nanos) -> Nanos {
        let tpdos = self.tpdos.iter().map(|tpdo| tpdo.due);
        tpdos.chain([self.heartbeat_due]).filter(|due| *due > now).fold(now + LOOK, Nanos::min)
    }

    /// Sends what time and faults ask for.
    pub(crate) fn turn(&mut self, now: Nanos, fault: Option<BusFault>, out: &mut Vec<Frame>) {
        let tick = self.tick(now);
        self.objects.set_stuck((fault == Some(BusFault::Stuck)).then_some(tick));
        let is_restart = fault == Some(BusFault::Restart);
        if std::mem::replace(&mut self.restarted, is_restart) != is_restart || (is_restart && now >= self.heartbeat_due)
        {
            self.boot(now, is_restart, out);
        }
        let emergency = if let Some(BusFault::Emergency(code)) = fault { Some(code) } else { None };
        if emergency != self.emergency {
            self.emergency = emergency;
            self.tell_emergency(out);
        }
        let heartbeat = u64::from(self.objects.number(0x1017, 0)) * MILLI;
        if heartbeat == 0 {
            self.heartbeat_due = now;
        } else if now >= self.heartbeat_due {
            self.heartbeat_due = now + Nanos(heartbeat);
            if fault != Some(BusFault::NoHeartbeat) {
                out.push(Frame::data(self.cob_id(0x700), &[self.state as u8]));
            }
        }
        for number in 0..TPDOS.len() {
            self.time_tpdo(number, now, fault, out);
        }
        if fault == Some(BusFault::Silence) {
            out.clear();
        }
    }

    /// A restarting node comes up again each second.
    fn boot(&mut self, now: Nanos, is_restart: bool, out: &mut Vec<Frame>) {
        self.reset(out);
        self.heartbeat_due = now + if is_restart { Nanos(1_000 * MILLI) } else { Nanos::ZERO };
    }

    fn reset(&mut self, out: &mut Vec<Frame>) {
        self.objects.reset();
        self.server = SdoServer::default();
        self.tpdos = Default::default();
        self.received = None;
        self.guard_toggle = 0;
        self.state = NmtState::PreOperational;
        out.push(Frame::data(self.cob_id(0x700), &[0]));
    }

    fn tell_emergency(&mut self, out: &mut Vec<Frame>) {
        let code = self.emergency.unwrap_or(0);
        let register = if self.emergency.is_some() { ERROR_GENERIC } else { 0 };
        self.objects.hold(0x1001, 0, &[register]);
        if code != 0 {
            let last = self.objects.number(0x1003, 1);
            self.objects.hold(0x1003, 2, &last.to_le_bytes());
            self.objects.hold(0x1003, 1, &u32::from(code).to_le_bytes());
            let count = (self.objects.number(0x1003, 0) + 1).min(2);
            self.objects.hold(0x1003, 0, &[count as u8]);
        }
        let cob_id = self.objects.number(0x1014, 0);
        if self.state != NmtState::Stopped && cob_id & IS_OFF == 0 {
            let [low, high] = code.to_le_bytes();
            out.push(Frame::data(cob_id & 0x7FF, &[low, high, register, 0xFB, 0, 0, 0, 0]));
        }
    }

    fn time_tpdo(&mut self, number: usize, now: Nanos, fault: Option<BusFault>, out: &mut Vec<Frame>) {
        let (communication, _) = TPDOS[number];
        if self.state != NmtState::Operational || self.objects.number(communication, 2) < 254 {
            self.tpdos[number].due = now;
            return;
        }
        if now < self.tpdos[number].due {
            return;
        }
        let timer = u64::from(self.objects.number(communication, 5)) * MILLI;
        let inhibit = u64::from(self.objects.number(communication, 3)) * MILLI / 10;
        let data = self.tpdo_data(number, now);
        if timer > 0 || data != self.tpdos[number].last {
            self.send_tpdo(number, data, fault, out);
        }
        self.tpdos[number].due = now + if timer > 0 { Nanos(timer) } else { LOOK.max(Nanos(inhibit)) };
    }

    fn tpdo_data(&self, number: usize, now: Nanos) -> Vec<u8> {
        let tick = self.tick(now);
        let of = |mapped: &Mapped| self.objects.read(mapped.index, mapped.sub, tick).unwrap_or_default();
        self.objects.mapping(TPDOS[number].1).iter().flat_map(of).collect()
    }

    fn send_tpdo(&mut self, number: usize, data: Vec<u8>, fault: Option<BusFault>, out: &mut Vec<Frame>) {
        let cob_id = self.objects.number(TPDOS[number].0, 1);
        let bytes = if fault == Some(BusFault::Short) { data.len() / 2 } else { data.len() };
        if cob_id & IS_OFF == 0 {
            out.push(Frame::data(cob_id & 0x7FF, &data[..bytes]));
        }
        self.tpdos[number].last = data;
    }

    /// Answers what it hears.
    pub(crate) fn hear(&mut self, frame: &Frame, now: Nanos, fault: Option<BusFault>, out: &mut Vec<Frame>) {
        if frame.extended || fault == Some(BusFault::Silence) {
            return;
        }
        let id = frame.id;
        if frame.kind == FrameKind::Remote {
            if id == self.cob_id(0x700) && fault != Some(BusFault::NoHeartbeat) {
                out.push(Frame::data(id, &[self.guard_toggle | self.state as u8]));
                self.guard_toggle ^= 0x80;
            }
            return;
        }
        if frame.kind != FrameKind::Data {
            return;
        }
        match *frame.data.as_slice() {
            [command, node] if id == 0 && (node == 0 || node == self.id) => self.command(command, now, out),
            _ if id == self.objects.number(0x1005, 0) & 0x7FF => self.sync(now, fault, out),
            _ if id == self.cob_id(0x600) => self.serve(frame, now, fault, out),
            _ if self.state == NmtState::Operational && id == self.objects.number(RPDO.0, 1) => {
                if self.objects.number(RPDO.0, 2) <= 240 {
                    self.received = Some(frame.data.clone());
                } else {
                    self.take_rpdo(&frame.data);
                }
            }
            _ => {}
        }
    }

    fn command(&mut self, command: u8, now: Nanos, out: &mut Vec<Frame>) {
        match command {
            1 => self.state = NmtState::Operational,
            2 => self.state = NmtState::Stopped,
            128 => self.state = NmtState::PreOperational,
            129 | 130 => self.boot(now, false, out),
            _ => {}
        }
    }

    fn sync(&mut self, now: Nanos, fault: Option<BusFault>, out: &mut Vec<Frame>) {
        if self.state != NmtState::Operational {
            return;
        }
        if let Some(data) = self.received.take() {
            self.take_rpdo(&data);
        }
        for (number, (communication, _)) in TPDOS.into_iter().enumerate() {
            let every = self.objects.number(communication, 2);
            if every > 240 {
                continue;
            }
            self.tpdos[number].syncs += 1;
            let data = self.tpdo_data(number, now);
            let is_due = if every == 0 { data != self.tpdos[number].last } else { self.tpdos[number].syncs >= every };
            if is_due {
                self.tpdos[number].syncs = 0;
                self.send_tpdo(number, data, fault, out);
            }
        }
    }

    /// One that is too short is not taken at all.
    fn take_rpdo(&mut self, data: &[u8]) {
        let mapping = self.objects.mapping(RPDO.1);
        if data.len() < mapping.iter().map(|mapped| mapped.bytes).sum() {
            return;
        }
        let mut rest = data;
        for Mapped { index, sub, bytes } in mapping {
            let (own, behind) = rest.split_at(bytes);
            self.objects.hold(index, sub, own);
            rest = behind;
        }
    }

    fn serve(&mut self, frame: &Frame, now: Nanos, fault: Option<BusFault>, out: &mut Vec<Frame>) {
        let Ok(request) = Message::try_from(frame.data.as_slice()) else { return };
        let mut answers = Vec::new();
        let tick = self.tick(now);
        match fault {
            _ if self.state == NmtState::Stopped => {}
            Some(BusFault::SdoSilence) => {}
            Some(BusFault::SdoAbort) => answers.push(SdoServer::refuse(&request, abort::DEVICE_STATE)),
            _ => self.server.take(&request, &mut self.objects, tick, &mut answers),
        }
        let short = if fault == Some(BusFault::Short) { 4 } else { 8 };
        out.extend(answers.iter().map(|answer| Frame::data(self.cob_id(0x580), &answer[..short])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bus {
        node: CanOpenNode,
        now: Nanos,
        fault: Option<BusFault>,
    }

    impl Bus {
        fn new() -> Bus {
            Bus { node: CanOpenNode::new(5, Nanos::ZERO), now: Nanos::ZERO, fault: None }
        }

        /// What is sent in so many milliseconds, as id and data.
        fn wait(&mut self, millis: u64) -> Vec<(u32, Vec<u8>)> {
            let mut out = Vec::new();
            for _ in 0..millis {
                self.now += Nanos(MILLI);
                self.node.turn(self.now, self.fault, &mut out);
            }
            out.into_iter().map(|frame| (frame.id, frame.data)).collect()
        }

        fn say(&mut self, id: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
            let mut out = Vec::new();
            self.node.hear(&Frame::data(id, data), self.now, self.fault, &mut out);
            out.into_iter().map(|frame| (frame.id, frame.data)).collect()
        }
    }

    fn count(frames: &[(u32, Vec<u8>)], id: u32) -> usize {
        frames.iter().filter(|(own, _)| *own == id).count()
    }

    #[test]
    fn it_boots_beats_and_sends_its_values_once_it_is_started() {
        let mut bus = Bus::new();
        let first = bus.wait(1000);
        assert_eq!(first[..2], [(0x705, vec![0]), (0x705, vec![127])]);
        assert_eq!((count(&first, 0x705), count(&first, 0x185)), (6, 0));
        bus.say(0, &[1, 0]);
        let running = bus.wait(1000);
        assert_eq!((count(&running, 0x185), count(&running, 0x285)), (10, 0));
        assert!(running.contains(&(0x705, vec![5])));
        assert_eq!(bus.say(0x80, &[])[0].0, 0x285);
        bus.say(0, &[2, 5]);
        assert_eq!(bus.wait(1000).iter().filter(|(id, _)| *id != 0x705).count(), 0);
        assert_eq!(bus.say(0x605, &[0x40, 0, 0x10, 0, 0, 0, 0, 0]).len(), 0);
        assert_eq!(bus.say(0, &[129, 5]), [(0x705, vec![0])]);
    }

    #[test]
    fn a_command_by_pdo_is_there_for_sdo() {
        let mut bus = Bus::new();
        bus.wait(1);
        bus.say(0, &[1, 5]);
        bus.say(0x205, &[0x18, 0xFC, 1]);
        assert_eq!(bus.say(0x605, &[0x40, 0, 0x21, 0, 0, 0, 0, 0])[0].1, [0x4B, 0, 0x21, 0, 0x18, 0xFC, 0, 0]);
        bus.say(0x205, &[0, 0]);
        assert_eq!(bus.say(0x605, &[0x40, 0, 0x21, 0, 0, 0, 0, 0])[0].1[4..6], [0x18, 0xFC]);
    }

    #[test]
    fn faults_show_on_the_bus_and_end_with_themselves() {
        let mut bus = Bus::new();
        bus.wait(1);
        bus.say(0, &[1, 5]);
        bus.fault = Some(BusFault::NoHeartbeat);
        let frames = bus.wait(1000);
        assert_eq!((count(&frames, 0x705), count(&frames, 0x185)), (0, 10));
        bus.fault = Some(BusFault::Silence);
        assert_eq!(bus.wait(1000), []);
        assert_eq!(bus.say(0x605, &[0x40, 0, 0x10, 0, 0, 0, 0, 0]), []);
        bus.fault = Some(BusFault::Emergency(0x4210));
        let frames = bus.wait(1000);
        let emergencies: Vec<_> = frames.iter().filter(|(id, _)| *id == 0x85).collect();
        assert_eq!(emergencies, [&(0x85, vec![0x10, 0x42, 1, 0xFB, 0, 0, 0, 0])]);
        bus.fault = None;
        assert!(bus.wait(10).contains(&(0x85, vec![0, 0, 0, 0xFB, 0, 0, 0, 0])));
        bus.fault = Some(BusFault::SdoAbort);
        assert_eq!(bus.say(0x605, &[0x40, 0, 0x10, 0, 0, 0, 0, 0])[0].1[0], 0x80);
        bus.fault = Some(BusFault::Short);
        assert!(bus.wait(100).contains(&(0x185, bus.node.tpdos[0].last[..4].to_vec())));
        bus.fault = Some(BusFault::Restart);
        assert_eq!(count(&bus.wait(3000), 0x185), 0);
        bus.fault = None;
        assert!(bus.wait(300).contains(&(0x705, vec![127])));
    }

    #[test]
    fn guarding_toggles_its_bit() {
        let mut bus = Bus::new();
        bus.wait(1);
        let mut out = Vec::new();
        let ask = Frame { kind: FrameKind::Remote, ..Frame::data(0x705, &[]) };
        (0..3).for_each(|_| bus.node.hear(&ask, bus.now, None, &mut out));
        let said: Vec<u8> = out.iter().map(|frame| frame.data[0]).collect();
        assert_eq!(said, [127, 255, 127]);
    }
}
