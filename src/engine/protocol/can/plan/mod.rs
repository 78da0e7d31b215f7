//! A CAN link's plan: from the addresses of its tags to tables that are walked frame by frame.
//!
//! | file | subject |
//! |---|---|
//! | `model` | the tables |
//! | `bits` | a field's place in the data of a frame |
//! | `build` | addresses to tables |
//! | `cost` | what the link takes of its bus and its executor |
//! | `j1939` | raw values that are no values |
//! | `filters` | what the kernel lets through |
//! | `time` | how long a frame takes on the wire |

pub mod bits;
pub mod build;
pub mod cost;
pub mod filters;
pub mod j1939;
pub mod model;
#[cfg(test)]
mod tests;
pub mod time;

use super::model::{CanConfig, CanFrames, CanTimestamps};
use crate::config::TagConfig;
use crate::plan::{CanSocket, Scanning};
use crate::tag::{Nanos, TagId};

pub use bits::{BitPlace, CAN_DATA_BYTES_MAX, CAN_DATA_ROOM, CanData};
pub use filters::{CAN_ERROR, CAN_EXTENDED, CAN_EXTENDED_MASK, CAN_REMOTE, CAN_STANDARD_MASK, TP_CM, TP_DT};
pub use j1939::j1939_special;
pub use model::*;
pub use time::{FrameShape, fd_bytes};

impl CanPlan {
    pub fn new(config: &CanConfig, tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> CanPlan {
        build::plan(config, tags, scanning)
    }

    /// The socket that it needs.
    pub fn socket(&self) -> CanSocket {
        CanSocket {
            interface: self.config.interface.clone(),
            filters: self.filters.clone(),
            fd: self.config.fd,
            hardware_time: self.config.timestamps == CanTimestamps::Hardware,
            // Writes are confirmed by what comes back from the bus.
            hears_itself: !self.transmits.is_empty(),
        }
    }

    /// The fields of a message, whatever its switches say.
    pub fn decodes_of(&self, message: &CanMessage) -> &[CanDecode] {
        let cases = &self.cases[message.cases.start as usize..message.cases.end as usize];
        match (cases.first(), cases.last()) {
            (Some(first), Some(last)) => &self.decodes[first.decodes.start as usize..last.decodes.end as usize],
            _ => &[],
        }
    }

    /// A message's frames: one, or those of the transport protocol with what announces them.
    pub fn frames_of(&self, message: &CanMessage) -> (FrameShape, u64) {
        match message.frames {
            CanFrames::Group { .. } if message.bytes > 8 => {
                (FrameShape { extended: true, fd: false, bytes: 8 }, u64::from(message.bytes.div_ceil(7)) + 1)
            }
            _ => {
                let (fd, bytes) = (self.config.fd && message.bytes > 8, message.bytes.min(64) as u8);
                (FrameShape { extended: message.extended, fd, bytes }, 1)
            }
        }
    }

    /// The shortest time between two frames of a message on a bus that carries nothing else.
    pub fn interval_min(&self, message: &CanMessage) -> Nanos {
        // The declared length: shorter frames give no values.
        let (shape, frames) = self.frames_of(message);
        Nanos(shape.time_min(self.config.bitrate, self.config.data_bitrate).0 * frames)
    }
}
