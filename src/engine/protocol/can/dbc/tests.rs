//! DBC files by hand, wrong ones, and random ones.

use proptest::prelude::*;

use super::*;

pub const VEHICLE: &str = r#"VERSION "1"
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

/// Lines, and what was left out in them and why.
fn left_out(dbc: &Dbc) -> Vec<(u32, String)> {
    dbc.left_out.iter().map(|(what, why)| (why.line, format!("{what}: {}; {}", why.message, why.help))).collect()
}

/// A message that is right, and below it what is not.
fn with_odd(odd: &str) -> Dbc {
    let dbc = read(&format!("BO_ 256 Ok: 8 X\n SG_ Speed : 0|16@1+ (1,0) [0|0] \"\" X\n{odd}"));
    let ok = dbc.message("Ok").unwrap_or_else(|why| panic!("{odd}: {why:?}"));
    assert_eq!(ok.signal("Speed").map(|speed| speed.bits), Ok(16), "{odd}");
    dbc
}

#[track_caller]
fn why(missing: Result<impl std::fmt::Debug, Missing>) -> String {
    match missing {
        Err(Missing::LeftOut(why)) => format!("{}: {}", why.line, why.message),
        other => panic!("it is not left out: {other:?}"),
    }
}

#[test]
fn what_is_left_out_is_told_with_its_line_and_reading_goes_on_behind_it() {
    let text =
        VEHICLE.replace("31|16@0-", "31|1z6@0-").replace("SIG_VALTYPE_ 500 Deep : 1", "SIG_VALTYPE_ 500 Sub : 1");
    let dbc = read(&text);
    let found = left_out(&dbc);
    // The value type of Sub is wrong, too; what speaks of the broken signal is not blamed.
    assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [12, 32], "{found:?}");
    assert!(
        found[0].1.starts_with("the signal Torque of message Motor: 1z6 found here; expected: the length"),
        "{found:?}"
    );
    let motor = dbc.message("Motor").unwrap();
    assert!(why(motor.signal("Torque")).starts_with("12: 1z6"));
    assert!(why(motor.signal("Sub")).contains("a float, and has 8 bits"), "its bits would be taken for an integer");
    assert_eq!(motor.signal("Speed").map(|speed| speed.start), Ok(0));
    assert!(dbc.message("EEC1").unwrap().signal("EngineSpeed").is_ok());
}

#[test]
fn an_oddity_that_no_tag_needs_is_left_out_and_told_and_the_rest_is_read() {
    let sg = " SG_ A : 0|8@1+ (1,0) [0|0] \"\" X\n";
    for (odd, line, part) in [
        (format!("BO_ 1073741824 VECTOR__INDEPENDENT_SIG_MSG: 0 X\n{sg}"), 3, "in no message"),
        (format!("BO_ 4096 A: 8 X\n{sg}"), 3, "its id 4096 does not fit 11 bits, and bit 31"),
        (format!("BO_ 4294967295 A: 8 X\n{sg}"), 3, "its id is 4294967295"),
        (format!("BO_ 99999999999 A: 8 X\n{sg}"), 3, "its id is 99999999999"),
        (format!("BO_ -5 A: 8 X\n{sg}"), 3, "its id is -5"),
        (format!("BO_ 256 B: 8 X\n{sg}"), 3, "is also that of message Ok in line 1"),
        (format!("BO_ 1 A: 8 X\nBO_ 2 A: 8 X\n{sg}"), 4, "line 3 has a message of the same name"),
        (format!("BO_ 1 A: eight X\n{sg}"), 3, "eight found here; expected: the bytes"),
        (format!("BO_ 1 : 8 X\n{sg}"), 3, ": found here; expected: the name of the message"),
        (format!("BO_ 1 A: 8 X\n{sg}{}", sg.replace("0|8", "8|8")), 5, "line 4 has a signal of the same name"),
        ("BO_ 1 A: 8 X\n SG_ S : 0|8@2+ (1,0) [0|0] \"\" X\n".into(), 4, "2 found here"),
        ("BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1e999,0) [0|0] \"\" X\n".into(), 4, "1e999"),
        ("BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (0,5,0) [0|0] \"\" X\n".into(), 4, ", found here"),
        ("BO_ 1 A: 8 X\n SG_ S m : 0|8@1+ (1,0) [0|0] \"\" X\n".into(), 4, "m found here; expected: M, m and a number"),
        ("BO_ 1 A: 8 X\n SG_ : 0|8@1+ (1,0) [0|0] \"\" X\n".into(), 4, "a signal of message A"),
        ("VAL_ 7 S 1 \"a\";\n".into(), 3, "no message with the id 7"),
        ("VAL_ 256 S 1 \"a\";\n".into(), 3, "no signal S"),
        ("VAL_ 256 Speed 1 \"3\" pipe\" 2 \"b\";\n".into(), 3, "pipe found here"),
        ("VAL_ 256 Speed 0x1 \"a\";\n".into(), 3, "0x1 found here"),
        ("VAL_ 256 Speed 1".into(), 3, "the file ends"),
        ("BA_ \"GenMsgCycleTime\" BO_ 7 20;\n".into(), 3, "no message with the id 7"),
        (
            "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|0] \"in\"Hg\"\n SG_ T : 8|8@1+ (1,0) [0|0] \"\" X\n".into(),
            4,
            "found here",
        ),
        ("SG_MUL_VAL_ 7 A B 1-1;\n".into(), 3, "no message with the id 7"),
        ("SIG_VALTYPE_ 7 A : 1;\n".into(), 3, "no message with the id 7"),
        ("WHAT_ 1 2 3;\n".into(), 3, "WHAT_ found here"),
        ("BU_ A B\n SG_ S : 0|8@1+ (1,0) [0|0] \"\" X\n".into(), 4, "without a message"),
        ("VAL_ 256 Speed 1 \"no end\n\n".into(), 3, "a string without an end"),
        ("\u{1}\u{2}\u{7f}{}[]\n".into(), 3, "\\u{1} found here"),
    ] {
        let found = left_out(&with_odd(&odd));
        let is_it = |(at, text): &(u32, String)| *at == line && text.contains(part);
        assert!(found.len() == 1 && found.iter().any(is_it), "{odd:?}: {part:?} is not the one of {found:#?}");
    }
}

#[test]
fn an_oddity_that_takes_nothing_away_is_not_told() {
    for odd in [
        "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|4.4E+481] \"\" X\n",
        "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [-1.#INF|nan] \"\" X\n",
        "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [] \"\" X\n",
        "BO_ 1 A: 8 Node-1, Gate/way\n SG_ S : 0|8@1+ (1,0) [0|0] \"\"\n",
        "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0)\n",
        "BO_ 1 A: 8 X SG_ S : 0|8@1+ (1,0) [0|0] \"\" X\n",
        "VAL_ 256 Speed 0 \"stop\" 1 \"go\"\n",
        "VAL_ 256 Speed 0 \"stop\"\nBO_ 1 A: 8 X\n",
        "VAL_TABLE_ Table 0 \"3\" pipe\" 1 \"b\" ;\nBO_ 1 A: 8 X\n",
        "VAL_TABLE_ Table 0 \"a\"\nBO_ 1 A: 8 X\n",
        "CM_ \"no end\n\n",
        "CM_ SG_ 256 Speed \"a 3\" pipe\";\nBO_ 1 A: 8 X\nCM_ \"b\";\n",
        "CM_ BO_ 999 \"of no message\";\n",
        "BA_DEF_ SG_ \"Own\" what is this;\nBA_DEF_DEF_ \"Own\" Yes;\nBA_ \"Own\" BO_ 999 1;\n",
        "BA_ \"Own\" SG_ 256 Gone \"3\" pipe\";\nBO_ 1 A: 8 X\n",
        "SIG_GROUP_ 999 Group 1 : A B;\nEV_ Own: 0 [0|0] \"\" 0 0 DUMMY_NODE_VECTOR0 X;\n",
        "BA_ \"GenMsgCycleTime\" BO_ 3221225472 20;\n;;\n",
        "// a comment \"\nBO_ 1 A: 8 X\n",
        "BO_ 3221225472 VECTOR__INDEPENDENT_SIG_MSG: 0 X\n SG_ A what\nVAL_ 3221225472 A 0 \"a\";\n",
    ] {
        let dbc = with_odd(odd);
        assert_eq!(left_out(&dbc), [], "{odd:?}");
        assert_eq!(dbc.message("A").is_ok(), odd.contains("1 A"), "{odd:?}: what stands behind it is read");
    }
    let texts =
        with_odd("VAL_ 256 Speed 0 \"stop\" 1 \"go\"\nBO_ 1 A: 8 X\n").message("Ok").unwrap().signals[0].texts.clone();
    assert_eq!(texts, [(0, "stop".into()), (1, "go".into())], "without its semicolon");
}

#[test]
fn what_speaks_of_what_was_left_out_is_not_blamed() {
    let dbc = with_odd(
        "BO_ 4096 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|0] \"\" X\nBO_ 256 Again: 8 X\n SG_ T : 0|8@1+ (1,0) [0|0] \"\" X\n\
         BO_ 1073741824 VECTOR__INDEPENDENT_SIG_MSG: 0 X\nVAL_ 4096 S 0 \"a\";\nVAL_ 256 T 0 \"a\";\nVAL_ 1073741824 U 0 \"a\";\n",
    );
    assert_eq!(left_out(&dbc).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 5, 7]);
    assert!(why(dbc.message("A")).contains("bit 31"));
    assert!(why(dbc.message("Again")).contains("message Ok"));
}

#[test]
fn a_name_that_means_two_things_is_refused_where_it_is_used() {
    let dbc = with_odd(
        "BO_ 1 Twin: 8 X\n SG_ A : 0|8@1+ (1,0) [0|0] \"\" X\nBO_ 2 Twin: 8 X\n\
         BO_ 3 Hud: 8 X\n SG_ A : 0|8@1+ (1,0) [0|0] \"\" X\n SG_ A : 8|8@1+ (1,0) [0|0] \"\" X\n \
         SG_ B : 0|8@1+ (1,0) [0|0] \"\" X\n SG_ B : 0|8@1+ (1,0) [0|9] \"\" X\n",
    );
    assert_eq!(why(dbc.message("Twin")), "5: line 3 has a message of the same name");
    let hud = dbc.message("Hud").unwrap();
    assert_eq!(why(hud.signal("A")), "8: line 7 has a signal of the same name");
    assert_eq!(hud.signal("B").map(|b| b.line), Ok(9), "both say the same");
    assert_eq!(hud.first_left_out().map(|why| why.line), Some(8));
}

#[test]
fn a_signal_whose_switch_may_be_left_out_is_in_no_frame() {
    let message = |signals: &str| {
        let dbc = with_odd(&format!("BO_ 1 A: 8 X\n{signals} SG_ S m1 : 8|8@1+ (1,0) [0|0] \"\" X\n"));
        let message = dbc.message("A").unwrap();
        message.switches_of(message.signal("S").unwrap()).map(|switches| switches.len())
    };
    let other = " SG_ N M : 0|4@1+ (1,0) [0|0] \"\" X\n";
    assert_eq!(message(other), Ok(1));
    let lost = " SG_ M M : 0|4@7+ (1,0) [0|0] \"\" X\n";
    assert_eq!(message(&format!("{lost}{other}")).unwrap_err().line, 4, "it has two switches, one of them unread");
    let plain = lost.replace("M M", "M");
    assert_eq!(message(&format!("{plain}{other}")), Ok(1), "that one was no switch");
    let twice = format!("{other}{}", other.replace("0|4", "4|4"));
    assert_eq!(message(&twice).unwrap_err().line, 5);
}

const LONG: &str = r#"BO_ 256 Machine_Status_Extended_Informat: 8 X
 SG_ Hydraulic_Oil_Temperature_Sensor M : 0|8@1+ (1,0) [0|0] "" X
 SG_ Hydraulic_Oil_Temperature_Sen_01 m1 : 8|8@1+ (1,0) [0|0] "" X
BO_ 257 Machine_Status_Extended_Informat: 8 X
 SG_ A : 0|8@1+ (1,0) [0|0] "" X
BO_ 258 Plain: 8 X
 SG_ B : 0|8@1+ (1,0) [0|0] "" X
 SG_ C : 8|8@1+ (1,0) [0|0] "" X
BA_DEF_ BO_ "SystemMessageLongSymbol" STRING ;
BA_DEF_DEF_ "SystemMessageLongSymbol" "";
BA_ "SystemMessageLongSymbol" BO_ 256 "Machine_Status_Extended_Information_Front";
BA_ "SystemMessageLongSymbol" BO_ 257 "Machine_Status_Extended_Information_Rear";
BA_ "SystemMessageLongSymbol" BO_ 258 "";
BA_ "SystemSignalLongSymbol" SG_ 256 Hydraulic_Oil_Temperature_Sensor "Hydraulic_Oil_Temperature_Sensor_Front_Left";
BA_ "SystemSignalLongSymbol" SG_ 258 B "C";
BA_ "SystemNodeLongSymbol" BU_ X "Gateway_With_A_Long_Name";
BA_ "SystemEnvVarLongSymbol" EV_ Y "Variable_With_A_Long_Name";
SG_MUL_VAL_ 256 Hydraulic_Oil_Temperature_Sen_01 Hydraulic_Oil_Temperature_Sensor 1-2;
"#;

#[test]
fn long_names_are_shown_and_both_may_be_used() {
    let dbc = read(LONG);
    let names = ["Machine_Status_Extended_Information_Front", "Machine_Status_Extended_Information_Rear", "Plain"];
    assert_eq!(dbc.message_names().collect::<Vec<_>>(), names);
    let front = dbc.message(names[0]).unwrap();
    let long = front.signal("Hydraulic_Oil_Temperature_Sensor_Front_Left").unwrap();
    assert_eq!((long.line, &*long.name), (2, "Hydraulic_Oil_Temperature_Sensor_Front_Left"));
    assert_eq!(front.signal("Hydraulic_Oil_Temperature_Sensor"), Ok(long));
    let below = front.signal("Hydraulic_Oil_Temperature_Sen_01").unwrap();
    assert_eq!(front.switches_of(below).unwrap()[0].0.name, long.name, "SG_MUL_VAL_ has the short name");
    // Two messages were cut to the same name: only the long ones tell them apart.
    assert!(why(dbc.message("Machine_Status_Extended_Informat")).contains(names[1]));
    assert_eq!(dbc.message("Plain").unwrap().signal("C").map(|c| c.line), Ok(8), "a long name that another one has");
    assert_eq!(left_out(&dbc).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [7]);
    assert_eq!(dbc.message("Machine"), Err(Missing::Unknown));
}

#[test]
fn what_is_no_dbc_file_is_refused_as_a_whole() {
    for text in ["%PDF-1.7\n1 0 obj\n", "<?xml version=\"1.0\"?>\n<NetworkDefinition/>\n", "\u{1}\u{2}", "no text"] {
        let faults = Dbc::read(text.as_bytes()).unwrap_err();
        assert!(faults.len() == 1 && faults[0].message.starts_with("it has no statement such as BO_"), "{faults:?}");
    }
    for text in ["VERSION \"\"\nBU_: A\n", "BO_ x y"] {
        assert!(read(text).messages.is_empty(), "a file with nothing that can be used is one all the same");
    }
}

#[test]
fn windows_1252_and_the_line_ends_of_every_system_are_understood() {
    let dbc = Dbc::read(b"NS_ :\r\tCM_\r\rBO_ 1 A: 8 X\r SG_ T : 0|8@1+ (1,0) [0|0] \"\xB0C \x80\" X\r\x1A").unwrap();
    assert_eq!((&*dbc.message("A").unwrap().signals[0].unit, left_out(&dbc).len()), ("°C €", 0));
    let names = Dbc::read(b"BO_ 1 Geh\xE4use:\xA08 X\n SG_ \xD6l : 0|8@1+ (1,0) [0|0] \"\" X\n").unwrap();
    assert!(names.message("Gehäuse").unwrap().signal("Öl").is_ok());
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
                let _ = dbc.message(&message.name);
                for signal in &message.signals {
                    let _ = (message.switches_of(signal), message.signal(signal.written()));
                }
            }
            // What is left is a part of what was there: reading the same twice leaves nothing to chance.
            prop_assert_eq!(Dbc::read(&bytes), Ok(dbc));
        }
    }

    /// Whatever stands behind a message that is right and its own line, takes nothing away from it.
    #[test]
    fn nothing_that_stands_behind_a_message_takes_it_away(
        odd in r#"( SG_|BO_|VAL_|CM_|BA_|NS_|VAL_TABLE_)?[ 0-9A-Za-z_"|@+():;,\[\]\n]{0,60}"#,
    ) {
        let behind = format!("VERSION \"\"\nBO_ 256 Ok: 8 X\n SG_ Speed : 0|16@1+ (1,0) [0|0] \"\" X\n\n{odd}\nBO_ 257 Last: 8 X\n");
        let dbc = read(&behind);
        prop_assert!(dbc.messages.iter().any(|message| message.name == "Ok"));
        // What was opened and has no end may hide the last one, but never the first.
        prop_assert!(!odd.matches('"').count().is_multiple_of(2) || dbc.messages.iter().any(|m| m.name == "Last"), "{dbc:?}");
    }
}

/// What this thread has worked, whoever else has the machine meanwhile.
fn worked() -> std::time::Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    std::time::Duration::new(now.tv_sec() as u64, now.tv_nsec() as u32)
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
        let start = worked();
        assert_eq!(read(&text).messages.len(), messages as usize);
        worked() - start
    };
    file(1_000);
    let (small, large) = (file(2_000), file(20_000));
    assert!(large < small * 100, "{small:?} {large:?}");
}

#[test]
fn a_file_of_nothing_but_faults_is_read_in_linear_time_and_little_is_kept() {
    for line in
        ["VAL_ 1 S \"\n", "BO_ 1 A: 8 X\n SG_ S : \"\n", "CM_ \"\n", "BA_ \"GenMsgCycleTime\" BO_ \n", "BU_ \"\n"]
    {
        let file = |lines: usize| {
            let text = format!("BO_ 9 Ok: 8 X\n{}", line.repeat(lines));
            let start = worked();
            assert!(read(&text).left_out.iter().count() <= crate::limits::SIDE_FILE_FAULTS_MAX);
            worked() - start
        };
        let best = |lines: usize| (0..3).map(|_| file(lines)).min().unwrap();
        let (small, large) = (best(20_000), best(200_000));
        assert!(large < small * 100, "{line:?}: {small:?} {large:?}");
    }
}
