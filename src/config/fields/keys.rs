//! Which keys each object has.

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
    "j1939_special_values",
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
    "j1939_special_values",
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
pub const WRITE: &[&str] = &["min", "max", "max_step", "min_interval_ms", "read_back", "timeout_ms", "function", "via"];
