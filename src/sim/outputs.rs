//! Outputs that follow the journal, against a broker that acknowledges late, in any order, or never, and breaks
//! connections. What decides what is sent and how the cursor moves is the real thing; its thread is not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::parts::Parts;
use crate::config::TopicPer;
use crate::output::engine::flight::Flight;
use crate::output::engine::{Gather, GatherSettings};
use crate::output::mqtt::form::MqttForm;
use crate::output::mqtt::topic::Topic;
use crate::store::{Block, Follow, FollowError, Found, JournalReader, Position};
use crate::tag::Nanos;

const MS: u64 = 1_000_000;
/// Without an acknowledgement for so long, the connection is dropped.
const STALL_NS: u64 = 10_000 * MS;
const IN_FLIGHT_MAX: usize = 8;
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// By executor and group: a number of the lane; or boot and number.
type Last = BTreeMap<(u64, String), u64>;
type Newest = BTreeMap<(u64, String), (u64, u64)>;

/// The journal as an output sees it.
pub struct InPlace(pub JournalReader);

impl Follow for InPlace {
    fn block_at_or_after(&self, index: u64) -> Result<Option<Block>, FollowError> {
        self.0.block_at_or_after(index).map_err(FollowError::from)
    }

    fn wait_for(&self, index: u64, _: Duration) -> bool {
        self.0.next_index().is_ok_and(|next| next > index)
    }

    fn next_index(&self) -> Result<u64, FollowError> {
        Ok(self.0.next_index()?)
    }

    fn cursor(&self, name: &str) -> Result<Option<Position>, FollowError> {
        self.0.cursor(name).map_err(FollowError::from)
    }

    fn save_cursor(&self, name: &str, position: Position) {
        let _ = self.0.save_cursor(name, position);
    }
}

/// A message on its way.
struct Sent {
    packet: u16,
    payload: Option<Vec<u8>>,
    arrives: u64,
    /// Never: `u64::MAX`.
    acknowledged: u64,
}

struct Session {
    flight: Flight,
    sent: Vec<Sent>,
    packet: u16,
    breaks: u64,
    mute_from: u64,
    /// By executor and group: the last number that came, in this session.
    last: Last,
    newest: Position,
}

/// One output and its broker.
pub struct SimOutput {
    pub name: String,
    gather: Gather<MqttForm>,
    source: InPlace,
    pub cursor: Position,
    session: Option<Session>,
    next_try: u64,
    rng: Rng,
    base: Instant,
    /// By boot and executor: which numbers the broker has.
    pub delivered: BTreeMap<(u64, u64), Vec<bool>>,
    /// By lane and group: boot and number of the newest sample that the broker has.
    newest: Newest,
    /// Nothing has befallen the journal's files yet: no block is damaged that it passed over.
    pub is_sound: bool,
}

impl SimOutput {
    /// # Errors
    /// When the journal cannot be asked.
    pub fn new(name: &str, reader: JournalReader, rng: Rng) -> Result<SimOutput, String> {
        let cursor = reader.cursor(name).map_err(|error| error.to_string())?;
        Ok(SimOutput {
            name: name.to_owned(),
            gather: gather()?,
            source: InPlace(reader),
            cursor: cursor.ok_or("an output without a cursor")?,
            session: None,
            next_try: 0,
            rng,
            base: Instant::now(),
            delivered: BTreeMap::new(),
            newest: BTreeMap::new(),
            is_sound: true,
        })
    }

    /// The process dies: only the broker knows what it knew.
    pub fn die(self) -> Dead {
        let SimOutput { name, cursor, rng, base, delivered, newest, .. } = self;
        Dead { name, cursor, rng, base, delivered, newest }
    }

    /// What its thread does every now and then. `well`: the broker is in no trouble; `may_fail`: the journal is.
    ///
    /// # Errors
    /// What it breaks.
    pub fn tick<P: Parts>(&mut self, now: u64, well: bool, may_fail: bool, parts: &P) -> Result<(), String> {
        let instant = self.base + Duration::from_nanos(now);
        if self.session.is_none() {
            if now < self.next_try {
                return Ok(());
            }
            self.next_try = now + self.rng.u64(250 * MS..3_000 * MS);
            if !well && self.rng.bool() {
                return Ok(());
            }
            self.gather.restart(Some(self.cursor), MESSAGE_BYTES_MAX);
            let (breaks, mute_from) = match self.rng.u8(..4) {
                _ if well => (u64::MAX, u64::MAX),
                0 => (now + self.rng.u64(..20_000 * MS), u64::MAX),
                1 => (u64::MAX, now + self.rng.u64(..20_000 * MS)),
                _ => (now + self.rng.u64(..60_000 * MS), u64::MAX),
            };
            self.session = Some(Session {
                flight: Flight::new(instant),
                sent: Vec::new(),
                packet: 0,
                breaks,
                mute_from,
                last: BTreeMap::new(),
                newest: self.cursor,
            });
        }
        self.receive(now, instant, parts)?;
        let Some(session) = &mut self.session else { return Ok(()) };
        let stalled = session.flight.stalled_since().is_some_and(|at| instant > at + Duration::from_nanos(STALL_NS));
        if now >= session.breaks || stalled {
            self.session = None;
            self.source.save_cursor(&self.name, self.cursor);
            return Ok(());
        }
        self.source.save_cursor(&self.name, self.cursor);
        self.gather.wake();
        while session.flight.len() < IN_FLIGHT_MAX {
            let message = match self.gather.next(&self.source, instant) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                // As its thread does: it comes again.
                Err(_) if may_fail => break,
                Err(error) => return Err(format!("output {}: {error}", self.name)),
            };
            session.packet = session.packet.wrapping_add(1).max(1);
            // In order: it is one connection.
            let before = session.sent.last().map_or(0, |sent| sent.arrives);
            let arrives = before.max(now + self.rng.u64(MS..30 * MS));
            let late = if well || self.rng.u8(..8) > 0 { 50 * MS } else { 3_000 * MS };
            let acknowledged = if arrives > session.mute_from { u64::MAX } else { arrives + self.rng.u64(..late) };
            session.newest = message.covers;
            session.flight.push(true, message.covers, instant);
            session.flight.announced(session.packet, instant);
            let payload = Some(message.message.payload);
            session.sent.push(Sent { packet: session.packet, payload, arrives, acknowledged });
        }
        Ok(())
    }

    /// What has come to the broker, and what has come back.
    fn receive<P: Parts>(&mut self, now: u64, instant: Instant, parts: &P) -> Result<(), String> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let until = now.min(session.breaks);
        for sent in session.sent.iter_mut().filter(|sent| sent.arrives <= until) {
            if let Some(payload) = sent.payload.take() {
                let payload = parts.payload(payload);
                let known = (&mut session.last, &mut self.newest);
                keep(&payload, &mut self.delivered, known, self.is_sound)
                    .map_err(|what| format!("output {}: {what}", self.name))?;
            }
        }
        for sent in session.sent.extract_if(.., |sent| sent.acknowledged <= until) {
            let Some(progress) = session.flight.acknowledged(sent.packet, instant) else {
                return Err(format!("output {}: nothing waits for the acknowledgement {}", self.name, sent.packet));
            };
            let covers = parts.cursor(progress.covers, session.newest);
            if covers > self.cursor {
                self.cursor = covers;
                self.gather.passed(covers);
            }
        }
        Ok(())
    }

    /// Whether the journal has nothing more for it, and the broker has acknowledged all.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn is_at_the_end(&self) -> Result<bool, String> {
        let next = self.source.0.found_at_or_after(self.cursor.block).map_err(|error| error.to_string())?;
        let quiet = self.session.as_ref().is_some_and(|session| session.flight.is_empty());
        Ok(quiet && !matches!(next, Some(Found::Block(_))))
    }

    /// Whether the broker has this sample.
    pub fn has(&self, boot: u64, executor: u64, sequence: u64) -> bool {
        self.delivered.get(&(boot, executor)).is_some_and(|had| had.get(sequence as usize) == Some(&true))
    }
}

/// An output whose process is gone, and its broker.
pub struct Dead {
    name: String,
    cursor: Position,
    rng: Rng,
    base: Instant,
    delivered: BTreeMap<(u64, u64), Vec<bool>>,
    newest: Newest,
}

impl Dead {
    /// With another file, whose blocks are numbered anew.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub fn begin_anew(self, reader: JournalReader) -> Result<SimOutput, String> {
        let Dead { name, rng, base, delivered, newest, .. } = self;
        Ok(SimOutput { base, delivered, newest, ..SimOutput::new(&name, reader, rng)? })
    }

    /// A file that is damaged may have lost the cursor's record together with its first blocks: then it begins at the oldest
    /// that is left.
    ///
    /// # Errors
    /// When the durable cursor is ahead of what was acknowledged.
    pub fn restart(self, reader: JournalReader, damaged: bool) -> Result<SimOutput, String> {
        let Dead { name, cursor, rng, base, delivered, newest } = self;
        let again = SimOutput::new(&name, reader, rng)?;
        let oldest = again.source.0.oldest().map_err(|error| error.to_string())?;
        let is_anew = damaged && oldest.is_some_and(|block| again.cursor == Position { block, samples: 0 });
        if again.cursor > cursor && !is_anew {
            return Err(format!("output {name}: the cursor is at {:?}, it was at {cursor:?}", again.cursor));
        }
        Ok(SimOutput { base, delivered, newest, ..again })
    }
}

fn gather() -> Result<Gather<MqttForm>, String> {
    let topic = Topic::new("topic", "sim/{group}", "sim").map_err(|error| error.to_string())?;
    let settings = GatherSettings::new(Nanos::from_millis(1_000), MESSAGE_BYTES_MAX, u32::MAX);
    Ok(Gather::new(MqttForm::new(TopicPer::Group, topic), GatherSettings { gateway: "sim".to_owned(), ..settings }))
}

/// A consumer of the messages: it knows each sample by boot, executor and number.
fn keep(
    payload: &[u8],
    delivered: &mut BTreeMap<(u64, u64), Vec<bool>>,
    (last, newest): (&mut Last, &mut Newest),
    is_sound: bool,
) -> Result<(), String> {
    let message: serde_json::Value =
        serde_json::from_slice(payload).map_err(|error| format!("a message that is not JSON: {error}"))?;
    let boot = message["boot"].as_str().and_then(|hex| u64::from_str_radix(hex, 16).ok()).ok_or("no boot")?;
    let executor = message["lane"].as_u64().ok_or("no lane")?;
    let group = message["group"].as_str().ok_or("no group")?;
    let stream = (executor, group.to_owned());
    let boot_before = match message["prev_boot"].as_str() {
        Some(hex) => u64::from_str_radix(hex, 16).map_err(|_| "a boot that is not a number")?,
        None => boot,
    };
    if let (Some(prev), Some(known)) = (message["prev"].as_u64(), newest.get(&stream))
        && (boot_before, prev) > *known
    {
        return Err(format!(
            "a message of {stream:?} comes after {:?}, and {known:?} is the last",
            (boot_before, prev)
        ));
    }
    let first = message["frames"][0]["seq"].as_u64().ok_or("no first number")?;
    if let (true, Some(prev), Some(known)) = (is_sound, message["prev"].as_u64(), newest.get(&stream))
        && ((boot_before, prev) < *known && *known < (boot, first))
    {
        return Err(format!(
            "a message of {stream:?} from {first} on comes after {:?}, and {known:?} is between",
            (boot_before, prev)
        ));
    }
    let had = delivered.entry((boot, executor)).or_default();
    for frame in message["frames"].as_array().ok_or("no frames")? {
        let first = frame["seq"].as_u64().ok_or("no seq")?;
        let count = frame["values"].as_object().ok_or("no values")?.len() as u64;
        let before = last.insert((boot ^ executor << 32, group.to_owned()), first + count - 1);
        if before.is_some_and(|before| before >= first) {
            return Err(format!("sample {first} of executor {executor} came after {before:?} on one connection"));
        }
        let end = (first + count) as usize;
        had.resize(had.len().max(end), false);
        had[first as usize..end].fill(true);
        let known = newest.entry(stream.clone()).or_default();
        *known = (*known).max((boot, end as u64 - 1));
    }
    Ok(())
}
