//! The DBC file of simulated CAN links: a message with branches that others send, one that the gateway sends, parameter
//! groups of J1939.

/// Its name beside the tag files.
pub const NAME: &str = "sim.dbc";
/// With branches: received, and sent.
pub const BRANCHES: u32 = 0x310;
pub const ORDERS: u32 = 0x6A0;
/// Parameter groups: in one frame from any node, in packets from one.
pub const STATE_GROUP: u32 = 0xF013;
pub const LONG_GROUP: u32 = 0xF014;
pub const LONG_SOURCE: u8 = 0x31;

/// The file.
pub const TEXT: &str = r#"VERSION ""
BU_: Other
BO_ 784 BRANCHES: 8 Other
 SG_ WHICH M : 0|2@1+ (1,0) [0|0] "" Other
 SG_ ALWAYS : 2|6@1+ (1,0) [0|0] "" Other
 SG_ A0 m0 : 8|16@1- (1,0) [0|0] "" Other
 SG_ B0 m0 : 31|16@0+ (0.25,7) [0|0] "" Other
 SG_ A1 m1 : 8|12@1+ (1,0) [0|0] "" Other
 SG_ B1 m1 : 39|16@0- (1,0) [0|0] "" Other
 SG_ A2 m2 : 16|16@1- (1,0) [0|0] "" Other
BO_ 1696 ORDERS: 8 Other
 SG_ WHICH M : 0|8@1+ (1,0) [0|0] "" Other
 SG_ A0 m0 : 16|16@1- (1,0) [0|0] "" Other
 SG_ B0 m0 : 39|8@0+ (1,0) [0|0] "" Other
 SG_ A1 m1 : 16|12@1+ (1,0) [0|0] "" Other
 SG_ A4 m4 : 23|16@0+ (0.25,0) [0|0] "" Other
 SG_ ALL : 48|16@1+ (1,0) [0|0] "" Other
BO_ 2565870590 STATE: 8 Other
 SG_ S0 : 0|8@1+ (1,0) [0|0] "" Other
 SG_ S1 : 8|16@1+ (1,0) [0|0] "" Other
 SG_ S2 : 39|12@0- (1,0) [0|0] "" Other
BO_ 2565870641 LONG: 24 Other
 SG_ L0 : 0|16@1+ (1,0) [0|0] "" Other
 SG_ L1 : 120|16@1- (0.25,7) [0|0] "" Other
 SG_ L2 : 183|8@0+ (1,0) [0|0] "" Other
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "VFrameFormat" BO_ 2565870590 3;
BA_ "VFrameFormat" BO_ 2565870641 3;
SG_MUL_VAL_ 784 A0 WHICH 0-0;
SG_MUL_VAL_ 784 B0 WHICH 0-0;
SG_MUL_VAL_ 784 A1 WHICH 1-1;
SG_MUL_VAL_ 784 B1 WHICH 1-1;
SG_MUL_VAL_ 784 A2 WHICH 2-3;
"#;

/// What "transmit" says of the message that the gateway sends.
pub const ORDERS_INITIAL: &str = r#"{"A0": -2, "B0": 200, "A1": 77, "A4": 500, "ALL": 4711}"#;

/// Signals for tags, and whether they are written.
const SIGNALS: [(&str, bool); 16] = [
    ("BRANCHES.A0", false),
    ("ORDERS.A0", true),
    ("BRANCHES.B1", false),
    ("STATE.S1", false),
    ("ORDERS.ALL", true),
    ("LONG.L1", false),
    ("BRANCHES.A2", false),
    ("ORDERS.A1", true),
    ("BRANCHES.B0", false),
    ("STATE.S2", false),
    ("ORDERS.B0", true),
    ("BRANCHES.A1", false),
    ("LONG.L2", false),
    ("ORDERS.A4", true),
    ("BRANCHES.ALWAYS", false),
    ("STATE.S0", false),
];

/// The `n`-th signal, and whether it is written: none by two tags.
pub fn signal(n: usize) -> (&'static str, bool) {
    let (name, written) = SIGNALS[n % SIGNALS.len()];
    (name, written && n < SIGNALS.len())
}

/// By a message's identifier, the bits of the switch in its first byte and the values that signals come with.
pub fn branches(can_id: u32) -> &'static [(u8, u8, u8)] {
    match can_id {
        BRANCHES => &[(3, 0, 0), (3, 1, 1), (3, 2, 3)],
        ORDERS => &[(0xFF, 0, 0), (0xFF, 1, 1), (0xFF, 4, 4)],
        _ => &[],
    }
}

/// The switch values of the messages that the gateway sends, in the order of their frames.
pub fn sent_branch(can_id: u32, data: &[u8]) -> Option<usize> {
    match branches(can_id) {
        [] => Some(0),
        known => known.iter().position(|(mask, first, _)| data.first().is_some_and(|which| which & mask == *first)),
    }
}
