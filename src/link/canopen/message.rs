//! A CANopen message: identifier and up to eight bytes of a base-format CAN frame (CiA 301, section 7.1).

/// One communication object on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// 11 bits.
    pub cob_id: u16,
    /// A remote frame: it asks for the object, and has no data.
    pub remote: bool,
    /// Bytes of `data` that count, at most 8.
    pub len: u8,
    pub data: [u8; 8],
}

/// Network management commands.
pub const NMT: u16 = 0x000;
/// The default identifier of SYNC.
pub const SYNC: u16 = 0x080;
/// Emergencies of a node: this and its number.
pub const EMCY: u16 = 0x080;
/// From an SDO server to its client, and from a client to the server.
pub const SDO_ANSWER: u16 = 0x580;
pub const SDO_REQUEST: u16 = 0x600;
/// Boot-up, heartbeat and node guarding.
pub const ERROR_CONTROL: u16 = 0x700;

impl Message {
    /// `data` beyond eight bytes is left out.
    pub fn new(cob_id: u16, data: &[u8]) -> Message {
        let mut message = Message { cob_id, remote: false, len: data.len().min(8) as u8, data: [0; 8] };
        for (to, from) in message.data.iter_mut().zip(data) {
            *to = *from;
        }
        message
    }

    pub fn remote(cob_id: u16) -> Message {
        Message { cob_id, remote: true, len: 0, data: [0; 8] }
    }

    pub fn bytes(&self) -> &[u8] {
        self.data.get(..usize::from(self.len)).unwrap_or(&self.data)
    }
}
