//! The work of a CANopen link: what is read of which node by which service, and how each node is set up.

pub mod build;
pub mod cost;
pub mod demand;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::eds::pdo::Pdo;
use super::model::{CanOpenConfig, CanOpenField, CanOpenSource, NodeWatching};
use crate::limits::CAN_FILTERS_MAX;
use crate::plan::{CanFilter, CanSocket, Checks, ScanId};
use crate::protocol::can::plan::filters::{CAN_EXTENDED, CAN_REMOTE};
use crate::tag::{GroupId, Object, ScalarType, Scaling, TagId, ValueType};

/// The work of a CANopen link.
#[derive(Debug, Clone, PartialEq)]
pub struct CanOpenPlan {
    pub config: CanOpenConfig,
    /// As in the configuration.
    pub nodes: Vec<CanOpenNodePlan>,
    /// What is read, sorted by scan and node.
    pub items: Vec<CanOpenItem>,
    pub decodes: Vec<CanOpenDecode>,
    /// What values of some tags have to pass.
    pub checks: Checks,
    /// The scans of its groups, each with its items.
    pub scans: Vec<CanOpenScan>,
    pub writes: Vec<CanOpenWrite>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanOpenScan {
    pub id: ScanId,
    pub group: GroupId,
    pub items: Range<u32>,
}

/// How one node is set up, watched and read.
#[derive(Debug, Clone, PartialEq)]
pub struct CanOpenNodePlan {
    pub id: u8,
    pub watching: NodeWatching,
    pub start: bool,
    pub reset: bool,
    pub steps: Vec<BootStep>,
    pub tpdos: Vec<TpdoPlan>,
    pub rpdos: Vec<RpdoPlan>,
    /// Into [`CanOpenPlan::items`].
    pub items: Vec<u32>,
    /// Into [`CanOpenPlan::writes`]: those that go by PDO.
    pub pdo_writes: Vec<u32>,
    /// Of the longest value that goes over SDO.
    pub value_bytes_max: usize,
}

/// What is done at each start of a node, by SDO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootStep {
    /// It must have this value, or it is another device than was planned for.
    Check {
        object: Object,
        expected: u32,
    },
    Write {
        object: Object,
        value: Vec<u8>,
    },
    /// Its own parameters of this PDO, by index into [`CanOpenNodePlan::tpdos`].
    ReadTpdo(u16),
    /// Likewise, into [`CanOpenNodePlan::rpdos`].
    ReadRpdo(u16),
    /// What the objects hold that this RPDO carries.
    ReadImage(u16),
}

/// A PDO that the node sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpdoPlan {
    /// From 1.
    pub number: u16,
    /// What its data sheet says; `None`: only the node knows.
    pub planned: Option<Pdo>,
}

/// A PDO that the node receives, and the link sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpdoPlan {
    /// From 1.
    pub number: u16,
    /// What its data sheet says; `None`: only the node knows.
    pub planned: Option<Pdo>,
    /// Its parameters are read from the node at each start.
    pub is_read: bool,
}

/// One object (or one thing that the link knows of a node), and the tags that are made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanOpenItem {
    pub scan: ScanId,
    pub group: GroupId,
    /// Index into [`CanOpenPlan::nodes`].
    pub node: u16,
    pub source: CanOpenSource,
    pub way: Way,
    /// It is read in blocks, where the node can.
    pub block: bool,
    /// Of the value on the wire; 0: any number of bytes up to 8.
    pub bytes: u16,
    /// Into [`CanOpenPlan::decodes`].
    pub decodes: Range<u32>,
}

/// By which service an item is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Sdo,
    /// It has to be in one of the node's PDOs.
    Pdo,
    /// The node's own mapping decides at its start.
    AsMapped,
    /// Nothing is asked.
    Own,
}

/// How one tag is made of an item's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CanOpenDecode {
    pub tag: TagId,
    pub field: CanOpenField,
    /// Elements; 1 for a scalar.
    pub len: u16,
    pub ty: ValueType,
    pub scaling: Scaling,
    /// The tag is one of [`CanOpenPlan::checks`].
    pub is_checked: bool,
    /// A float that is not a number, or infinite, is a value.
    pub allow_nan: bool,
}

impl CanOpenDecode {
    /// The sample is the scaled raw value, as a float64.
    pub fn is_scaled(&self) -> bool {
        let (ValueType::Scalar(of) | ValueType::Array { of, .. }) = self.ty else { return false };
        of == ScalarType::Float64 && !(self.scaling.is_none() && self.field == CanOpenField::Real64)
    }
}

/// A tag that may be written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CanOpenWrite {
    pub node: u16,
    pub object: Object,
    pub block: bool,
    /// By the RPDO that carries it, in place of an SDO.
    pub by_pdo: bool,
    pub decode: CanOpenDecode,
}

/// Bits of a filter's mask: frames with extended identifiers and requests for frames are none of CANopen's answers.
const NO_EXTENDED_NO_REMOTE: u32 = CAN_EXTENDED | CAN_REMOTE;

impl CanOpenPlan {
    pub fn decodes_of(&self, item: &CanOpenItem) -> &[CanOpenDecode] {
        &self.decodes[item.decodes.start as usize..item.decodes.end as usize]
    }

    /// The socket that it needs.
    pub fn socket(&self) -> CanSocket {
        CanSocket {
            interface: self.config.interface.clone(),
            filters: self.filters(),
            fd: false,
            hardware_time: false,
            hears_itself: false,
        }
    }

    /// What the socket is to receive, and nothing else.
    fn filters(&self) -> Vec<CanFilter> {
        let mut filters = Vec::new();
        let filter = |id: u16, mask: u32| CanFilter { id: u32::from(id), mask: mask | NO_EXTENDED_NO_REMOTE };
        let exactly = |id| filter(id, 0x7FF);
        for node in &self.nodes {
            let id = u16::from(node.id);
            filters.extend([exactly(0x080 + id), exactly(0x580 + id), exactly(0x700 + id)]);
            for tpdo in &node.tpdos {
                match &tpdo.planned {
                    Some(pdo) => filters.push(exactly(pdo.cob_id)),
                    // Wherever the node has put them: all that PDOs may have, 0x181 to 0x57F (CiA 301, table 39).
                    None => filters.extend((3..11).map(|upper| filter(upper << 7, 0x780))),
                }
            }
        }
        filters.sort_by_key(|filter| (filter.mask, filter.id));
        filters.dedup();
        if filters.len() > CAN_FILTERS_MAX {
            // More than the kernel takes: all that nodes send, by the upper bits of the identifiers.
            return (1..15)
                .filter(|upper| !matches!(upper, 2 | 12 | 13))
                .map(|upper| filter(upper << 7, 0x780))
                .collect();
        }
        filters
    }
}
