//! `[outputs.NAME]` of type influxdb.

use super::common::{
    Scheme, check_placeholders, file, placeholders_allowed, read_password, read_tls, read_url, short_text, template,
};
use crate::config::diagnostic::Report;
use crate::config::fields;
use crate::config::model::{InfluxApi, InfluxConfig, OutputConfig, OutputKind, Precision, TagConfig};
use crate::config::names::quoted;
use crate::config::node::{Kind, Node};
use crate::config::paths::Base;
use crate::config::reader::Obj;
use crate::limits::INFLUX_TAG_SET_MAX;
use crate::tag::{Nanos, ScalarType, ValueType};

const SCHEME: Scheme = Scheme {
    plain: ("http", 80),
    tls: ("https", 443),
    has_path: true,
    allowed: "http://HOST:8086 or https://HOST, with a path if a proxy needs one",
};
const PRECISION: &[(&str, Precision)] = &[
    ("ns", Precision::Nanoseconds),
    ("us", Precision::Microseconds),
    ("ms", Precision::Milliseconds),
    ("s", Precision::Seconds),
];
const PLACEHOLDERS: &[&str] = &["gateway", "group", "link", "tag"];

/// `None` when something that has no default is missing or wrong, which has been reported.
pub fn read(output: &Obj<'_>, base: Base<'_>) -> Option<OutputKind> {
    let place = read_url(output, &SCHEME);
    let tls = read_tls(output, place.as_ref(), "https://", base);
    let api = read_api(output, base);
    let name = |key: &str, default: &str| match template(output, key, PLACEHOLDERS) {
        Some(text) => {
            if text.value.contains('\\') {
                output.error(text.span, format!("{key} has a backslash"), "line protocol cannot write it in a name");
            }
            text.value.to_owned()
        }
        None => default.to_owned(),
    };
    let field = name("field", fields::INFLUX_FIELD);
    // With a field for each tag, each has a status of its own; no tag's name has a colon.
    let status = if field.contains("{tag}") { format!("{field}:status") } else { "status".to_owned() };
    let config = InfluxConfig {
        host: String::new(),
        port: 0,
        path: String::new(),
        tls,
        api: InfluxApi::V1 { database: String::new(), user: None, password: None },
        precision: output.choice("precision", PRECISION).unwrap_or(Precision::Microseconds),
        gzip: output.opt_flag("gzip").unwrap_or(true),
        measurement: name("measurement", fields::INFLUX_MEASUREMENT),
        tag_set: read_tag_set(output),
        status_field: name("status_field", &status),
        field,
        batch: Nanos::from_millis(output.int(&fields::INFLUX_BATCH_MS)),
        lines_max: output.int(&fields::BATCH_LINES) as u32,
        timeout: Nanos::from_millis(output.int(&fields::OUTPUT_TIMEOUT_S) * 1000),
    };
    check_names(output, &config);
    let (place, api) = (place?, api?);
    Some(OutputKind::Influx(InfluxConfig { host: place.host, port: place.port, path: place.path, api, ..config }))
}

fn read_api(output: &Obj<'_>, base: Base<'_>) -> Option<InfluxApi> {
    let is_v2 = ["org", "bucket", "token_file"].into_iter().find(|key| output.get(key).is_some());
    let help = "allowed: database (and user, password or password_file), or org, bucket and token_file";
    match (output.get("database").is_some(), is_v2) {
        (true, Some(key)) => {
            output.error(output.span_of(key), format!("database and {key} together"), help);
            None
        }
        (false, None) => {
            output.error(output.span, "database is missing, or org, bucket and token_file", help);
            None
        }
        (true, None) => {
            let user = short_text(output, "user").map(|text| text.value.to_owned());
            let password = read_password(output, base);
            let written = ["password", "password_file"].into_iter().find(|key| output.get(key).is_some());
            if let (None, Some(key)) = (&user, written) {
                output.error(output.span_of(key), format!("{key} without user"), "add user = \"…\"");
            }
            let database = short_text(output, "database")?.value.to_owned();
            Some(InfluxApi::V1 { database, user, password })
        }
        (false, Some(_)) => {
            for key in ["user", "password", "password_file"].into_iter().filter(|key| output.get(key).is_some()) {
                let help = "writing to a bucket needs a token: token_file; user and password belong to database";
                output.error(output.span_of(key), format!("{key} with org, bucket or token_file"), help);
            }
            for key in ["org", "bucket", "token_file"] {
                output.required(key, "org, bucket and token_file go together");
            }
            let text = |key| short_text(output, key).map(|text| text.value.to_owned());
            let (org, bucket, token_file) = (text("org"), text("bucket"), file(output, "token_file", base));
            Some(InfluxApi::V2 { org: org?, bucket: bucket?, token_file: token_file? })
        }
    }
}

/// `tag_set = { site = "north", gateway = "{gateway}" }`.
fn read_tag_set(output: &Obj<'_>) -> Vec<(String, String)> {
    let Some(Node { kind: Kind::Object(members), span }) = output.get("tag_set") else {
        // Of another type: that is told here.
        output.entries("tag_set", "strings, such as { gateway = \"{gateway}\" }");
        return vec![("gateway".to_owned(), "{gateway}".to_owned())];
    };
    if members.len() > INFLUX_TAG_SET_MAX {
        let message = format!("tag_set has {} members", members.len());
        output.error(*span, message, format!("allowed: at most {INFLUX_TAG_SET_MAX}"));
    }
    let mut tag_set = Vec::new();
    for member in members.iter().take(INFLUX_TAG_SET_MAX) {
        let name = member.name.as_ref();
        // InfluxDB keeps these for itself.
        if name.is_empty()
            || name == "time"
            || name.starts_with('_')
            || name.contains(|c: char| c.is_control() || c == '\\')
        {
            let help = "allowed: names that are not \"time\" and do not begin with an underscore";
            output.error(member.name_span, format!("tag_set has the name {}", quoted(name)), help);
        }
        let is_bad = |c: char| c.is_control() || c == '\\';
        let Some(text) = member.value.as_text().filter(|text| !text.is_empty() && !text.contains(is_bad)) else {
            let message = format!("tag_set.{name} is not a valid value");
            let help = "allowed: a string with or without placeholders, without backslashes";
            output.error(member.value.span, message, help);
            continue;
        };
        if let Err((start, end)) = check_placeholders(text, PLACEHOLDERS) {
            let message = format!("tag_set.{name} has the unknown placeholder {}", quoted(&text[start..end]));
            output.error(member.value.span, message, placeholders_allowed(PLACEHOLDERS));
        }
        tag_set.push((name.to_owned(), text.to_owned()));
    }
    // In the order in which InfluxDB wants them.
    tag_set.sort();
    tag_set
}

/// Points of two tags must never be one point.
fn check_names(output: &Obj<'_>, config: &InfluxConfig) {
    let InfluxConfig { measurement, field, status_field, tag_set, .. } = config;
    let in_series = measurement.contains("{tag}") || tag_set.iter().any(|(_, value)| value.contains("{tag}"));
    let in_fields = field.contains("{tag}") && status_field.contains("{tag}");
    if !in_series && !in_fields {
        let help = "put {tag} into measurement, into a value of tag_set, or into both field and status_field";
        output.error(output.span, "points of different tags would overwrite each other: no name contains {tag}", help);
    }
    if field == status_field {
        let help = "allowed: two different names";
        output.error(output.span_of("status_field"), "field and status_field are the same", help);
    }
    for (key, name) in [("measurement", measurement), ("field", field), ("status_field", status_field)] {
        if name == "time" || name.starts_with('_') {
            let help = "InfluxDB reserves time and names that begin with an underscore";
            output.error(output.span_of(key), format!("{key} is {}", quoted(name)), help);
        }
    }
}

/// A field of one measurement has one type in InfluxDB, and times that are cut off make one point of several.
pub fn check_tags(output: &OutputConfig, tags: &[&TagConfig], periods: &[Nanos], report: &Report) {
    let Some(influx) = output.kind.influx() else { return };
    let subject = format!("output {}", quoted(&output.name));
    let warn = |message: String, help: &str| report.warning(output.source.clone(), &subject, message, help);
    if !influx.measurement.contains("{tag}") && !influx.field.contains("{tag}") {
        let mut kinds: Vec<&str> = tags.iter().map(|tag| kind_of(tag.value_type())).collect();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.len() > 1 {
            let message = format!("tags of several types ({}) share one field", kinds.join(", "));
            warn(message, "a field of InfluxDB has one type; put {tag} into measurement or field");
        }
    }
    if let Some(period) = periods.iter().copied().find(|period| period.0 < influx.precision.nanos()) {
        let message = format!("precision is coarser than the shortest scan rate, {} ms", period.0 as f64 / 1e6);
        warn(message, "samples with the same time are one point: only the last is kept; set a finer precision");
    }
}

fn kind_of(ty: ValueType) -> &'static str {
    match ty {
        ValueType::Scalar(ScalarType::Bool) => "boolean",
        ValueType::Scalar(ScalarType::Float32 | ScalarType::Float64) => "float",
        ValueType::Scalar(_) => "integer",
        ValueType::Text { .. } => "string",
        ValueType::Array { .. } => "array",
    }
}
