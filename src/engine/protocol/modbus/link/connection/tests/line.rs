//! A line on the real executor in virtual time: silences, echo, RTS, broken and late replies, both framings.

use super::super::super::{ascii, rtu};
use super::*;
use crate::protocol::modbus::{HostPort, ModbusAddress, ModbusConfig, ModbusTransport, Tolerance};

pub(super) fn rtu_config() -> ModbusConfig {
    ModbusConfig {
        transport: ModbusTransport::Serial(serial()),
        timeout: Nanos::from_millis(30),
        connect_timeout: Nanos::from_millis(100),
        pipeline: 1,
        reply_expected: Nanos::from_micros(100),
        turnaround: Nanos::ZERO,
        unit_pause: Nanos::ZERO,
        unit_change_pause: Nanos::ZERO,
        connect_delay: Nanos::ZERO,
        tolerance: Tolerance::STRICT,
        registers_max: 125,
        bits_max: 2000,
        unreadable: vec![],
    }
}

fn serial() -> SerialConfig {
    SerialConfig {
        port: "/dev/ttyS0".into(),
        baud_rate: 115_200,
        data_bits: 8,
        parity: Parity::Even,
        stop_bits: 1,
        framing: SerialFraming::Rtu,
        rs485: None,
        echo: false,
    }
}

fn with(change: impl FnOnce(&mut SerialConfig)) -> ModbusConfig {
    let mut serial = serial();
    change(&mut serial);
    ModbusConfig { transport: ModbusTransport::Serial(serial), ..rtu_config() }
}

/// 11 bits.
const CHARACTER: u64 = 11 * 1_000_000_000 / 115_200;
const SILENCE: u64 = 1_750_000;

pub(super) fn unit_tag(unit: u8, register: u16) -> TagConfig {
    let mut tag = tag(0, register);
    tag.name = format!("u{unit}.r{register}");
    let Some(address) = tag.address.get_mut::<ModbusAddress>() else { unreachable!() };
    address.unit = UnitId(unit);
    tag
}

pub(super) fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(rtu::crc16(&bytes).to_le_bytes());
    bytes
}

fn reply_bytes(request: &[u8]) -> Vec<u8> {
    let first = u16::from_be_bytes([request[2], request[3]]);
    let count = u16::from_be_bytes([request[4], request[5]]);
    let mut reply = vec![request[0], request[1], (count * 2) as u8];
    reply.extend((first..first + count).flat_map(|r| r.to_be_bytes()));
    reply
}

/// The right answer to an RTU request: each register holds its own address.
pub(super) fn honest_rtu(request: &[u8]) -> Vec<u8> {
    assert_eq!((request.len(), rtu::crc16(request)), (8, 0), "the request's own frame");
    with_crc(reply_bytes(request))
}

fn honest_ascii(request: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(request).unwrap().strip_prefix(':').unwrap().strip_suffix("\r\n").unwrap();
    let bytes: Vec<u8> =
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[i * 2..i * 2 + 2], 16).unwrap()).collect();
    assert_eq!(ascii::lrc(&bytes), 0);
    let mut reply = reply_bytes(&bytes);
    reply.push(ascii::lrc(&reply));
    let hex: String = reply.iter().map(|byte| format!("{byte:02X}")).collect();
    format!(":{hex}\r\n").into_bytes()
}

/// What the frames of an exchange take on the line, and a little for the device.
fn wire(characters: usize) -> u64 {
    characters as u64 * CHARACTER + 200_000
}

fn good_rtu() -> Script {
    Box::new(|request| {
        let reply = honest_rtu(request);
        vec![(wire(8 + reply.len()), reply)]
    })
}

fn one(modbus: &ModbusConfig, tags: Vec<TagConfig>, script: Script) -> Bench {
    bench_of(modbus, vec![(tags, script)], None)
}

fn sent(bench: &Bench) -> Vec<u64> {
    bench.requests.borrow().iter().map(|(t, _)| *t).collect()
}

#[test]
fn every_cycle_is_read_with_the_silence_before_each_request() {
    let mut bench = one(&rtu_config(), vec![unit_tag(1, 3), unit_tag(2, 9)], good_rtu());
    bench.run_ms(1_000);
    let link = bench.counters.link(LinkId(0));
    assert_eq!((link.requests.get(), link.replies.get()), (200, 200));
    assert_eq!(link.garbage.get() + link.foreign.get() + link.late.get() + link.timeouts.get(), 0);
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert!(bench.drain().iter().all(|s| s.value == [3, 9][s.tag as usize] && s.status().is_good()));
    let exchange = wire(8 + 7) + SILENCE;
    let sent = sent(&bench);
    assert!(sent.windows(2).all(|w| w[1] - w[0] >= exchange), "the silence");
    assert!(sent.windows(2).step_by(2).all(|w| w[1] - w[0] < exchange + 100_000), "and no longer than that");
}

/// As often as the line allows: what is lost is a wake-up at the reply, and none at the end of the silence.
#[test]
fn the_next_request_goes_out_when_the_silence_ends_though_sleeps_are_late() {
    let late = 60_000;
    for (guard, lost) in [(0, 2 * late), (100_000, late)] {
        let mut bench = one(&rtu_config(), vec![unit_tag(1, 3), unit_tag(2, 9)], good_rtu());
        bench.executor.floor_for_test().world.oversleeps = late;
        bench.executor.start_at(Clock { start: Nanos::from_millis(1), guard: Nanos(guard) });
        bench.run_ms(1_000);
        let sent = sent(&bench);
        assert_eq!(sent.len(), 200);
        let exchange = wire(8 + 7) + SILENCE + lost;
        // Of the two requests of a cycle the second waits for the first.
        let found: Vec<u64> = sent.windows(2).step_by(2).map(|w| w[1] - w[0]).collect();
        assert!(found.iter().all(|gap| (exchange..exchange + 1_000).contains(gap)), "{exchange}: {found:?}");
    }
}

#[test]
fn a_broken_reply_ends_its_request_and_the_next_is_good() {
    let mut count = 0;
    let script: Script = Box::new(move |request| {
        count += 1;
        let mut reply = honest_rtu(request);
        reply[4] ^= u8::from(count % 4 == 0);
        vec![(wire(15), reply)]
    });
    let mut bench = one(&rtu_config(), vec![unit_tag(1, 3)], script);
    bench.run_ms(1_000);
    let link = bench.counters.link(LinkId(0));
    let requests = link.requests.get();
    assert_eq!((link.crc_errors.get(), link.broken.get()), (requests / 4, requests / 4));
    assert_eq!(link.replies.get(), requests - requests / 4);
    assert_eq!(link.timeouts.get(), 0, "nothing is waited for once it came");
    assert!(bench.counters.scans[0].deadline_misses.get() > 0);
    let samples = bench.drain();
    assert!(samples.iter().any(|s| s.status() == Status::UNCERTAIN_LAST_USABLE));
    assert!(samples.iter().filter(|s| s.status().is_good()).all(|s| s.value == 3));
}

#[test]
fn a_unit_that_only_talks_rubbish_is_bad_and_good_again_with_its_first_reply() {
    let broken: Script = Box::new(|request| {
        let mut reply = honest_rtu(request);
        reply[6] ^= 0x10;
        vec![(wire(15), reply)]
    });
    let mut bench = one(&rtu_config(), vec![unit_tag(1, 3)], broken);
    bench.run_ms(200);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    bench.device(0).script = Some(good_rtu());
    bench.run_ms(40);
    assert_eq!(bench.status(0), Status::GOOD);
}

#[test]
fn a_short_frame_is_counted_apart_and_its_rest_meets_no_other_request() {
    let mut count = 0;
    let script: Script = Box::new(move |request| {
        count += 1;
        let reply = honest_rtu(request);
        match count {
            3 => vec![(wire(12), reply[..4].to_vec()), (40 * MS, reply[4..].to_vec())],
            _ => vec![(wire(15), reply)],
        }
    });
    let mut bench = one(&rtu_config(), vec![unit_tag(1, 3)], script);
    bench.run_ms(1_000);
    let link = bench.counters.link(LinkId(0));
    assert_eq!((link.short_frames.get(), link.timeouts.get(), link.crc_errors.get()), (1, 1, 0));
    assert_eq!(link.replies.get(), link.requests.get() - 1);
    assert!(bench.drain().iter().filter(|s| s.status().is_good()).all(|s| s.value == 3));
}

/// Two requests of one shape to one unit: the reply to the first would pass for that to the second.
#[test]
fn a_late_reply_is_never_taken_for_the_next_request_of_the_same_shape() {
    let slow: Script = Box::new(|request| vec![(55 * MS, honest_rtu(request))]);
    let mut bench = one(&rtu_config(), vec![unit_tag(1, 3), unit_tag(1, 400)], slow);
    bench.run_ms(2_000);
    let link = bench.counters.link(LinkId(0));
    assert_eq!(link.replies.get(), 0);
    assert!(link.late.get() >= 3 && link.late.get() <= link.timeouts.get());
    assert!(bench.drain().iter().all(|s| s.has_no_value()), "no value was accepted");
}

#[test]
fn a_unit_that_does_not_exist_costs_the_others_only_its_timeouts() {
    let script: Script = Box::new(|request| match request[0] {
        2 => vec![],
        _ => vec![(wire(15), honest_rtu(request))],
    });
    let mut bench = one(&rtu_config(), vec![unit_tag(1, 3), unit_tag(2, 4)], script);
    bench.run_ms(5_000);
    assert_eq!(bench.status(0), Status::GOOD);
    assert_eq!(bench.status(1), Status::BAD_NO_COMMUNICATION);
    let link = bench.counters.link(LinkId(0));
    assert!(link.replies.get() > 450, "{}", link.replies.get());
    assert!(link.timeouts.get() < 10);
    assert_eq!((link.state(), link.disconnects.get()), (LinkState::Up, 0));
}

#[test]
fn a_line_on_which_all_are_silent_stays_open_and_says_so() {
    let mut bench = one(&rtu_config(), vec![unit_tag(1, 3)], silent());
    bench.run_ms(2_000);
    let link = bench.counters.link(LinkId(0));
    assert_eq!((link.state(), link.disconnects.get()), (LinkState::Silent, 0));
    bench.device(0).script = Some(good_rtu());
    bench.run_ms(4_000);
    assert_eq!((bench.counters.link(LinkId(0)).state(), bench.status(0)), (LinkState::Up, Status::GOOD));
}

#[test]
fn an_echo_is_taken_off_and_one_that_differs_ends_the_request() {
    let mut count = 0;
    let script: Script = Box::new(move |request| {
        count += 1;
        let mut echo = request.to_vec();
        echo[3] ^= u8::from(count == 5);
        // In two pieces, the second with the reply.
        let mut rest = echo.split_off(5);
        rest.extend(honest_rtu(request));
        vec![(CHARACTER * 5, echo), (wire(15), rest)]
    });
    let mut bench = one(&with(|serial| serial.echo = true), vec![unit_tag(1, 3)], script);
    bench.run_ms(500);
    let link = bench.counters.link(LinkId(0));
    assert_eq!((link.broken.get(), link.garbage.get(), link.crc_errors.get()), (1, 1, 0));
    assert_eq!(link.replies.get(), link.requests.get() - 1);
    assert_eq!(bench.status(0), Status::GOOD);
}

#[test]
fn a_line_that_is_never_quiet_makes_its_tags_bad_and_comes_back() {
    let mut bench = one(&rtu_config(), vec![unit_tag(1, 3)], good_rtu());
    bench.run_ms(50);
    let from = bench.world_end;
    bench.device(0).under_way.extend((0..2_000).map(|i| (from + i * MS, vec![0xAA, 0x55])));
    bench.device(0).script = Some(silent());
    bench.run_ms(1_500);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    assert!(bench.counters.link(LinkId(0)).garbage.get() > 0);
    bench.device(0).script = Some(good_rtu());
    bench.run_ms(17_000);
    assert_eq!(bench.status(0), Status::GOOD);
}

#[test]
fn rts_is_on_from_before_the_request_until_after_its_last_bit() {
    let rs485 = Rs485Config {
        switched_by: Rs485Switch::Manual,
        rts_on_send: true,
        delay_before: Nanos::from_millis(1),
        delay_after: Nanos::from_millis(2),
    };
    let mut bench = one(
        &with(|serial| serial.rs485 = Some(rs485)),
        vec![unit_tag(1, 3)],
        Box::new(|request| vec![(8 * CHARACTER + 3 * MS, honest_rtu(request))]),
    );
    bench.run_ms(500);
    let sent = sent(&bench);
    let rts = bench.executor.floor_for_test().world.rts.clone();
    assert!(sent.len() >= 40);
    for (pair, sent) in rts.chunks_exact(2).zip(&sent) {
        let [(on, true), (off, false)] = *pair else { panic!("on and off in turn: {pair:?}") };
        assert_eq!(sent - on, MS);
        assert!(off - sent >= 8 * CHARACTER + 2 * MS && off - sent < 8 * CHARACTER + 2 * MS + 10_000);
    }
    assert_eq!(bench.counters.link(LinkId(0)).replies.get(), sent.len() as u64);
}

#[test]
fn ascii_reads_the_same_and_keeps_no_silence() {
    let config = with(|serial| (serial.framing, serial.data_bits) = (SerialFraming::Ascii, 7));
    let mut count = 0;
    let script: Script = Box::new(move |request| {
        count += 1;
        let mut reply = honest_ascii(request);
        if count % 5 == 0 {
            reply[7] ^= 1;
        }
        let rest = reply.split_off(6);
        vec![(2 * MS, reply), (3 * MS, rest)]
    });
    let mut bench = one(&config, vec![unit_tag(1, 3), unit_tag(1, 700)], script);
    bench.run_ms(1_000);
    let link = bench.counters.link(LinkId(0));
    assert_eq!(link.crc_errors.get(), link.requests.get() / 5);
    assert_eq!(link.replies.get(), link.requests.get() - link.requests.get() / 5);
    assert!(bench.drain().iter().filter(|s| s.status().is_good()).all(|s| s.value == [3, 700][s.tag as usize]));
}

#[test]
fn a_unit_gets_its_pause_while_others_are_asked() {
    let config = ModbusConfig { unit_pause: Nanos::from_millis(8), ..rtu_config() };
    // Not by two cycles of 10 ms each: one has to wait for its unit's pause.
    let ModbusTransport::Serial(serial) = &config.transport else { panic!() };
    let transport = ModbusTransport::Serial(SerialConfig { baud_rate: 1_000_000, ..serial.clone() });
    let script: Script = Box::new(|request| vec![(100_000, honest_rtu(request))]);
    let tags = vec![unit_tag(1, 3), unit_tag(2, 4)];
    let mut bench = bench_of(&ModbusConfig { transport, ..config }, vec![(tags, script)], None);
    bench.run_ms(500);
    let requests = bench.requests.borrow();
    for unit in [1, 2] {
        let own: Vec<u64> = requests.iter().filter(|(_, bytes)| bytes[0] == unit).map(|(t, _)| *t).collect();
        assert!(own.len() > 40 && own.windows(2).all(|w| w[1] - w[0] >= 8 * MS + 100_000), "unit {unit}: {own:?}");
    }
}

#[test]
fn rtu_over_tcp_takes_frames_as_they_come_and_leaves_a_half_open_connection() {
    let transport = ModbusTransport::RtuOverTcp(HostPort { host: "server".into(), port: 4001 });
    let config = ModbusConfig { transport, ..rtu_config() };
    let script: Script = Box::new(|request| {
        honest_rtu(request).into_iter().enumerate().map(|(i, byte)| (MS + i as u64 * 100_000, vec![byte])).collect()
    });
    let mut bench = bench_of(&config, vec![(vec![unit_tag(1, 3)], script)], None);
    bench.run_ms(500);
    let link = bench.counters.link(LinkId(0));
    assert_eq!((link.replies.get(), link.requests.get()), (50, 50));
    bench.device(0).script = Some(silent());
    bench.run_ms(2_000);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Silent);
}

#[test]
fn a_tag_more_on_a_line_keeps_the_port_and_what_is_in_flight() {
    let slow: Script = Box::new(|request| vec![(9_990_000, honest_rtu(request))]);
    let mut bench = one(&rtu_config(), vec![unit_tag(1, 1)], slow);
    bench.run_ms(100);
    bench.config.tags.push(unit_tag(1, 500));
    let mut later = bench.change(1);
    drop(bench.adopted());
    bench.run_ms(300);
    assert!(bench.closed.pop().is_err(), "the port stays");
    let link = bench.counters.link(LinkId(0));
    let unanswered = link.timeouts.get() + link.late.get() + link.garbage.get() + link.aborted.get();
    assert_eq!((link.connects.get(), unanswered), (1, 0));
    assert!(std::iter::from_fn(|| later.pop().ok()).any(|s| s.tag == 0 && s.status().is_good()));
    assert_eq!(bench.image.read(bench.id_of("u1.r500")).unwrap().value, 500);
    let sent = sent(&bench);
    assert!(sent.windows(2).all(|w| w[1] - w[0] >= 9_990_000 + SILENCE), "one at a time, silence kept: {sent:?}");
}

#[test]
fn a_reply_that_nobody_wants_any_more_is_kept_from_the_next_request() {
    // Never idle at a release, so the change does not wait for long.
    let slow: Script = Box::new(|request| vec![(29 * MS, honest_rtu(request))]);
    let mut bench = one(&rtu_config(), vec![unit_tag(1, 1), unit_tag(1, 300)], slow);
    bench.run_ms(20);
    bench.config.tags = vec![unit_tag(1, 61), unit_tag(1, 361)];
    let mut later = bench.change(1);
    drop(bench.adopted());
    bench.run_ms(400);
    let link = bench.counters.link(LinkId(0));
    assert_eq!((link.aborted.get(), link.late.get(), link.timeouts.get()), (1, 1, 0));
    let good: Vec<Sample> = std::iter::from_fn(|| later.pop().ok()).filter(|s| s.status().is_good()).collect();
    let of =
        |name: &str| good.iter().filter(|s| s.tag as usize == bench.id_of(name)).map(|s| s.value).collect::<Vec<_>>();
    let sent = sent(&bench);
    assert!(sent.windows(2).all(|w| w[1] - w[0] < 35 * MS), "it was no noise, and the line is free at once: {sent:?}");
    for (name, value) in [("u1.r61", 61), ("u1.r361", 361)] {
        assert!(!of(name).is_empty() && of(name).iter().all(|found| *found == value), "{name}: {:?}", of(name));
    }
}

#[test]
fn a_late_reply_that_came_while_the_executor_stood_still_is_not_taken_for_the_next() {
    // The second request's reply comes 50 ms late, in a stall of 200 ms; each register holds its address.
    let mut count = 0;
    let script: Script = Box::new(move |request| {
        count += 1;
        vec![(if count == 6 { 80 * MS } else { 200_000 }, honest_rtu(request))]
    });
    let tags = vec![unit_tag(1, 1), unit_tag(1, 300)];
    // From 10 ms after the request's time is over: its unit is left alone until the stall is over.
    let mut bench = bench_of(&rtu_config(), vec![(tags, script)], Some((72 * MS, 200 * MS)));
    bench.run_ms(600);
    for sample in bench.drain().iter().filter(|sample| sample.status().is_good()) {
        let register = if sample.tag as usize == bench.id_of("u1.r1") { 1 } else { 300 };
        assert_eq!(sample.value, register, "{sample:?}");
    }
    assert!(bench.counters.link(LinkId(0)).late.get() + bench.counters.link(LinkId(0)).garbage.get() > 0);
    assert!(bench.status(bench.id_of("u1.r1")).is_good() && bench.status(bench.id_of("u1.r300")).is_good());
}

/// libmodbus, as a slave, takes what follows a request to another unit for that one's answer, for half a second.
#[test]
fn a_slave_that_takes_a_request_for_the_answer_of_a_unit_that_is_away_stays_good() {
    let mut takes_next = false;
    let script: Script = Box::new(move |request| {
        if request[0] != 1 {
            takes_next = true;
            return vec![];
        }
        if std::mem::take(&mut takes_next) {
            return vec![];
        }
        let reply = honest_rtu(request);
        vec![(wire(8 + reply.len()), reply)]
    });
    let tags = vec![unit_tag(1, 3), unit_tag(1, 900), unit_tag(77, 9)];
    let mut bench = bench_of_period(&rtu_config(), vec![(tags, script)], Nanos::from_millis(1_000));
    let samples = bench.run_for_samples(60_000);
    let of = |tag: u32| samples.iter().filter(move |sample| sample.tag == tag);
    for tag in [0, 1] {
        assert!(
            of(tag).all(|sample| sample.status().is_good()),
            "{:?}",
            of(tag).map(|s| s.status()).collect::<Vec<_>>()
        );
        assert_eq!(of(tag).count(), 60);
    }
    assert_eq!(bench.status(2), Status::BAD_NO_COMMUNICATION);
    assert!(bench.counters.link(LinkId(0)).timeouts.get() >= 6);
}

#[test]
fn where_all_units_go_away_no_value_stays_good_while_each_is_asked_once_more() {
    let mut answers = 400;
    let script: Script = Box::new(move |request| {
        if request[0] != 1 || answers == 0 {
            return vec![];
        }
        answers -= 1;
        let reply = honest_rtu(request);
        vec![(wire(8 + reply.len()), reply)]
    });
    let mut tags: Vec<_> = (0..6).map(|at| unit_tag(1, 3 + 200 * at)).collect();
    tags.push(unit_tag(77, 9));
    let mut bench = bench_of_period(&rtu_config(), vec![(tags, script)], Nanos::from_millis(200));
    let mut oldest = 0;
    for _ in 0..1_200 {
        bench.run_ms(50);
        let now = bench.executor.floor_for_test().world.now().0;
        for tag in (0..6).filter(|tag| bench.status(*tag).is_good()) {
            oldest = oldest.max(now - bench.image.read(tag).unwrap().t);
        }
    }
    assert!((0..7).all(|tag| !bench.status(tag).is_good()));
    assert!(oldest < 2_000 * MS, "a value that is {} ms old is said to be good", oldest / MS);
}

#[test]
fn what_a_unit_does_not_answer_behind_one_that_is_away_counts_when_asked_again() {
    let script: Script = Box::new(|request| {
        if request[0] != 1 || request[3] == 0x84 {
            return vec![];
        }
        let reply = honest_rtu(request);
        vec![(wire(8 + reply.len()), reply)]
    });
    let tags = vec![unit_tag(1, 3), unit_tag(1, 900), unit_tag(77, 9)];
    let mut bench = bench_of_period(&rtu_config(), vec![(tags, script)], Nanos::from_millis(1_000));
    bench.run_ms(20_000);
    assert_eq!(
        [0, 1, 2].map(|tag| bench.status(tag)),
        [Status::GOOD, Status::BAD_NO_COMMUNICATION, Status::BAD_NO_COMMUNICATION]
    );
}
