//! Each cause reads back from its number, has a sentence of its own, and names the key that tolerates it.

use std::collections::BTreeSet;

use super::*;

const BLOCK: Block = Block { unit: 7, function: 3, first: 499, count: 2 };

fn read(fault: Fault) -> Cause {
    Cause::Read { block: BLOCK, fault }
}

/// One of every kind, with numbers that fill their room.
fn all() -> Vec<Cause> {
    let node = |fault| Cause::Node { node: 127, object: ObjectAt { index: 0x6041, sub: 255 }, fault };
    let faults = [
        Fault::NoReply,
        Fault::Mute,
        Fault::Late(2_000_000),
        Fault::Exception(0xFF),
        Fault::OtherUnit(255),
        Fault::OtherTransaction(u16::MAX),
        Fault::OtherFunction(4),
        Fault::OtherLength(250),
        Fault::HeaderLength(16),
        Fault::Broken,
        Fault::Short,
        Fault::Noise,
        Fault::Closed,
    ];
    let nodes = [
        NodeFault::Silent,
        NodeFault::Late,
        NodeFault::Refused(AbortCode::NO_SUCH_OBJECT),
        NodeFault::OtherDevice,
        NodeFault::Aborted(AbortCode(0x0609_0030)),
        NodeFault::NoReply,
        NodeFault::Broken,
        NodeFault::NotMapped,
        NodeFault::PdoSilent,
        NodeFault::PdoShort,
    ];
    let block = Block { unit: 255, function: 1, first: u16::MAX, count: 2000 };
    let mut all = vec![Cause::NotConnected];
    all.extend(faults.map(|fault| Cause::Read { block, fault }));
    all.extend([ValueFault::NotDecoded, ValueFault::Sensor, ValueFault::NoValue].map(Cause::Value));
    all.extend([CanFault::Silent, CanFault::Never, CanFault::Short, CanFault::BusOff].map(Cause::Can));
    all.extend(nodes.map(node));
    let devices = [DeviceFault::Silent, DeviceFault::Failed(110), DeviceFault::OtherChip, DeviceFault::Overdue];
    all.extend(devices.map(Cause::Device));
    all
}

#[test]
fn a_cause_reads_back_from_its_number() {
    for cause in all() {
        assert_eq!(Cause::of_code(cause.code()), Some(cause));
        assert_ne!(cause.code(), 0);
    }
    for function in 1..=4 {
        let cause = Cause::Read { block: Block { function, ..BLOCK }, fault: Fault::Late(1) };
        assert_eq!(Cause::of_code(cause.code()), Some(cause));
    }
    assert_eq!(Cause::of_code(0), None);
    // Whatever stands there, it is a cause or none.
    for code in (0..64u64).map(|kind| kind << 58 | 0x0123_4567_89AB_CDEF) {
        assert!(Cause::of_code(code).is_none_or(|cause| !cause.to_string().is_empty()));
    }
}

#[test]
fn every_kind_has_a_sentence_and_a_name_of_its_own() {
    let kinds: Vec<CauseKind> = all().iter().map(|cause| cause.kind()).collect();
    assert_eq!(kinds, CauseKind::ALL, "one of each");
    let sentences: BTreeSet<String> = all().iter().map(|cause| cause.fault()).collect();
    let names: BTreeSet<&str> = CauseKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!((sentences.len(), names.len()), (kinds.len(), kinds.len()));
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
}

#[test]
fn each_reply_that_is_not_as_asked_names_the_key_that_tolerates_it() {
    for (fault, key, says) in [
        (Fault::OtherUnit(0), "any_unit_id", "answered with unit id 0 instead of 7"),
        (Fault::OtherTransaction(0), "any_transaction_id", "answered with transaction id 0"),
        (Fault::OtherFunction(4), "any_read_function", "answered with function 4 instead of 3"),
        (Fault::OtherLength(6), "longer_replies", "answered with 6 bytes of values instead of 4"),
        (Fault::Late(412), "timeout_ms", "the reply comes after 412 ms, later than timeout_ms"),
    ] {
        let cause = read(fault);
        assert_eq!(cause.tolerated_by(), Some(key));
        let text = cause.to_string();
        assert!(text.starts_with("unit 7, function 3 (holding registers), address 499, count 2: "), "{text}");
        assert!(text.contains(says) && text.contains(&format!("\"{key}\": ")), "{text}");
        assert!(!cause.alike().to_string().is_empty());
    }
    assert!(read(Fault::Late(412)).to_string().ends_with("set \"timeout_ms\": 620 or more on the link"));
    assert!(read(Fault::Late(1_001)).to_string().contains("\"timeout_ms\": 1600"));
    // No key makes values of these.
    for fault in [Fault::OtherFunction(1), Fault::OtherLength(2), Fault::NoReply, Fault::Broken] {
        assert_eq!(read(fault).tolerated_by(), None, "{fault:?}");
    }
}

#[test]
fn an_exception_is_told_with_block_code_and_name() {
    assert_eq!(
        read(Fault::Exception(2)).to_string(),
        "unit 7, function 3 (holding registers), address 499, count 2: exception 02 illegal data address; the device \
         has no such address; check the address, the table and \"addressing\" (40001 is address 0)"
    );
    assert!(
        read(Fault::Exception(0x0B)).to_string().contains("0B gateway target device failed to respond; the gateway")
    );
    assert!(read(Fault::Exception(0x2B)).to_string().ends_with("exception 2B unknown exception"));
}

#[test]
fn an_abort_of_a_node_is_told_with_object_code_and_name() {
    let object = ObjectAt { index: 0x6041, sub: 0 };
    let cause = Cause::Node { node: 5, object, fault: NodeFault::Aborted(AbortCode::NO_SUCH_OBJECT) };
    let text = Cause::of_code(cause.code()).unwrap().to_string();
    let expected = "node 5, object 0x6041:00: SDO abort 0x06020000 (object does not exist in the object dictionary)";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn blocks_of_one_unit_and_function_that_fail_alike_are_alike() {
    let far = Block { first: 900, count: 1, ..BLOCK };
    let alike = |fault| Cause::Read { block: far, fault }.alike() == read(fault).alike();
    assert!(alike(Fault::Exception(2)) && alike(Fault::NoReply));
    assert_eq!(read(Fault::Late(400)).alike(), read(Fault::Late(700)).alike());
    assert_ne!(read(Fault::Exception(2)).alike(), read(Fault::Exception(3)).alike());
    assert_ne!(read(Fault::OtherUnit(0)).alike(), read(Fault::OtherUnit(255)).alike());
    let other = Cause::Read { block: Block { unit: 8, ..BLOCK }, fault: Fault::NoReply };
    assert_ne!(other.alike(), read(Fault::NoReply).alike());
}
