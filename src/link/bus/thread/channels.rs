//! Channels of an IIO device, one read each.

use std::sync::Arc;

use super::device::{ChannelFault, Channels, Clock, Fault};
use super::formula::{self, Number};
use super::{Answer, Reader, convert_of};
use crate::plan::{BusSetup, BusSource};
use crate::tag::{Nanos, Status};

/// A device's channels by the setup.
pub struct ChannelReader {
    hardware: Box<dyn Channels>,
    clock: Box<dyn Clock>,
    setup: Arc<BusSetup>,
}

impl ChannelReader {
    pub fn new(hardware: Box<dyn Channels>, clock: Box<dyn Clock>, setup: Arc<BusSetup>) -> ChannelReader {
        ChannelReader { hardware, clock, setup }
    }
}

impl Reader for ChannelReader {
    fn scan(&mut self, request: usize, answers: &mut Vec<Answer>) -> Result<(), Fault> {
        let setup = self.setup.clone();
        let Some(items) = setup.requests.get(request).cloned() else { return Ok(()) };
        for item in setup.items.get(items.start as usize..items.end as usize).unwrap_or_default() {
            let BusSource::Channel(channel) = item.source else { continue };
            let before = self.clock.now();
            let read = self.hardware.read(usize::from(channel));
            let t = Nanos(before.0 + self.clock.now().since(before).0 / 2);
            let result = match read {
                Ok(value) => formula::convert(Number::Float(value), Status::GOOD, &convert_of(item)),
                Err(ChannelFault::Of(Fault::Gone)) => return Err(Fault::Gone),
                Err(ChannelFault::Of(fault)) => Err(fault.status()),
                Err(ChannelFault::NoNumber) => Err(Status::BAD_DECODING_ERROR),
            };
            answers.push(Answer { t, result });
        }
        Ok(())
    }

    fn write(&mut self, _slot: usize, _payload: &[u8]) -> Result<(), Fault> {
        Err(Fault::Failed(libc::EOPNOTSUPP))
    }

    fn read_back(&mut self, _slot: usize, _back: &mut Vec<u8>) -> Result<(), Fault> {
        Err(Fault::Failed(libc::EOPNOTSUPP))
    }
}
