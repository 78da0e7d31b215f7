//! Every hard limit, in one place, each with its reason.

use crate::tag::Nanos;

// --- configuration ---
/// A file that someone wrote by hand or by script; above this it is not a tag file.
pub const CONFIG_FILE_BYTES_MAX: u64 = 64 << 20;
/// Nesting of a configuration file: ours needs 4; parsers recurse, and a stack has an end.
pub const CONFIG_DEPTH_MAX: usize = 32;
/// Files read from `tags/`.
pub const TAG_FILES_MAX: usize = 4096;
/// Errors shown at once; a wrong script repeats its mistake on every line.
pub const CONFIG_ERRORS_SHOWN_MAX: usize = 200;
/// Bytes of a name (tag, link, group): it becomes a topic level, a metric label and a map key.
pub const NAME_BYTES_MAX: usize = 128;

// --- scale ---
/// Tags of one gateway. The sheet asks for 5000.
pub const TAGS_MAX: usize = 100_000;
/// Links of one gateway: one descriptor each, and `LinkId` is 16 bits.
pub const LINKS_MAX: usize = 4096;
/// Scan groups: `GroupId` is 16 bits.
pub const GROUPS_MAX: usize = 1024;
/// Executors: one CPU each.
pub const EXECUTORS_MAX: usize = 64;
/// The fastest scan: 1000 Hz.
pub const PERIOD_MIN: Nanos = Nanos::from_millis(1);
/// The slowest scan: 1 Hz.
pub const PERIOD_MAX: Nanos = Nanos::from_millis(1000);

// --- Modbus (Application Protocol Specification V1.1b3, sections 6.1 to 6.4; Messaging on TCP/IP V1.0b, 3.1) ---
/// Registers in one read reply: the PDU is 253 bytes.
pub const MODBUS_REGISTERS_MAX: u16 = 125;
/// Coils or discrete inputs in one read reply.
pub const MODBUS_BITS_MAX: u16 = 2000;
/// MBAP header (7) and the longest PDU (253).
pub const MODBUS_ADU_BYTES_MAX: usize = 260;
/// Outstanding transactions on one connection: what the specification recommends as a server's most (1 to 16).
pub const MODBUS_PIPELINE_MAX: usize = 16;
/// Elements of an array tag: the registers of one read.
pub const ARRAY_ELEMENTS_MAX: u16 = MODBUS_REGISTERS_MAX;

// --- floor ---
/// Seconds of an executor's full rate that its ring must hold.
pub const RING_SECONDS: u64 = 2;
/// Ring slots at least: small plans get room for bursts of status changes.
pub const RING_SLOTS_MIN: usize = 1 << 12;
/// Ring slots at most: 32 bytes each, 256 MiB.
pub const RING_SLOTS_MAX: usize = 1 << 23;
/// Unanswered requests in a row after which a unit counts as silent and its tags as BadNoCommunication.
pub const SILENT_AFTER_TIMEOUTS: u32 = 3;
/// First and longest pause between probes of a silent unit.
pub const PROBE_PAUSE_MIN: Nanos = Nanos::from_millis(500);
pub const PROBE_PAUSE_MAX: Nanos = Nanos::from_millis(15_000);
/// First and longest pause between attempts to connect, before jitter.
pub const CONNECT_PAUSE_MIN: Nanos = Nanos::from_millis(250);
pub const CONNECT_PAUSE_MAX: Nanos = Nanos::from_millis(15_000);
/// The longest sleep of an executor: how late it can notice a new connection or the order to stop.
pub const EXECUTOR_SLEEP_MAX: Nanos = Nanos::from_millis(20);

// --- hub, journal, outputs ---
/// How often the hub looks into the rings.
pub const HUB_PERIOD: Nanos = Nanos::from_millis(2);
/// Samples in one batch of the hub.
pub const BATCH_SAMPLES_MAX: usize = 65_536;
/// Samples that wait for the journal before the hub leaves them in the rings.
pub const JOURNAL_QUEUE_SAMPLES_MAX: usize = 1 << 20;
/// The smallest bound of the journal: below it one second of full rate does not fit.
pub const JOURNAL_BYTES_MIN: u64 = 16 << 20;
/// Samples of one block: enough that the columns compress, little enough that one is decoded in milliseconds.
pub const BLOCK_SAMPLES_MAX: usize = 1 << 16;
/// Samples and payload slots of one block: 8 MiB decoded.
pub const BLOCK_SLOTS_MAX: usize = 1 << 18;
/// Batches whose clocks differ by more than this do not share a block, so that a step of UTC shows.
pub const CLOCK_JOIN_MAX: Nanos = Nanos::from_millis(1);
/// Samples of one commit: bounds the dirty pages of a transaction and the memory of the journal's thread.
pub const COMMIT_SAMPLES_MAX: usize = 1 << 18;
/// How long blocks stay that all outputs have passed, so that `tail` finds them.
pub const JOURNAL_KEEP: Nanos = Nanos::from_millis(60_000);
/// Blocks that one commit removes at most, so that it stays short.
pub const RETENTION_BLOCKS_MAX: usize = 4096;
/// Bytes of the file that are set aside, so that blocks can be removed when the disk is full.
pub const JOURNAL_RESERVE_BYTES_MAX: u64 = 4 << 20;
/// Between attempts to commit on a full or failing disk.
pub const JOURNAL_RETRY_PAUSE: Nanos = Nanos::from_millis(500);
/// How long the last commit is retried when the gateway stops.
pub const JOURNAL_CLOSE_RETRY_MAX: Nanos = Nanos::from_millis(5_000);
/// Bytes of a cursor's name: LMDB keys have 511.
pub const CURSOR_NAME_BYTES_MAX: usize = 256;
/// Batches a live reader may lag behind before it loses the oldest.
pub const LIVE_QUEUE_BATCHES: usize = 64;

const _: () = assert!(MODBUS_REGISTERS_MAX as usize * 2 + 9 <= MODBUS_ADU_BYTES_MAX);
const _: () = assert!(MODBUS_BITS_MAX as usize / 8 + 9 <= MODBUS_ADU_BYTES_MAX);
const _: () = assert!(RING_SLOTS_MIN < RING_SLOTS_MAX);
const _: () = assert!(TAGS_MAX < crate::tag::GAP_TAG as usize);
const _: () = assert!(BATCH_SAMPLES_MAX <= BLOCK_SAMPLES_MAX);
