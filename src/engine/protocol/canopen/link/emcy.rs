//! Emergencies (CiA 301, section 7.2.7).

use super::message::Message;

/// What a node says when something is wrong with it, or is right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Emergency {
    /// Table 26: 0 means that the error is gone.
    pub code: u16,
    /// Object 0x1001.
    pub register: u8,
    pub manufacturer: [u8; 5],
}

impl Emergency {
    /// `None`: the message has not the eight bytes of an emergency.
    pub fn read(message: &Message) -> Option<Emergency> {
        let [low, high, register, manufacturer @ ..] = message.bytes() else { return None };
        let manufacturer = manufacturer.try_into().ok()?;
        Some(Emergency { code: u16::from_le_bytes([*low, *high]), register: *register, manufacturer })
    }
}

/// The class of an error code (table 26).
pub fn class_name(code: u16) -> &'static str {
    match code >> 8 {
        0x00 => "error reset or no error",
        0x10 => "generic error",
        0x20 => "current",
        0x21 => "current, device input side",
        0x22 => "current inside the device",
        0x23 => "current, device output side",
        0x30 => "voltage",
        0x31 => "mains voltage",
        0x32 => "voltage inside the device",
        0x33 => "output voltage",
        0x40 => "temperature",
        0x41 => "ambient temperature",
        0x42 => "device temperature",
        0x50 => "device hardware",
        0x60 => "device software",
        0x61 => "internal software",
        0x62 => "user software",
        0x63 => "data set",
        0x70 => "additional modules",
        0x80 => "monitoring",
        0x81 => "communication",
        0x82 => "protocol error",
        0x90 => "external error",
        0xF0 => "additional functions",
        0xFF => "device specific",
        _ => "unknown class",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_register_and_the_rest_are_read() {
        let message = Message::new(0x85, &[0x10, 0x82, 0x11, 1, 2, 3, 4, 5]);
        let expected = Emergency { code: 0x8210, register: 0x11, manufacturer: [1, 2, 3, 4, 5] };
        assert_eq!(Emergency::read(&message), Some(expected));
        assert_eq!(class_name(0x8210), "protocol error");
        assert_eq!(Emergency::read(&Message::new(0x85, &[0x10, 0x82, 0x11])), None);
    }
}
