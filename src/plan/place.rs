//! Where a link's device is reached.

use std::any::Any;
use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::can::CanSocket;
use crate::config::SerialConfig;

/// A device's place in the world.
#[derive(Debug, Clone)]
pub enum Place {
    Tcp {
        host: Arc<str>,
        port: u16,
    },
    Serial(Arc<SerialConfig>),
    /// A CAN interface, and what is to be received from it.
    Can(Arc<CanSocket>),
    /// What its protocol opens itself.
    Own(Arc<dyn Opens>),
}

/// A device that only its protocol knows how to open.
pub trait Opens: Any + Debug + Send + Sync {
    /// Opens it; blocks for as long as that takes.
    ///
    /// # Errors
    /// What is wrong, for people.
    fn open(self: Arc<Self>) -> Result<OwnedFd, String>;

    fn equals(&self, other: &dyn Opens) -> bool;
}

impl dyn Opens {
    /// As the device of one protocol; `None`: it is another's.
    pub fn get<T: Opens>(self: Arc<dyn Opens>) -> Option<Arc<T>> {
        let any: Arc<dyn Any + Send + Sync> = self;
        any.downcast().ok()
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Tcp { host, port }, Place::Tcp { host: other, port: other_port }) => {
                (host, port) == (other, other_port)
            }
            (Place::Serial(own), Place::Serial(other)) => own == other,
            (Place::Can(own), Place::Can(other)) => own == other,
            (Place::Own(own), Place::Own(other)) => own.equals(&**other),
            _ => false,
        }
    }
}
