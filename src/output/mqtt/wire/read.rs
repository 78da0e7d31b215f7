//! Packets from a broker. Nothing here trusts a length, and nothing panics.

use super::{Frame, Violation, kind};
use crate::config::MqttVersion;

#[derive(Debug, PartialEq, Eq)]
pub(in crate::mqtt) enum Packet {
    ConnAck(ConnAck),
    Publish(Publish),
    /// A message that cannot be read: the fault of whoever published it.
    Unreadable(Unreadable),
    /// `code`: 0 for MQTT 3.1.1.
    PubAck {
        packet: u16,
        code: u8,
    },
    SubAck {
        packet: u16,
        code: u8,
    },
    PingResp,
    /// Of MQTT 5 only.
    Disconnect {
        code: u8,
        why: String,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::mqtt) struct ConnAck {
    pub(in crate::mqtt) code: u8,
    pub(in crate::mqtt) in_flight_max: u16,
    pub(in crate::mqtt) packet_bytes_max: usize,
    pub(in crate::mqtt) qos_max: u8,
    pub(in crate::mqtt) keep_alive_s: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::mqtt) struct Publish {
    pub(in crate::mqtt) topic: String,
    /// The broker kept it: it was published before we came, or is to be given to whoever comes later.
    pub(in crate::mqtt) retained: bool,
    /// The broker may have sent it before.
    pub(in crate::mqtt) is_again: bool,
    /// `None`: QoS 0.
    pub(in crate::mqtt) packet: Option<u16>,
    /// Of MQTT 5: where its answer should go, and with what.
    pub(in crate::mqtt) response_topic: Option<String>,
    pub(in crate::mqtt) correlation: Option<Vec<u8>>,
    pub(in crate::mqtt) payload: Vec<u8>,
    /// Bytes of the payload, those that were not kept too.
    pub(in crate::mqtt) payload_bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::mqtt) struct Unreadable {
    /// To acknowledge it.
    pub(in crate::mqtt) packet: Option<u16>,
    pub(in crate::mqtt) why: &'static str,
}

/// Reads one packet.
///
/// # Errors
/// The broker breaks the protocol. A message that is malformed is no such error: see [`Packet::Unreadable`].
pub(in crate::mqtt) fn decode(frame: Frame, version: MqttVersion) -> Result<Packet, Violation> {
    let Frame { first, body, left_out } = frame;
    let v5 = version == MqttVersion::V5;
    let mut bytes = Bytes(&body);
    let packet = match first >> 4 {
        kind::PUBLISH => return publish(first, &body, left_out, v5),
        _ if left_out > 0 => None,
        kind::CONNACK => connack(&mut bytes, v5),
        kind::PUBACK => bytes.u16().map(|packet| Packet::PubAck { packet, code: bytes.u8().unwrap_or(0) }),
        kind::SUBACK => suback(&mut bytes, v5),
        kind::PINGRESP => Some(Packet::PingResp),
        kind::DISCONNECT if v5 => disconnect(&mut bytes),
        other => return Err(Violation(format!("a packet of type {other}, which clients must not receive"))),
    };
    packet.ok_or_else(|| Violation(format!("a malformed packet of type {}", first >> 4)))
}

fn connack(bytes: &mut Bytes<'_>, v5: bool) -> Option<Packet> {
    bytes.u8()?;
    let code = bytes.u8()?;
    let mut ack =
        ConnAck { code, in_flight_max: u16::MAX, packet_bytes_max: usize::MAX, qos_max: 2, keep_alive_s: None };
    // A broker of 3.1.1 refuses one of 5 in its own words.
    if v5 && !bytes.0.is_empty() {
        bytes.properties(|id, value| {
            match (id, value) {
                (0x13, Property::Number(n)) => ack.keep_alive_s = Some(n as u16),
                (0x21, Property::Number(n)) => ack.in_flight_max = n as u16,
                (0x24, Property::Number(n)) => ack.qos_max = n as u8,
                (0x27, Property::Number(n)) => ack.packet_bytes_max = n as usize,
                _ => {}
            }
            Some(())
        })?;
    }
    Some(Packet::ConnAck(ack))
}

fn suback(bytes: &mut Bytes<'_>, v5: bool) -> Option<Packet> {
    let packet = bytes.u16()?;
    if v5 {
        bytes.properties(|_, _| Some(()))?;
    }
    Some(Packet::SubAck { packet, code: bytes.u8()? })
}

fn disconnect(bytes: &mut Bytes<'_>) -> Option<Packet> {
    let (code, mut why) = (bytes.u8().unwrap_or(0), String::new());
    if !bytes.0.is_empty() {
        bytes.properties(|id, value| {
            if let (0x1f, Property::Bytes(text)) = (id, value) {
                // It goes into the log.
                why = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(200).collect();
            }
            Some(())
        })?;
    }
    Some(Packet::Disconnect { code, why })
}

fn publish(first: u8, body: &[u8], left_out: usize, v5: bool) -> Result<Packet, Violation> {
    let qos = first >> 1 & 3;
    if qos > 1 {
        return Err(Violation(format!("a message with QoS {qos}, although the subscription is for at most 1")));
    }
    let mut bytes = Bytes(body);
    let Some(topic) = bytes.binary() else { return Err(Violation("a message without a topic".into())) };
    let packet = match qos {
        0 => None,
        _ => match bytes.u16() {
            Some(packet @ 1..) => Some(packet),
            _ => return Err(Violation("a message with QoS 1 without an identifier".into())),
        },
    };
    let unreadable = |why| Ok(Packet::Unreadable(Unreadable { packet, why }));
    let (mut response_topic, mut correlation, mut alias, mut twice) = (None, None, None, false);
    if v5 {
        let read = bytes.properties(|id, value| {
            match (id, value) {
                (0x23, Property::Number(n)) => alias = Some(n),
                (0x08, Property::Bytes(text)) => twice |= response_topic.replace(text).is_some(),
                (0x09, Property::Bytes(data)) => twice |= correlation.replace(data).is_some(),
                _ => {}
            }
            Some(())
        });
        if let Some(alias) = alias {
            let text = format!("topic alias {alias}, although this client allows none (Topic Alias Maximum is 0)");
            return Err(Violation(text));
        }
        if read.is_none() || twice {
            return unreadable("its properties are malformed");
        }
    }
    let Ok(topic) = std::str::from_utf8(topic) else { return unreadable("its topic is not UTF-8") };
    let response_topic = match response_topic.map(std::str::from_utf8) {
        None => None,
        Some(Ok(text)) => Some(text.to_owned()),
        Some(Err(_)) => return unreadable("its response topic is not UTF-8"),
    };
    Ok(Packet::Publish(Publish {
        topic: topic.to_owned(),
        retained: first & 1 != 0,
        is_again: first & 8 != 0,
        packet,
        response_topic,
        correlation: correlation.map(<[u8]>::to_vec),
        payload: bytes.0.to_vec(),
        payload_bytes: bytes.0.len() + left_out,
    }))
}

enum Property<'a> {
    Number(u32),
    Bytes(&'a [u8]),
    Pair,
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for at in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn binary(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// Reads all properties (MQTT 5, section 2.2.2). `None`: malformed, as far as they were read.
    fn properties(&mut self, mut each: impl FnMut(u8, Property<'a>) -> Option<()>) -> Option<()> {
        let len = self.varint()?;
        let mut bytes = Bytes(self.take(len as usize)?);
        while !bytes.0.is_empty() {
            let id = bytes.u8()?;
            let value = match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Property::Number(bytes.u8()?.into()),
                0x13 | 0x21 | 0x22 | 0x23 => Property::Number(bytes.u16()?.into()),
                0x02 | 0x11 | 0x18 | 0x27 => Property::Number(bytes.u32()?),
                0x0b => Property::Number(bytes.varint()?),
                0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => Property::Bytes(bytes.binary()?),
                0x26 => {
                    bytes.binary()?;
                    bytes.binary()?;
                    Property::Pair
                }
                _ => return None,
            };
            each(id, value)?;
        }
        Some(())
    }
}

/// Reason codes of MQTT 5 (section 2.4) as they are told; 0x80 is also what 3.1.1 says.
pub(in crate::mqtt) fn reason_name(code: u8) -> String {
    let name = match code {
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8b => "server shutting down",
        0x8d => "keep alive timeout",
        0x8e => "session taken over",
        0x8f => "topic filter invalid",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9a => "retain not supported",
        0x9b => "QoS not supported",
        0x9c => "use another server",
        0x9d => "server moved",
        _ => return format!("reason 0x{code:02x}"),
    };
    format!("{name} (0x{code:02x})")
}

#[cfg(test)]
mod tests {
    use super::super::{Frames, write};
    use super::*;
    use proptest::prelude::*;

    fn frame(first: u8, body: &[u8]) -> Frame {
        Frame { first, body: body.to_vec(), left_out: 0 }
    }

    fn read(first: u8, body: &[u8]) -> Result<Packet, Violation> {
        decode(frame(first, body), MqttVersion::V5)
    }

    #[test]
    fn what_we_write_is_read_as_it_was() {
        let mut bytes = Vec::new();
        write::publish(&mut bytes, MqttVersion::V5, "a/b", Some(7), b"{}", Some(b"order 66"));
        let mut frames = Frames::default();
        frames.push(&bytes);
        let frame = frames.next().unwrap().unwrap();
        let Ok(Packet::Publish(publish)) = decode(frame, MqttVersion::V5) else { panic!() };
        assert_eq!((publish.topic.as_str(), publish.packet, publish.payload), ("a/b", Some(7), b"{}".to_vec()));
        assert_eq!(publish.correlation, Some(b"order 66".to_vec()));
    }

    #[test]
    fn a_malformed_message_is_its_publishers_fault_and_can_be_acknowledged() {
        let no_utf8 = [0, 1, b't', 0, 9, 5, 0x08, 0, 2, 0xff, 0xfe, b'x'];
        let expected = Unreadable { packet: Some(9), why: "its response topic is not UTF-8" };
        assert_eq!(read(0x32, &no_utf8), Ok(Packet::Unreadable(expected)));
        let twice = [0, 1, b't', 0, 9, 8, 0x08, 0, 1, b'a', 0x08, 0, 1, b'b'];
        assert!(matches!(read(0x32, &twice), Ok(Packet::Unreadable(_))));
        let unknown = [0, 1, b't', 0, 9, 1, 0x77];
        assert!(matches!(read(0x32, &unknown), Ok(Packet::Unreadable(_))));
        let no_topic = [0, 1, 0xff, 0, 9, 0];
        assert!(matches!(read(0x32, &no_topic), Ok(Packet::Unreadable(_))));
    }

    #[test]
    fn a_topic_alias_that_was_never_allowed_is_the_brokers_fault() {
        let known = [0, 1, b't', 0, 9, 3, 0x23, 0, 5];
        let unknown = [0, 0, 0, 9, 3, 0x23, 0, 5];
        for body in [&known[..], &unknown] {
            assert!(read(0x32, body).unwrap_err().0.contains("topic alias 5"));
        }
    }

    #[test]
    fn what_a_client_is_never_sent_is_the_brokers_fault() {
        assert!(read(0x34, &[0, 1, b't', 0, 9, 0]).unwrap_err().0.contains("QoS 2"));
        assert!(read(0x32, &[0, 1, b't', 0, 0, 0]).unwrap_err().0.contains("without an identifier"));
        assert!(read(0x10, &[]).unwrap_err().0.contains("type 1"));
        assert!(read(0x40, &[1]).unwrap_err().0.contains("malformed"));
        assert!(decode(frame(0xe0, &[]), MqttVersion::V311).is_err(), "only MQTT 5 brokers disconnect");
    }

    #[test]
    fn a_brokers_limits_are_read() {
        let body = [0, 0, 11, 0x21, 0, 20, 0x27, 0, 0, 4, 0, 0x13, 0, 30];
        let Ok(Packet::ConnAck(ack)) = read(0x20, &body) else { panic!() };
        assert_eq!((ack.in_flight_max, ack.packet_bytes_max, ack.keep_alive_s), (20, 1024, Some(30)));
        let Ok(Packet::ConnAck(old)) = read(0x20, &[0, 1]) else { panic!() };
        assert_eq!(old.code, 1);
    }

    proptest! {
        #[test]
        fn bytes_never_panic(first: u8, body: Vec<u8>) {
            for version in [MqttVersion::V311, MqttVersion::V5] {
                let _ = decode(frame(first, &body), version);
            }
        }
    }
}
