//! CAN: python-can, cantools and can-utils on virtual interfaces.

use crate::guest::Guest;

/// What cansend sends in `parts/can.sh`.
const OF_CANSEND: [&str; 4] = ["123#DEADBEEF", "1F334455#1122334455667788", "7FF#R", "5A1##1000102030405060708090A0B"];

/// The frames of candump's log, without times. The kernel marks an FD frame with 4 in its flags too, which cansend and
/// python-can do not show; here it is left out.
pub fn logged(guest: &Guest, name: &str) -> Vec<String> {
    let frame = |line: &str| line.split(' ').nth(2).unwrap_or_else(|| panic!("{name}: {line}")).to_owned();
    let unmarked = |frame: String| match frame.split_once("##") {
        Some((id, rest)) => {
            let (flags, data) = rest.split_at(1);
            format!("{id}##{:X}{data}", u8::from_str_radix(flags, 16).unwrap() & !4)
        }
        None => frame,
    };
    guest.text(name).lines().map(frame).map(unmarked).collect()
}

pub fn python_can_hears_what_cansend_sends(guest: &Guest) {
    guest.assert_done("can.rig.python");
    assert_eq!(guest.text("can.rig.python").lines().collect::<Vec<_>>(), OF_CANSEND);
}

pub fn candump_hears_them_and_what_python_can_sends(guest: &Guest) {
    guest.assert_done("can.rig.candump");
    let fd: String = (0..64).map(|byte| format!("{byte:02X}")).collect();
    let fd = format!("101##0{fd}");
    let of_python = ["321#010203", "18FEF100#0000000000000000", "100#R", &fd];
    let sent: Vec<&str> = OF_CANSEND.into_iter().chain(of_python).collect();
    assert_eq!(logged(guest, "can.rig.candump"), sent);
}
