//! The thread of a simulated local device, at the other end of its socket: it does one thing at a time, and answers
//! late, wrongly or never by its seed. The datagrams are read and written here without the gateway's own code.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::device::Told;
use super::given::{Given, Peer, PeerTold, What, drawn, local_key, value_of};
use super::script::{self, Host, Moods, Phase};
use super::writes::{Place, Seen};
use crate::protocol::local_io::plan::{LocalIoSetup, LocalIoSource, LocalIoWrite};
use crate::rt::{Io, Stamped};
use crate::tag::{LinkId, Nanos, Status};

const MS: u64 = 1_000_000;
/// One item takes a device so long at most.
pub const ITEM_MAX_NS: u64 = 20_000;
/// Of so many values one is in doubt, while there is trouble.
const DOUBTFUL_OF: u8 = 30;

/// What is the matter with a device for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    Well,
    /// Answers around and after the timeout.
    Late,
    /// Answers nothing.
    Stuck,
    /// Nothing can be read, or some of it.
    Broken,
    Partly,
    /// Tells what was not asked.
    Wrong,
    /// Edges without end.
    Chattering,
    /// It is gone in the middle of things.
    Leaving,
    /// It cannot be opened.
    Away,
}

impl script::Mood for Mood {
    const WELL: Mood = Mood::Well;
    const KIND: u64 = 2;
    const TROUBLE_MAX_MS: u64 = 8_000;
    const WELL_MAX_MS: u64 = 12_000;

    fn any(rng: &mut Rng) -> Mood {
        let troubles = [
            Mood::Late,
            Mood::Stuck,
            Mood::Broken,
            Mood::Partly,
            Mood::Wrong,
            Mood::Chattering,
            Mood::Leaving,
            Mood::Away,
        ];
        troubles[rng.usize(..troubles.len())]
    }

    fn listed(host: &Host) -> &[Phase<Mood>] {
        &host.local
    }

    fn list(host: &mut Host) -> &mut Vec<Phase<Mood>> {
        &mut host.local
    }
}

/// A device; threads come and go.
pub struct Local {
    seed: u64,
    steady: bool,
    well_from: u64,
    /// Of the details; the moods are drawn or listed before.
    rng: Rng,
    moods: Moods<Mood>,
}

impl Local {
    pub fn new(seed: u64, steady: bool, well_from: u64, moods: Moods<Mood>) -> Local {
        Local { seed, steady, well_from, rng: Rng::with_seed(!seed), moods }
    }

    /// How long opening it takes; `None`: it does not open.
    pub fn opens(&mut self, now: u64) -> Option<u64> {
        (self.moods.at(now) != Mood::Away).then(|| self.rng.u64(MS / 10..20 * MS))
    }
}

/// A datagram on its way to the executor.
struct Outgoing {
    at: u64,
    bytes: Vec<u8>,
    given: Vec<Given>,
}

/// The thread that serves one connection.
pub struct Thread {
    device: Rc<RefCell<Local>>,
    setup: Arc<LocalIoSetup>,
    /// By item.
    keys: Vec<u64>,
    /// Whether another item lies at the same place, so that one may be told without the other.
    shared: Vec<bool>,
    /// Items whose edges are told.
    told: Vec<u32>,
    out: VecDeque<Outgoing>,
    /// It works until then; never done: `u64::MAX`.
    busy_until: u64,
    next_edge: u64,
}

impl Thread {
    pub fn new(device: Rc<RefCell<Local>>, setup: Arc<LocalIoSetup>, now: u64) -> Thread {
        let key = |source: &LocalIoSource| match source {
            LocalIoSource::Level { line } => local_key(&format!("{:?}", setup.lines[usize::from(*line)].0), "level"),
            LocalIoSource::Count { line } => local_key(&format!("{:?}", setup.lines[usize::from(*line)].0), "count"),
            LocalIoSource::Register { program, formula } => {
                local_key(&format!("{:?}", setup.programs[usize::from(*program)]), &format!("{formula:?}"))
            }
            LocalIoSource::Channel(at) => local_key(&setup.channels[usize::from(*at)], "channel"),
        };
        let has_edges = |source: &LocalIoSource| match source {
            LocalIoSource::Level { line } => setup.lines[usize::from(*line)].1.edge.is_some(),
            _ => false,
        };
        let keys: Vec<u64> = setup.items.iter().map(|item| key(&item.source)).collect();
        let shared = keys.iter().map(|key| keys.iter().filter(|other| *other == key).count() > 1).collect();
        let items = setup.items.iter().zip(0..);
        let told: Vec<u32> = items.filter(|(item, _)| has_edges(&item.source)).map(|(_, at)| at).collect();
        let next_edge = if told.is_empty() { u64::MAX } else { now + device.borrow_mut().rng.u64(..2_000 * MS) };
        Thread { device, keys, shared, told, out: VecDeque::new(), busy_until: 0, next_edge, setup }
    }

    /// Behind what is on its way already.
    fn tell(&mut self, at: u64, bytes: Vec<u8>, given: Vec<Given>) {
        let at = self.out.back().map_or(at, |before| before.at.max(at));
        self.out.push_back(Outgoing { at, bytes, given });
    }

    /// An item's value at a time, as it goes over the socket.
    fn entry(&self, item: usize, t: u64, bad: Option<Status>, required: bool, doubt: bool) -> (Vec<u8>, Given) {
        let key = self.keys[item];
        let required = required && !self.shared[item];
        let bits = value_of(self.setup.items[item].ty, drawn(self.device.borrow().seed, key, t));
        let status = match bad {
            Some(status) => status,
            None if doubt => Status::UNCERTAIN_UNITS_EXCEEDED,
            None => Status::GOOD,
        };
        let mut bytes = Vec::with_capacity(24);
        bytes.extend(t.to_ne_bytes());
        bytes.extend(if bad.is_some() { 0 } else { bits }.to_ne_bytes());
        bytes.extend(status.0.to_ne_bytes());
        bytes.extend((item as u32).to_ne_bytes());
        let what = What::Value { bits, status };
        let given = Given { link: LinkId(0), host: 0, key, from: t, to: t, received: 0, began: 0, what, required };
        (bytes, given)
    }

    fn scan(&mut self, now: u64, request: u32, sequence: u32, told: &mut PeerTold) {
        let Some(items) = self.setup.requests.get(request as usize).cloned() else {
            return told.faults.push(format!("a thread was asked for request {request}, which it does not have"));
        };
        let timeout = self.setup.timeout.0;
        let device = self.device.clone();
        let mut local = device.borrow_mut();
        let mood = local.moods.at(now);
        let well = local.steady || now >= local.well_from;
        let least = items.len() as u64 * ITEM_MAX_NS / 2;
        let work = match mood {
            Mood::Late => local.rng.u64(timeout / 2..timeout * 5 / 2),
            _ => least + local.rng.u64(..least.max(1)),
        };
        let ends = now + work;
        self.busy_until = ends;
        let broken = [Status::BAD_DEVICE_FAILURE, Status::BAD_SENSOR_FAILURE, Status::BAD_DECODING_ERROR];
        let statuses: Vec<(Option<Status>, bool)> = items
            .clone()
            .map(|_| {
                let bad = match mood {
                    Mood::Broken => Some(broken[0]),
                    Mood::Partly if local.rng.bool() => Some(broken[local.rng.usize(..3)]),
                    _ => None,
                };
                (bad, !well && local.rng.u8(..DOUBTFUL_OF) == 0)
            })
            .collect();
        let wrong = (mood == Mood::Wrong).then(|| local.rng.u8(..6));
        let noise: Vec<u8> = (0..local.rng.usize(1..80)).map(|_| local.rng.u8(..)).collect();
        drop(local);
        let header = |kind: u32, sequence: u32| {
            [kind, request, sequence, 0].iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>()
        };
        let mut bytes = header(1, sequence);
        let mut given = Vec::new();
        let each = work / (items.len() as u64 + 1);
        for (n, (item, (bad, doubt))) in items.zip(statuses).enumerate() {
            let t = now + each * (n as u64 + 1);
            let (entry, of) = self.entry(item as usize, t, bad, work < timeout / 2, doubt);
            bytes.extend(&entry[..20]);
            // Read anew.
            bytes.extend(0u32.to_ne_bytes());
            given.push(of);
        }
        match (mood, wrong) {
            (Mood::Stuck, _) => self.busy_until = u64::MAX,
            (Mood::Leaving | Mood::Away, _) => told.closes_at = Some(ends),
            // Another sequence number, an entry that is missing, one too many, half of one, no datagram of ours.
            (_, Some(0)) => bytes[8..12].copy_from_slice(&sequence.wrapping_sub(1).to_ne_bytes()),
            (_, Some(1)) => bytes.truncate(bytes.len() - 24),
            (_, Some(2)) => bytes.extend([7; 24]),
            (_, Some(3)) => bytes.truncate(bytes.len() - 5),
            (_, Some(4)) => bytes = noise,
            _ => {}
        }
        if !matches!(mood, Mood::Stuck | Mood::Leaving | Mood::Away) {
            let given = if wrong.is_some_and(|wrong| wrong < 5) { Vec::new() } else { given };
            self.tell(ends, bytes, given);
        }
    }

    fn write(&mut self, now: u64, bytes: &[u8], told: &mut PeerTold) {
        let slot = word(bytes, 4);
        let (read_back, id, deadline) = (word(bytes, 8) != 0, long(bytes, 16), long(bytes, 24));
        let payload = bytes.get(32..).unwrap_or_default().to_vec();
        let known = self.setup.writes.get(slot as usize);
        let fits = match known {
            Some(LocalIoWrite::Line(_)) => payload.len() == 1 && payload[0] < 2,
            Some(LocalIoWrite::Register { write, .. }) => payload.len() == usize::from(write.width),
            Some(LocalIoWrite::Channel(_)) => payload.len() == 8,
            None => false,
        };
        if !fits || word(bytes, 12) as usize != payload.len() {
            return told.faults.push(format!(
                "a thread got the order to write {payload:?} to its slot {slot}: \
                {known:?}"
            ));
        }
        let device = self.device.clone();
        let mut local = device.borrow_mut();
        let mood = local.moods.at(now);
        let timeout = self.setup.timeout.0;
        let work = match mood {
            Mood::Late => local.rng.u64(timeout / 2..timeout * 5 / 2),
            _ => local.rng.u64(ITEM_MAX_NS / 2..ITEM_MAX_NS),
        };
        self.busy_until = now + work;
        // Done, not read back, too late, refused.
        let (end, code) = match mood {
            _ if now >= deadline => (2, 0),
            Mood::Broken => (3, 5),
            Mood::Partly if local.rng.bool() => (3, 121),
            _ if read_back && local.rng.u8(..8) == 0 => (1, 0),
            _ => (0, 0),
        };
        let mut back = if end == 0 && read_back { payload.clone() } else { Vec::new() };
        if mood == Mood::Wrong && !back.is_empty() {
            back[0] ^= 1;
        }
        let silent = matches!(mood, Mood::Stuck | Mood::Leaving | Mood::Away);
        drop(local);
        match mood {
            Mood::Stuck => self.busy_until = u64::MAX,
            Mood::Leaving | Mood::Away => told.closes_at = Some(now + work),
            _ => {}
        }
        if end != 2 {
            let said = match end {
                3 => Told::Refused,
                _ if silent => Told::Nothing,
                _ => Told::Done,
            };
            let place = Place::Order { id, slot, deadline };
            told.written.push(Seen { at: now, link: LinkId(0), place, payload, told: said });
        }
        if !silent {
            let mut bytes: Vec<u8> =
                [2, end, code, back.len() as u32].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
            bytes.extend(id.to_ne_bytes());
            bytes.extend((now + work).to_ne_bytes());
            bytes.extend(back);
            self.tell(now + work, bytes, Vec::new());
        }
    }

    /// The edges up to now; none while it works on something else.
    fn edges(&mut self, now: u64) {
        while self.next_edge <= now {
            let t = self.next_edge;
            let device = self.device.clone();
            let mut local = device.borrow_mut();
            let chatters = local.moods.at(t) == Mood::Chattering;
            let pause = if chatters { local.rng.u64(MS..20 * MS) } else { local.rng.u64(..2_000 * MS) };
            self.next_edge = t + pause.max(1);
            let count = if chatters { local.rng.usize(1..8) } else { 1 };
            let lost = if chatters && local.rng.u8(..8) == 0 { local.rng.u32(1..9) } else { 0 };
            let items: Vec<u32> = (0..count).map(|_| self.told[local.rng.usize(..self.told.len())]).collect();
            let silent = matches!(local.moods.at(t), Mood::Stuck | Mood::Leaving | Mood::Away);
            drop(local);
            // What it reads next is newer than they are, and what it has read is older.
            if silent || t <= self.busy_until || self.out.back().is_some_and(|before| before.at >= t) {
                continue;
            }
            let mut bytes: Vec<u8> = [3, lost, 0, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
            let mut given = Vec::new();
            for (n, item) in items.into_iter().enumerate() {
                let (entry, of) = self.entry(item as usize, t + n as u64, None, true, false);
                bytes.extend(entry);
                given.push(of);
            }
            self.tell(t + 50_000, bytes, given);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_ne_bytes(*word))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |long| u64::from_ne_bytes(*long))
}

impl Peer for Thread {
    fn readable_at(&self) -> u64 {
        // An edge may turn out not to be told; a look more often than needed does no harm.
        self.out.front().map_or(self.next_edge, |first| first.at.min(self.next_edge))
    }

    fn send(&mut self, now: u64, bytes: &[u8], told: &mut PeerTold) -> Io {
        self.edges(now);
        {
            let mut local = self.device.borrow_mut();
            if !local.steady && now < local.well_from && local.rng.u8(..100) == 0 {
                return Io::WouldBlock;
            }
        }
        if now < self.busy_until {
            told.faults.push("a thread gets a request while it works".to_owned());
            return Io::Done(bytes.len());
        }
        told.requests += 1;
        match word(bytes, 0) {
            1 if bytes.len() == 16 => self.scan(now, word(bytes, 4), word(bytes, 8), told),
            2 if bytes.len() >= 32 => self.write(now, bytes, told),
            _ => told.faults.push(format!("a thread got an invalid datagram: {bytes:?}")),
        }
        Io::Done(bytes.len())
    }

    fn receive(&mut self, now: u64, buffer: &mut [u8], told: &mut PeerTold) -> Option<Stamped> {
        self.edges(now);
        if self.out.front()?.at > now {
            return None;
        }
        let Outgoing { bytes, given, .. } = self.out.pop_front()?;
        told.given.extend(given.into_iter().map(|given| Given { received: now, began: now, ..given }));
        let n = bytes.len().min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[..n]);
        Some(Stamped { io: Io::Done(n), at: Nanos(now), hardware: None, dropped: 0 })
    }

    fn clear(&mut self) {
        self.out.clear();
    }
}
