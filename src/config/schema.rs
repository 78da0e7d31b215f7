//! The JSON Schema of the tag files, for editors: `tags/tags.schema.json`.
//!
//! The types mirror the files and exist for their schema alone; ranges, defaults and words come from [`super::fields`],
//! where the reader takes them from. What depends on several keys at once is the reader's to judge.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::bus::schema as bus;
use super::can_schema::{CanLink, Multiplexor};
use super::canopen_schema::CanOpenLink;
use super::fields;
use super::modbus_schema::{ModbusRtuLink, ModbusRtuTcpLink, ModbusTcpLink};
use super::write::schema as write;
use crate::limits::{NAME_BYTES_MAX, TAGS_MAX};

/// Names of links and groups.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9._-]+$";
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
    /// What is read.
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
            /// Which samples are told: each one, or those with another value or status than the last one that was
            /// told. One of report, deadband and deadband_percent; a tag's own goes before its group's.
            #[schemars(extend("enum" = words(fields::REPORT), "default" = "every"))]
            report: Option<String>,
            /// Report by exception: told is a value that is further than this from the last one that was told, in the
            /// tag's unit. Another status is always told.
            #[schemars(range(min = fields::DEADBAND.min))]
            deadband: Option<f64>,
            /// Report by exception: the deadband in percent of the tag's range.
            #[schemars(range(min = fields::DEADBAND_PERCENT.min, max = fields::DEADBAND_PERCENT.max))]
            deadband_percent: Option<f64>,
            /// With report by exception: a sample is told at least this often, in milliseconds, whatever its value. At
            /// least two scans; left out, 60000, or four scans where that is longer.
            #[schemars(
                range(min = fields::MAX_SILENCE_MS.min, max = fields::MAX_SILENCE_MS.max),
                extend("default" = fields::MAX_SILENCE_MS.default)
            )]
            max_silence_ms: Option<u32>,
            /// Where samples are held back: before the executor's ring, which saves the most; or before the journal and
            /// the outputs.
            #[schemars(extend("enum" = words(fields::SUPPRESS), "default" = "ring"))]
            suppress: Option<String>,
            /// The last sample that was held back is told, with its own time, before one that is told for its value or
            /// status: trends then show a jump as a jump. Single values only.
            #[schemars(extend("default" = false))]
            keep_last: Option<bool>,
            /// For people.
            #[schemars(length(max = fields::DESCRIPTION_BYTES_MAX))]
            description: Option<String>,
        }
    };
}

told! {
    /// Tags that are read together. Tags without a group are in the group default, each at its own scan rate.
    #[schemars(deny_unknown_fields)]
    Group {
        /// Unique among all files; it becomes a topic level and a metric label.
        #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = NAME_PATTERN))]
        name: String,
        /// Time between two scans in milliseconds: 1 is 1000 Hz, 1000 is 1 Hz, 900000 is each quarter of an hour, 86400000 once a day.
        #[schemars(range(min = fields::SCAN_RATE_MS.min, max = fields::SCAN_RATE_MS.max))]
        scan_rate_ms: f64,
        /// How the group's links start: each at a phase of its own, or all at one instant (a coherent snapshot).
        #[schemars(extend("enum" = words(fields::RELEASE), "default" = "spread"))]
        release: Option<String>,
    }
}

/// A connection to a field device, or to several units behind a gateway or on a line.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "read by the derive only")]
enum Link {
    Tcp(ModbusTcpLink),
    Rtu(ModbusRtuLink),
    RtuTcp(ModbusRtuTcpLink),
    Can(CanLink),
    CanOpen(CanOpenLink),
    Gpio(bus::GpioLink),
    I2c(bus::I2cLink),
    Spi(bus::SpiLink),
    Iio(bus::IioLink),
}

told! {
    /// One value that is read.
    #[schemars(deny_unknown_fields, extend("anyOf" = json!([{"required": ["scan_rate_ms"]}, {"required": ["group"]}])))]
    Tag {
        /// Unique among all files.
        #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = TAG_NAME_PATTERN))]
        name: String,
        /// Its link's protocol; may be left out.
        #[schemars(extend("enum" = words(fields::PROTOCOLS)))]
        protocol: Option<String>,
        /// link:unit:function:register:count, such as plc1:1:3:40001:2. The count may be left out where the data type
        /// fixes it.
        #[schemars(regex(pattern = ADDRESS_PATTERN))]
        address: String,
        /// What lies there. Which types there are depends on the kind of link.
        #[schemars(extend("enum" = data_types()))]
        data_type: Option<String>,
        /// For a bool in a register or a CANopen object: which bit, 0 the least significant.
        #[schemars(range(min = fields::OBJECT_BIT.min, max = fields::OBJECT_BIT.max))]
        bit: Option<u8>,
        /// Elements, for an array.
        #[schemars(range(min = fields::ARRAY.min, max = fields::ARRAY.max))]
        array: Option<u16>,
        /// Of an int8 or a uint8 in a Modbus register: which of its bytes.
        #[schemars(extend("enum" = words(fields::BYTE), "default" = "low"))]
        byte: Option<String>,
        /// Of a string in Modbus registers. Left out: UTF-8, and what is none is read as Windows-1252.
        #[schemars(extend("enum" = words(fields::ENCODING)))]
        encoding: Option<String>,
        /// How the bytes lie on the wire, A being the most significant; of CAN bits little (Intel) or big (Motorola).
        #[schemars(extend("enum" = byte_orders()))]
        byte_order: Option<String>,
        /// Of CAN bits: they are only in frames whose multiplexor has this value.
        multiplexor: Option<Multiplexor>,
        /// Of a J1939 parameter group: whether the highest raw values say that there is no value; left out, as its link
        /// says.
        j1939_special_values: Option<bool>,
        /// Of a CANopen object: read by PDO or by SDO, whatever is mapped.
        #[schemars(extend("enum" = words(fields::CANOPEN_ACCESS)))]
        access: Option<String>,
        /// Time between two scans in milliseconds: 1 is 1000 Hz, 1000 is 1 Hz, 900000 is each quarter of an hour, 86400000 once a day. With a group: the group's, or left out.
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
        /// Raw values that say that there is no value: numbers, their bits such as "0x8000", a list of these; or sunspec,
        /// what SunSpec has for the type.
        not_available: Option<OneOrSeveral>,
        /// What is not a number, and infinity, is a value of a float; else it says that there is none.
        #[schemars(extend("default" = false))]
        allow_nan: Option<bool>,
        /// What values are called: {"0": "off", "1": "on"}, by the values that the tag has.
        #[schemars(length(max = crate::limits::VALUE_TEXTS_MAX))]
        values: Option<BTreeMap<String, String>>,
        /// Engineering unit, such as °C.
        #[schemars(length(max = fields::UNIT_TEXT_BYTES_MAX))]
        unit: Option<String>,
        /// The lowest and the highest value that are usual, in the tag's unit.
        #[schemars(length(equal = 2))]
        range: Option<Vec<f64>>,
        /// Of a GPIO line.
        #[schemars(extend("enum" = words(fields::GPIO_DIRECTION), "default" = "in"))]
        direction: Option<String>,
        /// Of a GPIO line: the resistor that the chip switches to it.
        #[schemars(extend("enum" = words(fields::GPIO_BIAS), "default" = "as-is"))]
        bias: Option<String>,
        /// Of a GPIO output.
        #[schemars(extend("enum" = words(fields::GPIO_DRIVE), "default" = "push-pull"))]
        drive: Option<String>,
        /// Of a GPIO line: true when it is low.
        active_low: Option<bool>,
        /// Of a GPIO input: edges that are told at once, or counted where the data type is a number.
        #[schemars(extend("enum" = words(fields::GPIO_EDGE)))]
        edge: Option<String>,
        /// Of a GPIO input: how long a level lasts before it counts, in microseconds.
        #[schemars(
            range(min = fields::DEBOUNCE_US.min, max = fields::DEBOUNCE_US.max),
            extend("default" = fields::DEBOUNCE_US.default)
        )]
        debounce_us: Option<u32>,
        /// Of a GPIO output: what it is set to when the device is opened; left out, it stays as it is.
        initial: Option<bool>,
        /// Of a register on I2C or SPI: bytes that are sent before the read.
        #[schemars(length(min = 1, max = crate::limits::BUS_COMMAND_BYTES_MAX))]
        command: Option<Vec<bus::Byte>>,
        /// Of a register on I2C or SPI: the pause between command and read, in microseconds.
        #[schemars(
            range(min = fields::DELAY_US.min, max = fields::DELAY_US.max),
            extend("default" = fields::DELAY_US.default)
        )]
        delay_us: Option<u32>,
        /// Of a register on I2C or SPI: the first byte of the value among those that are read.
        #[schemars(range(min = fields::AT.min, max = fields::AT.max), extend("default" = fields::AT.default))]
        at: Option<u8>,
        /// Of a register on I2C or SPI: bytes of the value.
        #[schemars(range(min = fields::WIDTH.min, max = fields::WIDTH.max))]
        width: Option<u8>,
        /// Of a register on I2C or SPI: so many bits to the right.
        #[schemars(range(min = fields::SHIFT.min, max = fields::SHIFT.max), extend("default" = fields::SHIFT.default))]
        shift: Option<u8>,
        /// Of a register on I2C or SPI: the bits that are kept, after the shift.
        mask: Option<bus::Mask>,
        /// Of a known chip on I2C or SPI: how it is set.
        chip: Option<bus::ChipSettings>,
        /// Of a register on I2C or SPI: bytes that are sent before the value when it is written. On I2C, without it, the
        /// register's number.
        #[schemars(length(min = 1, max = crate::limits::BUS_COMMAND_BYTES_MAX))]
        write_command: Option<Vec<bus::Byte>>,
        /// A transmitter behind an analogue input, on any kind of link; in place of scale and offset.
        sensor: Option<bus::Sensor>,
        /// That it may be written, and within which limits. Without it, the tag is only read.
        write: Option<write::Write>,
    }
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

pub(super) fn words<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(word, _)| *word).collect()
}

/// Of all kinds of links.
fn data_types() -> Vec<&'static str> {
    let mut types = words(fields::DATA_TYPE);
    types.extend(words(fields::CANOPEN_DATA_TYPE).into_iter().filter(|ty| !words(fields::DATA_TYPE).contains(ty)));
    types
}

fn byte_orders() -> Vec<&'static str> {
    words(fields::BYTE_ORDER).into_iter().chain(words(fields::CAN_BYTE_ORDER)).collect()
}

/// The JSON Schema (draft 7, which most editors know) of `tags/*.json`.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().with_transform(schemars::transform::RecursiveTransform(tidy));
    settings.into_generator().into_root_schema_for::<TagFile>().to_value()
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
