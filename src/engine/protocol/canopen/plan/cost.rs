//! What the work of a CANopen link takes of its bus, its nodes and its executor.

use super::{CanOpenPlan, CanOpenWrite, Way};
use crate::plan::ScanId;
use crate::protocol::canopen::model::NodeWatching;
use crate::tag::{GroupId, Nanos};

/// Bits of a base-format data frame with `bytes` of data, the most stuff bits and the pause behind it (ISO 11898-1):
/// 34 bits before and behind the data are stuffed, 13 are not.
const fn frame_bits(bytes: u64) -> u64 {
    let stuffed = 34 + 8 * bytes;
    stuffed + (stuffed - 1) / 4 + 13
}

/// The longest time that a frame of `bytes` takes on the bus.
pub fn frame_time(bit_rate: u32, bytes: u64) -> Nanos {
    Nanos(frame_bits(bytes) * 1_000_000_000 / u64::from(bit_rate.max(1)))
}

/// Of one cycle of a scan.
pub struct ScanCost {
    pub id: ScanId,
    pub group: GroupId,
    /// Reads by SDO; those that the node's mapping may take over are counted.
    pub requests: u64,
    /// Their time, answers included, and the longest one's.
    pub time: Nanos,
    pub longest: Nanos,
    /// Time of each node's server, and of the bus, as a unit of its own.
    pub units: Vec<(u16, Nanos)>,
    pub frames: u64,
    pub tags: u64,
}

/// The bus among the units.
pub const BUS: u16 = u16::MAX;

/// Frames of an SDO transfer of a value of so many bytes, either way, and answers that it waits for (CiA 301, section
/// 7.2.4.3).
fn sdo_frames(bytes: u16, block: bool) -> (u64, u64) {
    let segments = u64::from(bytes).div_ceil(7);
    match bytes {
        0..=4 => (2, 1),
        _ if block => (segments + 6, 3),
        _ => (2 + 2 * segments, 1 + segments),
    }
}

impl CanOpenPlan {
    /// Frames a second that come and go by themselves: PDOs, SYNC, heartbeats, questions of guarding.
    /// `fastest`: the shortest period of its groups, which stands for PDOs of which nothing is known.
    pub fn frames_by_themselves(&self, fastest: Nanos) -> f64 {
        let rate = |period: Nanos| if period == Nanos::ZERO { 0.0 } else { 1.0 / period.as_secs_f64() };
        let sync = self.config.sync;
        let mut frames = sync.map_or(0.0, rate) + self.config.heartbeat.map_or(0.0, |own| rate(own.period));
        for node in &self.nodes {
            frames += match node.watching {
                NodeWatching::Nothing => 0.0,
                NodeWatching::Heartbeat(period) => rate(period),
                NodeWatching::Guarding { period, .. } => 2.0 * rate(period),
            };
            for tpdo in &node.tpdos {
                let period = tpdo.planned.as_ref().and_then(|pdo| match (pdo.kind, sync) {
                    (1..=240, Some(sync)) => Some(Nanos(sync.0 * u64::from(pdo.kind))),
                    _ if pdo.event_timer_ms > 0 => Some(Nanos::from_millis(u64::from(pdo.event_timer_ms))),
                    _ => None,
                });
                frames += rate(period.unwrap_or(fastest));
            }
            // Those whose absence the node watches are repeated; what is written comes on top when it comes.
            let repeats = node.rpdos.iter().filter_map(|rpdo| rpdo.planned.as_ref()?.repeated());
            frames += repeats.map(rate).sum::<f64>();
        }
        frames
    }

    /// Share of the bus's time that these frames take at most.
    pub fn load_by_itself(&self, fastest: Nanos) -> f64 {
        self.frames_by_themselves(fastest) * frame_time(self.config.bit_rate, 8).as_secs_f64()
    }

    /// How much longer things take beside what is on the bus by itself, of whose time that takes such a share.
    pub fn stretch(busy: f64) -> f64 {
        1.0 / (1.0 - busy).clamp(0.05, 1.0)
    }

    /// What a write takes, and its read-back; in segments, since a node may know no blocks.
    pub fn write_times(&self, write: &CanOpenWrite, stretch: f64) -> [Nanos; 2] {
        let bytes = write.decode.field.bytes() * write.decode.len;
        let (frames, answers) = sdo_frames(bytes, false);
        let frame = frame_time(self.config.bit_rate, 8);
        let on_bus = Nanos((frames as f64 * frame.0 as f64 * stretch) as u64);
        [on_bus + Nanos(answers * self.config.reply_expected.0); 2]
    }

    /// `stretch`: see [`CanOpenPlan::stretch`].
    pub fn scan_costs(&self, stretch: f64) -> Vec<ScanCost> {
        let frame = frame_time(self.config.bit_rate, 8);
        let mut costs = Vec::with_capacity(self.scans.len());
        for scan in &self.scans {
            let mut cost = ScanCost {
                id: scan.id,
                group: scan.group,
                requests: 0,
                time: Nanos::ZERO,
                longest: Nanos::ZERO,
                units: vec![(BUS, Nanos::ZERO)],
                frames: 0,
                tags: 0,
            };
            for item in &self.items[scan.items.start as usize..scan.items.end as usize] {
                cost.tags += (item.decodes.end - item.decodes.start) as u64;
                if matches!(item.way, Way::Pdo | Way::Own) {
                    continue;
                }
                let (frames, answers) = sdo_frames(item.bytes, item.block);
                let on_bus = Nanos((frames as f64 * frame.0 as f64 * stretch) as u64);
                let time = on_bus + Nanos(answers * self.config.reply_expected.0);
                cost.requests += 1;
                cost.frames += frames;
                cost.time += time;
                cost.longest = cost.longest.max(time);
                cost.units[0].1 += Nanos(frames * frame.0);
                match cost.units.iter_mut().find(|(unit, _)| *unit == item.node) {
                    Some((_, sum)) => *sum += time,
                    None => cost.units.push((item.node, time)),
                }
            }
            costs.push(cost);
        }
        costs
    }
}
