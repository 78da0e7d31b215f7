//! Outputs: they follow the journal and publish its samples.

use std::fmt;
use std::path::PathBuf;

use crate::config::text::Source;
use crate::tag::{Nanos, glob_has};

#[derive(Debug, Clone, PartialEq)]
pub struct OutputConfig {
    pub name: String,
    pub source: Source,
    pub choice: TagChoice,
    pub kind: OutputKind,
}

/// Which tags an output sends: those that one of `tags` matches and that are in one of `groups`, but for those that one of
/// `exclude_tags` matches. An empty list of `tags` or `groups` stands for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagChoice {
    /// Patterns of names, as [`crate::tag::glob_has`] reads them.
    pub tags: Vec<String>,
    pub groups: Vec<String>,
    pub exclude_tags: Vec<String>,
}

impl TagChoice {
    pub fn is_all(&self) -> bool {
        self.tags.is_empty() && self.groups.is_empty() && self.exclude_tags.is_empty()
    }

    /// Whether the tag is sent, if its group is.
    pub fn takes_tag(&self, name: &str) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| glob_has(pattern, name));
        (self.tags.is_empty() || matches(&self.tags)) && !matches(&self.exclude_tags)
    }

    pub fn takes_group(&self, name: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|pattern| glob_has(pattern, name))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum OutputKind {
    Mqtt(MqttConfig),
    Influx(InfluxConfig),
}

impl OutputKind {
    pub fn mqtt(&self) -> Option<&MqttConfig> {
        if let OutputKind::Mqtt(mqtt) = self { Some(mqtt) } else { None }
    }

    pub fn influx(&self) -> Option<&InfluxConfig> {
        if let OutputKind::Influx(influx) = self { Some(influx) } else { None }
    }
}

#[derive(Clone, PartialEq)]
pub struct MqttConfig {
    pub host: String,
    pub port: u16,
    /// Brokers beside that first one, in the order in which they are preferred.
    pub more: Vec<(String, u16)>,
    /// How long the first broker must be reachable before an output that uses another goes back to it.
    pub return_after: Nanos,
    pub version: MqttVersion,
    pub tls: Option<TlsConfig>,
    pub user: Option<String>,
    pub password: Option<String>,
    /// Default: `fieldbeat-{gateway}-{output}`.
    pub client_id: String,
    /// 0 or 1.
    pub qos: u8,
    /// What has a topic, and messages, of its own.
    pub topic_per: TopicPer,
    /// With `{gateway}`, `{group}`, `{link}`, and per tag `{tag}` or `{tag_path}`, still in it.
    pub topic: String,
    /// The broker keeps the newest message of each topic for who comes later.
    pub retain: bool,
    /// Where the gateway says which tags there are, and which are bad; with `{gateway}` still in it. `None`: nowhere.
    pub meta_topic: Option<String>,
    /// Birth and last will, retained: `online`, `offline`. With `{gateway}` still in it.
    pub status_topic: String,
    /// How long samples of one group are gathered into one message.
    pub batch: Nanos,
    /// A message is closed when it reaches this.
    pub message_bytes_max: usize,
    /// Messages sent and not yet acknowledged.
    pub in_flight_max: u16,
    pub keep_alive: Nanos,
    /// `None`: nothing is written for whoever publishes there.
    pub commands: Option<CommandTopics>,
}

impl MqttConfig {
    /// Hosts and ports, the first one first.
    pub fn brokers(&self) -> impl Iterator<Item = (&str, u16)> {
        let more = self.more.iter().map(|(host, port)| (host.as_str(), *port));
        std::iter::once((self.host.as_str(), self.port)).chain(more)
    }
}

/// Where requests to write come from, and where their answers go; with `{gateway}` still in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTopics {
    pub command_topic: String,
    pub answer_topic: String,
    /// Where plain values for single tags come from, with `{gateway}` and `{tag}` still in it; `None`: nowhere.
    pub set_topic: Option<String>,
}

/// What a topic of samples is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicPer {
    /// A message holds samples of one group.
    Group,
    /// A message holds one sample.
    Tag,
}

/// Without the password: configurations end up in logs and in failed tests.
impl fmt::Debug for MqttConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("more", &self.more)
            .field("version", &self.version)
            .field("tls", &self.tls)
            .field("user", &self.user)
            .field("client_id", &self.client_id)
            .field("qos", &self.qos)
            .field("topic", &self.topic)
            .field("commands", &self.commands)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    V311,
    V5,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct TlsConfig {
    /// `None`: the system's roots.
    pub ca: Option<PathBuf>,
    /// Client certificate (chain) and its key, both or none.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// InfluxDB line protocol over HTTP or HTTPS.
#[derive(Clone, PartialEq)]
pub struct InfluxConfig {
    pub host: String,
    pub port: u16,
    /// What stands in the URL behind the port, without a slash at its end: a server may be behind a proxy.
    pub path: String,
    pub tls: Option<TlsConfig>,
    pub api: InfluxApi,
    pub precision: Precision,
    pub gzip: bool,
    /// Measurement, tag set, and the fields of value and status; with `{gateway}`, `{group}` and `{tag}` still in them.
    pub measurement: String,
    pub tag_set: Vec<(String, String)>,
    pub field: String,
    pub status_field: String,
    /// How long samples are gathered into one request.
    pub batch: Nanos,
    /// A request has at most so many lines.
    pub lines_max: u32,
    /// How long a request may take.
    pub timeout: Nanos,
}

/// The write API, and who asks.
#[derive(Clone, PartialEq)]
pub enum InfluxApi {
    /// `/write` of InfluxDB 1.
    V1 { database: String, user: Option<String>, password: Option<String> },
    /// `/api/v2/write` of InfluxDB 2.
    V2 { org: String, bucket: String, token_file: PathBuf },
}

/// In what times are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
}

impl Precision {
    pub fn nanos(self) -> u64 {
        match self {
            Precision::Nanoseconds => 1,
            Precision::Microseconds => 1_000,
            Precision::Milliseconds => 1_000_000,
            Precision::Seconds => 1_000_000_000,
        }
    }
}

/// Without the password.
impl fmt::Debug for InfluxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InfluxConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("api", &self.api)
            .field("measurement", &self.measurement)
            .field("tag_set", &self.tag_set)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for InfluxApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InfluxApi::V1 { database, user, .. } => write!(f, "V1 {{ {database:?}, {user:?} }}"),
            InfluxApi::V2 { org, bucket, token_file } => write!(f, "V2 {{ {org:?}, {bucket:?}, {token_file:?} }}"),
        }
    }
}
