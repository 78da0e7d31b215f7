//! The schema of Modbus links, for editors.

use schemars::JsonSchema;

use super::fields;
use crate::config::fields::{NAME_PATTERN, words};
use crate::limits::NAME_BYTES_MAX;

/// A kind of link: common keys, and its own.
macro_rules! link {
    ($(#[$about:meta])* $name:ident, $protocol:literal, $timeout:path, $reply:path, { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(JsonSchema)]
        #[schemars(deny_unknown_fields)]
        #[expect(dead_code, reason = "read by the derive only")]
        pub struct $name {
            /// Unique in all files; the first part of its tags' addresses.
            #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = NAME_PATTERN))]
            name: String,
            /// Protocol of the link.
            #[schemars(extend("const" = $protocol))]
            protocol: String,
            $($own)*
            /// Timeout from a request to its reply, in milliseconds; on a serial line plus the time of the frames.
            #[schemars(range(min = $timeout.min, max = $timeout.max), extend("default" = $timeout.default))]
            timeout_ms: Option<u16>,
            /// Expected time of one reply, in milliseconds, used to calculate the link's load. On a
            /// serial line: the time before the device begins to answer.
            #[schemars(range(min = $reply.min, max = $reply.max), extend("default" = $reply.default))]
            expected_reply_ms: Option<f64>,
            /// Minimum pause between a reply and the next request, in milliseconds. On a serial line the 3.5
            /// characters of RTU are always kept.
            #[schemars(
                range(min = fields::TURNAROUND_MS.min, max = fields::TURNAROUND_MS.max),
                extend("default" = fields::TURNAROUND_MS.default)
            )]
            turnaround_ms: Option<f64>,
            /// Minimum pause between a reply of a unit and the next request to the same unit, in milliseconds.
            #[schemars(
                range(min = fields::UNIT_PAUSE_MS.min, max = fields::UNIT_PAUSE_MS.max),
                extend("default" = fields::UNIT_PAUSE_MS.default)
            )]
            unit_pause_ms: Option<f64>,
            /// Minimum pause between a reply of a unit and the next request to another unit, in milliseconds.
            #[schemars(
                range(min = fields::UNIT_CHANGE_PAUSE_MS.min, max = fields::UNIT_CHANGE_PAUSE_MS.max),
                extend("default" = fields::UNIT_CHANGE_PAUSE_MS.default)
            )]
            unit_change_pause_ms: Option<f64>,
            /// Minimum pause between connecting, or opening the port, and the first request, in milliseconds.
            #[schemars(
                range(min = fields::CONNECT_DELAY_MS.min, max = fields::CONNECT_DELAY_MS.max),
                extend("default" = fields::CONNECT_DELAY_MS.default)
            )]
            connect_delay_ms: Option<u16>,
            /// Accept replies with any unit id: for devices that answer as unit 0 or 255, or with their own id.
            #[schemars(extend("default" = false))]
            any_unit_id: Option<bool>,
            /// Accept replies to a read with the function code of the other read of the same kind (3 for 4, 1 for 2).
            #[schemars(extend("default" = false))]
            any_read_function: Option<bool>,
            /// Accept replies with more registers or bits than requested; the first ones are used.
            #[schemars(extend("default" = false))]
            longer_replies: Option<bool>,
            /// Maximum registers in one request.
            #[schemars(
                range(min = fields::MAX_REGISTERS.min, max = fields::MAX_REGISTERS.max),
                extend("default" = fields::MAX_REGISTERS.default)
            )]
            max_registers: Option<u16>,
            /// Maximum coils or discrete inputs in one request.
            #[schemars(
                range(min = fields::MAX_BITS.min, max = fields::MAX_BITS.max),
                extend("default" = fields::MAX_BITS.default)
            )]
            max_bits: Option<u16>,
            /// modicon: 40001 with function 3 is the first holding register. raw: every number is the offset on the
            /// wire.
            #[schemars(extend("enum" = words(fields::ADDRESSING), "default" = "modicon"))]
            addressing: Option<String>,
            /// Registers that the device refuses to read; no request includes them.
            unreadable: Option<Vec<Unreadable>>,
            /// Free text.
            #[schemars(length(max = fields::DESCRIPTION_BYTES_MAX))]
            description: Option<String>,
        }
    };
}

link! {
    /// Modbus TCP.
    ModbusTcpLink, "modbus_tcp", fields::TIMEOUT_MS, fields::EXPECTED_REPLY_MS, {
        /// Host name or IP address.
        #[schemars(length(min = 1, max = 253))]
        host: String,
        /// TCP port.
        #[schemars(range(min = fields::PORT.min, max = fields::PORT.max), extend("default" = fields::PORT.default))]
        port: Option<u16>,
        /// Timeout of the TCP connection, in milliseconds.
        #[schemars(
            range(min = fields::CONNECT_TIMEOUT_MS.min, max = fields::CONNECT_TIMEOUT_MS.max),
            extend("default" = fields::CONNECT_TIMEOUT_MS.default)
        )]
        connect_timeout_ms: Option<u16>,
        /// Requests outstanding at the same time. Most devices accept one.
        #[schemars(
            range(min = fields::PIPELINE.min, max = fields::PIPELINE.max),
            extend("default" = fields::PIPELINE.default)
        )]
        pipeline: Option<u8>,
        /// Accept replies with any transaction id, with one request outstanding. After a timeout the link
        /// reconnects, because a late reply cannot be distinguished from the next one.
        #[schemars(extend("default" = false))]
        any_transaction_id: Option<bool>,
    }
}

link! {
    /// Modbus RTU or ASCII on a serial port.
    ModbusRtuLink, "modbus_rtu", fields::TIMEOUT_MS, fields::EXPECTED_REPLY_SERIAL_MS, {
        /// Path of the serial port, such as /dev/ttyUSB0.
        #[schemars(length(min = 2, max = fields::PORT_PATH_BYTES_MAX), regex(pattern = "^/"))]
        port: String,
        /// Bits per second.
        #[schemars(
            range(min = fields::BAUDRATE.min, max = fields::BAUDRATE.max),
            extend("default" = fields::BAUDRATE.default)
        )]
        baudrate: Option<u32>,
        /// Data bits of a character: 8 with RTU; 7 or 8 with ASCII.
        #[schemars(range(min = fields::DATA_BITS.min, max = fields::DATA_BITS.max))]
        data_bits: Option<u8>,
        /// N none, E even, O odd.
        #[schemars(extend("enum" = words(fields::PARITY), "default" = "E"))]
        parity: Option<String>,
        /// The specification requires 2 without parity; most devices use 1.
        #[schemars(
            range(min = fields::STOP_BITS.min, max = fields::STOP_BITS.max),
            extend("default" = fields::STOP_BITS.default)
        )]
        stop_bits: Option<u8>,
        /// Framing of the bytes.
        #[schemars(extend("enum" = words(fields::FRAMING), "default" = "rtu"))]
        framing: Option<String>,
        /// How the driver of an RS-485 line is switched; not needed if the adapter does it by itself.
        rs485: Option<Rs485>,
        /// The port receives its own requests: the echo is removed.
        echo: Option<bool>,
    }
}

link! {
    /// Modbus RTU frames over TCP, through a serial server.
    ModbusRtuTcpLink, "modbus_rtu_tcp", fields::TIMEOUT_RTU_TCP_MS, fields::EXPECTED_REPLY_RTU_TCP_MS, {
        /// Host name or IP address of the serial server.
        #[schemars(length(min = 1, max = 253))]
        host: String,
        /// TCP port.
        #[schemars(range(min = fields::PORT.min, max = fields::PORT.max), extend("default" = fields::PORT.default))]
        port: Option<u16>,
        /// Timeout of the TCP connection, in milliseconds.
        #[schemars(
            range(min = fields::CONNECT_TIMEOUT_MS.min, max = fields::CONNECT_TIMEOUT_MS.max),
            extend("default" = fields::CONNECT_TIMEOUT_MS.default)
        )]
        connect_timeout_ms: Option<u16>,
    }
}

/// How the driver of an RS-485 line is switched on for sending.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
struct Rs485 {
    /// kernel: by the port's driver (TIOCSRS485). manual: by Fieldbeat, for the computed time of the frame.
    #[schemars(extend("enum" = words(fields::RTS)))]
    rts: String,
    /// RTS is high while sending.
    #[schemars(extend("default" = true))]
    rts_on_send: Option<bool>,
    /// Delay between switching on and the first bit, in milliseconds.
    #[schemars(
        range(min = fields::DELAY_BEFORE_MS.min, max = fields::DELAY_BEFORE_MS.max),
        extend("default" = fields::DELAY_BEFORE_MS.default)
    )]
    delay_before_ms: Option<u8>,
    /// Delay between the last bit and switching off, in milliseconds.
    #[schemars(
        range(min = fields::DELAY_AFTER_MS.min, max = fields::DELAY_AFTER_MS.max),
        extend("default" = fields::DELAY_AFTER_MS.default)
    )]
    delay_after_ms: Option<u8>,
}

/// Registers (or bits) from..to, both included, in the link's addressing.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
struct Unreadable {
    /// Modbus unit; without it, every unit of the link.
    #[schemars(range(min = fields::UNIT.min, max = fields::UNIT.max))]
    unit: Option<u8>,
    /// 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers.
    #[schemars(range(min = fields::FUNCTION.min, max = fields::FUNCTION.max))]
    function: u8,
    /// The first one.
    from: RegisterNumber,
    /// The last one.
    to: RegisterNumber,
}

/// A register number; a string if leading zeros matter, such as "00001".
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "read by the derive only")]
enum RegisterNumber {
    Number(#[schemars(range(min = 0, max = 465_536))] u32),
    Text(#[schemars(regex(pattern = "^[0-9]{1,6}$"))] String),
}

/// Keys of tags on Modbus links.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct ModbusTag {
    /// Number of elements of an array.
    #[schemars(range(min = fields::ARRAY.min, max = fields::ARRAY.max))]
    array: Option<u16>,
    /// int8 or uint8 in a Modbus register: which of its bytes.
    #[schemars(extend("enum" = words(fields::BYTE), "default" = "low"))]
    byte: Option<String>,
    /// Encoding of a string in Modbus registers. Default: UTF-8, and invalid UTF-8 is read as Windows-1252.
    #[schemars(extend("enum" = words(fields::ENCODING)))]
    encoding: Option<String>,
}
