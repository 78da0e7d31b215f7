//! Who else speaks on a CAN bus: messages by their identifiers, one of them with branches, and parameter groups of
//! J1939 from several nodes, in one frame or in packets; and which tags a frame concerns.

use super::super::given::{branch_key, frame_key, group_key};
use super::super::model::dbc;
use super::packets::{self, STREAMS};
use super::{EXTENDED, MESSAGES, message_id};

/// Parameter groups in one frame: group, source address, and the destination of those that have one.
const SINGLES: [(u32, u8, u8); 7] = [
    (0xF010, 0x11, 0),
    (0xF010, 0x21, 0),
    (0x1_1000, 0x11, 0x31),
    (0x1_1000, 0x31, 0x21),
    (0x1_1000, 0x21, 0xFF),
    (dbc::STATE_GROUP, 0x21, 0),
    (dbc::STATE_GROUP, 0x31, 0),
];
/// How many there are on a bus.
pub const SENDERS: usize = MESSAGES as usize + 1 + SINGLES.len() + STREAMS;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    Plain(u32),
    Branches,
    Single { pgn: u32, source: u8, destination: u8 },
    Packets(usize),
}

/// An identifier of J1939 (SAE J1939-21, section 5.2).
pub fn group_id(priority: u32, pgn: u32, destination: u8, source: u8) -> u32 {
    let extension = if pgn >> 8 & 0xFF < 0xF0 { u32::from(destination) } else { pgn & 0xFF };
    EXTENDED | priority << 26 | (pgn & 0x3_FF00 | extension) << 8 | u32::from(source)
}

impl Sender {
    pub fn of(at: usize) -> Sender {
        let singles = MESSAGES as usize + 1;
        match at.checked_sub(singles) {
            None if at < MESSAGES as usize => Sender::Plain(at as u32),
            None => Sender::Branches,
            Some(single) => match SINGLES.get(single) {
                Some((pgn, source, destination)) => {
                    Sender::Single { pgn: *pgn, source: *source, destination: *destination }
                }
                None => Sender::Packets(single - SINGLES.len()),
            },
        }
    }

    /// The identifier of its next frame; of packets, that of those which carry data.
    pub fn id(self, priority: u32) -> u32 {
        match self {
            Sender::Plain(message) => message_id(message),
            Sender::Branches => dbc::BRANCHES,
            Sender::Single { pgn, source, destination } => group_id(priority, pgn, destination, source),
            Sender::Packets(stream) => packets::data_id(stream),
        }
    }
}

/// The keys of the tags that a frame concerns which is no packet.
pub fn keys_of(can_id: u32, data: [u8; 8], len: u8) -> Vec<u64> {
    if let Some((pgn, source)) = single(can_id) {
        return vec![group_key(pgn, Some(source)), group_key(pgn, None)];
    }
    let mut keys = vec![frame_key(can_id)];
    // Switches are in the first byte.
    if len > 0 {
        let values = dbc::branches(can_id).iter().filter(|(mask, first, last)| {
            let which = data[0] & mask;
            (*first..=*last).contains(&which)
        });
        keys.extend(values.map(|(_, first, last)| branch_key(can_id, u64::from(*first), u64::from(*last))));
    }
    keys
}

fn single(can_id: u32) -> Option<(u32, u8)> {
    let is_it = |of: &&(u32, u8, u8)| group_id(0, of.0, of.2, of.1) == can_id & !(7 << 26);
    SINGLES.iter().find(is_it).map(|(pgn, source, _)| (*pgn, *source))
}
