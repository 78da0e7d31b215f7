//! Lines of a GPIO chip: levels on the beat, edges as they come, counts that miss none.

use std::os::fd::RawFd;
use std::sync::Arc;

use super::allowance::Allowance;
use super::device::{Clock, Fault, GpioLines, LineEvent};
use super::formula::{self, Number};
use super::{Answer, Edge, Reader, convert_of};
use crate::limits::{GPIO_EDGES_PER_S_MAX, LOCAL_IO_EDGES_AT_ONCE_MAX};
use crate::protocol::local_io::plan::{LocalIoSetup, LocalIoSource, LocalIoWrite};
use crate::tag::{Nanos, ScalarType, Status};

/// Lines, and what their edges came to.
pub struct Lines {
    hardware: Box<dyn GpioLines>,
    clock: Box<dyn Clock>,
    setup: Arc<LocalIoSetup>,
    states: Vec<LineState>,
    wanted: Vec<bool>,
    levels: Vec<bool>,
    events: Vec<LineEvent>,
}

#[derive(Clone, Copy)]
struct LineState {
    /// Edges so far, those included that the kernel had no room for.
    count: u64,
    /// The number of the last one.
    number: u32,
    /// The last one's level and time.
    last: Option<(bool, Nanos)>,
    /// Of edges that are told one by one.
    allowance: Allowance,
}

impl Lines {
    pub fn new(hardware: Box<dyn GpioLines>, clock: Box<dyn Clock>, setup: Arc<LocalIoSetup>) -> Lines {
        let state = LineState { count: 0, number: 0, last: None, allowance: Allowance::new(GPIO_EDGES_PER_S_MAX) };
        let lines = setup.lines.len();
        Lines {
            hardware,
            clock,
            states: vec![state; lines],
            wanted: vec![false; lines],
            levels: vec![false; lines],
            events: Vec::new(),
            setup,
        }
    }
}

impl Reader for Lines {
    fn scan(&mut self, request: usize, answers: &mut Vec<Answer>) -> Result<(), Fault> {
        let setup = self.setup.clone();
        let Some(items) = setup.requests.get(request).cloned() else { return Ok(()) };
        let items = setup.items.get(items.start as usize..items.end as usize).unwrap_or_default();
        self.wanted.fill(false);
        for item in items {
            if let LocalIoSource::Level { line } = item.source
                && let Some(wanted) = self.wanted.get_mut(usize::from(line))
            {
                *wanted = true;
            }
        }
        let before = self.clock.now();
        let read = self.hardware.levels(&self.wanted, &mut self.levels);
        let t = Nanos(before.0 + self.clock.now().since(before).0 / 2);
        if read == Err(Fault::Gone) {
            return Err(Fault::Gone);
        }
        for item in items {
            let (number, t) = match item.source {
                LocalIoSource::Level { line } => {
                    let level = self.levels.get(usize::from(line)).copied().unwrap_or_default();
                    // An edge that was told meanwhile is newer than what was read.
                    match self.states.get(usize::from(line)).and_then(|state| state.last) {
                        Some((told, at)) if at > t => (Number::Bool(told), at),
                        _ => (Number::Bool(level), t),
                    }
                }
                LocalIoSource::Count { line } => {
                    let count = self.states.get(usize::from(line)).map_or(0, |state| state.count);
                    let wraps = item.ty == ScalarType::Uint32;
                    (Number::Uint(if wraps { u64::from(count as u32) } else { count }), t)
                }
                LocalIoSource::Register { .. } | LocalIoSource::Channel(_) => continue,
            };
            let read = if matches!(item.source, LocalIoSource::Level { .. }) { read } else { Ok(()) };
            let result = match read {
                Ok(()) => formula::convert(number, Status::GOOD, &convert_of(item)),
                Err(fault) => Err(fault.status()),
            };
            answers.push(Answer::read(t, result));
        }
        Ok(())
    }

    fn write(&mut self, slot: usize, payload: &[u8]) -> Result<(), Fault> {
        let (Some(LocalIoWrite::Line(line)), [level]) = (self.setup.writes.get(slot), payload) else {
            return Err(Fault::Failed(libc::EINVAL));
        };
        self.hardware.set(usize::from(*line), *level != 0)
    }

    fn read_back(&mut self, slot: usize, back: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(LocalIoWrite::Line(line)) = self.setup.writes.get(slot) else {
            return Err(Fault::Failed(libc::EINVAL));
        };
        self.wanted.fill(false);
        if let Some(wanted) = self.wanted.get_mut(usize::from(*line)) {
            *wanted = true;
        }
        self.hardware.levels(&self.wanted, &mut self.levels)?;
        back.push(u8::from(self.levels.get(usize::from(*line)).copied().unwrap_or_default()));
        Ok(())
    }

    fn descriptors(&self) -> &[RawFd] {
        self.hardware.descriptors()
    }

    fn edges(&mut self, edges: &mut Vec<Edge>, lost: &mut u32) -> Result<bool, Fault> {
        self.events.clear();
        let more = self.hardware.events(&mut self.events)?;
        for event in &self.events {
            let Some(state) = self.states.get_mut(event.line) else { continue };
            let passed = event.number.wrapping_sub(state.number);
            state.number = event.number;
            state.count += u64::from(passed);
            state.last = Some((event.rising, event.t));
            let told = state.allowance.takes(event.t);
            let mut tells = false;
            for (at, item) in self.setup.items.iter().enumerate() {
                if matches!(item.source, LocalIoSource::Level { line } if usize::from(line) == event.line) {
                    tells = true;
                    if told
                        && let Ok((value, _)) =
                            formula::convert(Number::Bool(event.rising), Status::GOOD, &convert_of(item))
                    {
                        edges.push(Edge { t: event.t, item: at as u32, value, status: Status::GOOD });
                    }
                }
            }
            if tells {
                *lost = lost.saturating_add(passed.saturating_sub(1)).saturating_add(u32::from(!told));
            }
        }
        Ok(more && edges.len() < LOCAL_IO_EDGES_AT_ONCE_MAX)
    }
}
