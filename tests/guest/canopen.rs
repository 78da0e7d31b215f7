//! CANopen: nodes and a master of the package canopen.

use serde_json::json;

use crate::guest::Guest;

pub fn a_master_of_the_package_reads_writes_and_supervises_its_node(guest: &Guest) {
    guest.assert_done("canopen.rig");
    let seen = json!({ "before": "PRE-OPERATIONAL", "after": "OPERATIONAL", "expedited": -42, "written": 1234,
                       "segmented": "a name of more than seven bytes", "emergency": [0x4210, 8] });
    assert_eq!(guest.json("canopen.rig"), seen);
}
