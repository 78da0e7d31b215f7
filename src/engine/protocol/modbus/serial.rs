//! The keys of a serial port, of a link in the tag files.

use std::path::PathBuf;

use super::fields;
use crate::config::model::{Parity, Rs485Config, SerialConfig, SerialFraming};
use crate::config::names::quoted;
use crate::config::reader::Obj;
use crate::tag::Nanos;

const PORT_ALLOWED: &str = "the path of a serial port, such as \"/dev/ttyUSB0\" or \"/dev/serial/by-id/…\"";

pub fn read(link: &Obj<'_>) -> SerialConfig {
    let framing = link.choice("framing", fields::FRAMING).unwrap_or(SerialFraming::Rtu);
    let data_bits = match framing {
        SerialFraming::Rtu => link.int(&fields::DATA_BITS) as u8,
        SerialFraming::Ascii => link.int(&fields::DATA_BITS_ASCII) as u8,
    };
    if framing == SerialFraming::Rtu && data_bits != 8 {
        let message = "data_bits is 7, but RTU needs 8";
        link.error(link.span_of("data_bits"), message, "allowed: 8, or 7 with \"framing\": \"ascii\"");
    }
    SerialConfig {
        port: read_port(link),
        baud_rate: link.int(&fields::BAUDRATE) as u32,
        data_bits,
        parity: link.choice("parity", fields::PARITY).unwrap_or(Parity::Even),
        stop_bits: link.int(&fields::STOP_BITS) as u8,
        framing,
        rs485: read_rs485(link),
        echo: link.flag("echo"),
    }
}

fn read_port(link: &Obj<'_>) -> PathBuf {
    let Some(port) = link.required_text("port", PORT_ALLOWED) else { return PathBuf::new() };
    let fault = if !port.value.starts_with('/') {
        Some("is not an absolute path")
    } else if port.value.len() > fields::PORT_PATH_BYTES_MAX {
        Some("is too long for a path")
    } else if port.value.contains('\0') {
        Some("has a NUL character")
    } else {
        None
    };
    if let Some(fault) = fault {
        link.error(port.span, format!("port {} {fault}", quoted(port.value)), format!("allowed: {PORT_ALLOWED}"));
    }
    PathBuf::from(port.value)
}

fn read_rs485(link: &Obj<'_>) -> Option<Rs485Config> {
    let node = link.get("rs485")?;
    let rs485 = Obj::open(link.cx, node, format!("{}: rs485", link.subject), fields::RS485_KEYS)?;
    let switched_by = rs485.required_choice("rts", fields::RTS);
    let (before, after) = (rs485.int(&fields::DELAY_BEFORE_MS), rs485.int(&fields::DELAY_AFTER_MS));
    Some(Rs485Config {
        switched_by: switched_by?,
        rts_on_send: rs485.opt_flag("rts_on_send").unwrap_or(true),
        delay_before: Nanos::from_millis(before),
        delay_after: Nanos::from_millis(after),
    })
}
