//! Exact times on a serial line: "MODBUS over Serial Line Specification and Implementation Guide V1.02",
//! sections 2.5.1 (RTU) and 2.5.2 (ASCII); lengths of the messages by the "MODBUS Application Protocol
//! Specification V1.1b3", sections 6.1 to 6.4.
//!
//! A request takes the line from its first bit until the next request may begin: its own characters, the device's
//! time, the reply's characters, and the silences that part the frames.

use crate::config::{ModbusConfig, ModbusTransport, Parity, SerialFraming, Table};
use crate::tag::{NANOS_PER_SEC, Nanos};

/// How a line is set up, and how long its devices think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SerialLine {
    /// Bits a second.
    pub baud_rate: u32,
    /// 8 for RTU; 7 or 8 for ASCII.
    pub data_bits: u8,
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// From the last character of a request to the first of its reply.
    pub turnaround: Nanos,
    /// Between a reply and the next request, beyond the silence that RTU asks for: for devices that need a rest.
    pub pause: Nanos,
    /// ASCII framing instead of RTU.
    pub ascii: bool,
}

/// Above this baud rate the silences of RTU are fixed (2.5.1.1).
const FIXED_SILENCES_ABOVE_BAUD: u32 = 19_200;
const T1_5_FIXED: Nanos = Nanos::from_micros(750);
const T3_5_FIXED: Nanos = Nanos::from_micros(1_750);

/// Unit, function, first address (2), count (2), CRC (2).
const RTU_READ_REQUEST_BYTES: u32 = 8;
/// Unit, function, byte count, CRC (2).
const RTU_READ_REPLY_BYTES: u32 = 5;
/// Bytes of an RTU frame that ASCII does not send as they are: the CRC gives way to an LRC of one byte.
const CRC_BYTES: u32 = 2;
const LRC_BYTES: u32 = 1;
/// The colon before and CR LF behind a frame in ASCII.
const ASCII_MARKS: u32 = 3;

impl SerialLine {
    /// The line of a link; `None` where frames go over TCP.
    pub fn of(config: &ModbusConfig) -> Option<SerialLine> {
        let ModbusTransport::Serial(serial) = &config.transport else { return None };
        Some(SerialLine {
            baud_rate: serial.baud_rate,
            data_bits: serial.data_bits,
            parity: serial.parity,
            stop_bits: serial.stop_bits,
            turnaround: config.reply_expected,
            pause: config.turnaround,
            ascii: serial.framing == SerialFraming::Ascii,
        })
    }

    /// Bits of one character: start, data, parity, stop. Eleven in RTU as the specification has it.
    pub fn character_bits(&self) -> u32 {
        1 + u32::from(self.data_bits) + u32::from(self.parity != Parity::None) + u32::from(self.stop_bits)
    }

    /// What `halves` half characters take, rounded up to a nanosecond.
    fn half_characters(&self, halves: u64) -> Nanos {
        let bits_doubled = halves * u64::from(self.character_bits());
        let time =
            (u128::from(bits_doubled) * u128::from(NANOS_PER_SEC)).div_ceil(2 * u128::from(self.baud_rate.max(1)));
        Nanos(u64::try_from(time).unwrap_or(u64::MAX))
    }

    /// What so many characters take without a gap.
    pub fn characters(&self, count: u32) -> Nanos {
        self.half_characters(u64::from(count) * 2)
    }

    /// The longest silence within an RTU frame.
    pub fn t1_5(&self) -> Nanos {
        if self.baud_rate > FIXED_SILENCES_ABOVE_BAUD { T1_5_FIXED } else { self.half_characters(3) }
    }

    /// The shortest silence between two RTU frames.
    pub fn t3_5(&self) -> Nanos {
        if self.baud_rate > FIXED_SILENCES_ABOVE_BAUD { T3_5_FIXED } else { self.half_characters(7) }
    }

    /// Silence that must be kept before and after a frame. ASCII marks its frames and needs none.
    pub fn silence(&self) -> Nanos {
        if self.ascii { Nanos::ZERO } else { self.t3_5() }
    }

    /// Characters on the line for a frame that has so many bytes in RTU.
    fn frame_characters(&self, rtu_bytes: u32) -> u32 {
        if self.ascii { ASCII_MARKS + 2 * (rtu_bytes - CRC_BYTES + LRC_BYTES) } else { rtu_bytes }
    }

    /// Characters of a read request.
    pub fn request_characters(&self) -> u32 {
        self.frame_characters(RTU_READ_REQUEST_BYTES)
    }

    /// Characters of the reply to a read of `count` registers or bits of `table`.
    pub fn reply_characters(&self, table: Table, count: u16) -> u32 {
        let value_bytes = if table.is_bits() { u32::from(count).div_ceil(8) } else { u32::from(count) * 2 };
        self.frame_characters(RTU_READ_REPLY_BYTES + value_bytes)
    }

    /// From the first bit of a read request to the last of its reply. The device may begin when it has seen the
    /// request end, which in RTU takes a silence; a turnaround that is longer contains it.
    pub fn exchange(&self, table: Table, count: u16) -> Nanos {
        let request = self.characters(self.request_characters());
        let reply = self.characters(self.reply_characters(table, count));
        request + self.turnaround.max(self.silence()) + reply
    }

    /// What a read takes of the line's time: the exchange, then the silence (or the longer pause) that must pass
    /// before the next request.
    pub fn line_time(&self, table: Table, count: u16) -> Nanos {
        self.exchange(table, count) + self.silence().max(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: SerialLine = SerialLine {
        baud_rate: 9600,
        data_bits: 8,
        parity: Parity::Even,
        stop_bits: 1,
        turnaround: Nanos::ZERO,
        pause: Nanos::ZERO,
        ascii: false,
    };

    #[test]
    fn a_character_of_rtu_has_eleven_bits_with_parity_or_a_second_stop_bit() {
        assert_eq!(LINE.character_bits(), 11);
        assert_eq!(SerialLine { parity: Parity::None, stop_bits: 2, ..LINE }.character_bits(), 11);
        // Common, though the specification does not know it.
        assert_eq!(SerialLine { parity: Parity::None, ..LINE }.character_bits(), 10);
        assert_eq!(SerialLine { data_bits: 7, ascii: true, ..LINE }.character_bits(), 10);
    }

    #[test]
    fn silences_follow_the_characters_up_to_19200_and_are_fixed_above() {
        // 11 bits / 9600 = 1.145833 ms a character.
        assert_eq!((LINE.t1_5(), LINE.t3_5()), (Nanos(1_718_750), Nanos(4_010_417)));
        let fast = SerialLine { baud_rate: 19_200, ..LINE };
        assert_eq!((fast.t1_5(), fast.t3_5()), (Nanos(859_375), Nanos(2_005_209)));
        let slow = SerialLine { baud_rate: 1200, ..LINE };
        assert_eq!((slow.t1_5(), slow.t3_5()), (Nanos(13_750_000), Nanos(32_083_334)));
        for baud_rate in [19_201, 38_400, 115_200, 3_000_000] {
            let line = SerialLine { baud_rate, ..LINE };
            assert_eq!((line.t1_5(), line.t3_5()), (Nanos(750_000), Nanos(1_750_000)), "{baud_rate}");
        }
    }

    #[test]
    fn a_read_is_as_many_characters_as_the_specification_says() {
        assert_eq!(LINE.request_characters(), 8);
        // 5 and 2 a register, the longest frame being 256 bytes with one byte to spare.
        assert_eq!(LINE.reply_characters(Table::HoldingRegisters, 1), 7);
        assert_eq!(LINE.reply_characters(Table::InputRegisters, 125), 255);
        assert_eq!(LINE.reply_characters(Table::Coils, 1), 6);
        assert_eq!(LINE.reply_characters(Table::DiscreteInputs, 9), 7);
        assert_eq!(LINE.reply_characters(Table::Coils, 2000), 255);
        let ascii = SerialLine { ascii: true, ..LINE };
        // ":" + 2 × (unit, function, 4 bytes, LRC) + CR LF.
        assert_eq!(ascii.request_characters(), 17);
        // ":" + 2 × (unit, function, byte count, 2 bytes, LRC) + CR LF.
        assert_eq!(ascii.reply_characters(Table::HoldingRegisters, 1), 15);
    }

    /// By hand, in bits: (characters × bits a character) × 1e9 / baud.
    #[test]
    fn a_read_takes_the_line_for_its_characters_and_silences() {
        // 9600 8E1, ten registers: (8 + 25) × 11 = 363 bits = 37.8125 ms, and 3.5 characters twice.
        let ten = LINE.line_time(Table::HoldingRegisters, 10);
        assert_eq!(ten.0.abs_diff(37_812_500 + 2 * 4_010_417), 1, "two parts are rounded up: {ten:?}");
        // 19200 8E1: half of it.
        let line = SerialLine { baud_rate: 19_200, ..LINE };
        assert!(line.line_time(Table::HoldingRegisters, 10).0.abs_diff(18_906_250 + 2 * 2_005_209) <= 1);
        // 115200 8N1, 125 registers: (8 + 255) × 10 = 2630 bits = 22.829861 ms, and 1.75 ms twice.
        let line = SerialLine { baud_rate: 115_200, parity: Parity::None, ..LINE };
        assert!(line.line_time(Table::HoldingRegisters, 125).0.abs_diff(22_829_862 + 3_500_000) <= 1);
        // 1200 8E1, one coil: (8 + 6) × 11 = 154 bits = 128.333 ms, and 32.083 ms twice.
        let line = SerialLine { baud_rate: 1200, ..LINE };
        assert!(line.line_time(Table::Coils, 1).0.abs_diff(128_333_334 + 2 * 32_083_334) <= 1);
        // 3 Mbaud 8N1, one register: (8 + 7) × 10 = 150 bits = 50 µs: the silences are nearly all of it.
        let line = SerialLine { baud_rate: 3_000_000, parity: Parity::None, ..LINE };
        assert!(line.line_time(Table::HoldingRegisters, 1).0.abs_diff(50_000 + 3_500_000) <= 1);
    }

    #[test]
    fn a_slow_device_and_its_rest_count_where_they_are_longer_than_the_silence() {
        let plain = LINE.line_time(Table::InputRegisters, 2);
        let within = SerialLine { turnaround: Nanos::from_millis(4), pause: Nanos::from_millis(4), ..LINE };
        assert_eq!(within.line_time(Table::InputRegisters, 2), plain, "the silence is 4.01 ms anyway");
        let slow = SerialLine { turnaround: Nanos::from_millis(30), ..LINE };
        assert_eq!(slow.line_time(Table::InputRegisters, 2), plain + Nanos(30_000_000 - 4_010_417));
        let tired = SerialLine { pause: Nanos::from_millis(50), ..LINE };
        assert_eq!(tired.line_time(Table::InputRegisters, 2), plain + Nanos(50_000_000 - 4_010_417));
        let ascii = SerialLine { ascii: true, turnaround: Nanos::from_millis(5), ..LINE };
        // (17 + 2 × 8 + 3) × 11 bits and the turnaround; no silences.
        assert_eq!(ascii.line_time(Table::HoldingRegisters, 2), Nanos(19_479_167 + 5_000_000 + 21_770_834));
    }
}
