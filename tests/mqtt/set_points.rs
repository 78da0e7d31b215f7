//! Plain values on topics of tags, from a broker that sends some of them again.

use std::sync::{Arc, Mutex};

use fieldbeat::command::Reason;
use fieldbeat::config::{MqttConfig, MqttVersion};

use super::commands::Taken;
use super::peers::{config, wait};
use super::scripted::{Scripted, packet};

/// PUBLISH of MQTT 5 with QoS 1 to the topic of tag `a`.
fn set(first: u8, identifier: u16, value: &str) -> Vec<u8> {
    let topic = b"plant/line-4/a/set";
    let mut body = vec![0, topic.len() as u8];
    body.extend(topic);
    body.extend(identifier.to_be_bytes());
    body.push(0);
    body.extend(value.as_bytes());
    packet(first, &body)
}

const FRESH: u8 = 0x32;
const AGAIN: u8 = 0x3a;
const RETAINED: u8 = 0x33;

#[test]
fn a_value_that_the_broker_sends_again_keeps_its_id_so_that_it_is_not_done_again() {
    let acknowledged = Arc::<Mutex<Vec<u16>>>::default();
    let seen = acknowledged.clone();
    let broker = Scripted::start(move |client| {
        client.subscribed();
        client.subscribed();
        let messages = match client.number {
            1 => vec![set(FRESH, 7, "1"), set(FRESH, 8, "1")],
            // Nobody told it that 7 has come; 9 never came before.
            2 => vec![set(AGAIN, 7, "1"), set(AGAIN, 9, "1"), set(FRESH, 10, "1"), set(RETAINED, 11, "1")],
            _ => vec![],
        };
        let count = messages.len();
        messages.iter().for_each(|message| assert!(client.send_raw(message)));
        let mut left = count;
        while left > 0 || client.number > 2 {
            let Some((first, body)) = client.packet() else { return };
            if first == 0x40 {
                seen.lock().unwrap().push(u16::from_be_bytes([body[0], body[1]]));
                left -= 1;
            }
        }
    });
    let mut taken = Taken::with_set_points(&MqttConfig { version: MqttVersion::V5, ..config(broker.port) });
    wait("all of them have come", || acknowledged.lock().unwrap().len() == 6);
    wait("each is judged", || taken.done().len() == 5 && taken.refused(Reason::Retained) == 1);
    assert_eq!(*acknowledged.lock().unwrap(), [7, 8, 7, 9, 10, 11], "each is acknowledged");
    let ids = taken.done();
    assert_eq!(ids[2], ids[0], "the same one");
    let mut different: Vec<&String> = ids.iter().collect();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 4, "{ids:?}");
    taken.stop();
}
