//! Samples out of a device's buffer: the newest on the beat, or each of them as it comes.

use std::os::fd::RawFd;
use std::sync::Arc;

use super::allowance::Allowance;
use super::device::{Clock, Fault, Scans};
use super::formula::{self, Number};
use super::iio_buffer::Stream;
use super::{Answer, Edge, Reader, convert_of};
use crate::limits::{IIO_SCANS_AT_ONCE_MAX, IIO_TIME_STRAYS_MAX, LOCAL_IO_EDGES_AT_ONCE_MAX};
use crate::protocol::local_io::model::IioBufferConfig;
use crate::protocol::local_io::plan::{LocalIoItem, LocalIoSetup, LocalIoSource};
use crate::tag::{NANOS_PER_SEC, Nanos, Status};

/// A gap between two scans that is longer than this many periods has scans in it that are missing.
const GAP_PERIODS: f64 = 1.5;

/// A buffer and what came out of it.
pub struct SampleReader {
    hardware: Box<dyn Scans>,
    stream: Stream,
    clock: Box<dyn Clock>,
    setup: Arc<LocalIoSetup>,
    config: IioBufferConfig,
    /// Room for some scans.
    buffer: Vec<u8>,
    /// The newest scan, empty before the first, and its time.
    newest: Vec<u8>,
    t: Nanos,
    /// Scans so far, and how many there were when each request was answered last.
    count: u64,
    answered: Vec<u64>,
    /// Of scans that are told one by one.
    allowance: Allowance,
    /// Full reads in a row.
    in_a_row: u32,
    /// What is missing by the times, and not counted yet: samples, or scans where they are not told one by one.
    missing: u32,
}

impl SampleReader {
    pub fn new(
        hardware: Box<dyn Scans>,
        stream: Stream,
        mut clock: Box<dyn Clock>,
        setup: Arc<LocalIoSetup>,
        config: IioBufferConfig,
    ) -> SampleReader {
        // What is told at once has room in one datagram.
        let at_once =
            if config.every { LOCAL_IO_EDGES_AT_ONCE_MAX / setup.items.len().max(1) } else { IIO_SCANS_AT_ONCE_MAX };
        let t = clock.now();
        SampleReader {
            buffer: vec![0; stream.scan_bytes * at_once.max(1)],
            newest: Vec::new(),
            t,
            count: 0,
            answered: vec![0; setup.requests.len()],
            allowance: Allowance::new(config.scans_per_s_max()),
            in_a_row: 0,
            missing: 0,
            hardware,
            stream,
            clock,
            setup,
            config,
        }
    }

    #[cfg(test)]
    pub fn scan_bytes(&self) -> usize {
        self.stream.scan_bytes
    }

    /// Reads what is there, up to the room; `told` gets the samples one by one. True: there may be more.
    fn take(&mut self, mut told: Option<(&mut Vec<Edge>, &mut u32)>) -> Result<bool, Fault> {
        let scan_bytes = self.stream.scan_bytes.max(1);
        let bytes = self.hardware.read(&mut self.buffer)?;
        let now = self.clock.now();
        // The kernel hands out whole scans; anything else is a scan of another layout.
        if !bytes.is_multiple_of(scan_bytes) {
            return Err(Fault::Gone);
        }
        let scans = bytes / scan_bytes;
        for at in 0..scans {
            let Some(scan) = self.buffer.get(at * scan_bytes..(at + 1) * scan_bytes) else { break };
            let t = time_of(&self.stream, scan, now);
            let (t, is_stamped) = match t {
                Some(t) => (t, true),
                None => (Nanos(now.0.saturating_sub(self.config.period().0 * (scans - 1 - at) as u64)), false),
            };
            let t = t.max(self.t);
            if is_stamped && self.count > 0 {
                let missing = missing(t.since(self.t), self.config.period());
                let each = if self.config.every { self.setup.items.len() as u32 } else { 1 };
                self.missing = self.missing.saturating_add(missing.saturating_mul(each));
            }
            (self.t, self.count) = (t, self.count + 1);
            if let Some((edges, lost)) = &mut told {
                if self.allowance.takes(t) {
                    tell(&self.setup, &self.stream, scan, t, edges);
                } else {
                    **lost = lost.saturating_add(self.setup.items.len() as u32);
                }
            }
            if at + 1 == scans {
                self.newest.clear();
                self.newest.extend_from_slice(scan);
            }
        }
        if let Some((_, lost)) = told {
            *lost = lost.saturating_add(std::mem::take(&mut self.missing));
        }
        // A device that is faster than this thread must not keep it from answering.
        self.in_a_row = if bytes > 0 && bytes == self.buffer.len() { self.in_a_row + 1 } else { 0 };
        if self.in_a_row as usize * self.buffer.len() / scan_bytes > self.config.length as usize {
            self.in_a_row = 0;
        }
        Ok(self.in_a_row > 0)
    }

    /// What an item is on the beat.
    fn answer(&self, item: &LocalIoItem, is_new: bool, now: Nanos) -> Answer {
        let silent = now.since(self.t);
        let is_silent = silent > self.config.silent_after;
        if self.newest.is_empty() || !is_new {
            return match (is_silent, silent.0 > self.config.silent_after.0.saturating_mul(3)) {
                (_, true) => Answer::held(now, Status::BAD_NO_COMMUNICATION),
                (true, _) if self.newest.is_empty() => Answer::held(now, Status::BAD_NO_COMMUNICATION),
                (true, _) => Answer::held(now, Status::UNCERTAIN_LAST_USABLE),
                _ => Answer::unchanged(now),
            };
        }
        match value(item, &self.stream, &self.newest) {
            Ok((bits, status)) => Answer::read(self.t, Ok((bits, status))),
            Err(status) => Answer::held(self.t, status),
        }
    }
}

/// The scan's own time, if it may be true: times of another clock are hours away.
fn time_of(stream: &Stream, scan: &[u8], now: Nanos) -> Option<Nanos> {
    let t = u64::try_from(stream.time?.raw(scan)?).ok()?;
    (t <= now.0 && now.0 - t <= IIO_TIME_STRAYS_MAX.0).then_some(Nanos(t))
}

/// How many scans should have come in between.
fn missing(gap: Nanos, period: Nanos) -> u32 {
    let periods = gap.0 as f64 / period.0 as f64;
    if period == Nanos::ZERO || periods <= GAP_PERIODS { 0 } else { (periods.round() as u32).saturating_sub(1) }
}

fn value(item: &LocalIoItem, stream: &Stream, scan: &[u8]) -> Result<(u64, Status), Status> {
    let LocalIoSource::Channel(channel) = item.source else { return Err(Status::BAD_CONFIGURATION_ERROR) };
    let element = stream.channels.get(usize::from(channel));
    let value = element.and_then(|element| element.value(scan)).ok_or(Status::BAD_DECODING_ERROR)?;
    formula::convert(Number::Float(value), Status::GOOD, &convert_of(item))
}

fn tell(setup: &LocalIoSetup, stream: &Stream, scan: &[u8], t: Nanos, edges: &mut Vec<Edge>) {
    for (at, item) in setup.items.iter().enumerate() {
        let (value, status) = value(item, stream, scan).unwrap_or_else(|status| (0, status));
        edges.push(Edge { t, item: at as u32, value, status });
    }
}

impl Reader for SampleReader {
    fn scan(&mut self, request: usize, answers: &mut Vec<Answer>) -> Result<(), Fault> {
        // Those that are told one by one come before the answer by themselves.
        while !self.config.every && self.take(None)? {}
        let setup = self.setup.clone();
        let Some(items) = setup.requests.get(request).cloned() else { return Ok(()) };
        let now = self.clock.now();
        let known = self.answered.get_mut(request).map(|answered| std::mem::replace(answered, self.count));
        let is_new = !self.config.every && known != Some(self.count);
        let items = setup.items.get(items.start as usize..items.end as usize).unwrap_or_default();
        answers.extend(items.iter().map(|item| self.answer(item, is_new, now)));
        Ok(())
    }

    fn write(&mut self, _slot: usize, _payload: &[u8]) -> Result<(), Fault> {
        Err(Fault::Failed(libc::EOPNOTSUPP))
    }

    fn read_back(&mut self, _slot: usize, _back: &mut Vec<u8>) -> Result<(), Fault> {
        Err(Fault::Failed(libc::EOPNOTSUPP))
    }

    fn descriptors(&self) -> &[RawFd] {
        self.hardware.descriptors()
    }

    fn edges(&mut self, edges: &mut Vec<Edge>, lost: &mut u32) -> Result<bool, Fault> {
        if self.config.every {
            return self.take(Some((edges, lost)));
        }
        let more = self.take(None)?;
        *lost = lost.saturating_add(std::mem::take(&mut self.missing));
        Ok(more)
    }
}

impl IioBufferConfig {
    /// Time between two scans; zero where it is not known.
    fn period(&self) -> Nanos {
        self.frequency_hz.map_or(Nanos::ZERO, |hz| Nanos((NANOS_PER_SEC as f64 / hz) as u64))
    }
}
