//! Which keys each object has.

pub const ROOT: &[&str] =
    &["gateway", "realtime", "journal", "metrics", "control", "watchdog", "diagnostics", "outputs"];
pub const GATEWAY: &[&str] = &["id"];
pub const REALTIME: &[&str] = &["cores", "priority", "guard_us", "admission"];
pub const JOURNAL: &[&str] = &["path", "max_bytes", "commit_ms"];
pub const METRICS: &[&str] = &["listen", "per_link"];
pub const CONTROL: &[&str] = &["socket", "group", "max_writes_per_s"];
pub const WATCHDOG: &[&str] = &["executor_stall_s", "journal_stall_s", "device", "timeout_s"];
pub const DIAGNOSTICS: &[&str] = &["enabled", "tags", "scan_rate_ms"];
pub const MQTT: &[&str] = &[
    "type",
    "tags",
    "groups",
    "exclude_tags",
    "url",
    "urls",
    "return_after_s",
    "version",
    "ca",
    "cert",
    "key",
    "user",
    "password",
    "password_file",
    "client_id",
    "qos",
    "topic_per",
    "topic",
    "retain",
    "status_topic",
    "meta",
    "meta_topic",
    "batch_ms",
    "max_message_bytes",
    "max_in_flight",
    "keep_alive_s",
    "commands",
    "command_topic",
    "answer_topic",
    "set_points",
    "set_topic",
];
pub const INFLUX: &[&str] = &[
    "type",
    "tags",
    "groups",
    "exclude_tags",
    "url",
    "database",
    "user",
    "password",
    "password_file",
    "org",
    "bucket",
    "token_file",
    "ca",
    "cert",
    "key",
    "precision",
    "gzip",
    "measurement",
    "tag_set",
    "field",
    "status_field",
    "batch_ms",
    "batch_lines",
    "timeout_s",
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
pub const SENSOR: &[&str] = &["type", "raw_min", "raw_max", "range"];
/// Those that tags of every link have; each protocol has more.
pub const TAG: &[&str] = &[
    "name",
    "protocol",
    "address",
    "data_type",
    "bit",
    "byte",
    "byte_order",
    "encoding",
    "scan_rate_ms",
    "group",
    "scale",
    "offset",
    "scale_from",
    "not_available",
    "allow_nan",
    "values",
    "unit",
    "range",
    "report",
    "deadband",
    "deadband_percent",
    "max_silence_ms",
    "suppress",
    "keep_last",
    "description",
    "sensor",
    "write",
];
/// What people write by the habits of other programs, and the key that it is here.
pub const MEANT: &[(&str, &str)] = &[
    ("writable", "write"),
    ("writeable", "write"),
    ("type", "data_type"),
    ("datatype", "data_type"),
    ("register", "address"),
    ("interval", "scan_rate_ms"),
    ("period_ms", "scan_rate_ms"),
    ("poll_rate", "scan_rate_ms"),
    ("scan_rate", "scan_rate_ms"),
    ("factor", "scale"),
    ("multiplier", "scale"),
    ("word_order", "byte_order"),
    ("ip", "host"),
    ("baud", "baudrate"),
    ("baud_rate", "baudrate"),
    ("slave", "address"),
    ("unit_id", "address"),
];
/// What asks for samples by event, which no link of a tag file has.
pub const BY_EVENT: &[&str] = &["pace", "on_event", "event", "events", "event_rate_max_hz", "rate_max_hz"];
pub const NOT_BY_EVENT: &str =
    "; links are polled every scan_rate_ms and have no samples by event: \"report\": \"change\" reports changes only";
pub const WRITE: &[&str] = &["min", "max", "max_step", "min_interval_ms", "read_back", "timeout_ms", "function", "via"];
