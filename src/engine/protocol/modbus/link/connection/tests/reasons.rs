//! Why tags have no good value: what each kind of device leaves beside its tags' statuses.

use super::line::{honest_rtu, rtu_config, with_crc};
use super::*;
use crate::protocol::modbus::{HostPort, ModbusAddress, ModbusConfig, ModbusTransport};

fn cause(bench: &Bench, tag: usize) -> Option<Cause> {
    Cause::of_code(bench.image.cause(tag))
}

/// The fault, where the cause is about a block of unit 1, function 3 that holds this register.
#[track_caller]
fn fault(bench: &Bench, tag: usize, register: u16) -> Fault {
    let Some(Cause::Read { block, fault }) = cause(bench, tag) else { panic!("{:?}", cause(bench, tag)) };
    assert_eq!((block.unit, block.function), (1, 3));
    assert!((block.first..block.first + block.count).contains(&register), "{block:?}");
    fault
}

fn bent(bend: fn(&mut Vec<u8>)) -> Script {
    Box::new(move |request| {
        let mut reply = honest(request);
        bend(&mut reply);
        vec![(MS / 10, reply)]
    })
}

fn one_register_more(reply: &mut Vec<u8>) {
    reply.extend([0xAB, 0xCD]);
    reply[5] += 2;
    reply[8] += 2;
}

#[test]
fn replies_that_differ_are_the_reason_of_bad_tags_and_of_the_connection_that_is_given_up() {
    type Case = (fn(&mut Vec<u8>), Fault);
    let cases: [Case; 4] = [
        (|reply| reply[6] = 255, Fault::OtherUnit(255)),
        (|reply| reply[..2].fill(0), Fault::OtherTransaction(0)),
        (|reply| reply[7] = 4, Fault::OtherFunction(4)),
        (one_register_more, Fault::OtherLength(4)),
    ];
    for (bend, expected) in cases {
        let mut bench = bench(vec![(vec![3, 900], bent(bend))], None);
        bench.run_ms(500);
        for (tag, register) in [(0, 3), (1, 900)] {
            assert_eq!(bench.status(tag), Status::BAD_NO_COMMUNICATION);
            assert_eq!(fault(&bench, tag, register), expected);
        }
        let closed = bench.closed.pop().unwrap();
        assert_eq!(closed.reason, CloseReason::Silent);
        assert!(matches!(closed.cause, Some(Cause::Read { fault, .. }) if fault == expected), "{closed:?}");
        let kind = closed.cause.unwrap().kind();
        let lately = bench.counters.link(LinkId(0)).lately.get(kind).unwrap();
        assert!(matches!(lately, Cause::Read { fault, .. } if fault == expected), "{lately:?}");
    }
}

fn late(after_ms: u64) -> Script {
    Box::new(move |request| vec![(after_ms * MS, honest(request))])
}

#[test]
fn a_device_that_is_slower_than_the_timeout_is_told_from_a_silent_one_with_the_time_it_takes() {
    let mut slow = bench(vec![(vec![3, 900], late(45))], None);
    slow.run_ms(2_000);
    for (tag, register) in [(0, 3), (1, 900)] {
        assert_eq!(slow.status(tag), Status::BAD_NO_COMMUNICATION);
        let Fault::Late(ms) = fault(&slow, tag, register) else { panic!("{:?}", cause(&slow, tag)) };
        assert!((45..=47).contains(&ms), "{ms}");
    }
    assert!(slow.closed.pop().is_err(), "what comes late shows that the connection lives");
    // It is switched off: after a while that is the reason.
    slow.device(0).script = Some(silent());
    slow.run_ms(120_000);
    assert_eq!(cause(&slow, 0), Some(Cause::NotConnected), "given up, and not connected again here");
    assert_eq!(slow.closed.pop().map(|closed| closed.cause), Ok(None));

    let mut mute = bench(vec![(vec![3], silent())], None);
    mute.run_ms(50);
    assert_eq!(fault(&mute, 0, 3), Fault::NoReply);
    mute.run_ms(500);
    assert_eq!(mute.closed.pop().map(|closed| closed.cause), Ok(None), "nothing came over it");
}

#[test]
fn a_reason_is_gone_with_the_next_good_reply() {
    let mut bench = bench(vec![(vec![3], late(45))], None);
    bench.run_ms(2_000);
    assert!(bench.status(0).is_bad());
    bench.device(0).script = Some(good());
    bench.run_ms(20_000);
    assert_eq!(bench.status(0), Status::GOOD);
    // What comes next has its own.
    bench.device(0).script = Some(silent());
    bench.run_ms(35);
    assert_eq!((bench.status(0), fault(&bench, 0, 3)), (Status::UNCERTAIN_LAST_USABLE, Fault::NoReply));
}

fn refuses(code: u8, register: u16) -> Script {
    Box::new(move |request| {
        let first = u16::from_be_bytes([request[8], request[9]]);
        let is_refused = (first..first + u16::from(request[11])).contains(&register);
        vec![(MS / 10, if is_refused { exception(request, code) } else { honest(request) })]
    })
}

#[test]
fn an_exception_is_the_reason_of_the_register_that_it_is_about_and_of_no_other() {
    let mut bench = bench(vec![((0..100).collect(), refuses(2, 42))], None);
    bench.run_ms(3_000);
    let block = Block { unit: 1, function: 3, first: 42, count: 1 };
    assert_eq!(cause(&bench, 42), Some(Cause::Read { block, fault: Fault::Exception(2) }));
    assert!((0..100).all(|tag| tag == 42 || bench.status(tag) == Status::GOOD && cause(&bench, tag).is_none()));
    let lately = bench.counters.link(LinkId(0)).lately.get(CauseKind::Exception);
    assert!(matches!(lately, Some(Cause::Read { fault: Fault::Exception(2), .. })), "{lately:?}");
}

#[test]
fn a_unit_that_refuses_all_names_the_whole_block_and_a_gateway_its_own_code() {
    for (code, status) in [
        (2, Status::BAD_CONFIGURATION_ERROR),
        (4, Status::BAD_DEVICE_FAILURE),
        (8, Status::BAD_DEVICE_FAILURE),
        (0x0B, Status::BAD_NO_COMMUNICATION),
    ] {
        let script: Script = Box::new(move |request| vec![(MS / 10, exception(request, code))]);
        let mut bench = bench(vec![(vec![0, 9], script)], None);
        bench.run_ms(1_000);
        assert_eq!(bench.status(0), status);
        assert_eq!((fault(&bench, 0, 0), fault(&bench, 1, 9)), (Fault::Exception(code), Fault::Exception(code)));
    }
}

#[test]
fn a_device_that_stays_busy_says_so() {
    let script: Script = Box::new(|request| vec![(MS / 10, exception(request, 6))]);
    let mut bench = bench(vec![(vec![5], script)], None);
    bench.run_ms(1_000);
    assert_eq!((bench.status(0), fault(&bench, 0, 5)), (Status::BAD_NO_COMMUNICATION, Fault::Exception(6)));
}

#[test]
fn a_register_that_stays_silent_beside_others_is_told_from_a_silent_unit() {
    let script: Script = Box::new(|request| {
        let first = u16::from_be_bytes([request[8], request[9]]);
        let is_mute = (first..first + u16::from(request[11])).contains(&900);
        if is_mute { vec![] } else { vec![(MS / 10, honest(request))] }
    });
    let mut bench = bench(vec![(vec![3, 900], script)], None);
    bench.run_ms(3_000);
    assert_eq!((bench.status(0), bench.status(1)), (Status::GOOD, Status::BAD_NO_COMMUNICATION));
    assert_eq!(fault(&bench, 1, 900), Fault::Mute);
}

#[test]
fn on_a_line_broken_foreign_short_and_late_replies_are_told_apart() {
    type Answer = fn(&[u8]) -> Vec<(u64, Vec<u8>)>;
    let cases: [(Answer, Fault); 6] = [
        (
            |request| {
                let mut reply = honest_rtu(request);
                *reply.last_mut().unwrap() ^= 0x55;
                vec![(MS, reply)]
            },
            Fault::Broken,
        ),
        (|_| vec![(MS, with_crc(vec![9, 3, 2, 0, 7]))], Fault::OtherUnit(9)),
        (|_| vec![(MS, with_crc(vec![1, 4, 2, 0, 7]))], Fault::OtherFunction(4)),
        (|_| vec![(MS, with_crc(vec![1, 3, 4, 0, 7, 0, 8]))], Fault::OtherLength(4)),
        (|_| vec![(MS, vec![1, 3, 2])], Fault::Short),
        (|_| vec![(MS, b"hello, world".to_vec())], Fault::Noise),
    ];
    for (answer, expected) in cases {
        let script: Script = Box::new(answer);
        let mut bench = bench_of(&rtu_config(), vec![(vec![tag(0, 7)], script)], None);
        bench.run_ms(1_000);
        assert_eq!((bench.status(0), fault(&bench, 0, 7)), (Status::BAD_NO_COMMUNICATION, expected));
    }
    let script: Script = Box::new(|request| vec![(60 * MS, honest_rtu(request))]);
    let mut bench = bench_of(&rtu_config(), vec![(vec![tag(0, 7)], script)], None);
    bench.run_ms(3_000);
    let Fault::Late(ms) = fault(&bench, 0, 7) else { panic!("{:?}", cause(&bench, 0)) };
    assert!((60..=62).contains(&ms), "{ms}");
}

#[test]
fn a_wrong_length_in_a_header_and_a_broken_reply_now_and_then_are_seen_though_no_tag_suffers() {
    let mut bench = bench(vec![(vec![3], bent(|reply| reply[5] += 2))], None);
    bench.run_ms(100);
    assert_eq!(bench.status(0), Status::GOOD);
    let lately = bench.counters.link(LinkId(0)).lately.get(CauseKind::HeaderLength);
    assert!(matches!(lately, Some(Cause::Read { fault: Fault::HeaderLength(2), .. })), "{lately:?}");
}

#[test]
fn under_another_plan_a_reason_stays_with_its_register_and_goes_with_a_tag_that_moves() {
    let mut bench = bench(vec![((40..44).collect(), Box::new(|r: &[u8]| refuse_two(r)) as Script)], None);
    bench.run_ms(3_000);
    let ids = ["plc0.r41", "plc0.r43"].map(|name| bench.id_of(name));
    assert!(ids.iter().all(|id| matches!(cause(&bench, *id), Some(Cause::Read { fault: Fault::Exception(2), .. }))));
    // One of them is read elsewhere from now on, where nothing is answered yet; the other stays.
    let moved = bench.config.tags.iter_mut().find(|tag| tag.name == "plc0.r41").unwrap();
    let Some(address) = moved.address.get_mut::<ModbusAddress>() else { unreachable!() };
    address.first = 700;
    let _later = bench.change(1);
    drop(bench.adopted());
    assert_eq!(ids, ["plc0.r41", "plc0.r43"].map(|name| bench.id_of(name)));
    let of_moved = cause(&bench, ids[0]);
    assert!(!matches!(of_moved, Some(Cause::Read { fault: Fault::Exception(_), .. })), "{of_moved:?}");
    let block = Block { unit: 1, function: 3, first: 43, count: 1 };
    assert_eq!(cause(&bench, ids[1]), Some(Cause::Read { block, fault: Fault::Exception(2) }));
}

fn refuse_two(request: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let first = u16::from_be_bytes([request[8], request[9]]);
    let has = |register| (first..first + u16::from(request[11])).contains(&register);
    if has(700) {
        return vec![];
    }
    vec![(MS / 10, if has(41) || has(43) { exception(request, 2) } else { honest(request) })]
}

#[test]
fn at_another_device_nothing_is_known_of_what_the_one_before_refused() {
    let mut bench = bench(vec![(vec![7], refuses(2, 7))], None);
    bench.run_ms(1_000);
    assert!(matches!(cause(&bench, 0), Some(Cause::Read { fault: Fault::Exception(2), .. })));
    let modbus = bench.config.links[0].protocol.get_mut::<ModbusConfig>().unwrap();
    modbus.transport = ModbusTransport::Tcp(HostPort { host: "10.0.0.9".into(), port: 502 });
    let _later = bench.change(1);
    drop(bench.adopted());
    bench.run_ms(20);
    assert_eq!((bench.status(0), cause(&bench, 0)), (Status::BAD_CONFIGURATION_ERROR, None));
    bench.run_ms(1_000);
    assert_eq!((bench.status(0), cause(&bench, 0)), (Status::BAD_NO_COMMUNICATION, Some(Cause::NotConnected)));
}
