//! Frames as the kernel hands them over: `struct can_frame` and `struct canfd_frame` of linux/can.h, and what error
//! frames say (linux/can/error.h).

use crate::protocol::can::plan::bits::{CAN_DATA_BYTES_MAX, CAN_DATA_ROOM, CanData};
use crate::protocol::can::plan::filters::{CAN_ERROR, CAN_EXTENDED, CAN_EXTENDED_MASK, CAN_REMOTE, CAN_STANDARD_MASK};

/// Identifier, length, flags and two bytes more stand before the data.
const HEAD_BYTES: usize = 8;
/// sizeof(struct can_frame), sizeof(struct canfd_frame).
pub const CLASSICAL_BYTES: usize = HEAD_BYTES + 8;
pub const FD_BYTES: usize = HEAD_BYTES + CAN_DATA_BYTES_MAX;
/// Of an FD frame: its data goes at the higher rate.
const FLAG_BIT_RATE_SWITCH: u8 = 1;

/// What a socket read, with room behind it for the widest field.
pub struct Buffer(pub [u8; HEAD_BYTES + CAN_DATA_ROOM]);

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    Data {
        id: u32,
        extended: bool,
        len: u8,
    },
    Remote,
    /// The controller tells of itself: its classes.
    Error(u32),
    /// Nothing that the kernel's interface knows.
    Malformed,
}

impl Buffer {
    pub fn new() -> Buffer {
        Buffer([0; HEAD_BYTES + CAN_DATA_ROOM])
    }

    /// Of a frame of which the socket read `n` bytes.
    #[inline]
    pub fn head(&self, n: usize) -> Head {
        let &[a, b, c, d, len, ..] = &self.0;
        let most = match n {
            CLASSICAL_BYTES => 8,
            FD_BYTES => CAN_DATA_BYTES_MAX as u8,
            _ => return Head::Malformed,
        };
        let can_id = u32::from_ne_bytes([a, b, c, d]);
        if can_id & CAN_ERROR != 0 {
            return Head::Error(can_id & CAN_EXTENDED_MASK);
        }
        if can_id & CAN_REMOTE != 0 {
            return Head::Remote;
        }
        if len > most {
            return Head::Malformed;
        }
        let extended = can_id & CAN_EXTENDED != 0;
        let mask = if extended { CAN_EXTENDED_MASK } else { CAN_STANDARD_MASK };
        Head::Data { id: can_id & mask, extended, len }
    }

    #[inline]
    pub fn data(&self) -> &CanData {
        // The room is the head and the data: there is always so much behind the head.
        match self.0.last_chunk::<CAN_DATA_ROOM>() {
            Some(data) => data,
            None => &[0; CAN_DATA_ROOM],
        }
    }
}

/// The room for what the socket reads.
impl AsMut<[u8]> for Buffer {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0[..FD_BYTES]
    }
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::new()
    }
}

/// A frame to send, as the kernel takes it; beside it, how many of the bytes.
pub fn encode(id: u32, extended: bool, fd: bool, data: &[u8]) -> ([u8; FD_BYTES], usize) {
    let mut out = [0; FD_BYTES];
    let can_id = id | if extended { CAN_EXTENDED } else { 0 };
    out[..4].copy_from_slice(&can_id.to_ne_bytes());
    let most = if fd { CAN_DATA_BYTES_MAX } else { 8 };
    let data = &data[..data.len().min(most)];
    out[4] = data.len() as u8;
    out[5] = if fd { FLAG_BIT_RATE_SWITCH } else { 0 };
    out[HEAD_BYTES..HEAD_BYTES + data.len()].copy_from_slice(data);
    (out, if fd { FD_BYTES } else { CLASSICAL_BYTES })
}

/// What an error frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trouble {
    /// The controller has left the bus.
    pub bus_off: bool,
    /// It is back after that.
    pub restarted: bool,
    /// Its error counters: it may not send error flags any more; or is well again.
    pub passive: bool,
    pub active: bool,
    pub warning: bool,
    /// Frames were lost in the controller, which had no room for them.
    pub overflow: bool,
    pub lost_arbitration: bool,
    /// Nobody acknowledged a frame; errors of form, stuffing, bits, CRC; of the transceiver; a driver's time-out.
    pub no_acknowledge: bool,
    pub bus_error: bool,
}

impl Trouble {
    /// By the classes of an error frame and its data.
    pub fn of(classes: u32, data: &CanData) -> Trouble {
        let has = |class: u32| classes & class != 0;
        let controller = if has(0x04) { data[1] } else { 0 };
        Trouble {
            bus_off: has(0x40),
            restarted: has(0x100),
            passive: controller & 0x30 != 0,
            warning: controller & 0x0C != 0,
            active: controller & 0x40 != 0,
            overflow: controller & 0x03 != 0,
            lost_arbitration: has(0x02),
            no_acknowledge: has(0x20),
            bus_error: has(0x01 | 0x08 | 0x10 | 0x80),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::new();
        buffer.0[..bytes.len()].copy_from_slice(bytes);
        buffer
    }

    #[test]
    fn a_frame_that_is_sent_is_read_again() {
        let (bytes, n) = encode(0x123, false, false, &[1, 2, 3]);
        assert_eq!((n, read(&bytes).head(n)), (16, Head::Data { id: 0x123, extended: false, len: 3 }));
        assert_eq!(&read(&bytes).data()[..8], &[1, 2, 3, 0, 0, 0, 0, 0]);
        let (bytes, n) = encode(0x18F0_0400, true, true, &[7; 64]);
        assert_eq!((n, read(&bytes).head(n)), (72, Head::Data { id: 0x18F0_0400, extended: true, len: 64 }));
        assert_eq!(bytes[5], 1, "bit rate switch");
    }

    #[test]
    fn remote_and_impossible_frames_are_told_apart() {
        let (mut bytes, n) = encode(0x123, false, false, &[]);
        bytes[..4].copy_from_slice(&(0x123 | CAN_REMOTE).to_ne_bytes());
        assert_eq!(read(&bytes).head(n), Head::Remote);
        let (mut bytes, n) = encode(0x123, false, false, &[]);
        bytes[4] = 9;
        assert_eq!(read(&bytes).head(n), Head::Malformed);
        assert_eq!(read(&bytes).head(15), Head::Malformed);
    }

    #[test]
    fn error_frames_say_what_the_kernel_means() {
        let trouble = |classes, controller| {
            let mut data = [0; CAN_DATA_ROOM];
            data[1] = controller;
            Trouble::of(classes, &data)
        };
        assert_eq!(trouble(0x40, 0), Trouble { bus_off: true, ..Trouble::default() });
        assert_eq!(trouble(0x100, 0), Trouble { restarted: true, ..Trouble::default() });
        assert_eq!(trouble(0x04, 0x20), Trouble { passive: true, ..Trouble::default() });
        assert_eq!(trouble(0x04, 0x01), Trouble { overflow: true, ..Trouble::default() });
        assert_eq!(
            trouble(0x02, 0x20),
            Trouble { lost_arbitration: true, ..Trouble::default() },
            "data of another class"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..72), n in 0usize..100) {
            let buffer = read(&bytes);
            if let Head::Error(classes) = buffer.head(n) {
                let _ = Trouble::of(classes, buffer.data());
            }
        }
    }
}
