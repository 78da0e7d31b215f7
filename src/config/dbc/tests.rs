//! DBC files by hand, wrong ones, and random ones.

use super::*;
use proptest::prelude::*;

pub(super) const VEHICLE: &str = r#"VERSION "1"
NS_ :
	NS_DESC_
	CM_
	VAL_

BS_:
BU_: Engine Gateway
BO_ 500 Motor: 8 Engine
 SG_ Speed : 0|16@1+ (0.25,-100) [0|16383] "rpm" Gateway
 SG_ Select M : 16|8@1+ (1,0) [0|255] "" Gateway,Engine
 SG_ Torque m1 : 31|16@0- (1,0) [0|0] "Nm" Vector__XXX
 SG_ Sub m2M : 24|8@1+ (1,0) [0|0] "" Gateway
 SG_ Deep m3 : 32|32@1- (1,0) [0|0] "" Gateway

BO_ 2565866750 EEC1: 8 Vector__XXX
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Vector__XXX
BO_ 3221225472 VECTOR__INDEPENDENT_SIG_MSG: 0 Vector__XXX
 SG_ Nowhere : 0|8@1+ (1,0) [0|0] "" Vector__XXX
CM_ SG_ 500 Speed "of the shaft;
BO_ in a comment";
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "DatabaseName" "x";
BA_ "GenMsgCycleTime" BO_ 500 20;
BA_ "VFrameFormat" BO_ 2565866750 3;
BA_ "GenSigStartValue" SG_ 500 Speed 400;
VAL_ 500 Select 0 "off" 1 "torque \"M\"" 2.0 "sub" -1 "none" ;
VAL_ SomeVariable 0 "a" ;
SIG_VALTYPE_ 500 Deep : 1;
SG_MUL_VAL_ 500 Torque Select 1-1, 5-8;
SG_MUL_VAL_ 500 Deep Sub 3-3;
"#;

fn read(text: &str) -> Dbc {
    Dbc::read(text.as_bytes()).unwrap()
}

#[test]
fn a_file_is_read_with_its_lines() {
    let dbc = read(VEHICLE);
    assert_eq!(dbc.message_names().collect::<Vec<_>>(), ["Motor", "EEC1"]);
    let motor = dbc.message("Motor").unwrap();
    assert_eq!((motor.id, motor.extended, motor.bytes, motor.line, motor.j1939), (500, false, 8, 9, false));
    assert_eq!(motor.cycle, Some(Nanos::from_millis(20)));
    let speed = motor.signal("Speed").unwrap();
    assert_eq!((speed.line, speed.start, speed.bits, speed.big_endian, speed.signed), (10, 0, 16, false, false));
    assert_eq!((speed.scale, speed.offset, &*speed.unit, speed.start_value), (0.25, -100.0, "rpm", Some(400.0)));
    let select = motor.signal("Select").unwrap();
    assert!(select.is_switch);
    let texts: Vec<(i64, &str)> = select.texts.iter().map(|(raw, text)| (*raw, &**text)).collect();
    assert_eq!(texts, [(0, "off"), (1, "torque \"M\""), (2, "sub"), (-1, "none")]);
    assert!(motor.signal("Deep").unwrap().float);
    let eec1 = dbc.message("EEC1").unwrap();
    assert_eq!((eec1.id, eec1.extended, eec1.j1939, eec1.cycle), (0x18F0_04FE, true, true, None));
}

#[test]
fn a_signal_knows_the_switches_above_it() {
    let dbc = read(VEHICLE);
    let motor = dbc.message("Motor").unwrap();
    let switches = |name: &str| {
        let chain = motor.switches_of(motor.signal(name).unwrap()).unwrap();
        chain.into_iter().map(|(switch, values)| (&*switch.name, values.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(switches("Speed"), []);
    assert_eq!(switches("Torque"), [("Select", vec![(1, 1), (5, 8)])]);
    assert_eq!(switches("Deep"), [("Sub", vec![(3, 3)]), ("Select", vec![(2, 2)])]);
}

#[test]
fn switches_that_are_missing_ambiguous_or_circular_are_faults() {
    let fault = |signals: &str, name: &str| {
        let dbc = read(&format!("BO_ 1 A: 8 X\n{signals}"));
        let message = dbc.message("A").unwrap();
        message.switches_of(message.signal(name).unwrap()).unwrap_err()
    };
    let none = fault(" SG_ S m1 : 0|8@1+ (1,0) [0|0] \"\" X\n", "S");
    assert_eq!((none.line, none.message.contains("no switch")), (2, true));
    let two = " SG_ M1 M : 0|8@1+ (1,0) [0|0] \"\" X\n SG_ M2 M : 8|8@1+ (1,0) [0|0] \"\" X\n SG_ S m1 : 16|8@1+ (1,0) [0|0] \"\" X\n";
    assert!(fault(two, "S").message.contains("several switches"));
    let circle = " SG_ R M : 0|8@1+ (1,0) [0|0] \"\" X\n SG_ A m1M : 0|8@1+ (1,0) [0|0] \"\" X\n SG_ B m1M : 8|8@1+ (1,0) [0|0] \"\" X\nSG_MUL_VAL_ 1 A B 1-1;\nSG_MUL_VAL_ 1 B A 1-1;\n";
    assert!(fault(circle, "A").message.contains("by itself"));
}

#[test]
fn faults_name_their_lines_and_reading_goes_on_behind_them() {
    let text =
        VEHICLE.replace("31|16@0-", "31|1z6@0-").replace("SIG_VALTYPE_ 500 Deep : 1", "SIG_VALTYPE_ 500 Sub : 1");
    let faults = Dbc::read(text.as_bytes()).unwrap_err();
    let lines: Vec<u32> = faults.iter().map(|fault| fault.line).collect();
    // The value type of Sub is wrong, too; what speaks of the broken signal is not blamed.
    assert_eq!(lines, [12, 32], "{faults:?}");
    assert!(faults[0].message.contains("1z6") && faults[0].help.contains("the length in bits"), "{faults:?}");
}

#[test]
fn what_is_wrong_is_told() {
    for (text, line, part) in [
        ("BO_ 4096 A: 8 X\n", 1, "id 4096"),
        ("BO_ 1 A: 8 X\n\nBO_ 1 B: 8 X\n", 3, "message A in line 1"),
        ("BO_ 1 A: 8 X\nBO_ 2 A: 8 X\n", 2, "already in line 1"),
        ("BO_ 1 A: 8 X\n SG_ S : 0|8@2+ (1,0) [0|0] \"\" X\n", 2, "2 stands here"),
        ("BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1e999,0) [0|0] \"\" X\n", 2, "1e999"),
        ("VAL_ 7 S 1 \"a\";\n", 1, "no message with the id 7"),
        ("BO_ 1 A: 8 X\nVAL_ 1 S 1 \"a\";\n", 2, "no signal S"),
        ("BO_ 1 A: 8 X\nVAL_ 1", 2, "the file ends"),
        ("CM_ \"no end\n\n", 1, "no end"),
        ("WHAT_ 1 2 3;\n", 1, "WHAT_"),
        (" SG_ S : 0|8@1+ (1,0) [0|0] \"\" X\n", 1, "without a message"),
    ] {
        let faults = Dbc::read(text.as_bytes()).unwrap_err();
        assert_eq!(faults[0].line, line, "{text}: {faults:?}");
        assert!(faults[0].message.contains(part), "{text}: {faults:?}");
    }
}

#[test]
fn windows_1252_is_understood() {
    let dbc = Dbc::read(b"BO_ 1 A: 8 X\n SG_ T : 0|8@1+ (1,0) [0|0] \"\xB0C \x80\" X\n").unwrap();
    assert_eq!(dbc.message("A").unwrap().signals[0].unit, "°C €");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Dbc::read(&bytes);
    }

    #[test]
    fn no_change_of_a_good_file_makes_it_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..30, any::<u8>()), 1..6),
    ) {
        let mut bytes = VEHICLE.as_bytes().to_vec();
        for (to, from, len, byte) in cuts {
            let (to, from) = (to.index(bytes.len()), from.index(bytes.len()));
            let piece: Vec<u8> = bytes[from..(from + len).min(bytes.len())].to_vec();
            let end = (to + len / 2).min(bytes.len());
            bytes.splice(to..end, piece.into_iter().chain([byte]));
        }
        if let Ok(dbc) = Dbc::read(&bytes) {
            for message in &dbc.messages {
                for signal in &message.signals {
                    let _ = message.switches_of(signal);
                }
            }
        }
    }
}

#[test]
fn a_large_file_is_read_in_linear_time() {
    let file = |messages: u32| {
        let mut text = String::new();
        for id in 0..messages {
            text += &format!("BO_ {} M{id}: 8 X\n SG_ S : 0|8@1+ (1,0) [0|0] \"\" X\n", id | 1 << 31);
        }
        for id in 0..messages {
            text += &format!("VAL_ {} S 1 \"a\" 2 \"b\" ;\n", id | 1 << 31);
        }
        let start = std::time::Instant::now();
        assert_eq!(read(&text).messages.len(), messages as usize);
        start.elapsed()
    };
    file(1_000);
    let (small, large) = (file(2_000), file(20_000));
    assert!(large < small * 100, "{small:?} {large:?}");
}
