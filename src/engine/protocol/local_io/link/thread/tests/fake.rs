//! Hardware that is none: chips with registers, lines, and a clock that a test moves.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::device::{Clock, Fault, GpioLines, LineEvent, RegisterBus};
use crate::tag::Nanos;

/// Shared between the test and what it tests.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    pub now: u64,
    pub chips: BTreeMap<u8, Chip>,
    /// What was asked of the bus: address and first bytes.
    pub accesses: Vec<(u8, Vec<u8>)>,
    pub levels: Vec<bool>,
    pub events: VecDeque<LineEvent>,
    /// Every access fails like this.
    pub fault: Option<Fault>,
}

/// Registers of a byte each, or the conversions of an ADS1115.
pub enum Chip {
    Registers(Box<[u8; 256]>),
    /// What each setting of the multiplexer reads, the result of the last conversion, and the one under way with its
    /// end.
    Ads1115 {
        inputs: [i16; 8],
        result: i16,
        under_way: Option<(u64, i16)>,
    },
    /// On SPI: the highest bit of the first byte says that the register is read.
    ReadBit(Box<[u8; 128]>),
    /// What an exchange of so many bytes brings.
    Exchanges(fn(&[u8]) -> Vec<u8>),
    Broken(Fault),
}

impl Fake {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn with(self, address: u8, chip: Chip) -> Fake {
        self.state().chips.insert(address, chip);
        self
    }

    pub fn registers(self, address: u8, values: &[(u8, &[u8])]) -> Fake {
        let mut registers = Box::new([0; 256]);
        for (at, bytes) in values {
            registers[usize::from(*at)..usize::from(*at) + bytes.len()].copy_from_slice(bytes);
        }
        self.with(address, Chip::Registers(registers))
    }

    pub fn bus(&self) -> Box<Fake> {
        Box::new(self.clone())
    }

    fn access(&self, address: u8, sent: &[u8], out: &mut [u8]) -> Result<(), Fault> {
        let mut state = self.state();
        state.accesses.push((address, sent.to_vec()));
        if let Some(fault) = state.fault {
            return Err(fault);
        }
        let now = state.now;
        let Some(chip) = state.chips.get_mut(&address) else { return Err(Fault::Silent) };
        match chip {
            Chip::Broken(fault) => return Err(*fault),
            Chip::Exchanges(answer) => out.copy_from_slice(&answer(sent)),
            Chip::ReadBit(registers) => {
                let at = usize::from(sent[0] & 0x7F);
                if sent[0] & 0x80 == 0 {
                    registers[at..at + sent.len() - 1].copy_from_slice(&sent[1..]);
                } else {
                    out.copy_from_slice(&registers[at..at + out.len()]);
                }
            }
            Chip::Registers(registers) => {
                let at = usize::from(sent[0]);
                registers[at..at + sent.len() - 1].copy_from_slice(&sent[1..]);
                out.copy_from_slice(&registers[at..at + out.len()]);
            }
            Chip::Ads1115 { inputs, result, under_way } => {
                if let Some((_, value)) = under_way.take_if(|(end, _)| *end <= now) {
                    *result = value;
                }
                match sent {
                    [0x00] => out.copy_from_slice(&result.to_be_bytes()),
                    [0x01, high, low] => {
                        let rates = [8, 16, 32, 64, 128, 250, 475, 860u64];
                        // As slow as the data sheet allows.
                        let takes = 1_000_000_000 * 11 / 10 / rates[usize::from(low >> 5)];
                        *under_way = Some((now + takes, inputs[usize::from(high >> 4 & 7)]));
                    }
                    other => panic!("an ADS1115 has no register {other:?}"),
                }
            }
        }
        Ok(())
    }
}

impl Clock for Fake {
    fn now(&mut self) -> Nanos {
        let mut state = self.state();
        state.now += 1_000;
        Nanos(state.now)
    }

    fn sleep(&mut self, pause: Nanos) {
        self.state().now += pause.0;
    }
}

impl RegisterBus for Fake {
    fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), Fault> {
        self.access(address, bytes, &mut [])
    }

    fn read(&mut self, address: u8, command: &[u8], out: &mut [u8]) -> Result<(), Fault> {
        self.access(address, command, out)
    }

    fn exchange(&mut self, sent: &[u8], received: &mut [u8]) -> Result<(), Fault> {
        self.access(0, sent, received)
    }
}

impl GpioLines for Fake {
    fn levels(&mut self, wanted: &[bool], levels: &mut [bool]) -> Result<(), Fault> {
        let state = self.state();
        if let Some(fault) = state.fault {
            return Err(fault);
        }
        for (at, level) in levels.iter_mut().enumerate().filter(|(at, _)| wanted[*at]) {
            *level = state.levels[at];
        }
        Ok(())
    }

    fn set(&mut self, line: usize, level: bool) -> Result<(), Fault> {
        self.state().levels[line] = level;
        Ok(())
    }

    fn descriptors(&self) -> &[RawFd] {
        &[]
    }

    fn events(&mut self, events: &mut Vec<LineEvent>) -> Result<bool, Fault> {
        let mut state = self.state();
        let count = state.events.len().min(64);
        events.extend(state.events.drain(..count));
        Ok(!state.events.is_empty())
    }
}
