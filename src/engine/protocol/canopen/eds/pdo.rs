//! What a PDO carries by the data sheet (CiA 301, sections 7.5.2.35 to 7.5.2.38).

use super::Eds;
use crate::config::beside::Fault;
use crate::limits::{CANOPEN_MAPPED_MAX, CANOPEN_PDOS_MAX};
use crate::tag::{Nanos, Object};

/// Counts of mapped objects that make a PDO a multiplexed one: by source and by destination address (CiA 301, section
/// 7.2.2.5).
const MPDO: [u64; 2] = [0xFE, 0xFF];

/// As the device sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PdoDirection {
    /// The device receives it: we write.
    Receive,
    /// The device sends it: we read.
    Transmit,
}

impl PdoDirection {
    /// The index of the communication parameters of PDO 1.
    pub fn communication(self) -> u16 {
        match self {
            PdoDirection::Receive => 0x1400,
            PdoDirection::Transmit => 0x1800,
        }
    }

    /// The index of the mapping parameters of PDO 1.
    pub fn mapping(self) -> u16 {
        self.communication() + 0x200
    }
}

/// One PDO, numbered from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pdo {
    pub number: u16,
    pub cob_id: u16,
    /// Transmission type: 0 to 240 with SYNC, 254 and 255 by event.
    pub kind: u8,
    /// Sub-index 3, in units of 100 µs; 0: none.
    pub inhibit_100us: u16,
    /// Sub-index 5; 0: none.
    pub event_timer_ms: u16,
    pub fields: Vec<MappedField>,
}

impl Pdo {
    /// Of an RPDO whose absence the device watches (its event timer): how often it is sent, so that one may be lost.
    pub fn repeated(&self) -> Option<Nanos> {
        (self.event_timer_ms > 0).then(|| Nanos(Nanos::from_millis(self.event_timer_ms.into()).0 / 2))
    }
}

/// What stands in a PDO, bit 0 being the least significant of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedField {
    pub object: Object,
    pub first_bit: u8,
    pub bits: u8,
}

/// One PDO that is valid by the file and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadPdo {
    pub number: u16,
    /// What it would carry, as far as that is said.
    pub objects: Vec<Object>,
    pub why: Fault,
}

/// The PDOs of one direction, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pdos {
    pub read: Vec<Pdo>,
    pub left_out: Vec<UnreadPdo>,
}

impl Pdos {
    /// Why a PDO that would carry the object is not read.
    pub fn why_left_out(&self, object: Object) -> Option<&UnreadPdo> {
        self.left_out.iter().find(|pdo| pdo.objects.contains(&object))
    }
}

impl Eds {
    /// The PDOs that are valid by the file.
    pub fn pdos(&self, direction: PdoDirection, node: u8) -> Pdos {
        let mut pdos = Pdos::default();
        for number in 1..=CANOPEN_PDOS_MAX {
            match self.pdo(direction, number, node) {
                Ok(pdo) => pdos.read.extend(pdo),
                Err(why) => {
                    let objects = self.carried_by(direction.mapping() + number - 1, node);
                    pdos.left_out.push(UnreadPdo { number, objects, why });
                }
            }
        }
        pdos
    }

    fn carried_by(&self, mapping: u16, node: u8) -> Vec<Object> {
        let mapped =
            (1..=CANOPEN_MAPPED_MAX).filter_map(|sub| self.number(Object { index: mapping, sub }, node).ok()?);
        mapped.map(mapped_object).collect()
    }

    fn pdo(&self, direction: PdoDirection, number: u16, node: u8) -> Result<Option<Pdo>, Fault> {
        let communication = direction.communication() + number - 1;
        let mapping = direction.mapping() + number - 1;
        let at = |index, sub| {
            let object = Object { index, sub };
            match self.why_left_out(object) {
                Some(why) => Err(why.clone()),
                None => self.number(object, node),
            }
        };
        let identifier = Object { index: communication, sub: 1 };
        if self.get(identifier).is_none() && self.why_left_out(identifier).is_none() {
            return Ok(None);
        }
        // Without a value, the predefined connection set's (table 39): four PDOs each way.
        let predefined = (number <= 4).then(|| {
            let base = if direction == PdoDirection::Transmit { 0x180 } else { 0x200 };
            u64::from(base + 0x100 * (number - 1)) + u64::from(node)
        });
        let Some(cob_id) = at(communication, 1)?.or(predefined) else { return Ok(None) };
        // Bit 31: it does not exist. Bit 29: an identifier of 29 bits, which this master does not speak.
        if cob_id & 0xA000_0000 != 0 || cob_id & 0x7FF == 0 {
            return Ok(None);
        }
        let kind = at(communication, 2)?.unwrap_or(255).min(255) as u8;
        let inhibit_100us = at(communication, 3)?.unwrap_or(0).min(u64::from(u16::MAX)) as u16;
        let event_timer_ms = at(communication, 5)?.unwrap_or(0).min(u64::from(u16::MAX)) as u16;
        let count = at(mapping, 0)?.unwrap_or(0);
        let line = self.get(Object { index: mapping, sub: 0 }).map_or(0, |entry| entry.line);
        if MPDO.contains(&count) {
            let message = format!("the object {mapping:04X} makes it a multiplexed PDO (0x{count:X})");
            return Err(Fault::new(line, message, "its objects are read by SDO"));
        }
        if count > u64::from(CANOPEN_MAPPED_MAX) {
            let message = format!("the object {mapping:04X} maps {count} objects");
            return Err(Fault::new(line, message, format!("allowed: at most {CANOPEN_MAPPED_MAX}")));
        }
        let mut fields = Vec::new();
        let mut first_bit = 0u16;
        for sub in 1..=count as u8 {
            let Some(entry) = at(mapping, sub)? else { continue };
            let field =
                MappedField { object: mapped_object(entry), first_bit: first_bit.min(64) as u8, bits: entry as u8 };
            first_bit += u16::from(field.bits);
            if first_bit > 64 {
                let line = self.get(Object { index: mapping, sub }).map_or(line, |entry| entry.line);
                let message = format!("the object {mapping:04X} maps more than 64 bits");
                return Err(Fault::new(line, message, "a PDO has 8 bytes"));
            }
            fields.push(field);
        }
        Ok(Some(Pdo { number, cob_id: (cob_id & 0x7FF) as u16, kind, inhibit_100us, event_timer_ms, fields }))
    }
}

/// Index, sub-index and bits, from the top (CiA 301, section 7.5.2.36).
fn mapped_object(entry: u64) -> Object {
    Object { index: (entry >> 16) as u16, sub: (entry >> 8) as u8 }
}
