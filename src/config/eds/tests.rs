//! Data sheets as devices have them, and as they should not be.

use super::*;
use proptest::prelude::*;

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
    assert_eq!(eds.named("Position actual value"), [Object { index: 0x6064, sub: 0 }]);
    assert_eq!(eds.named("TPDO1.Type"), [Object { index: 0x1800, sub: 2 }]);
    assert_eq!(eds.number(Object { index: 0x1000, sub: 0 }, 5), Ok(Some(0x20192)));
    assert_eq!(eds.named("Channels.Second"), [Object { index: 0x2000, sub: 2 }]);
    assert_eq!(eds.number(Object { index: 0x2000, sub: 3 }, 5), Ok(Some(-5i64 as u64)));
}

#[test]
fn a_pdo_is_what_its_parameters_say_for_the_node() {
    let eds = Eds::read(DRIVE.as_bytes()).unwrap();
    let pdos = eds.pdos(PdoDirection::Transmit, 5).unwrap();
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
    assert_eq!(eds.pdos(PdoDirection::Receive, 5), Ok(vec![]));
}

#[test]
fn a_dcf_says_what_the_values_are() {
    let text = DRIVE.replace("DefaultValue=$NODEID+0x180", "DefaultValue=$NODEID+0x180\r\nParameterValue=0x80000185");
    let eds = Eds::read(text.as_bytes()).unwrap();
    assert_eq!(eds.pdos(PdoDirection::Transmit, 5), Ok(vec![]), "it is switched off");
}

#[track_caller]
fn fault(text: &str, line: u32, part: &str) {
    let faults = Eds::read(text.as_bytes()).unwrap_err();
    let found = faults.iter().any(|f| f.line == line && f.message.contains(part));
    assert!(found, "{part:?} in line {line} is not among {faults:?}");
}

#[test]
fn every_fault_names_its_line() {
    fault("[DeviceInfo]\n[1000]\nDataType=0xZZ\n", 3, "DataType is \"0xZZ\"");
    fault("[DeviceInfo]\n[1000]\nDataType=7\n[1000]\nDataType=7\n", 4, "[\"1000\"] stands here twice");
    fault("[DeviceInfo]\n[1000]\nDataType=7\ndatatype=7\n", 4, "twice");
    fault("[DeviceInfo]\n[1000]\nParameterName=x\n", 2, "DataType of the object 0x1000:00 is missing");
    fault("[DeviceInfo]\n[OptionalObjects]\n1=0x6064\n", 3, "0x6064 is listed, but its section is missing");
    fault("[DeviceInfo]\n[OptionalObjects]\n1=x\n", 3, "object 1 of the list is \"x\"");
    fault("[DeviceInfo]\nwhat is this\n", 2, "neither section nor key");
    fault("[DeviceInfo\n", 1, "has no end");
    fault("[1000]\nDataType=7\n", 1, "[DeviceInfo] is missing");
    fault("[DeviceInfo]\nVendorNumber=0x100000000\n", 2, "vendornumber");
    fault("\u{1}\u{2}\n", 1, "control character");
}

#[test]
fn a_mapping_that_does_not_fit_a_frame_is_refused_with_its_line() {
    let text = DRIVE.replace("0x60640020", "0x60640040");
    let fault = Eds::read(text.as_bytes()).unwrap().pdos(PdoDirection::Transmit, 5).unwrap_err();
    assert!(fault.message.contains("more than 64 bits") && fault.line > 20, "{fault:?}");
    let text = DRIVE.replace("0x60640020", "0x606");
    assert!(Eds::read(text.as_bytes()).unwrap().pdos(PdoDirection::Transmit, 5).is_ok());
    let text = DRIVE.replace("0x60640020", "position");
    let fault = Eds::read(text.as_bytes()).unwrap().pdos(PdoDirection::Transmit, 5).unwrap_err();
    assert!(fault.message.contains("\"position\""), "{fault:?}");
}

#[test]
fn a_latin_1_file_is_read() {
    let bytes = b"[DeviceInfo]\n[6064]\nParameterName=Temperatur \xb0C\nDataType=4\n";
    assert_eq!(Eds::read(bytes).unwrap().named("Temperatur °C").len(), 1);
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
