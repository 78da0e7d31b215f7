//! Data sheets as devices have them, and as they should not be.

use proptest::prelude::*;

use super::*;

const DRIVE: &str = "[FileInfo]\r\nFileName=drive.eds\r\n; a comment\r\n[DeviceInfo]\r\nVendorNumber=0x0000029A\r\n\
ProductNumber=7\r\n[MandatoryObjects]\r\nSupportedObjects=1\r\n1=0x1000\r\n[1000]\r\nParameterName=Device type\r\n\
DataType=0x0007\r\nAccessType=ro\r\nDefaultValue=0x00020192\r\n\
[1800]\r\nParameterName=TPDO1\r\nObjectType=0x9\r\nSubNumber=3\r\n\
[1800sub1]\r\nParameterName=COB-ID\r\nDataType=0x0007\r\nDefaultValue=$NODEID+0x180\r\n\
[1800sub2]\r\nParameterName=Type\r\nDataType=0x0005\r\nDefaultValue=1\r\n\
[1A00]\r\nParameterName=TPDO1 mapping\r\nObjectType=9\r\n\
[1a00SUB0]\r\nParameterName=n\r\nDataType=5\r\nDefaultValue=2\r\n\
[1A00sub1]\r\nParameterName=e1\r\nDataType=7\r\nDefaultValue=0x60410010\r\n\
[1A00sub2]\r\nParameterName=e2\r\nDataType=7\r\nDefaultValue=0x60640020\r\n\
[6041]\r\nParameterName=Statusword\r\nDataType=0x0006\r\nAccessType=ro\r\nPDOMapping=1\r\n\
[6064]\r\nParameterName=Position actual value\r\nDataType=0x0004\r\nAccessType=ro\r\nPDOMapping=1\r\n\
[2000]\r\nParameterName=Channels\r\nObjectType=8\r\nDataType=0x0003\r\nCompactSubObj=3\r\n\
[2000Name]\r\nNrOfEntries=1\r\n2=Second\r\n[2000Value]\r\nNrOfEntries=1\r\n3=-5\r\n";

#[test]
fn objects_types_and_values_are_read() {
    let eds = Eds::read(DRIVE.as_bytes()).unwrap();
    assert_eq!((eds.vendor, eds.product), (Some(0x29A), Some(7)));
    let position = eds.get(Object { index: 0x6064, sub: 0 }).unwrap();
    assert_eq!((position.data_type, position.writable), (DataType::Integer(32), false));
    assert_eq!(eds.named("Position actual value"), Naming::One(Object { index: 0x6064, sub: 0 }));
    assert_eq!(eds.named("TPDO1.Type"), Naming::One(Object { index: 0x1800, sub: 2 }));
    assert_eq!(eds.number(Object { index: 0x1000, sub: 0 }, 5), Ok(Some(0x20192)));
    assert_eq!(eds.named("Channels.Second"), Naming::One(Object { index: 0x2000, sub: 2 }));
    assert_eq!(eds.number(Object { index: 0x2000, sub: 3 }, 5), Ok(Some(-5i64 as u64)));
}

#[test]
fn a_pdo_is_what_its_parameters_say_for_the_node() {
    let eds = Eds::read(DRIVE.as_bytes()).unwrap();
    let pdos = eds.pdos(PdoDirection::Transmit, 5).read;
    let field = |index, first_bit, bits| MappedField { object: Object { index, sub: 0 }, first_bit, bits };
    let expected = Pdo {
        number: 1,
        cob_id: 0x185,
        kind: 1,
        inhibit_100us: 0,
        event_timer_ms: 0,
        fields: vec![field(0x6041, 0, 16), field(0x6064, 16, 32)],
    };
    assert_eq!(pdos, [expected]);
    assert_eq!(eds.pdos(PdoDirection::Receive, 5), Pdos::default());
}

#[test]
fn a_dcf_says_what_the_values_are() {
    let text = DRIVE.replace("DefaultValue=$NODEID+0x180", "DefaultValue=$NODEID+0x180\r\nParameterValue=0x80000185");
    let eds = Eds::read(text.as_bytes()).unwrap();
    assert_eq!(eds.pdos(PdoDirection::Transmit, 5), Pdos::default(), "it is switched off");
}

/// What is left out: the line, and what and why.
fn left_out(eds: &Eds) -> Vec<(u32, String)> {
    eds.left_out.iter().map(|(what, why)| (why.line, format!("{what}: {}", why.message))).collect()
}

#[track_caller]
fn leaves_out(text: &str, line: u32, part: &str) -> Eds {
    let eds = Eds::read(text.as_bytes()).unwrap_or_else(|faults| panic!("{faults:?}"));
    let found = left_out(&eds);
    let is_it = found.len() == 1 && found[0].0 == line && found[0].1.contains(part);
    assert!(is_it, "{part:?} in line {line} is not the one of {found:?}");
    eds
}

const DEVICE_TYPE: Object = Object { index: 0x1000, sub: 0 };

#[test]
fn an_oddity_is_left_out_with_its_line_and_the_rest_is_read() {
    let one = "[DeviceInfo]\n[2000]\nParameterName=Ok\nDataType=7\n";
    for (odd, line, part) in [
        ("[1000]\nDataType=0xZZ\n", 6, "the object 0x1000:00: DataType is \"0xZZ\""),
        ("[1000]\nDataType=7\n[1000]\nDataType=6\n", 7, "the object 0x1000: the section [\"1000\"] is also in line 5"),
        ("[1000]\nDataType=7\ndatatype=6\n", 7, "the object 0x1000: the key \"datatype\" is also in line 6"),
        ("[1000]\nParameterName=x\n", 5, "the object 0x1000:00: its DataType is missing"),
        ("[1000]\nObjectType=y\nDataType=7\n", 6, "the object 0x1000: ObjectType is \"y\""),
        ("[1000]\nObjectType=8\nDataType=7\nCompactSubObj=999\n", 8, "the object 0x1000: CompactSubObj is"),
        ("[OptionalObjects]\n1=0x1000\n", 6, "the object 0x1000: it is listed here, but its section is missing"),
    ] {
        let eds = leaves_out(&format!("{one}{odd}"), line, part);
        assert!(eds.get(DEVICE_TYPE).is_none() && eds.why_left_out(DEVICE_TYPE).is_some(), "{odd}");
        assert_eq!(eds.named("Ok"), Naming::One(Object { index: 0x2000, sub: 0 }), "{odd}");
        assert_eq!(eds.why_left_out(Object { index: 0x2000, sub: 0 }), None);
    }
    for (odd, line, part) in [
        ("[OptionalObjects]\n1=x\n", 6, "object 1 of the list is \"x\""),
        ("[2001]\nwhat is this\nDataType=7\n", 6, "neither a section nor a key"),
        ("[2001\nDataType=7\n", 5, "has no end"),
        ("[2000]\nParameterName=Ok\nDataType=7\n", 5, "this section: the section [\"2000\"] is also in line 2"),
        ("[2001]\n\u{1}\u{2}\nDataType=7\n", 6, "control character"),
    ] {
        let eds = leaves_out(&format!("{one}{odd}"), line, part);
        assert_eq!(eds.named("Ok"), Naming::One(Object { index: 0x2000, sub: 0 }), "{odd}");
    }
    leaves_out("[1000]\nDataType=7\n", 1, "the device's identity: the section [DeviceInfo] is missing");
    leaves_out("[DeviceInfo]\nVendorNumber=0x100000000\n", 2, "the device's identity: vendornumber");
}

#[test]
fn an_oddity_that_takes_nothing_away_is_not_told() {
    for odd in [
        "[Comments]\nLines=2\nLine1=x\nhere it goes on\n",
        "[Comments]\nLine1=x\nLine1=y\n[Comments]\n\u{1}\n",
        "[2000]\nDataType=7\nDataType=7\nLowLimit=1\nLowLimit=2\n",
        "[2000]\nDataType=0x0007 ; UNSIGNED32\n; a comment\n",
        "[2000]\nDataType=07\nDefaultValue=09\n\u{1A}",
        "[2000sub0]\nParameterName=n\nDataType=5\n[ManufacturerObjects]\nSupportedObjects=1\n1=0x2000\n",
    ] {
        let eds = Eds::read(format!("[DeviceInfo]\n{odd}").as_bytes()).unwrap();
        assert_eq!(left_out(&eds), [], "{odd}");
        assert_eq!(eds.get(Object { index: 0x2000, sub: 0 }).is_some(), odd.contains("[2000"), "{odd}");
    }
    let odd = "[DeviceInfo]\n[2000]\nParameterName=R\n[2000sub1]\nParameterName=a\nDataType=7\nDefaultValue=09\n";
    let eds = Eds::read(odd.as_bytes()).unwrap();
    assert_eq!(eds.named("R.a"), Naming::One(Object { index: 0x2000, sub: 1 }), "a record without its ObjectType");
    assert_eq!(eds.number(Object { index: 0x2000, sub: 1 }, 5), Ok(Some(9)), "09 is not octal");
}

#[test]
fn a_type_of_the_devices_own_is_the_one_that_it_limits() {
    let eds = Eds::read(
        b"[DeviceInfo]\n[2000]\nDataType=0x00A0\n[2001]\nDataType=0x00A1\n[A0]\nParameterName=limited\nDataType=7\n\
          [A0sub1]\nParameterName=type\nDataType=7\nDefaultValue=0x0003\n",
    );
    let eds = eds.unwrap();
    let type_of = |index| eds.get(Object { index, sub: 0 }).unwrap().data_type;
    assert_eq!((type_of(0x2000), type_of(0x2001)), (DataType::Integer(16), DataType::Other(0xA1)));
}

#[test]
fn a_name_that_is_left_out_or_stands_twice_says_so() {
    let text = "[DeviceInfo]\n[2000]\nParameterName=Gone\nDataType=q\n[2001]\nParameterName=Twin\nDataType=7\n\
                [2002]\nParameterName=Twin\nDataType=q\n";
    let eds = Eds::read(text.as_bytes()).unwrap();
    assert!(matches!(eds.named("Gone"), Naming::LeftOut(why) if why.line == 4));
    let object = |index| Object { index, sub: 0 };
    assert_eq!(eds.named("Twin"), Naming::Several(object(0x2001), object(0x2002)), "one of them could not be read");
    assert_eq!(eds.named("Unheard"), Naming::Unknown);
}

#[test]
fn what_is_no_data_sheet_is_refused_as_a_whole() {
    for text in ["", "\u{1}\u{2}\n", "%PDF-1.7\n1 0 obj\n", "{\"a\": 1}\n", "[Settings]\nkey=1\n"] {
        let faults = Eds::read(text.as_bytes()).unwrap_err();
        assert!(faults.len() == 1 && faults[0].message.starts_with("neither [DeviceInfo] nor an object"), "{faults:?}");
    }
}

#[test]
fn a_pdo_that_cannot_be_read_is_left_out_with_what_it_carries() {
    let pdos =
        |from: &str, to: &str| Eds::read(DRIVE.replace(from, to).as_bytes()).unwrap().pdos(PdoDirection::Transmit, 5);
    let position = Object { index: 0x6064, sub: 0 };
    for (from, to, part) in [
        ("0x60640020", "0x60640040", "more than 64 bits"),
        ("DataType=5\r\nDefaultValue=2", "DataType=5\r\nDefaultValue=0xFE", "a multiplexed PDO (0xFE)"),
        ("DataType=5\r\nDefaultValue=2", "DataType=5\r\nDefaultValue=255", "a multiplexed PDO (0xFF)"),
        ("DataType=5\r\nDefaultValue=2", "DataType=5\r\nDefaultValue=65", "maps 65 objects"),
        ("$NODEID+0x180", "a COB-ID", "is not a number"),
        ("n\r\nDataType=5", "n\r\nDataType=q", "DataType is \"q\""),
    ] {
        let found = pdos(from, to);
        let why = found.why_left_out(position).unwrap_or_else(|| panic!("{to}: {found:?}"));
        assert!(found.read.is_empty() && why.number == 1, "{to}: {found:?}");
        assert!(why.why.message.contains(part) && why.why.line > 20, "{to}: {why:?}");
    }
    assert_eq!(pdos("0x60640020", "0x606").left_out, []);
    let found = pdos("0x60640020", "position");
    assert!(found.left_out.len() == 1 && found.left_out[0].why.message.contains("\"position\""), "{found:?}");
    assert_eq!(found.why_left_out(position), None, "nobody knows what it carries there");
}

#[test]
fn files_in_windows_1252_in_utf_8_and_with_a_mark_are_read() {
    for (bytes, name) in [
        (&b"[DeviceInfo]\n[6064]\nParameterName=Temperatur \xB0C\nDataType=4\n"[..], "Temperatur °C"),
        (b"[DeviceInfo]\r\n[6064]\r\nParameterName=\x93short\x94 \x80\r\nDataType=4\r\n\x1A", "“short” €"),
        ("\u{FEFF}[DeviceInfo]\n[6064]\nParameterName=Öl\nDataType=4\n".as_bytes(), "Öl"),
        (b"[DeviceInfo]\r[6064]\rParameterName=Mac\rDataType=4\r", "Mac"),
    ] {
        let eds = Eds::read(bytes).unwrap();
        assert_eq!(
            (eds.named(name), left_out(&eds)),
            (Naming::One(Object { index: 0x6064, sub: 0 }), vec![]),
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Eds::read(&bytes);
    }

    #[test]
    fn no_change_of_a_file_makes_the_reader_panic(
        changes in prop::collection::vec((0..DRIVE.len(), any::<u8>()), 1..8), node in any::<u8>()
    ) {
        let mut bytes = DRIVE.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if let Ok(eds) = Eds::read(&bytes) {
            let _ = eds.pdos(PdoDirection::Transmit, node);
            for (object, _) in eds.objects() {
                let _ = eds.number(object, node);
            }
        }
    }
}
