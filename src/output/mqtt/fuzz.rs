//! Any bytes as what a broker sends on the connection of commands.

use std::sync::Arc;

use super::ClientSettings;
use super::brokers::Brokers;
use super::commands::Commands;
use super::failure::WORDS;
use super::topic::Topic;
use super::wire::{Frames, decode};
use crate::command::{Asked, Desk, WriteStats};
use crate::config::MqttVersion;
use crate::limits::{COMMAND_HEAD_BYTES_MAX, COMMAND_PACKET_BYTES_MAX};
use crate::peer::Peer;
use crate::tls::Renewed;

/// The first byte chooses the version and how the stream is cut.
pub fn commands(bytes: &[u8]) {
    let Some((how, stream)) = bytes.split_first() else { return };
    let version = if how & 1 == 0 { MqttVersion::V311 } else { MqttVersion::V5 };
    let stats = Arc::<WriteStats>::default();
    let (desk, asked) = Desk::new(stats.clone());
    let settings = ClientSettings {
        peer: Peer {
            words: WORDS,
            host: "broker".into(),
            port: 1883,
            roots: None,
            has_certificate: false,
            user: None,
            client_id: "c".into(),
        },
        version,
        user: None,
        password: None,
        keep_alive: std::time::Duration::from_secs(30),
        in_flight_max: 1,
        packet_bytes_max: 1,
        will_topic: None,
    };
    let brokers = Brokers::new(vec![settings.peer.clone()], std::time::Duration::from_secs(60));
    let set_topic = Topic::new("set_topic", "s/{tag}", "g").ok();
    let topics = ("c".to_owned(), "a".to_owned(), set_topic);
    let mut taker =
        Commands::new("cloud", (settings, brokers), Renewed::new(None, None), true, topics, desk, Arc::default());
    let mut frames = Frames::default();
    for piece in stream.chunks(usize::from(how >> 1) + 1) {
        frames.push(piece);
        loop {
            let Ok(next) = frames.next() else { return };
            let Some(frame) = next else { break };
            assert!(frame.body.len() <= COMMAND_PACKET_BYTES_MAX);
            assert!(frame.left_out == 0 || frame.body.len() == COMMAND_HEAD_BYTES_MAX);
            let Ok(packet) = decode(frame, version) else { return };
            taker.feed(packet);
        }
        for asked in asked.try_iter() {
            if let Asked::Write { request, .. } = asked {
                // A plain value says nothing of its end.
                let is_plain = request.id.as_ref().is_some_and(|id| id.starts_with("set-"));
                assert!(request.id.is_some() && (is_plain || request.expires_utc_ns.is_some()));
            }
        }
    }
}
