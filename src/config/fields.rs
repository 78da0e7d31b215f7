//! The keys of both files with their ranges and defaults. The reader and the JSON Schema both take them from here.

use super::model::{
    AdmissionRule, CanOpenAccess, CanOpenField, CanSampling, CanTimestamps, FieldType, GpioBias, GpioDrive, GpioEdge,
    Parity, PdoSource, ReleaseMode, Rs485Switch, SerialFraming, Signal, WordOrder,
};
use super::reporting::{Report, Suppress};
use crate::limits;

/// A whole number.
pub(super) struct Int {
    pub key: &'static str,
    pub min: u64,
    pub max: u64,
    pub default: u64,
    /// As it is told in messages, with a space before it; may be empty.
    pub unit: &'static str,
}

/// A number that may have a fraction.
pub(super) struct Real {
    pub key: &'static str,
    pub min: f64,
    pub max: f64,
    pub default: f64,
    pub unit: &'static str,
}

const fn int(key: &'static str, min: u64, max: u64, default: u64, unit: &'static str) -> Int {
    Int { key, min, max, default, unit }
}

/// Which keys each object has.
pub(super) mod keys {
    pub const ROOT: &[&str] = &["gateway", "realtime", "journal", "metrics", "control", "watchdog", "outputs"];
    pub const GATEWAY: &[&str] = &["id"];
    pub const REALTIME: &[&str] = &["cores", "priority", "guard_us", "admission"];
    pub const JOURNAL: &[&str] = &["path", "max_bytes", "commit_ms"];
    pub const METRICS: &[&str] = &["listen"];
    pub const CONTROL: &[&str] = &["socket", "group", "max_writes_per_s"];
    pub const WATCHDOG: &[&str] = &["executor_stall_s", "journal_stall_s", "device", "timeout_s"];
    pub const MQTT: &[&str] = &[
        "type",
        "url",
        "version",
        "ca",
        "cert",
        "key",
        "user",
        "password",
        "password_file",
        "client_id",
        "qos",
        "topic",
        "status_topic",
        "batch_ms",
        "max_message_bytes",
        "max_in_flight",
        "keep_alive_s",
        "commands",
        "command_topic",
        "answer_topic",
    ];
    pub const TAG_FILE: &[&str] = &["$schema", "groups", "links", "tags"];
    pub const GROUP: &[&str] = &[
        "name",
        "scan_rate_ms",
        "release",
        "report",
        "deadband",
        "deadband_percent",
        "max_silence_ms",
        "suppress",
        "keep_last",
        "description",
    ];
    pub const MODBUS_TCP_LINK: &[&str] = &[
        "name",
        "protocol",
        "host",
        "port",
        "timeout_ms",
        "connect_timeout_ms",
        "pipeline",
        "expected_reply_ms",
        "max_registers",
        "max_bits",
        "addressing",
        "unreadable",
        "description",
    ];
    pub const MODBUS_RTU_LINK: &[&str] = &[
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
        "max_registers",
        "max_bits",
        "addressing",
        "unreadable",
        "description",
    ];
    pub const MODBUS_RTU_TCP_LINK: &[&str] = &[
        "name",
        "protocol",
        "host",
        "port",
        "timeout_ms",
        "connect_timeout_ms",
        "expected_reply_ms",
        "turnaround_ms",
        "unit_pause_ms",
        "max_registers",
        "max_bits",
        "addressing",
        "unreadable",
        "description",
    ];
    pub const CAN_LINK: &[&str] = &[
        "name",
        "protocol",
        "interface",
        "fd",
        "bitrate",
        "data_bitrate",
        "dbc",
        "timestamps",
        "sampling",
        "silent_after_ms",
        "transmit",
        "description",
    ];
    pub const CAN_TRANSMIT: &[&str] = &[
        "message",
        "id",
        "bytes",
        "fd",
        "period_ms",
        "on_change",
        "min_distance_ms",
        "initial",
        "initial_bytes",
        "start_values",
    ];
    pub const CAN_MULTIPLEXOR: &[&str] = &["start", "length", "value"];
    pub const CANOPEN_LINK: &[&str] = &[
        "name",
        "protocol",
        "interface",
        "bitrate",
        "sync_ms",
        "master_id",
        "heartbeat_ms",
        "timeout_ms",
        "expected_reply_ms",
        "nodes",
        "description",
    ];
    pub const CANOPEN_NODE: &[&str] = &[
        "id",
        "eds",
        "heartbeat_ms",
        "guarding",
        "start",
        "reset",
        "verify",
        "pdos",
        "tpdos",
        "rpdos",
        "boot",
        "block",
        "description",
    ];
    pub const GUARDING: &[&str] = &["time_ms", "life"];
    pub const BOOT: &[&str] = &["index", "sub", "value", "data_type"];
    pub const GPIO_LINK: &[&str] = &["name", "protocol", "chip", "timeout_ms", "overhead_ms", "description"];
    pub const I2C_LINK: &[&str] = &["name", "protocol", "bus", "clock_hz", "timeout_ms", "overhead_ms", "description"];
    pub const SPI_LINK: &[&str] = &[
        "name",
        "protocol",
        "device",
        "mode",
        "speed_hz",
        "bits",
        "lsb_first",
        "timeout_ms",
        "overhead_ms",
        "description",
    ];
    pub const IIO_LINK: &[&str] = &["name", "protocol", "device", "buffer", "timeout_ms", "overhead_ms", "description"];
    pub const IIO_BUFFER: &[&str] = &["length", "watermark", "trigger", "frequency_hz", "sampling", "silent_after_ms"];
    pub const CHIP: &[&str] = &["full_scale_v", "rate_sps", "shunt_ohm", "reference_v"];
    pub const SENSOR: &[&str] = &["type", "raw_min", "raw_max", "range"];
    pub const RS485: &[&str] = &["rts", "rts_on_send", "delay_before_ms", "delay_after_ms"];
    pub const UNREADABLE: &[&str] = &["unit", "function", "from", "to"];
    pub const TAG: &[&str] = &[
        "name",
        "protocol",
        "address",
        "data_type",
        "bit",
        "array",
        "byte_order",
        "access",
        "multiplexor",
        "scan_rate_ms",
        "group",
        "scale",
        "offset",
        "unit",
        "range",
        "report",
        "deadband",
        "deadband_percent",
        "max_silence_ms",
        "suppress",
        "keep_last",
        "description",
        "direction",
        "bias",
        "drive",
        "active_low",
        "edge",
        "debounce_us",
        "initial",
        "command",
        "delay_us",
        "at",
        "width",
        "shift",
        "mask",
        "chip",
        "write_command",
        "sensor",
        "write",
    ];
    pub const WRITE: &[&str] =
        &["min", "max", "max_step", "min_interval_ms", "read_back", "timeout_ms", "function", "via"];
}

// --- fieldbeat.toml ---
/// SCHED_FIFO has 1 to 99.
pub(super) const PRIORITY: Int = int("priority", 1, 99, 80, "");
pub(super) const GUARD_US: Int = int("guard_us", 0, 1000, 0, " µs");
pub(super) const ADMISSION: &[(&str, AdmissionRule)] =
    &[("refuse", AdmissionRule::Refuse), ("warn", AdmissionRule::Warn)];
/// CPU numbers that a CPU set of the C library can hold.
pub(super) const CORE: Int = int("cores", 0, 1023, 0, "");
pub(super) const JOURNAL_PATH: &str = "/var/lib/fieldbeat/journal";
pub(super) const MAX_BYTES: Int = int("max_bytes", limits::JOURNAL_BYTES_MIN, 16 << 40, 8 << 30, " bytes");
pub(super) const COMMIT_MS: Int = int("commit_ms", 10, 5000, 100, " ms");
pub(super) const METRICS_LISTEN: &str = "127.0.0.1:9464";
pub(super) const MAX_WRITES_PER_S: Int = int("max_writes_per_s", 1, 1000, 20, "");
pub(super) const EXECUTOR_STALL_S: Int = int("executor_stall_s", 1, 60, limits::EXECUTOR_STALL.as_secs(), " s");
pub(super) const JOURNAL_STALL_S: Int = int("journal_stall_s", 5, 3600, limits::JOURNAL_STALL.as_secs(), " s");
/// Shorter than 5 s, a restart of the gateway would not be over in time.
pub(super) const WATCHDOG_TIMEOUT_S: Int = int("timeout_s", 5, 600, 15, " s");
pub(super) const MQTT_PORT: u16 = 1883;
pub(super) const MQTTS_PORT: u16 = 8883;
pub(super) const QOS: Int = int("qos", 0, 1, 1, "");
pub(super) const TOPIC: &str = "fieldbeat/{gateway}/{group}";
pub(super) const STATUS_TOPIC: &str = "fieldbeat/{gateway}/status";
pub(super) const COMMAND_TOPIC: &str = "fieldbeat/{gateway}/command";
pub(super) const ANSWER_TOPIC: &str = "fieldbeat/{gateway}/answer";
pub(super) const BATCH_MS: Int = int("batch_ms", 1, 60_000, 100, " ms");
pub(super) const MAX_MESSAGE_BYTES: Int = int("max_message_bytes", 1 << 10, 1 << 20, 128 << 10, " bytes");
pub(super) const MAX_IN_FLIGHT: Int = int("max_in_flight", 1, 1000, 100, "");
pub(super) const KEEP_ALIVE_S: Int = int("keep_alive_s", 5, 600, 30, " s");

// --- links ---
/// Protocols of links, as the tag files name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    ModbusTcp,
    ModbusRtu,
    ModbusRtuTcp,
    Can,
    CanOpen,
    Gpio,
    I2c,
    Spi,
    Iio,
}
impl Protocol {
    pub fn is_modbus(self) -> bool {
        matches!(self, Protocol::ModbusTcp | Protocol::ModbusRtu | Protocol::ModbusRtuTcp)
    }
}
pub(super) const PROTOCOLS: &[(&str, Protocol)] = &[
    ("modbus_tcp", Protocol::ModbusTcp),
    ("modbus_rtu", Protocol::ModbusRtu),
    ("modbus_rtu_tcp", Protocol::ModbusRtuTcp),
    ("can", Protocol::Can),
    ("canopen", Protocol::CanOpen),
    ("gpio", Protocol::Gpio),
    ("i2c", Protocol::I2c),
    ("spi", Protocol::Spi),
    ("iio", Protocol::Iio),
];
pub(super) const PORT: Int = int("port", 1, 65_535, 502, "");
pub(super) const TIMEOUT_MS: Int = int("timeout_ms", 1, 10_000, 200, " ms");
pub(super) const CONNECT_TIMEOUT_MS: Int = int("connect_timeout_ms", 50, 30_000, 3000, " ms");
pub(super) const PIPELINE: Int = int("pipeline", 1, limits::MODBUS_PIPELINE_MAX as u64, 1, "");
pub(super) const EXPECTED_REPLY_MS: Real =
    Real { key: "expected_reply_ms", min: 0.01, max: 10_000.0, default: 0.5, unit: " ms" };
/// From the end of a request to the beginning of its reply.
pub(super) const EXPECTED_REPLY_SERIAL_MS: Real = Real { default: 5.0, ..EXPECTED_REPLY_MS };
/// The same with the serial server and the line behind it, of which nothing is known.
pub(super) const EXPECTED_REPLY_RTU_TCP_MS: Real = Real { default: 20.0, ..EXPECTED_REPLY_MS };
/// A serial server's line takes its time, too.
pub(super) const TIMEOUT_RTU_TCP_MS: Int = int("timeout_ms", 1, 10_000, 500, " ms");
pub(super) const TURNAROUND_MS: Real = Real { key: "turnaround_ms", min: 0.0, max: 1_000.0, default: 0.0, unit: " ms" };
pub(super) const UNIT_PAUSE_MS: Real = Real { key: "unit_pause_ms", ..TURNAROUND_MS };
/// 19200 is the specification's default (Modbus over Serial Line V1.02, 2.5.1).
pub(super) const BAUDRATE: Int =
    int("baudrate", limits::SERIAL_BAUD_MIN as u64, limits::SERIAL_BAUD_MAX as u64, 19_200, " baud");
pub(super) const DATA_BITS: Int = int("data_bits", 7, 8, 8, "");
/// Section 2.5.2: ASCII characters have 7.
pub(super) const DATA_BITS_ASCII: Int = int("data_bits", 7, 8, 7, "");
pub(super) const PARITY: &[(&str, Parity)] = &[("N", Parity::None), ("E", Parity::Even), ("O", Parity::Odd)];
pub(super) const STOP_BITS: Int = int("stop_bits", 1, 2, 1, "");
pub(super) const FRAMING: &[(&str, SerialFraming)] = &[("rtu", SerialFraming::Rtu), ("ascii", SerialFraming::Ascii)];
pub(super) const RTS: &[(&str, Rs485Switch)] = &[("kernel", Rs485Switch::Kernel), ("manual", Rs485Switch::Manual)];
/// What the kernel's interface takes, in its unit.
pub(super) const DELAY_BEFORE_MS: Int = int("delay_before_ms", 0, 100, 0, " ms");
pub(super) const DELAY_AFTER_MS: Int = int("delay_after_ms", 0, 100, 0, " ms");
/// Bytes of a port's path; Linux allows no more.
pub(super) const PORT_PATH_BYTES_MAX: usize = 4095;
pub(super) const MAX_REGISTERS: Int =
    int("max_registers", 1, limits::MODBUS_REGISTERS_MAX as u64, limits::MODBUS_REGISTERS_MAX as u64, "");
pub(super) const MAX_BITS: Int = int("max_bits", 1, limits::MODBUS_BITS_MAX as u64, limits::MODBUS_BITS_MAX as u64, "");
/// How register numbers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addressing {
    Modicon,
    Raw,
}
pub(super) const ADDRESSING: &[(&str, Addressing)] = &[("modicon", Addressing::Modicon), ("raw", Addressing::Raw)];
/// A Modbus unit identifier.
pub(super) const UNIT: Int = int("unit", 0, 255, 0, "");
/// The read functions.
pub(super) const FUNCTION: Int = int("function", 1, 4, 3, "");

// --- CAN ---
/// Bytes of an interface's name: linux/if.h has room for 15.
pub(super) const INTERFACE_BYTES_MAX: usize = 15;
/// ISO 11898-1: classical frames and the arbitration of FD frames go at 1 Mbit/s at most.
pub(super) const BITRATE: Int = int("bitrate", 5_000, 1_000_000, 500_000, " bit/s");
/// CiA 601: 8 Mbit/s are the most of today's transceivers.
pub(super) const DATA_BITRATE: Int = int("data_bitrate", 100_000, 8_000_000, 2_000_000, " bit/s");
pub(super) const TIMESTAMPS: &[(&str, CanTimestamps)] =
    &[("software", CanTimestamps::Software), ("hardware", CanTimestamps::Hardware)];
pub(super) const SAMPLING: &[(&str, CanSampling)] = &[("latest", CanSampling::Latest), ("every", CanSampling::Every)];
pub(super) const SILENT_AFTER_MS: Int = int("silent_after_ms", 1, 3_600_000, 0, " ms");
pub(super) const CAN_BYTES: Int = int("bytes", 0, 64, 8, " bytes");
pub(super) const PERIOD_MS: Int = int("period_ms", 1, 3_600_000, 0, " ms");
pub(super) const MIN_DISTANCE_MS: Int = int("min_distance_ms", 1, 60_000, 10, " ms");
/// Of bits, in the words of CAN: Intel and Motorola.
pub(super) const CAN_BYTE_ORDER: &[(&str, bool)] = &[("little", false), ("big", true)];
pub(super) const MULTIPLEXOR_START: Int = int("start", 0, 511, 0, "");
pub(super) const MULTIPLEXOR_LENGTH: Int = int("length", 1, 64, 8, " bits");
pub(super) const MULTIPLEXOR_VALUE: Int = int("value", 0, u64::MAX, 0, "");

// --- CANopen ---
/// CiA 301, table 1: 10 kbit/s to 1 Mbit/s.
pub(super) const CAN_BITRATE: Int = int("bitrate", 10_000, 1_000_000, 500_000, " bit/s");
pub(super) const SYNC_MS: Int = int("sync_ms", 1, 10_000, 0, " ms");
pub(super) const NODE_ID: Int = int("id", 1, 127, 0, "");
pub(super) const MASTER_ID: Int = int("master_id", 1, 127, 0, "");
pub(super) const MASTER_HEARTBEAT_MS: Int = int("heartbeat_ms", 10, 65_535, 0, " ms");
/// Object 0x1017; 0: the node is not watched by it.
pub(super) const NODE_HEARTBEAT_MS: Int = int("heartbeat_ms", 0, 65_535, 1000, " ms");
pub(super) const GUARD_TIME_MS: Int = int("time_ms", 10, 65_535, 0, " ms");
pub(super) const LIFE: Int = int("life", 1, 255, 3, "");
pub(super) const TPDOS: Int = int("tpdos", 1, 32, 4, "");
pub(super) const RPDOS: Int = int("rpdos", 1, 32, 4, "");
pub(super) const SUB_INDEX: Int = int("sub", 0, 255, 0, "");
/// CiA 301 leaves it open; half a second is what tools wait.
pub(super) const SDO_TIMEOUT_MS: Int = int("timeout_ms", 1, 10_000, 500, " ms");
/// What small controllers take for an answer.
pub(super) const SDO_REPLY_MS: Real = Real { default: 2.0, ..EXPECTED_REPLY_MS };
pub(super) const PDOS: &[(&str, PdoSource)] = &[
    ("eds", PdoSource::Eds),
    ("node", PdoSource::Node { tpdos: TPDOS.default as u8, rpdos: RPDOS.default as u8 }),
    ("none", PdoSource::None),
];
pub(super) const CANOPEN_ACCESS: &[(&str, CanOpenAccess)] = &[("pdo", CanOpenAccess::Pdo), ("sdo", CanOpenAccess::Sdo)];
/// Which bit of an object's number a bool is.
pub(super) const OBJECT_BIT: Int = int("bit", 0, 63, 0, "");
pub(super) const CANOPEN_DATA_TYPE: &[(&str, CanOpenField)] = &[
    ("bool", CanOpenField::Bool),
    ("int8", CanOpenField::Signed(1)),
    ("int16", CanOpenField::Signed(2)),
    ("int24", CanOpenField::Signed(3)),
    ("int32", CanOpenField::Signed(4)),
    ("int40", CanOpenField::Signed(5)),
    ("int48", CanOpenField::Signed(6)),
    ("int56", CanOpenField::Signed(7)),
    ("int64", CanOpenField::Signed(8)),
    ("uint8", CanOpenField::Unsigned(1)),
    ("uint16", CanOpenField::Unsigned(2)),
    ("uint24", CanOpenField::Unsigned(3)),
    ("uint32", CanOpenField::Unsigned(4)),
    ("uint40", CanOpenField::Unsigned(5)),
    ("uint48", CanOpenField::Unsigned(6)),
    ("uint56", CanOpenField::Unsigned(7)),
    ("uint64", CanOpenField::Unsigned(8)),
    ("float32", CanOpenField::Real32),
    ("float64", CanOpenField::Real64),
    ("string", CanOpenField::Text(0)),
];

// --- local inputs and outputs ---
pub(super) const BUS_TIMEOUT_MS: Int = int("timeout_ms", 1, 10_000, 100, " ms");
/// What an access costs beside its bits, until the thread that made it runs again: an estimate, with room for
/// a driver that works by interrupts.
pub(super) const I2C_OVERHEAD_MS: Real = Real { key: "overhead_ms", min: 0.0, max: 1_000.0, default: 0.1, unit: " ms" };
pub(super) const SPI_OVERHEAD_MS: Real = Real { default: 0.06, ..I2C_OVERHEAD_MS };
/// One call for all lines of a setting.
pub(super) const GPIO_OVERHEAD_MS: Real = Real { default: 0.02, ..I2C_OVERHEAD_MS };
/// Reading a channel starts a conversion and waits for it.
pub(super) const IIO_OVERHEAD_MS: Real = Real { default: 0.5, ..I2C_OVERHEAD_MS };
pub(super) const IIO_LENGTH: Int = int("length", 2, 65_536, 1024, " scans");
pub(super) const IIO_WATERMARK: Int = int("watermark", 1, 65_536, 1, " scans");
pub(super) const FREQUENCY_HZ: Real =
    Real { key: "frequency_hz", min: 0.001, max: 1_000_000.0, default: 100.0, unit: " Hz" };
/// Standard mode (NXP UM10204).
pub(super) const I2C_CLOCK_HZ: Int =
    int("clock_hz", limits::I2C_CLOCK_HZ_MIN as u64, limits::I2C_CLOCK_HZ_MAX as u64, 100_000, " Hz");
pub(super) const SPI_MODE: Int = int("mode", 0, 3, 0, "");
pub(super) const SPI_SPEED_HZ: Int =
    int("speed_hz", limits::SPI_SPEED_HZ_MIN as u64, limits::SPI_SPEED_HZ_MAX as u64, 1_000_000, " Hz");
pub(super) const SPI_BITS: Int = int("bits", 8, 8, 8, "");
pub(super) const GPIO_DIRECTION: &[(&str, bool)] = &[("in", false), ("out", true)];
pub(super) const GPIO_BIAS: &[(&str, GpioBias)] = &[
    ("as-is", GpioBias::AsIs),
    ("disabled", GpioBias::Disabled),
    ("pull-up", GpioBias::PullUp),
    ("pull-down", GpioBias::PullDown),
];
pub(super) const GPIO_DRIVE: &[(&str, GpioDrive)] =
    &[("push-pull", GpioDrive::PushPull), ("open-drain", GpioDrive::OpenDrain), ("open-source", GpioDrive::OpenSource)];
pub(super) const GPIO_EDGE: &[(&str, GpioEdge)] =
    &[("rising", GpioEdge::Rising), ("falling", GpioEdge::Falling), ("both", GpioEdge::Both)];
pub(super) const DEBOUNCE_US: Int = int("debounce_us", 0, 1_000_000, 0, " µs");
pub(super) const DELAY_US: Int = int("delay_us", 0, limits::BUS_WAIT_MAX.0 / 1_000, 0, " µs");
/// Bytes of what was read.
pub(super) const AT: Int = int("at", 0, limits::BUS_READ_BYTES_MAX as u64 - 1, 0, "");
pub(super) const WIDTH: Int = int("width", 1, 8, 2, " bytes");
pub(super) const SHIFT: Int = int("shift", 0, 63, 0, " bits");
pub(super) const SHUNT_OHM: Real = Real { key: "shunt_ohm", min: 1e-6, max: 1e6, default: 0.1, unit: " Ω" };
pub(super) const REFERENCE_V: Real = Real { key: "reference_v", min: 0.1, max: 100.0, default: 3.3, unit: " V" };
pub(super) const RATE_SPS: Int = int("rate_sps", 1, 100_000, 128, "");
pub(super) const SIGNAL: &[(&str, Signal)] = &[
    ("4-20mA", Signal::Current4To20),
    ("0-20mA", Signal::Current0To20),
    ("0-10V", Signal::Voltage0To10),
    ("2-10V", Signal::Voltage2To10),
    ("0-5V", Signal::Voltage0To5),
    ("1-5V", Signal::Voltage1To5),
];

// --- groups and tags ---
pub(super) const SCAN_RATE_MS: Real = Real {
    key: "scan_rate_ms",
    min: limits::PERIOD_MIN.0 as f64 / 1e6,
    max: limits::PERIOD_MAX.0 as f64 / 1e6,
    default: 1000.0,
    unit: " ms",
};
pub(super) const RELEASE: &[(&str, ReleaseMode)] =
    &[("spread", ReleaseMode::Spread), ("together", ReleaseMode::Together)];
/// Which samples are told.
pub(super) const REPORT: &[(&str, Report)] = &[("every", Report::Every), ("change", Report::Change)];
/// In the tag's engineering unit.
pub(super) const DEADBAND: Real = Real { key: "deadband", min: 0.0, max: 1e300, default: 0.0, unit: "" };
/// OPC 10000-8, section 6.2.
pub(super) const DEADBAND_PERCENT: Real =
    Real { key: "deadband_percent", min: 0.0, max: 100.0, default: 0.0, unit: " %" };
/// A consumer must not wait longer than a day to learn that a value still is what it was.
pub(super) const MAX_SILENCE_MS: Int = int("max_silence_ms", 10, 86_400_000, 60_000, " ms");
/// Where samples are held back.
pub(super) const SUPPRESS: &[(&str, Suppress)] = &[("ring", Suppress::Ring), ("journal", Suppress::Journal)];
/// Which register bit a bool is, 0 the least significant.
pub(super) const BIT: Int = int("bit", 0, 15, 0, "");
pub(super) const ARRAY: Int = int("array", 1, limits::MODBUS_BITS_MAX as u64, 1, " elements");
/// `Bit` stands for bool on either kind of table; the address decides.
pub(super) const DATA_TYPE: &[(&str, FieldType)] = &[
    ("bool", FieldType::Bit),
    ("int16", FieldType::Int16),
    ("uint16", FieldType::Uint16),
    ("int32", FieldType::Int32),
    ("uint32", FieldType::Uint32),
    ("int64", FieldType::Int64),
    ("uint64", FieldType::Uint64),
    ("float32", FieldType::Float32),
    ("float64", FieldType::Float64),
    ("bcd16", FieldType::Bcd { registers: 1 }),
    ("bcd32", FieldType::Bcd { registers: 2 }),
    ("bcd64", FieldType::Bcd { registers: 4 }),
    ("string", FieldType::Text),
];
pub(super) const BYTE_ORDER: &[(&str, WordOrder)] =
    &[("ABCD", WordOrder::Abcd), ("DCBA", WordOrder::Dcba), ("BADC", WordOrder::Badc), ("CDAB", WordOrder::Cdab)];
/// Between two writes of one tag: slower than a device that stores each in its EEPROM would like, faster than a person.
pub(super) const MIN_INTERVAL_MS: Int = int("min_interval_ms", 0, 3_600_000, 100, " ms");
pub(super) const WRITE_TIMEOUT_MS: Int =
    int("timeout_ms", limits::WRITE_TIMEOUT_MIN.0 / 1_000_000, limits::WRITE_TIMEOUT_MAX.0 / 1_000_000, 1000, " ms");
/// Of Modbus: 23, or left out.
pub(super) const WRITE_FUNCTION: Int = int("function", 1, 255, 23, "");
/// Of CANopen: by which service; true: PDO.
pub(super) const WRITE_VIA: &[(&str, bool)] = &[("sdo", false), ("pdo", true)];
/// Bytes of an engineering unit.
pub(super) const UNIT_TEXT_BYTES_MAX: usize = 64;
/// Bytes of a description.
pub(super) const DESCRIPTION_BYTES_MAX: usize = 1024;

/// The name of a field type in the tag files.
pub(super) fn type_name(field: FieldType) -> &'static str {
    let wanted = if matches!(field, FieldType::RegisterBit(_)) { FieldType::Bit } else { field };
    DATA_TYPE.iter().find(|(_, ty)| *ty == wanted).map_or("bool", |(name, _)| name)
}

pub(super) fn order_name(order: WordOrder) -> &'static str {
    BYTE_ORDER.iter().find(|(_, o)| *o == order).map_or("ABCD", |(name, _)| name)
}
