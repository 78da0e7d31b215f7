//! Channels of an IIO device, one read each; outputs, one write each.

use std::sync::Arc;

use super::device::{ChannelFault, Channels, Clock, Fault};
use super::formula::{self, Number};
use super::{Answer, Reader, convert_of};
use crate::protocol::local_io::plan::{LocalIoSetup, LocalIoSource, LocalIoWrite};
use crate::tag::{Nanos, Status};

/// A device's channels by the setup.
pub struct ChannelReader {
    hardware: Box<dyn Channels>,
    clock: Box<dyn Clock>,
    setup: Arc<LocalIoSetup>,
}

impl ChannelReader {
    pub fn new(hardware: Box<dyn Channels>, clock: Box<dyn Clock>, setup: Arc<LocalIoSetup>) -> ChannelReader {
        ChannelReader { hardware, clock, setup }
    }

    /// The channel of a slot.
    fn output(&self, slot: usize) -> Result<usize, Fault> {
        match self.setup.writes.get(slot) {
            Some(LocalIoWrite::Channel(channel)) => Ok(usize::from(*channel)),
            _ => Err(Fault::Failed(libc::EINVAL)),
        }
    }
}

impl Reader for ChannelReader {
    fn scan(&mut self, request: usize, answers: &mut Vec<Answer>) -> Result<(), Fault> {
        let setup = self.setup.clone();
        let Some(items) = setup.requests.get(request).cloned() else { return Ok(()) };
        for item in setup.items.get(items.start as usize..items.end as usize).unwrap_or_default() {
            let LocalIoSource::Channel(channel) = item.source else { continue };
            let before = self.clock.now();
            let read = self.hardware.read(usize::from(channel));
            let t = Nanos(before.0 + self.clock.now().since(before).0 / 2);
            let result = match read {
                Ok(value) => formula::convert(Number::Float(value), Status::GOOD, &convert_of(item)),
                Err(ChannelFault::Of(Fault::Gone)) => return Err(Fault::Gone),
                Err(ChannelFault::Of(fault)) => Err(fault.status()),
                Err(ChannelFault::NoNumber) => Err(Status::BAD_DECODING_ERROR),
                Err(ChannelFault::Unwritten) => {
                    answers.push(Answer::unchanged(t));
                    continue;
                }
            };
            answers.push(Answer::read(t, result));
        }
        Ok(())
    }

    fn write(&mut self, slot: usize, payload: &[u8]) -> Result<(), Fault> {
        let bytes = payload.try_into().map_err(|_| Fault::Failed(libc::EINVAL))?;
        self.hardware.write(self.output(slot)?, f64::from_ne_bytes(bytes))
    }

    fn read_back(&mut self, slot: usize, back: &mut Vec<u8>) -> Result<(), Fault> {
        match self.hardware.read_back(self.output(slot)?) {
            Ok(value) => back.extend(value.to_ne_bytes()),
            Err(ChannelFault::Of(fault)) => return Err(fault),
            Err(ChannelFault::NoNumber | ChannelFault::Unwritten) => return Err(Fault::Failed(libc::EIO)),
        }
        Ok(())
    }
}
