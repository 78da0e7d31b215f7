//! Packets to a broker.

use crate::config::MqttVersion;

/// What CONNECT says. There is no last will.
pub(in crate::mqtt) struct Connect<'a> {
    pub(in crate::mqtt) version: MqttVersion,
    pub(in crate::mqtt) client_id: &'a str,
    pub(in crate::mqtt) user: Option<&'a str>,
    pub(in crate::mqtt) password: Option<&'a str>,
    pub(in crate::mqtt) keep_alive_s: u16,
    /// Nothing is left of an earlier session.
    pub(in crate::mqtt) is_clean: bool,
    /// How long the broker keeps the session without a connection (MQTT 5).
    pub(in crate::mqtt) session_s: u32,
    /// Messages that the broker may send before they are acknowledged (MQTT 5).
    pub(in crate::mqtt) receive_max: u16,
    /// The broker drops what is larger (MQTT 5).
    pub(in crate::mqtt) packet_bytes_max: u32,
}

pub(in crate::mqtt) fn connect(out: &mut Vec<u8>, connect: &Connect<'_>) {
    let v5 = connect.version == MqttVersion::V5;
    let user = connect.user.filter(|user| !user.is_empty());
    let password = connect.password.filter(|password| !password.is_empty());
    packet(out, 0x10, |body| {
        string(body, b"MQTT");
        body.push(if v5 { 5 } else { 4 });
        body.push(u8::from(connect.is_clean) << 1 | u8::from(user.is_some()) << 7 | u8::from(password.is_some()) << 6);
        body.extend(connect.keep_alive_s.to_be_bytes());
        if v5 {
            let mut properties = vec![0x11];
            properties.extend(connect.session_s.to_be_bytes());
            properties.push(0x21);
            properties.extend(connect.receive_max.to_be_bytes());
            properties.push(0x27);
            properties.extend(connect.packet_bytes_max.to_be_bytes());
            // Topic Alias Maximum.
            properties.extend([0x22, 0, 0]);
            varint(body, properties.len());
            body.extend(properties);
        }
        string(body, connect.client_id.as_bytes());
        for text in [user, password].into_iter().flatten() {
            string(body, text.as_bytes());
        }
    });
}

/// Follows a topic with QoS 1, from its next message on where the version allows to say so.
pub(in crate::mqtt) fn subscribe(out: &mut Vec<u8>, version: MqttVersion, identifier: u16, topic: &str) {
    packet(out, 0x82, |body| {
        body.extend(identifier.to_be_bytes());
        if version == MqttVersion::V5 {
            body.push(0);
        }
        string(body, topic.as_bytes());
        // MQTT 5: not what we publish, the retain flag as it was published, nothing that is retained.
        body.push(if version == MqttVersion::V5 { 0x01 | 0x04 | 0x08 | 0x20 } else { 0x01 });
    });
}

/// `identifier`: `None` for QoS 0. `correlation` travels with MQTT 5 only.
pub(in crate::mqtt) fn publish(
    out: &mut Vec<u8>,
    version: MqttVersion,
    topic: &str,
    identifier: Option<u16>,
    payload: &[u8],
    correlation: Option<&[u8]>,
) {
    packet(out, 0x30 | u8::from(identifier.is_some()) << 1, |body| {
        string(body, topic.as_bytes());
        body.extend(identifier.into_iter().flat_map(u16::to_be_bytes));
        if version == MqttVersion::V5 {
            match correlation {
                Some(data) => {
                    varint(body, 3 + data.len());
                    body.push(0x09);
                    string(body, data);
                }
                None => body.push(0),
            }
        }
        body.extend_from_slice(payload);
    });
}

pub(in crate::mqtt) fn puback(out: &mut Vec<u8>, identifier: u16) {
    packet(out, 0x40, |body| body.extend(identifier.to_be_bytes()));
}

pub(in crate::mqtt) fn ping(out: &mut Vec<u8>) {
    packet(out, 0xc0, |_| {});
}

/// With MQTT 5, the session ends with it: normal disconnection, Session Expiry Interval 0.
pub(in crate::mqtt) fn disconnect(out: &mut Vec<u8>, version: MqttVersion) {
    packet(out, 0xe0, |body| {
        if version == MqttVersion::V5 {
            body.extend([0, 5, 0x11, 0, 0, 0, 0]);
        }
    });
}

fn packet(out: &mut Vec<u8>, first: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    fill(&mut body);
    out.push(first);
    varint(out, body.len());
    out.extend(body);
}

/// Bytes with their length before them. Everything that comes here has a limit of its own below this one.
fn string(body: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    body.extend(len.to_be_bytes());
    body.extend_from_slice(&bytes[..usize::from(len)]);
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let more = value > 0x7f;
        out.push((value & 0x7f) as u8 | u8::from(more) << 7);
        value >>= 7;
        if !more {
            return;
        }
    }
}
