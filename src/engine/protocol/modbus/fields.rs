//! Keys of Modbus links and their tags.

pub use crate::config::fields::*;
use crate::config::model::{Parity, Rs485Switch, SerialFraming};
use crate::limits;

pub const PORT: Int = int("port", 1, 65_535, 502, "");
pub const TIMEOUT_MS: Int = int("timeout_ms", 1, limits::MODBUS_TIMEOUT_MS_MAX, 200, " ms");
pub const CONNECT_TIMEOUT_MS: Int = int("connect_timeout_ms", 50, 30_000, 3000, " ms");
pub const PIPELINE: Int = int("pipeline", 1, limits::MODBUS_PIPELINE_MAX as u64, 1, "");
pub const EXPECTED_REPLY_MS: Real =
    Real { key: "expected_reply_ms", min: 0.01, max: limits::MODBUS_TIMEOUT_MS_MAX as f64, default: 0.5, unit: " ms" };
/// From the end of a request to the beginning of its reply.
pub const EXPECTED_REPLY_SERIAL_MS: Real = Real { default: 5.0, ..EXPECTED_REPLY_MS };
/// The same with the serial server and the line behind it, of which nothing is known.
pub const EXPECTED_REPLY_RTU_TCP_MS: Real = Real { default: 20.0, ..EXPECTED_REPLY_MS };
/// A serial server's line takes its time, too.
pub const TIMEOUT_RTU_TCP_MS: Int = int("timeout_ms", 1, limits::MODBUS_TIMEOUT_MS_MAX, 500, " ms");
pub const TURNAROUND_MS: Real = Real { key: "turnaround_ms", min: 0.0, max: 1_000.0, default: 0.0, unit: " ms" };
pub const UNIT_PAUSE_MS: Real = Real { key: "unit_pause_ms", ..TURNAROUND_MS };
pub const UNIT_CHANGE_PAUSE_MS: Real = Real { key: "unit_change_pause_ms", ..TURNAROUND_MS };
/// As long as a connection may take to stand.
pub const CONNECT_DELAY_MS: Int = int("connect_delay_ms", 0, 30_000, 0, " ms");
/// 19200 is the specification's default (Modbus over Serial Line V1.02, 2.5.1).
pub const BAUDRATE: Int =
    int("baudrate", limits::SERIAL_BAUD_MIN as u64, limits::SERIAL_BAUD_MAX as u64, 19_200, " baud");
pub const DATA_BITS: Int = int("data_bits", 7, 8, 8, "");
/// Section 2.5.2: ASCII characters have 7.
pub const DATA_BITS_ASCII: Int = int("data_bits", 7, 8, 7, "");
pub const PARITY: &[(&str, Parity)] = &[("N", Parity::None), ("E", Parity::Even), ("O", Parity::Odd)];
pub const STOP_BITS: Int = int("stop_bits", 1, 2, 1, "");
pub const FRAMING: &[(&str, SerialFraming)] = &[("rtu", SerialFraming::Rtu), ("ascii", SerialFraming::Ascii)];
pub const RTS: &[(&str, Rs485Switch)] = &[("kernel", Rs485Switch::Kernel), ("manual", Rs485Switch::Manual)];
/// What the kernel's interface takes, in its unit.
pub const DELAY_BEFORE_MS: Int = int("delay_before_ms", 0, 100, 0, " ms");
pub const DELAY_AFTER_MS: Int = int("delay_after_ms", 0, 100, 0, " ms");
pub const MAX_REGISTERS: Int =
    int("max_registers", 1, limits::MODBUS_REGISTERS_MAX as u64, limits::MODBUS_REGISTERS_MAX as u64, "");
pub const MAX_BITS: Int = int("max_bits", 1, limits::MODBUS_BITS_MAX as u64, limits::MODBUS_BITS_MAX as u64, "");
/// How register numbers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    Modicon,
    Raw,
}
pub const ADDRESSING: &[(&str, Addressing)] = &[("modicon", Addressing::Modicon), ("raw", Addressing::Raw)];
/// A Modbus unit identifier.
pub const UNIT: Int = int("unit", 0, 255, 0, "");
/// The read functions.
pub const FUNCTION: Int = int("function", 1, 4, 3, "");
pub const MODBUS_TCP_LINK_KEYS: &[&str] = &[
    "name",
    "protocol",
    "host",
    "port",
    "timeout_ms",
    "connect_timeout_ms",
    "pipeline",
    "expected_reply_ms",
    "connect_delay_ms",
    "turnaround_ms",
    "unit_pause_ms",
    "unit_change_pause_ms",
    "any_unit_id",
    "any_transaction_id",
    "any_read_function",
    "longer_replies",
    "max_registers",
    "max_bits",
    "addressing",
    "unreadable",
    "description",
];
pub const MODBUS_RTU_LINK_KEYS: &[&str] = &[
    "name",
    "protocol",
    "port",
    "baudrate",
    "data_bits",
    "parity",
    "stop_bits",
    "framing",
    "rs485",
    "echo",
    "timeout_ms",
    "expected_reply_ms",
    "turnaround_ms",
    "unit_pause_ms",
    "unit_change_pause_ms",
    "connect_delay_ms",
    "any_unit_id",
    "any_read_function",
    "longer_replies",
    "max_registers",
    "max_bits",
    "addressing",
    "unreadable",
    "description",
];
pub const MODBUS_RTU_TCP_LINK_KEYS: &[&str] = &[
    "name",
    "protocol",
    "host",
    "port",
    "timeout_ms",
    "connect_timeout_ms",
    "expected_reply_ms",
    "turnaround_ms",
    "unit_pause_ms",
    "unit_change_pause_ms",
    "connect_delay_ms",
    "any_unit_id",
    "any_read_function",
    "longer_replies",
    "max_registers",
    "max_bits",
    "addressing",
    "unreadable",
    "description",
];
pub const RS485_KEYS: &[&str] = &["rts", "rts_on_send", "delay_before_ms", "delay_after_ms"];
pub const UNREADABLE_KEYS: &[&str] = &["unit", "function", "from", "to"];
pub const MODBUS_TAG_KEYS: &[&str] = &["array"];
