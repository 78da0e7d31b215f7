//! A frame of CAN or CAN FD, and how SocketCAN carries it: `struct can_frame` and `struct canfd_frame` of
//! linux/can.h. The plant's own, so that it can't share a mistake with the gateway that reads it.

/// Of `struct can_frame` and `struct canfd_frame`.
const CLASSIC_BYTES: usize = 16;
const FD_BYTES: usize = 72;
const DATA_AT: usize = 8;

const EXTENDED: u32 = 0x8000_0000;
const REMOTE: u32 = 0x4000_0000;
const ERROR: u32 = 0x2000_0000;
/// `CANFD_BRS` and `CANFD_FDF`.
const BIT_RATE_SWITCH: u8 = 1;
const IS_FD: u8 = 4;

/// What a frame is besides its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FrameKind {
    #[default]
    Data,
    /// CAN FD, with bit rate switch.
    Fd,
    Remote,
    /// No frame of the wire: what a controller reports (linux/can/error.h); the id tells the class.
    Error,
}

/// A frame, sent or received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// 11 bits, 29 when extended.
    pub id: u32,
    pub extended: bool,
    pub kind: FrameKind,
    /// Up to 8 bytes; FD up to 64, in the steps that FD has.
    pub data: Vec<u8>,
}

impl Frame {
    pub(crate) fn data(id: u32, data: &[u8]) -> Frame {
        Frame { id, data: data.to_vec(), ..Frame::default() }
    }

    pub(super) fn to_wire(&self) -> Vec<u8> {
        let flag = |is: bool, bits: u32| if is { bits } else { 0 };
        let id = self.id
            | flag(self.extended, EXTENDED)
            | flag(self.kind == FrameKind::Remote, REMOTE)
            | flag(self.kind == FrameKind::Error, ERROR);
        let is_fd = self.kind == FrameKind::Fd;
        let mut wire = vec![0; if is_fd { FD_BYTES } else { CLASSIC_BYTES }];
        let bytes = self.data.len().min(wire.len() - DATA_AT);
        wire[..4].copy_from_slice(&id.to_ne_bytes());
        wire[4] = bytes as u8;
        wire[5] = if is_fd { BIT_RATE_SWITCH | IS_FD } else { 0 };
        wire[DATA_AT..DATA_AT + bytes].copy_from_slice(&self.data[..bytes]);
        wire
    }

    /// `None` for what no kernel hands over.
    pub(super) fn from_wire(wire: &[u8]) -> Option<Frame> {
        let is_fd = match wire.len() {
            CLASSIC_BYTES => false,
            FD_BYTES => true,
            _ => return None,
        };
        let word = u32::from_ne_bytes(wire.first_chunk().copied()?);
        let extended = word & EXTENDED != 0;
        let kind = match () {
            () if word & ERROR != 0 => FrameKind::Error,
            () if is_fd => FrameKind::Fd,
            () if word & REMOTE != 0 => FrameKind::Remote,
            () => FrameKind::Data,
        };
        // Of a remote frame the length is what is asked for; there is no data.
        let bytes = if kind == FrameKind::Remote { 0 } else { usize::from(*wire.get(4)?) };
        let data = wire.get(DATA_AT..DATA_AT + bytes)?.to_vec();
        let is_wide = extended || kind == FrameKind::Error;
        Some(Frame { id: word & if is_wide { 0x1FFF_FFFF } else { 0x7FF }, extended, kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_lies_in_the_kernels_structure_and_comes_back() {
        let classic = Frame::data(0x123, &[0xDE, 0xAD]);
        let wire = classic.to_wire();
        assert_eq!(wire[..4], 0x123u32.to_ne_bytes());
        assert_eq!((wire.len(), wire[4], &wire[8..11]), (16, 2, &[0xDE, 0xAD, 0][..]));
        let fd = Frame { kind: FrameKind::Fd, data: (0..64).collect(), ..Frame::data(0x7FF, &[]) };
        assert_eq!((fd.to_wire().len(), fd.to_wire()[4], fd.to_wire()[5]), (72, 64, 5));
        let extended = Frame { extended: true, ..Frame::data(0x1F33_4455, &[1]) };
        assert_eq!(extended.to_wire()[..4], 0x9F33_4455u32.to_ne_bytes());
        let remote = Frame { kind: FrameKind::Remote, ..Frame::data(0x705, &[]) };
        let error = Frame { kind: FrameKind::Error, data: vec![0; 8], ..Frame::data(0x40, &[]) };
        for frame in [classic, fd, extended, remote, error] {
            assert_eq!(Frame::from_wire(&frame.to_wire()), Some(frame));
        }
    }

    #[test]
    fn what_is_no_frame_is_none() {
        assert_eq!(Frame::from_wire(&[0; 15]), None);
        let mut wire = [0; 16];
        wire[4] = 9;
        assert_eq!(Frame::from_wire(&wire), None);
    }
}
