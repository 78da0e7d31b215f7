//! Exact times on a serial line: "MODBUS over Serial Line Specification and Implementation Guide V1.02",
//! sections 2.5.1 (RTU) and 2.5.2 (ASCII); lengths of the messages by the "MODBUS Application Protocol
//! Specification V1.1b3", sections 6.1 to 6.4.
//!
//! A request takes the line from its first bit until the next request may begin: its own characters, the device's
//! time, the reply's characters, and the silences that part the frames.

use super::model::{ModbusConfig, ModbusTransport, Table};
use crate::config::{Parity, SerialFraming};
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
/// Drivers hand received bytes over in pieces: a 16550A interrupts at 8 by default, and none sooner.
const UART_BYTES: u32 = 8;
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

    /// Characters of a frame with so many bytes from the function code on; 0: there is no frame.
    pub fn pdu_characters(&self, pdu_bytes: u32) -> u32 {
        // The unit before it, the CRC behind.
        if pdu_bytes == 0 { 0 } else { self.frame_characters(1 + pdu_bytes + CRC_BYTES) }
    }

    /// How often an executor is woken by a reply before it is whole.
    pub fn early_wake_ups(&self, table: Table, count: u16) -> u32 {
        self.reply_characters(table, count).div_ceil(UART_BYTES) - 1
    }

    /// The same, of a reply with so many bytes from the function code on.
    pub fn early_wake_ups_of(&self, pdu_bytes: u32) -> u32 {
        self.pdu_characters(pdu_bytes).div_ceil(UART_BYTES).saturating_sub(1)
    }

    /// What a request and its reply take of the line's time, as [`SerialLine::line_time`], by their bytes from the
    /// function code on.
    pub fn time_of_pdus(&self, request_bytes: u32, reply_bytes: u32) -> Nanos {
        let frame = |bytes| self.characters(self.pdu_characters(bytes));
        frame(request_bytes) + self.turnaround.max(self.silence()) + frame(reply_bytes) + self.silence().max(self.pause)
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

    /// Section 2.5.1.1 by hand, in nanoseconds, rounded up: 1.5 and 3.5 times the bits of a character over the baud
    /// rate, for characters of 9 to 12 bits. Above 19200 baud 750 µs and 1.750 ms, whatever the character.
    const SILENCES: [(u32, [(u64, u64); 4]); 15] = [
        (
            1_200,
            [(11_250_000, 26_250_000), (12_500_000, 29_166_667), (13_750_000, 32_083_334), (15_000_000, 35_000_000)],
        ),
        (1_800, [(7_500_000, 17_500_000), (8_333_334, 19_444_445), (9_166_667, 21_388_889), (10_000_000, 23_333_334)]),
        (2_400, [(5_625_000, 13_125_000), (6_250_000, 14_583_334), (6_875_000, 16_041_667), (7_500_000, 17_500_000)]),
        (4_800, [(2_812_500, 6_562_500), (3_125_000, 7_291_667), (3_437_500, 8_020_834), (3_750_000, 8_750_000)]),
        (9_600, [(1_406_250, 3_281_250), (1_562_500, 3_645_834), (1_718_750, 4_010_417), (1_875_000, 4_375_000)]),
        (14_400, [(937_500, 2_187_500), (1_041_667, 2_430_556), (1_145_834, 2_673_612), (1_250_000, 2_916_667)]),
        (19_200, [(703_125, 1_640_625), (781_250, 1_822_917), (859_375, 2_005_209), (937_500, 2_187_500)]),
        (19_201, FIXED),
        (28_800, FIXED),
        (38_400, FIXED),
        (57_600, FIXED),
        (115_200, FIXED),
        (460_800, FIXED),
        (921_600, FIXED),
        (3_000_000, FIXED),
    ];
    const FIXED: [(u64, u64); 4] = [(750_000, 1_750_000); 4];

    /// Every way to set up a character, and its bits.
    fn characters() -> impl Iterator<Item = (u8, Parity, u8, u32)> {
        [
            (7, Parity::None, 1, 9),
            (7, Parity::None, 2, 10),
            (7, Parity::Even, 1, 10),
            (7, Parity::Odd, 1, 10),
            (7, Parity::Even, 2, 11),
            (7, Parity::Odd, 2, 11),
            (8, Parity::None, 1, 10),
            (8, Parity::None, 2, 11),
            (8, Parity::Even, 1, 11),
            (8, Parity::Odd, 1, 11),
            (8, Parity::Even, 2, 12),
            (8, Parity::Odd, 2, 12),
        ]
        .into_iter()
    }

    #[test]
    fn silences_follow_the_characters_up_to_19200_baud_and_are_fixed_above() {
        for (baud_rate, figures) in SILENCES {
            for (data_bits, parity, stop_bits, bits) in characters() {
                let line = SerialLine { baud_rate, data_bits, parity, stop_bits, ..LINE };
                let (t1_5, t3_5) = figures[bits as usize - 9];
                let told = (line.character_bits(), line.t1_5(), line.t3_5(), line.silence());
                let silence = Nanos(t3_5);
                assert_eq!(told, (bits, Nanos(t1_5), silence, silence), "{baud_rate} {data_bits}{parity:?}{stop_bits}");
                let ascii = SerialLine { ascii: true, ..line };
                assert_eq!(ascii.silence(), Nanos::ZERO, "ASCII marks its frames");
            }
        }
    }

    /// A read takes request, silence, reply, silence. In bits over the baud rate, no part of it by the code under test.
    #[test]
    fn a_read_takes_its_bits_over_the_baud_rate_and_two_silences_at_every_speed_and_character() {
        // Registers or bits asked for, and the bytes of request and reply: 8, and 5 with the values.
        let reads = [
            (Table::HoldingRegisters, 1, 8 + 7),
            (Table::HoldingRegisters, 2, 8 + 9),
            (Table::InputRegisters, 20, 8 + 45),
            (Table::InputRegisters, 125, 8 + 255),
            (Table::Coils, 1, 8 + 6),
            (Table::DiscreteInputs, 2000, 8 + 255),
        ];
        for (baud_rate, figures) in SILENCES {
            for (data_bits, parity, stop_bits, bits) in characters() {
                let line = SerialLine { baud_rate, data_bits, parity, stop_bits, ..LINE };
                let (_, t3_5) = figures[bits as usize - 9];
                for (table, count, bytes) in reads {
                    let frames = f64::from(bytes * bits) / f64::from(baud_rate) * 1e9;
                    let by_hand = frames + 2.0 * t3_5 as f64;
                    let told = line.line_time(table, count).0 as f64;
                    // Two frames are rounded up to a nanosecond each.
                    assert!((0.0..=2.0).contains(&(told - by_hand)), "{line:?} {count}: {told} and {by_hand}");
                }
            }
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
