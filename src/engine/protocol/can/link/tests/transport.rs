//! Messages of several packets (J1939): values at any place of them, and none of a message that is not whole.

use super::*;

/// The announcement and the packets of a message of parameter group 0xFECA to all.
fn broadcast(source: u32, message: &[u8]) -> Vec<(u32, [u8; 8])> {
    let packets = message.len().div_ceil(7);
    let [low, high] = (message.len() as u16).to_le_bytes();
    let mut frames = vec![(1 << 31 | 0x1CEC_FF00 | source, [32, low, high, packets as u8, 255, 0xCA, 0xFE, 0])];
    for (n, bytes) in message.chunks(7).enumerate() {
        let mut data = [0xFF; 8];
        data[0] = n as u8 + 1;
        data[1..=bytes.len()].copy_from_slice(bytes);
        frames.push((1 << 31 | 0x1CEB_FF00 | source, data));
    }
    frames
}

fn message(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|at| (at as u8).wrapping_mul(3).wrapping_add(seed) & 0x7F).collect()
}

impl Bench {
    /// Packets that are 10 ms apart.
    fn packets(&mut self, frames: &[(u32, [u8; 8])]) {
        for (n, (id, data)) in frames.iter().enumerate() {
            self.frame(1 + 10 * n as u64, *id, data);
        }
        self.run_ms(10 * frames.len() as u64 + 20);
    }

    fn transports(&self) -> (u64, u64) {
        (self.link().can.tp_messages.get(), self.link().can.tp_lost.get())
    }
}

const BIG: &str = r#", "byte_order": "big", "data_type": "uint32""#;

#[test]
fn fields_lie_at_any_place_of_a_message_of_up_to_1785_bytes() {
    let last = format!("pgn:0xFECA:{}:16", 1783 * 8);
    let tags = [
        ("pgn:0xFECA:0:8", ""),
        ("pgn:0xFECA:500:12", ""),
        ("pgn:0xFECA:807:32", BIG),
        (&*last, ""),
        ("pgn:0xFECA:0x21:4800:64", ""),
    ];
    let mut bench = bench("", &tags);
    let sent = message(1785, 5);
    let frames = broadcast(0, &sent);
    assert_eq!(frames.len(), 256);
    bench.packets(&frames);
    let value = |bench: &Bench, tag: usize| bench.image.read(tag).unwrap().value;
    let at = |byte: usize| u64::from(sent[byte]);
    assert_eq!(value(&bench, 0), at(0));
    assert_eq!(value(&bench, 1), (at(62) >> 4 | at(63) << 4) & 0xFFF);
    assert_eq!(value(&bench, 2), at(100) << 24 | at(101) << 16 | at(102) << 8 | at(103));
    assert_eq!(value(&bench, 3), at(1783) | at(1784) << 8);
    assert_eq!(bench.status(4), Status::BAD_WAITING_FOR_INITIAL_DATA, "of another sender");
    assert_eq!((bench.transports(), bench.link().foreign.get()), ((1, 0), 0));
    bench.packets(&broadcast(0x21, &sent));
    assert_eq!(value(&bench, 4), u64::from_le_bytes(sent[600..608].try_into().unwrap()));
    // The same group in one frame: the fields behind it are not there.
    bench.frame(1, 1 << 31 | 0x18FE_CA00, &[9, 0, 0, 0, 0, 0, 0, 0]);
    bench.run_ms(20);
    assert_eq!((value(&bench, 0), bench.status(0)), (9, Status::GOOD));
    assert_eq!((bench.status(2), bench.status(3)), (Status::UNCERTAIN_LAST_USABLE, Status::UNCERTAIN_LAST_USABLE));
}

#[test]
fn a_message_that_misses_a_packet_changes_nothing_and_is_counted() {
    let mut bench = bench("", &[("pgn:0xFECA:80:16", "")]);
    bench.packets(&broadcast(0, &message(30, 1)));
    let before = bench.image.read(0).unwrap();
    assert_eq!((Status(before.status), bench.transports()), (Status::GOOD, (1, 0)));
    for hole in 1..=5 {
        let mut frames = broadcast(0, &message(30, 77));
        frames.remove(hole);
        bench.packets(&frames);
        bench.run_ms(1_000);
        assert_eq!(bench.image.read(0).unwrap(), before);
        assert_eq!(bench.transports(), (1, hole as u64), "without packet {hole}");
    }
    let mut swapped = broadcast(0, &message(30, 77));
    swapped.swap(2, 3);
    bench.packets(&swapped);
    assert_eq!((bench.image.read(0).unwrap(), bench.transports()), (before, (1, 6)));
    bench.packets(&broadcast(0, &message(30, 77)));
    assert_eq!(
        bench.image.read(0).unwrap().value,
        u64::from(message(30, 77)[10]) | u64::from(message(30, 77)[11]) << 8
    );
}

#[test]
fn messages_of_many_senders_at_once_are_told_apart() {
    let mut bench = bench("", &[("pgn:0xFECA:3:80:8", ""), ("pgn:0xFECA:7:80:8", "")]);
    let all: Vec<Vec<(u32, [u8; 8])>> = (0..12).map(|source| broadcast(source, &message(30, source as u8))).collect();
    for n in 0..6 {
        for frames in &all {
            bench.frame(1 + n as u64 * 10, frames[n].0, &frames[n].1);
        }
    }
    bench.run_ms(100);
    let value = |tag: usize| bench.image.read(tag).unwrap().value;
    assert_eq!((value(0), value(1)), (u64::from(message(30, 3)[10]), u64::from(message(30, 7)[10])));
    assert_eq!(bench.transports(), (2, 0), "the others are nobody's");
}

#[test]
fn an_interface_that_goes_takes_what_was_under_way_with_it() {
    let mut bench = bench("", &[("pgn:0xFECA:80:8", "")]);
    let frames = broadcast(0, &message(30, 1));
    bench.packets(&frames[..4]);
    bench.trouble(1, 0x40, 0);
    bench.trouble(2, 0x100, 0);
    bench.run_ms(10);
    bench.packets(&frames[4..]);
    assert_eq!(bench.transports().0, 0);
}
