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

/// What a CAN_RAW socket reads and writes: `struct can_frame` of linux/can.h, 16 bytes.
pub const CAN_FRAME_BYTES: usize = 16;
const DATA_AT: usize = 8;
const REMOTE_FLAG: u32 = 0x4000_0000;
const ERROR_FLAG: u32 = 0x2000_0000;
const EXTENDED_FLAG: u32 = 0x8000_0000;

/// What a socket read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    Message(Message),
    /// The controller tells of its own trouble: its classes, and what they are about (linux/can/error.h).
    Error {
        classes: u32,
        about: [u8; 8],
    },
    /// A frame of another kind, or none at all.
    Other,
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

    pub fn to_can_frame(self) -> [u8; CAN_FRAME_BYTES] {
        let id = u32::from(self.cob_id & 0x7FF) | if self.remote { REMOTE_FLAG } else { 0 };
        let [a, b, c, d] = id.to_ne_bytes();
        let [e, f, g, h, i, j, k, l] = self.data;
        [a, b, c, d, self.len.min(8), 0, 0, 0, e, f, g, h, i, j, k, l]
    }

    /// Of what a socket read.
    pub fn from_can_frame(bytes: &[u8]) -> Received {
        let (Some(&[a, b, c, d, len]), Some(data)) = (bytes.first_chunk::<5>(), bytes.get(DATA_AT..CAN_FRAME_BYTES))
        else {
            return Received::Other;
        };
        let id = u32::from_ne_bytes([a, b, c, d]);
        if id & ERROR_FLAG != 0 {
            let classes = id & !(ERROR_FLAG | REMOTE_FLAG | EXTENDED_FLAG);
            return Received::Error { classes, about: Message::new(0, data).data };
        }
        if bytes.len() != CAN_FRAME_BYTES || len > 8 || id & EXTENDED_FLAG != 0 {
            return Received::Other;
        }
        let mut message = Message::new((id & 0x7FF) as u16, data);
        (message.remote, message.len) = (id & REMOTE_FLAG != 0, len);
        Received::Message(message)
    }

    pub fn bytes(&self) -> &[u8] {
        self.data.get(..usize::from(self.len)).unwrap_or(&self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_frame_of_the_kernel_and_back() {
        for message in [Message::new(0x605, &[1, 2, 3]), Message::remote(0x705), Message::new(0x80, &[])] {
            assert_eq!(Message::from_can_frame(&message.to_can_frame()), Received::Message(message));
        }
        assert_eq!(Message::new(0x185, &[7]).to_can_frame()[4..10], [1, 0, 0, 0, 7, 0]);
    }

    #[test]
    fn frames_of_other_kinds_are_none_of_ours() {
        let mut frame = Message::new(0x185, &[7]).to_can_frame();
        assert_eq!(Message::from_can_frame(&frame[..15]), Received::Other);
        frame[4] = 9;
        assert_eq!(Message::from_can_frame(&frame), Received::Other);
        frame[..5].copy_from_slice(&[0x85, 1, 0, 0x80, 1]);
        assert_eq!(Message::from_can_frame(&frame), Received::Other, "29 bits");
        frame[..4].copy_from_slice(&(0x2000_0040u32).to_ne_bytes());
        let about = [7, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Message::from_can_frame(&frame), Received::Error { classes: 0x40, about });
        assert_eq!(Message::from_can_frame(&[]), Received::Other);
    }
}
