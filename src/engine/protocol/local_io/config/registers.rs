//! Tags on registers of devices on I2C and SPI, as they are.

use std::sync::Arc;

use super::super::model::{Field, FieldKind, Formula, LocalIoPoint, Program, RegisterWrite, Step};
use super::known::read_chip;
use super::number;
use crate::config::WordOrder;
use crate::config::names::quoted;
use crate::config::node::{Kind, Node};
use crate::config::reader::{Obj, Part, Text, found, span};
use crate::limits::{LOCAL_IO_COMMAND_BYTES_MAX, LOCAL_IO_READ_BYTES_MAX};
use crate::protocol::local_io::config::point::{I2C_ALLOWED, Point, SPI_ALLOWED};
use crate::protocol::local_io::fields;
use crate::tag::{Nanos, ScalarType};

/// Addresses that no device has for itself (NXP UM10204, table 4).
const I2C_ADDRESSES: std::ops::RangeInclusive<u64> = 0x08..=0x77;

pub fn read_i2c(tag: &Obj<'_>, text: Text<'_>, parts: &[Part<'_>], written: Option<ScalarType>) -> Option<Point> {
    let wrong = || {
        tag.error(text.span, format!("address {}", quoted(text.value)), format!("allowed: {I2C_ALLOWED}"));
        None
    };
    let (Some(at), 2..=3) = (parts.first(), parts.len()) else { return wrong() };
    let Some(address) = number(at.text).filter(|address| I2C_ADDRESSES.contains(address)) else {
        let message = format!("the device's address is {}", quoted(at.text));
        tag.error(span(text, *at), message, format!("allowed: 0x08 to 0x77, of 7 bits; {I2C_ALLOWED}"));
        return None;
    };
    let address = address as u8;
    match parts {
        [_, chip] => read_chip(tag, text, *chip, Some(address), written),
        [_, register, bytes] => {
            let command = read_register(tag, text, *register)?;
            let bytes = read_count(tag, text, *bytes)?;
            let field = read_field(tag, bytes, written)?;
            let mut measure = read_command(tag)?;
            let own = (!command.is_empty() && measure.is_empty()).then(|| command.clone());
            let write = read_write_command(tag)?.or(own);
            measure.push(Step::Read { command, bytes });
            point(tag, address, measure, field, write)
        }
        _ => wrong(),
    }
}

pub fn read_spi(tag: &Obj<'_>, text: Text<'_>, parts: &[Part<'_>], written: Option<ScalarType>) -> Option<Point> {
    match parts {
        [chip] if chip.text.contains('.') => read_chip(tag, text, *chip, None, written),
        [sent] => {
            let sent = read_bytes(tag, text, *sent)?;
            let field = read_field(tag, sent.len() as u8, written)?;
            let mut measure = read_command(tag)?;
            measure.push(Step::Exchange(sent));
            point(tag, 0, measure, field, read_write_command(tag)?)
        }
        [sent, bytes] => {
            let command = read_bytes(tag, text, *sent)?;
            let bytes = read_count(tag, text, *bytes)?;
            let field = read_field(tag, bytes, written)?;
            let mut measure = read_command(tag)?;
            measure.push(Step::Read { command, bytes });
            point(tag, 0, measure, field, read_write_command(tag)?)
        }
        _ => {
            tag.error(text.span, format!("address {}", quoted(text.value)), format!("allowed: {SPI_ALLOWED}"));
            None
        }
    }
}

/// A register that is one field and nothing else can be written as it is read, behind the bytes of `write`.
fn point(
    tag: &Obj<'_>,
    address: u8,
    measure: Vec<Step>,
    (field, ty): (Field, ScalarType),
    write: Option<Vec<u8>>,
) -> Option<Point> {
    let whole = field.at == 0 && field.shift == 0 && usize::from(field.width) == Program::bytes(&measure);
    let is_plain = whole && field.mask == u64::MAX && field.kind != FieldKind::Bool;
    let write = match (write, &measure[..]) {
        (Some(command), [Step::Read { command: read_command, .. }]) if is_plain => Some(RegisterWrite {
            command,
            read_command: read_command.clone(),
            width: field.width,
            little_endian: field.little_endian,
        }),
        _ => None,
    };
    if write.is_none() && tag.get("write_command").is_some() {
        let help = "allowed: on a register that holds one number, read by one command, without shift and mask";
        tag.error(tag.span_of("write_command"), "write_command on a tag that cannot be written", help);
        return None;
    }
    let program = Arc::new(Program { address, measure, ..Program::default() });
    Some((LocalIoPoint::Register { program, formula: Formula::Field(field), write }, ty))
}

/// A register's number: one byte, or two where it is written with four digits; `-`: none.
fn read_register(tag: &Obj<'_>, text: Text<'_>, part: Part<'_>) -> Option<Vec<u8>> {
    if part.text == "-" {
        return Some(Vec::new());
    }
    let wide = part.text.len() == 6 && part.text.starts_with("0x");
    match number(part.text) {
        Some(register) if wide && register <= 0xFFFF => Some((register as u16).to_be_bytes().to_vec()),
        Some(register) if register <= 0xFF => Some(vec![register as u8]),
        _ => {
            let help = "allowed: 0x00 to 0xFF, with four digits (0x0000) for registers of two bytes, - for none";
            tag.error(span(text, part), format!("the register is {}", quoted(part.text)), help);
            None
        }
    }
}

fn read_count(tag: &Obj<'_>, text: Text<'_>, part: Part<'_>) -> Option<u8> {
    let count = number(part.text).filter(|count| (1..=u64::from(LOCAL_IO_READ_BYTES_MAX)).contains(count));
    if count.is_none() {
        let message = format!("the number of bytes is {}", quoted(part.text));
        tag.error(span(text, part), message, format!("allowed: 1 to {LOCAL_IO_READ_BYTES_MAX}"));
    }
    count.map(|count| count as u8)
}

/// Bytes as hexadecimal digits, two each.
fn read_bytes(tag: &Obj<'_>, text: Text<'_>, part: Part<'_>) -> Option<Vec<u8>> {
    let digits = part.text.strip_prefix("0x").unwrap_or_default();
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    let bytes = bytes.filter(|bytes| (1..=LOCAL_IO_COMMAND_BYTES_MAX).contains(&bytes.len()));
    if bytes.is_none() {
        let message = format!("the bytes to send are {}", quoted(part.text));
        let help =
            format!("allowed: 0x and two digits for each of 1 to {LOCAL_IO_COMMAND_BYTES_MAX} bytes; {SPI_ALLOWED}");
        tag.error(span(text, part), message, help);
    }
    bytes
}

/// "command" and "delay_us": what is sent before the read, and the pause after it.
fn read_command(tag: &Obj<'_>) -> Option<Vec<Step>> {
    let mut steps: Vec<Step> = read_byte_list(tag, "command")?.map(Step::Write).into_iter().collect();
    let delay = tag.int(&fields::DELAY_US);
    if tag.get("delay_us").is_some() && steps.is_empty() {
        tag.error(tag.span_of("delay_us"), "delay_us without command", "it is the pause between command and read");
        return None;
    }
    if delay > 0 {
        steps.push(Step::Wait(Nanos::from_micros(delay)));
    }
    Some(steps)
}

/// "write_command": what is sent before the value when the register is written.
fn read_write_command(tag: &Obj<'_>) -> Option<Option<Vec<u8>>> {
    read_byte_list(tag, "write_command")
}

/// A list of bytes, if it is there. `None`: reported.
fn read_byte_list(tag: &Obj<'_>, key: &str) -> Option<Option<Vec<u8>>> {
    let Some(node) = tag.get(key) else { return Some(None) };
    let byte = |node: &Node<'_>| match &node.kind {
        Kind::Int(byte) => u8::try_from(*byte).ok(),
        Kind::Text(text) => number(text).and_then(|byte| u8::try_from(byte).ok()),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = match &node.kind {
        Kind::Array(bytes) => bytes.iter().map(byte).collect(),
        _ => None,
    };
    let bytes = bytes.filter(|bytes| (1..=LOCAL_IO_COMMAND_BYTES_MAX).contains(&bytes.len()));
    if bytes.is_none() {
        let help = format!("allowed: a list of 1 to {LOCAL_IO_COMMAND_BYTES_MAX} bytes, such as [\"0x2C\", \"0x06\"]");
        tag.error(node.span, format!("{key} is {}", found(node)), help);
    }
    bytes.map(Some)
}

/// Bits of an unsigned number, or bytes of a float.
fn bits_of(ty: ScalarType) -> u8 {
    match ty {
        ScalarType::Bool => 1,
        ScalarType::Int16 | ScalarType::Uint16 => 16,
        ScalarType::Int32 | ScalarType::Uint32 | ScalarType::Float32 => 32,
        ScalarType::Int64 | ScalarType::Uint64 | ScalarType::Float64 => 64,
    }
}

/// Which bits of the `bytes` that are read, and as what.
fn read_field(tag: &Obj<'_>, bytes: u8, written: Option<ScalarType>) -> Option<(Field, ScalarType)> {
    let at = tag.int(&fields::AT) as u8;
    if at >= bytes {
        let message = format!("at is {at}, but {bytes} bytes are read");
        tag.error(tag.span_of("at"), message, format!("allowed: 0 to {}", bytes.saturating_sub(1)));
        return None;
    }
    let rest = bytes - at;
    let by_type = written.filter(|_| tag.get("at").is_some()).map(|ty| bits_of(ty).div_ceil(8));
    let width = tag.opt_int(&fields::WIDTH).map(|width| width as u8).or(by_type).unwrap_or(rest);
    if width > rest {
        let message = format!("{width} bytes from byte {at} exceed the {bytes} bytes that are read");
        tag.error(tag.span_of("at"), message, format!("allowed: \"width\" up to {rest}, or more bytes in the address"));
        return None;
    }
    if width > 8 {
        let help = "allowed: \"at\" and \"width\" (1 to 8), which select the bytes of the value";
        tag.error(tag.span_of("address"), format!("a value of {width} bytes"), help);
        return None;
    }
    let ty = written.unwrap_or(match width {
        1 | 2 => ScalarType::Uint16,
        3 | 4 => ScalarType::Uint32,
        _ => ScalarType::Uint64,
    });
    let little_endian = match tag.choice("byte_order", fields::BYTE_ORDER) {
        None | Some(WordOrder::Abcd) => false,
        Some(WordOrder::Dcba) => true,
        Some(_) => {
            let help = "allowed: ABCD, the most significant byte first, or DCBA, the least significant first";
            tag.error(tag.span_of("byte_order"), "this byte_order swaps words, but the value has none", help);
            return None;
        }
    };
    let field = Field { at, width, little_endian, shift: 0, mask: u64::MAX, kind: FieldKind::Unsigned };
    let field = cut(tag, field, ty)?;
    Some((field, ty))
}

/// Shift, mask and bit: they must not leave the field, nor its value the type.
fn cut(tag: &Obj<'_>, field: Field, ty: ScalarType) -> Option<Field> {
    let whole = field.width * 8;
    let is_float = matches!(ty, ScalarType::Float32 | ScalarType::Float64);
    if is_float {
        if whole != bits_of(ty) {
            let message = format!("a {} of {} bytes", ty.name(), field.width);
            tag.error(tag.span_of("data_type"), message, format!("allowed: {} bytes", bits_of(ty) / 8));
            return None;
        }
        for key in ["shift", "mask", "bit"].into_iter().filter(|key| tag.get(key).is_some()) {
            tag.error(tag.span_of(key), format!("{key} on a {}", ty.name()), "remove it");
        }
        let kind = if ty == ScalarType::Float32 { FieldKind::Float32 } else { FieldKind::Float64 };
        return Some(Field { kind, ..field });
    }
    let shift = tag.int(&fields::SHIFT) as u8;
    if shift >= whole {
        let message = format!("a shift of {shift} removes all {whole} bits");
        tag.error(tag.span_of("shift"), message, format!("allowed: 0 to {}", whole - 1));
        return None;
    }
    let left = whole - shift;
    let mut mask = read_mask(tag)?;
    if let Some(bit) = tag.opt_int(&fields::BIT) {
        if ty != ScalarType::Bool {
            tag.error(
                tag.span_of("bit"),
                format!("bit with data_type {}", ty.name()),
                "remove it, or set data_type to bool",
            );
            return None;
        }
        if bit >= u64::from(left) {
            let message = format!("bit {bit} is outside the {left} bits that are read");
            tag.error(tag.span_of("bit"), message, format!("allowed: 0 to {}", left - 1));
            return None;
        }
        mask = 1 << bit;
    }
    let used = (64 - mask.leading_zeros()) as u8;
    if mask != u64::MAX && used > left {
        let message = format!("mask {mask:#X} exceeds the {left} bits that are read");
        tag.error(tag.span_of("mask"), message, format!("allowed: up to {:#X}", u64::MAX >> (64 - left)));
        return None;
    }
    let bits = if mask == u64::MAX { left } else { used };
    let kind = match ty {
        ScalarType::Bool if tag.get("bit").is_none() && tag.get("mask").is_none() => {
            tag.error(
                tag.span_of("data_type"),
                "a bool without bit",
                "allowed: \"bit\" or \"mask\", which select the bits",
            );
            return None;
        }
        ScalarType::Bool => FieldKind::Bool,
        ScalarType::Int16 | ScalarType::Int32 | ScalarType::Int64 => FieldKind::Signed { bits },
        _ => FieldKind::Unsigned,
    };
    if kind != FieldKind::Bool && bits > bits_of(ty) {
        let message = format!("{bits} bits do not fit {}", ty.name());
        tag.error(tag.span_of("data_type"), message, "allowed: a wider type, or \"width\", \"shift\" and \"mask\"");
        return None;
    }
    Some(Field { shift, mask, kind, ..field })
}

fn read_mask(tag: &Obj<'_>) -> Option<u64> {
    let Some(node) = tag.get("mask") else { return Some(u64::MAX) };
    let mask = match &node.kind {
        Kind::Int(mask) => u64::try_from(*mask).ok(),
        Kind::Text(text) => number(text),
        _ => None,
    };
    let mask = mask.filter(|mask| *mask != 0);
    if mask.is_none() {
        let help = "allowed: a number that is not 0, or a string such as \"0x0FFF\"";
        tag.error(node.span, format!("mask is {}", found(node)), help);
    }
    mask
}
