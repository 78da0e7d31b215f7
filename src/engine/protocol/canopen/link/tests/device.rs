//! A CANopen node for the tests: an object dictionary behind an SDO server, heartbeat, guarding, PDOs.

use std::collections::BTreeMap;

use super::super::message::Message;

pub const MS: u64 = 1_000_000;
/// What it takes for an answer.
const ANSWER: u64 = MS / 5;

/// Objects of a PDO and their bytes.
type Carried = Vec<((u16, u8), usize)>;

pub struct Device {
    pub id: u8,
    pub objects: BTreeMap<(u16, u8), Vec<u8>>,
    /// NMT state as in heartbeats.
    pub state: u8,
    /// It neither hears nor speaks.
    pub dead: bool,
    /// It answers no SDO, and is well otherwise.
    pub mute: bool,
    /// What it takes for the answer to one.
    pub answers_in: u64,
    /// Sent with each SYNC while it is operational: identifier and data.
    pub on_sync: Option<(u16, Vec<u8>)>,
    /// The PDO that it receives: identifier, transmission type, the objects and their bytes.
    pub rpdo: Option<(u16, u8, Carried)>,
    /// The last one that came, until the SYNC behind it.
    waits: Option<Vec<u8>>,
    /// Those that it has taken, and when they came.
    pub taken: Vec<(u64, Vec<u8>)>,
    next_heartbeat: u64,
    guard_toggle: bool,
    /// A segmented upload: what is left, and the toggle bit.
    upload: Option<(Vec<u8>, bool)>,
    download: Option<((u16, u8), Vec<u8>, bool)>,
    /// SDO writes that it took.
    pub written: Vec<((u16, u8), Vec<u8>)>,
}

impl Device {
    pub fn new(id: u8) -> Device {
        let mut objects = BTreeMap::new();
        objects.insert((0x1000, 0), vec![0x92, 1, 2, 0]);
        objects.insert((0x1017, 0), vec![0, 0]);
        Device {
            id,
            objects,
            state: 127,
            dead: false,
            mute: false,
            answers_in: ANSWER,
            on_sync: None,
            rpdo: None,
            waits: None,
            taken: Vec::new(),
            next_heartbeat: u64::MAX,
            guard_toggle: false,
            upload: None,
            download: None,
            written: Vec::new(),
        }
    }

    pub fn with(mut self, index: u16, sub: u8, value: &[u8]) -> Device {
        self.objects.insert((index, sub), value.to_vec());
        self
    }

    /// TPDO 1 as its own parameters tell it.
    pub fn with_tpdo(mut self, cob_id: u32, kind: u8, entries: &[u32]) -> Device {
        self.objects.insert((0x1800, 1), cob_id.to_le_bytes().to_vec());
        self.objects.insert((0x1800, 2), vec![kind]);
        self.objects.insert((0x1A00, 0), vec![entries.len() as u8]);
        for (at, entry) in entries.iter().enumerate() {
            self.objects.insert((0x1A00, at as u8 + 1), entry.to_le_bytes().to_vec());
        }
        self
    }

    /// RPDO 1 as its own parameters tell it; `times`: inhibit time in 100 µs, event timer in ms.
    pub fn with_rpdo(mut self, cob_id: u16, kind: u8, times: [u16; 2], entries: &[u32]) -> Device {
        self.objects.insert((0x1400, 1), u32::from(cob_id).to_le_bytes().to_vec());
        self.objects.insert((0x1400, 2), vec![kind]);
        self.objects.insert((0x1400, 3), times[0].to_le_bytes().to_vec());
        self.objects.insert((0x1400, 5), times[1].to_le_bytes().to_vec());
        self.objects.insert((0x1600, 0), vec![entries.len() as u8]);
        for (at, entry) in entries.iter().enumerate() {
            self.objects.insert((0x1600, at as u8 + 1), entry.to_le_bytes().to_vec());
        }
        let object = |entry: &u32| (((entry >> 16) as u16, (entry >> 8) as u8), (entry & 0xFF) as usize / 8);
        self.rpdo = Some((cob_id, kind, entries.iter().map(object).collect()));
        self
    }

    fn take_pdo(&mut self, data: &[u8]) {
        let Some((_, _, objects)) = &self.rpdo else { return };
        assert_eq!(data.len(), objects.iter().map(|(_, bytes)| bytes).sum::<usize>(), "as long as the mapping");
        let mut rest = data;
        for (key, bytes) in objects {
            let (value, behind) = rest.split_at(*bytes);
            self.objects.insert(*key, value.to_vec());
            rest = behind;
        }
    }

    /// It starts anew: the boot-up message.
    pub fn power_on(&mut self, now: u64) -> (u64, Message) {
        (self.dead, self.state, self.next_heartbeat) = (false, 127, u64::MAX);
        self.objects.insert((0x1017, 0), vec![0, 0]);
        (self.upload, self.download) = (None, None);
        (now + ANSWER, Message::new(0x700 + u16::from(self.id), &[0]))
    }

    pub fn next_event(&self) -> u64 {
        if self.dead { u64::MAX } else { self.next_heartbeat }
    }

    pub fn tick(&mut self, now: u64) -> Vec<(u64, Message)> {
        if now < self.next_event() {
            return vec![];
        }
        let period = u64::from(u16::from_le_bytes(self.objects[&(0x1017, 0)][..2].try_into().unwrap()));
        self.next_heartbeat += period * MS;
        vec![(now, Message::new(0x700 + u16::from(self.id), &[self.state]))]
    }

    pub fn hear(&mut self, message: &Message, now: u64) -> Vec<(u64, Message)> {
        if self.dead {
            return vec![];
        }
        let id = u16::from(self.id);
        match message.cob_id {
            0 if matches!(message.bytes()[1], node if node == self.id || node == 0) => {
                match message.bytes()[0] {
                    1 => self.state = 5,
                    2 => self.state = 4,
                    128 => self.state = 127,
                    _ => return vec![self.power_on(now)],
                }
                vec![]
            }
            0x80 if self.state == 5 => {
                if let Some(data) = self.waits.take() {
                    self.take_pdo(&data);
                }
                match &self.on_sync {
                    Some((cob_id, data)) => vec![(now + ANSWER, Message::new(*cob_id, data))],
                    None => vec![],
                }
            }
            cob if self.rpdo.as_ref().is_some_and(|(own, ..)| *own == cob) => {
                if self.state == 5 {
                    self.taken.push((now, message.bytes().to_vec()));
                    match self.rpdo {
                        Some((_, 0..=240, _)) => self.waits = Some(message.bytes().to_vec()),
                        _ => self.take_pdo(message.bytes()),
                    }
                }
                vec![]
            }
            cob if cob == 0x700 + id && message.remote => {
                let toggle = u8::from(self.guard_toggle) << 7;
                self.guard_toggle = !self.guard_toggle;
                vec![(now + ANSWER, Message::new(cob, &[self.state | toggle]))]
            }
            cob if cob == 0x600 + id && !self.mute => {
                let answer = self.sdo(&message.data, now);
                answer.map(|frame| (now + self.answers_in, Message::new(0x580 + id, &frame))).into_iter().collect()
            }
            _ => vec![],
        }
    }

    fn sdo(&mut self, frame: &[u8; 8], now: u64) -> Option<[u8; 8]> {
        let key = (u16::from_le_bytes([frame[1], frame[2]]), frame[3]);
        let abort = |code: u32| {
            let [a, b, c, d] = code.to_le_bytes();
            Some([0x80, frame[1], frame[2], frame[3], a, b, c, d])
        };
        let named = |command: u8, rest: [u8; 4]| {
            Some([command, frame[1], frame[2], frame[3], rest[0], rest[1], rest[2], rest[3]])
        };
        match frame[0] >> 5 {
            2 => match self.objects.get(&key) {
                None => abort(0x0602_0000),
                Some(value) if value.len() <= 4 => {
                    let mut bytes = [0; 4];
                    bytes[..value.len()].copy_from_slice(value);
                    named(0x43 | ((4 - value.len()) as u8) << 2, bytes)
                }
                Some(value) => {
                    self.upload = Some((value.clone(), false));
                    named(0x41, (value.len() as u32).to_le_bytes())
                }
            },
            3 => {
                let (value, toggle) = self.upload.as_mut()?;
                let n = value.len().min(7);
                let mut out =
                    [u8::from(*toggle) << 4 | ((7 - n) as u8) << 1 | u8::from(value.len() <= 7), 0, 0, 0, 0, 0, 0, 0];
                out[1..=n].copy_from_slice(&value[..n]);
                value.drain(..n);
                *toggle = !*toggle;
                Some(out)
            }
            1 if key == (0x2222, 0) => abort(0x0609_0031),
            1 if frame[0] & 2 != 0 => {
                let n = 4 - usize::from(frame[0] >> 2 & 3);
                self.store(key, frame[4..4 + n].to_vec(), now);
                named(0x60, [0; 4])
            }
            1 => {
                self.download = Some((key, Vec::new(), false));
                named(0x60, [0; 4])
            }
            0 => {
                let (key, mut value, toggle) = self.download.take()?;
                let n = 7 - usize::from(frame[0] >> 1 & 7);
                value.extend(&frame[1..=n]);
                if frame[0] & 1 != 0 {
                    self.store(key, value, now);
                } else {
                    self.download = Some((key, value, !toggle));
                }
                Some([0x20 | u8::from(toggle) << 4, 0, 0, 0, 0, 0, 0, 0])
            }
            // Blocks: it has none.
            5 | 6 => abort(0x0504_0001),
            _ => None,
        }
    }

    fn store(&mut self, key: (u16, u8), value: Vec<u8>, now: u64) {
        if key == (0x1017, 0) {
            let period = u64::from(u16::from_le_bytes([value[0], value[1]]));
            self.next_heartbeat = if period == 0 { u64::MAX } else { now + period * MS };
        }
        self.written.push((key, value.clone()));
        self.objects.insert(key, value);
    }
}
