//! Any frames at any time: no panic, no value that no node sent, and no step without end.

use proptest::prelude::*;

use super::*;

const LINK: &str = r#""sync_ms": 10, "timeout_ms": 20, "nodes": [
    {"id": 5, "pdos": "node", "heartbeat_ms": 50}, {"id": 6, "guarding": {"time_ms": 50}}]"#;
const TAGS: &str = r#"
    {"name": "pos", "address": "co0:5:0x6064:0", "data_type": "int32", "scan_rate_ms": 50},
    {"name": "text", "address": "co0:5:0x1008:0", "data_type": "string", "scan_rate_ms": 100},
    {"name": "b", "address": "co0:6:0x6077:0", "data_type": "int16", "scan_rate_ms": 50}"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_on_the_bus_the_master_goes_on(
        frames in prop::collection::vec((0u64..1_000, any::<u32>(), any::<[u8; 12]>(), 0u8..4), 0..400)
    ) {
        let device = |id| Device::new(id).with(0x6064, 0, &[7, 0, 0, 0]).with(0x6077, 0, &[4, 0]).with(0x1008, 0, b"a long name");
        let mut bench = bench(&config(LINK, TAGS, &[]), vec![device(5), device(6)]);
        for (at, id, body, kind) in frames {
            let mut frame = [0; 16];
            // Mostly identifiers that the master listens to.
            let known = [0x585u32, 0x586, 0x705, 0x706, 0x85, 0x86, 0x185, 0x285];
            let id = if kind == 0 { id } else { known[id as usize % known.len()] };
            frame[..4].copy_from_slice(&id.to_ne_bytes());
            frame[4..].copy_from_slice(&body);
            if kind > 1 {
                frame[4] = [1, 8][usize::from(kind % 2)];
            }
            bench.network().under_way.push((at * MS, frame));
        }
        bench.network().under_way.sort_by_key(|(at, _)| *at);
        bench.run_ms(1_000);
        let turns = bench.counters.lanes[0].loops.get();
        prop_assert!(turns < 60_000, "{} turns", turns);
        // Left alone, all is well again.
        bench.run_ms(20_000);
        bench.assert_good("pos", 7);
        bench.assert_good("b", 4);
    }
}
