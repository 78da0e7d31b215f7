//! Registers of devices on I2C and SPI: accesses in their order, each result once for all that is made of it.

use std::sync::Arc;

use super::device::{Clock, Fault, RegisterBus};
use super::{Answer, Reader, convert_of, formula};
use crate::protocol::local_io::model::{Program, Step};
use crate::protocol::local_io::plan::{LocalIoSetup, LocalIoSource, LocalIoWrite};
use crate::tag::Nanos;

/// A bus and what is known of its devices.
pub struct Registers {
    bus: Box<dyn RegisterBus>,
    clock: Box<dyn Clock>,
    setup: Arc<LocalIoSetup>,
    /// By program.
    states: Vec<State>,
}

struct State {
    /// Its device is set up and its calibration read.
    is_ready: bool,
    calibration: Vec<u8>,
    /// The number of the request that read it last, and what came of it.
    read_in: u64,
    t: Nanos,
    result: Result<(), Fault>,
    bytes: Vec<u8>,
}

impl Registers {
    pub fn new(bus: Box<dyn RegisterBus>, clock: Box<dyn Clock>, setup: Arc<LocalIoSetup>) -> Registers {
        let state = |_| State {
            is_ready: false,
            calibration: Vec::new(),
            read_in: 0,
            t: Nanos::ZERO,
            result: Err(Fault::Silent),
            bytes: Vec::new(),
        };
        let states = setup.programs.iter().map(state).collect();
        Registers { bus, clock, setup, states }
    }

    /// Runs a program unless this round has; `stuck` when the bus already was in this round.
    fn run(&mut self, at: usize, round: u64, stuck: &mut bool) {
        let Registers { bus, clock, setup, states } = self;
        let (Some(program), Some(state)) = (setup.programs.get(at), states.get_mut(at)) else { return };
        if state.read_in == round {
            return;
        }
        state.read_in = round;
        let before = clock.now();
        state.result = if *stuck { Err(Fault::Stuck) } else { state.measure(program, &mut **bus, &mut **clock) };
        state.t = Nanos(before.0 + clock.now().since(before).0 / 2);
        if let Err(fault) = state.result {
            state.is_ready = false;
            *stuck |= fault == Fault::Stuck;
        }
    }
}

impl State {
    fn measure(&mut self, program: &Program, bus: &mut dyn RegisterBus, clock: &mut dyn Clock) -> Result<(), Fault> {
        if !self.is_ready {
            steps(program.address, &program.setup, bus, clock, &mut Vec::new())?;
            steps(program.address, &program.calibration, bus, clock, &mut self.calibration)?;
            self.is_ready = true;
        }
        steps(program.address, &program.measure, bus, clock, &mut self.bytes)
    }
}

/// Does them one after the other; `result` gets what was read.
fn steps(
    address: u8,
    steps: &[Step],
    bus: &mut dyn RegisterBus,
    clock: &mut dyn Clock,
    result: &mut Vec<u8>,
) -> Result<(), Fault> {
    result.clear();
    for step in steps {
        let at = result.len();
        result.resize(at + step.result_bytes(), 0);
        let out = result.get_mut(at..).unwrap_or_default();
        match step {
            Step::Write(bytes) => bus.write(address, bytes)?,
            Step::Wait(pause) => clock.sleep(*pause),
            Step::Read { command, .. } => bus.read(address, command, out)?,
            Step::Exchange(bytes) => bus.exchange(bytes, out)?,
            Step::Identify { command, expected } => {
                let mut found = [0];
                bus.read(address, &[*command], &mut found)?;
                if found != [*expected] {
                    return Err(Fault::Other);
                }
            }
        }
    }
    Ok(())
}

impl Reader for Registers {
    fn scan(&mut self, request: usize, answers: &mut Vec<Answer>) -> Result<(), Fault> {
        let setup = self.setup.clone();
        let Some(items) = setup.requests.get(request).cloned() else { return Ok(()) };
        let round = self.states.iter().map(|state| state.read_in).max().unwrap_or(0) + 1;
        let mut stuck = false;
        for item in setup.items.get(items.start as usize..items.end as usize).unwrap_or_default() {
            let LocalIoSource::Register { program, formula } = &item.source else { continue };
            let at = usize::from(*program);
            self.run(at, round, &mut stuck);
            let Some(state) = self.states.get_mut(at) else { continue };
            let result = match state.result {
                Ok(()) => formula::value(formula, &state.calibration, &state.bytes)
                    .and_then(|(number, status)| formula::convert(number, status, &convert_of(item))),
                Err(Fault::Gone) => return Err(Fault::Gone),
                Err(fault) => Err(fault.status()),
            };
            // A chip that lost its settings answers, but not with what was measured: it is set up again.
            if state.result.is_ok() && result == Err(crate::tag::Status::BAD_DEVICE_FAILURE) {
                state.is_ready = false;
            }
            answers.push(Answer::read(state.t, result));
        }
        Ok(())
    }

    fn write(&mut self, slot: usize, payload: &[u8]) -> Result<(), Fault> {
        let refused = Fault::Failed(libc::EINVAL);
        let Some(LocalIoWrite::Register { address, write }) = self.setup.writes.get(slot) else { return Err(refused) };
        if payload.len() != usize::from(write.width) {
            return Err(refused);
        }
        self.bus.write(*address, &[&write.command, payload].concat())
    }

    fn read_back(&mut self, slot: usize, back: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(LocalIoWrite::Register { address, write }) = self.setup.writes.get(slot) else {
            return Err(Fault::Failed(libc::EINVAL));
        };
        back.resize(usize::from(write.width), 0);
        self.bus.read(*address, &write.read_command, back)
    }
}
