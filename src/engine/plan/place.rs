//! Where a link's device is reached.

use std::any::Any;
use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::sync::Arc;

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

/// A socket on a CAN interface, as it is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanSocket {
    pub interface: Arc<str>,
    /// What it hears; none: nothing but error frames.
    pub filters: Vec<CanFilter>,
    /// Frames of CAN FD, too.
    pub fd: bool,
    /// The controller's times beside the kernel's, where it has them.
    pub hardware_time: bool,
    /// What it sends itself, once that was on the bus.
    pub hears_itself: bool,
}

/// `struct can_filter` of linux/can.h: frames pass whose identifier, masked, is this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct CanFilter {
    pub id: u32,
    pub mask: u32,
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
