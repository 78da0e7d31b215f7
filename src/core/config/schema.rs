//! The JSON Schema of the tag files, for editors: `tags/tags.schema.json`.
//!
//! The types mirror the files and exist for their schema alone; ranges, defaults and words come from [`super::fields`],
//! where the reader takes them from. What depends on several keys at once is the reader's to judge.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::fields;
use super::kind::Protocols;
use super::write::schema as write;
use crate::config::fields::{NAME_PATTERN, words};
use crate::limits::{NAME_BYTES_MAX, TAGS_MAX};

/// Names of tags may have letters of every script. Told by the ASCII characters that are not allowed, since not every
/// editor knows classes of Unicode.
const TAG_NAME_PATTERN: &str = r"^[^\x00-,/:-@\[-^`{-\x7f]+$";
/// What follows the link's name is its kind's.
const ADDRESS_PATTERN: &str = "^[A-Za-z0-9._-]+:.+$";

/// Links and tags of one machine. Files may refer to links and groups of each other.
#[derive(JsonSchema)]
#[schemars(title = "Fieldbeat tag file", deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
struct TagFile {
    /// Path or URL of this schema, for editors.
    #[schemars(rename = "$schema")]
    schema: Option<String>,
    /// Scan groups that several tags share.
    groups: Option<Vec<Group>>,
    /// Connections to field devices.
    links: Option<Vec<Link>>,
    /// Values to read.
    #[schemars(length(max = TAGS_MAX))]
    tags: Option<Vec<Tag>>,
}

/// An object that may say which samples are told: what it has, and after it those keys.
macro_rules! told {
    ($(#[$about:meta])* $name:ident { $($own:tt)* }) => {
        #[derive(JsonSchema)]
        $(#[$about])*
        #[expect(dead_code, reason = "read by the derive only")]
        struct $name {
            $($own)*
            /// Which samples are reported: every one, or only those whose value or status differs from the last one
            /// reported. One of report, deadband and deadband_percent; a tag's setting overrides its group's.
            #[schemars(extend("enum" = words(fields::REPORT), "default" = "every"))]
            report: Option<String>,
            /// Report by exception: a value is reported if it differs by more than this from the last one reported,
            /// in the tag's unit. A changed status is always reported.
            #[schemars(range(min = fields::DEADBAND.min))]
            deadband: Option<f64>,
            /// Report by exception: the deadband in percent of the tag's range.
            #[schemars(range(min = fields::DEADBAND_PERCENT.min, max = fields::DEADBAND_PERCENT.max))]
            deadband_percent: Option<f64>,
            /// With report by exception: a sample is reported at least this often, in milliseconds, even if
            /// unchanged. At least two scans; default 60000, or four scans if that is longer.
            #[schemars(
                range(min = fields::MAX_SILENCE_MS.min, max = fields::MAX_SILENCE_MS.max),
                extend("default" = fields::MAX_SILENCE_MS.default)
            )]
            max_silence_ms: Option<u32>,
            /// Where samples are suppressed: before the executor's ring, which saves the most; or before the journal
            /// and the outputs.
            #[schemars(extend("enum" = words(fields::SUPPRESS), "default" = "ring"))]
            suppress: Option<String>,
            /// The last suppressed sample is reported, with its own time, before one that is reported for its value or
            /// status: trends then show a step as a step. Single values only.
            #[schemars(extend("default" = false))]
            keep_last: Option<bool>,
            /// Free text.
            #[schemars(length(max = fields::DESCRIPTION_BYTES_MAX))]
            description: Option<String>,
        }
    };
}

told! {
    /// Tags that are read together. Tags without a group are in the group default, each at its own scan rate.
    #[schemars(deny_unknown_fields)]
    Group {
        /// Unique in all files; used as a topic level and a metric label.
        #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = NAME_PATTERN))]
        name: String,
        /// Scan period in milliseconds: 1 is 1000 Hz, 1000 is 1 Hz, 900000 every 15 minutes, 86400000 once a day.
        #[schemars(range(min = fields::SCAN_RATE_MS.min, max = fields::SCAN_RATE_MS.max))]
        scan_rate_ms: f64,
        /// How the group's links are released: each at its own phase, or all at the same instant (a coherent snapshot).
        #[schemars(extend("enum" = words(fields::RELEASE), "default" = "spread"))]
        release: Option<String>,
    }
}

/// A connection to a field device, or to several units behind a gateway or on a line.
#[derive(JsonSchema)]
struct Link {}

told! {
    /// One value that is read.
    #[schemars(deny_unknown_fields, extend("anyOf" = json!([{"required": ["scan_rate_ms"]}, {"required": ["group"]}])))]
    Tag {
        /// Unique in all files.
        #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = TAG_NAME_PATTERN))]
        name: String,
        /// The protocol of its link; optional.
                protocol: Option<String>,
        /// link:unit:function:register:count, such as plc1:1:3:40001:2. The count is optional if the data type
        /// fixes it.
        #[schemars(regex(pattern = ADDRESS_PATTERN))]
        address: String,
        /// Type of the value. The available types depend on the kind of link.
        data_type: Option<String>,
        /// For a bool in a register or a CANopen object: which bit, 0 the least significant.
        #[schemars(range(min = fields::OBJECT_BIT.min, max = fields::OBJECT_BIT.max))]
        bit: Option<u8>,
        /// Byte order on the wire, A being the most significant; for CAN bits little (Intel) or big (Motorola).
        byte_order: Option<String>,
        /// Scan period in milliseconds: 1 is 1000 Hz, 1000 is 1 Hz, 900000 every 15 minutes, 86400000 once a day.
        /// With a group: the group's, or left out.
        #[schemars(range(min = fields::SCAN_RATE_MS.min, max = fields::SCAN_RATE_MS.max))]
        scan_rate_ms: Option<f64>,
        /// Name of a group.
        #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = NAME_PATTERN))]
        group: Option<String>,
        /// The value is raw × scale + offset.
        #[schemars(extend("default" = 1, "not" = json!({"const": 0})))]
        scale: Option<f64>,
        /// The value is raw × scale + offset.
        #[schemars(extend("default" = 0))]
        offset: Option<f64>,
        /// The tag of the same Modbus link whose value is a power of ten, by which the raw value is multiplied before
        /// scale and offset: scale factors of SunSpec.
        #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = TAG_NAME_PATTERN))]
        scale_from: Option<String>,
        /// Raw values that mean "no value": numbers, their bits such as "0x8000", a list of these; or sunspec,
        /// the ones that SunSpec defines for the type.
        not_available: Option<OneOrSeveral>,
        /// NaN and infinity are values of a float; otherwise they mean "no value".
        #[schemars(extend("default" = false))]
        allow_nan: Option<bool>,
        /// Names of values: {"0": "off", "1": "on"}, for the tag's values after scale.
        #[schemars(length(max = crate::limits::VALUE_TEXTS_MAX))]
        values: Option<BTreeMap<String, String>>,
        /// Engineering unit, such as °C.
        #[schemars(length(max = fields::UNIT_TEXT_BYTES_MAX))]
        unit: Option<String>,
        /// The lowest and the highest usual value, in the tag's unit.
        #[schemars(length(equal = 2))]
        range: Option<Vec<f64>>,
        /// A transmitter at an analogue input, on any kind of link; instead of scale and offset.
        sensor: Option<Sensor>,
        /// Allows writes, and sets their limits. Without it, the tag is read-only.
        write: Option<write::Write>,
    }
}

/// A transmitter at an analogue input.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
struct Sensor {
    /// The type of signal.
    #[schemars(rename = "type", extend("enum" = words(fields::SIGNAL)))]
    kind: String,
    /// The raw value at the lower end of the signal; without it, raw values are in mA or V.
    raw_min: Option<f64>,
    /// The raw value at the upper end.
    raw_max: Option<f64>,
    /// The values at the signal's ends.
    range: [f64; 2],
}

/// A raw value: a number, or its bits.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "read by the derive only")]
enum RawValue {
    Number(f64),
    Bits(#[schemars(regex(pattern = "^(sunspec|0[xX][0-9A-Fa-f]{1,16})$"))] String),
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "read by the derive only")]
enum OneOrSeveral {
    One(RawValue),
    Several(#[schemars(length(min = 1, max = crate::limits::NOT_AVAILABLE_MAX))] Vec<RawValue>),
}

/// The JSON Schema (draft 7, which most editors know) of `tags/*.json`, with the links and tags of these protocols.
pub fn schema(protocols: Protocols) -> Value {
    let settings = SchemaSettings::draft07().with_transform(schemars::transform::RecursiveTransform(tidy));
    let mut generator = settings.into_generator();
    let links: Vec<Schema> = protocols.all().flat_map(|protocol| protocol.link_schemas(&mut generator)).collect();
    let parts: Vec<String> = protocols.all().filter_map(|protocol| protocol.tag_schema(&mut generator)).collect();
    let mut schema = generator.into_root_schema_for::<TagFile>().to_value();
    let definitions = &mut schema["definitions"];
    let about = definitions["Link"]["description"].take();
    definitions["Link"] = json!({"description": about, "anyOf": links});
    for part in parts {
        let own = definitions.as_object_mut().and_then(|all| all.remove(&part));
        if let (Some(Value::Object(tag)), Some(mut own)) = (definitions["Tag"].get_mut("properties"), own)
            && let Some(own) = own["properties"].as_object_mut()
        {
            tag.append(own);
        }
    }
    for key in ["protocol", "data_type", "byte_order"] {
        let mut words: Vec<&str> = match key {
            "protocol" => protocols.words().collect(),
            "data_type" => words(fields::DATA_TYPE),
            _ => words(fields::BYTE_ORDER),
        };
        for word in protocols.all().flat_map(|protocol| protocol.tag_words(key)) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        definitions["Tag"]["properties"][key]["enum"] = json!(words);
    }
    schema
}

/// A key that may be left out may not be null; widths of integers are ours, not the file's.
fn tidy(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|ty| ty != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    object.remove("format");
    if let Some(Value::String(description)) = object.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
}
