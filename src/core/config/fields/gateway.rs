//! Keys of `fieldbeat.toml`.

use super::super::model::AdmissionRule;
use super::number::{Int, int};
use crate::config::TopicPer;
use crate::limits;

/// SCHED_FIFO has 1 to 99.
pub const PRIORITY: Int = int("priority", 1, 99, 80, "");
pub const GUARD_US: Int = int("guard_us", 0, 1000, 0, " µs");
pub const ADMISSION: &[(&str, AdmissionRule)] = &[("refuse", AdmissionRule::Refuse), ("warn", AdmissionRule::Warn)];
/// CPU numbers that a CPU set of the C library can hold.
pub const CORE: Int = int("cores", 0, 1023, 0, "");
pub const JOURNAL_PATH: &str = "/var/lib/fieldbeat/journal";
pub const MAX_BYTES: Int = int("max_bytes", limits::JOURNAL_BYTES_MIN, 16 << 40, 8 << 30, " bytes");
pub const COMMIT_MS: Int = int("commit_ms", 10, 5000, 100, " ms");
pub const METRICS_LISTEN: &str = "127.0.0.1:9464";
pub const MAX_WRITES_PER_S: Int = int("max_writes_per_s", 1, 1000, 20, "");
pub const EXECUTOR_STALL_S: Int = int("executor_stall_s", 1, 60, limits::EXECUTOR_STALL.as_secs(), " s");
pub const JOURNAL_STALL_S: Int = int("journal_stall_s", 5, 3600, limits::JOURNAL_STALL.as_secs(), " s");
/// Shorter than 5 s, a restart of the gateway would not be over in time.
pub const WATCHDOG_TIMEOUT_S: Int = int("timeout_s", 5, 600, 15, " s");
pub const DIAGNOSTICS_MS: Int = int("scan_rate_ms", 100, 3_600_000, 1000, " ms");
pub const MQTT_PORT: u16 = 1883;
pub const MQTTS_PORT: u16 = 8883;
pub const QOS: Int = int("qos", 0, 1, 1, "");
pub const TOPIC: &str = "fieldbeat/{gateway}/{group}";
pub const TOPIC_PER: &[(&str, TopicPer)] = &[("group", TopicPer::Group), ("tag", TopicPer::Tag)];
pub const TAG_TOPIC: &str = "fieldbeat/{gateway}/{tag}";
pub const META_TOPIC: &str = "fieldbeat/{gateway}/meta";
pub const SET_TOPIC: &str = "fieldbeat/{gateway}/{tag}/set";
pub const STATUS_TOPIC: &str = "fieldbeat/{gateway}/status";
pub const COMMAND_TOPIC: &str = "fieldbeat/{gateway}/command";
pub const ANSWER_TOPIC: &str = "fieldbeat/{gateway}/answer";
pub const BATCH_MS: Int = int("batch_ms", 1, 60_000, 100, " ms");
pub const MAX_MESSAGE_BYTES: Int = int("max_message_bytes", 1 << 10, 1 << 20, 128 << 10, " bytes");
pub const MAX_IN_FLIGHT: Int = int("max_in_flight", 1, 1000, 100, "");
pub const RETURN_AFTER_S: Int = int("return_after_s", 1, 3600, 60, " s");
pub const KEEP_ALIVE_S: Int = int("keep_alive_s", 5, 600, 30, " s");
/// Measurement and field of points of InfluxDB. A measurement for each tag: a field then has the type of its tag.
pub const INFLUX_MEASUREMENT: &str = "{tag}";
pub const INFLUX_FIELD: &str = "value";
pub const INFLUX_BATCH_MS: Int = int("batch_ms", 1, 60_000, 1_000, " ms");
pub const BATCH_LINES: Int = int("batch_lines", 1, limits::INFLUX_LINES_MAX, 5_000, "");
pub const OUTPUT_TIMEOUT_S: Int = int("timeout_s", 1, 300, 30, " s");
