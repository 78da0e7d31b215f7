//! Any bytes as frames of a node: to the master's transfers, its watch and its mappings.

use super::emcy::Emergency;
use super::message::{Message, Received};
use super::nmt::{Watch, Watching};
use super::pdo::Mapping;
use super::sdo::{Client, Taken};
use crate::tag::{Nanos, Object};

const OBJECT: Object = Object { index: 0x1008, sub: 0 };
const TIMEOUT: Nanos = Nanos::from_millis(100);

/// The first byte chooses the transfer; then frames of the kernel, 16 bytes each.
pub fn frames(bytes: &[u8]) {
    let Some((how, frames)) = bytes.split_first() else { return };
    let mut client = Client::new(usize::from(how >> 2) + 1);
    let mut now = Nanos::ZERO;
    match how & 3 {
        0 => client.upload(OBJECT, false, now, TIMEOUT),
        1 => client.upload(OBJECT, true, now, TIMEOUT),
        block => {
            client.download(OBJECT, &[7; 64][..usize::from(how >> 2) + 1], block == 3, now, TIMEOUT);
        }
    }
    let mut watch = Watch::new(Watching::Heartbeat { period: Nanos::from_millis(50) });
    watch.start(now);
    let mut mapping = Mapping::default();
    mapping.begin(u64::from(*how));
    for frame in frames.chunks(16) {
        now += Nanos::from_millis(1);
        let Received::Message(message) = Message::from_can_frame(frame) else { continue };
        let _ = Emergency::read(&message);
        let _ = watch.take(&message, now);
        if let Ok(data) = <&[u8; 8]>::try_from(message.bytes()) {
            let word = u64::from_le_bytes(*data);
            mapping.set_cob_id(word);
            mapping.add(word);
            for (object, place) in mapping.objects() {
                assert!(place.bytes() <= 8);
                let _ = (place.read(data), mapping.place_of(*object));
            }
            while client.next_frame(now).is_some() {}
            if matches!(client.take(data, now), Taken::Ended(_)) {
                break;
            }
        }
    }
    for _ in 0..10 {
        if client.is_idle() {
            return;
        }
        while client.next_frame(now).is_some() {}
        now = client.deadline();
        client.expire(now);
    }
    panic!("a transfer does not end");
}
