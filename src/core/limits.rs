//! Every hard limit, in one place, each with its reason.

use std::time::Duration;

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
/// `fieldbeat.toml`: a hundred outputs are 20 KB.
pub const GATEWAY_FILE_BYTES_MAX: u64 = 1 << 20;
/// All tag files together, since they are held at once to be checked against each other.
pub const CONFIG_BYTES_MAX: u64 = 256 << 20;
/// Values (texts, numbers, lists, objects) of all tag files: 100,000 tags with every key set have 1.4 million.
pub const CONFIG_VALUES_MAX: usize = 2_000_000;

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
/// The slowest scan: once a day.
pub const PERIOD_MAX: Nanos = Nanos::from_millis(86_400_000);
/// Scans slower than this are not left to their beat alone: they are read at once after a start, an outage or a change, and
/// what fails is asked again in between. Nobody waits a quarter of an hour to learn what the next second would tell.
pub const PERIOD_QUICK_MAX: Nanos = Nanos::from_millis(1_000);
/// From one release of a pack to the next: a request is on its way by then (some 10 µs, of which the kernel takes most).
pub const PACK_STEP: Nanos = Nanos::from_micros(25);
/// Releases in a pack: so many links share one wake-up.
pub const PACK_RELEASES_MAX: usize = 4;
/// From one beginning of a slow scan to another that is out of its beat at least, where its period is longer: a device whose
/// connection breaks again and again is not asked more often for it. Some meters fail when they are.
pub const OFF_BEAT_SPACING: Nanos = Nanos::from_millis(10_000);
/// What failed in a slow scan is asked again after this, and after four times as long each time, up to a quarter of its
/// period and the last.
pub const SLOW_RETRY_FIRST: Nanos = Nanos::from_millis(1_000);
pub const SLOW_RETRY_MAX: Nanos = Nanos::from_millis(3_600_000);
/// The longest pause between probes of a silent unit of which nothing is read more often, beside a quarter of its shortest
/// period: silence for good is asked into now and then only.
pub const SLOW_PROBE_PAUSE_MAX: Nanos = Nanos::from_millis(300_000);
/// How long before a connection is needed it is made, beside twice what the last one took, for a device that closes what is
/// idle and is asked rarely.
pub const CONNECT_LEAD: Nanos = Nanos::from_millis(100);

// --- Modbus (Application Protocol Specification V1.1b3, sections 6.1 to 6.4; Messaging on TCP/IP V1.0b, 3.1) ---
/// Registers in one read reply: the PDU is 253 bytes.
pub const MODBUS_REGISTERS_MAX: u16 = 125;
/// Coils or discrete inputs in one read reply.
pub const MODBUS_BITS_MAX: u16 = 2000;
/// MBAP header (7) and the longest PDU (253).
pub const MODBUS_ADU_BYTES_MAX: usize = 260;
/// Function code and data of one message (Application Protocol Specification V1.1b3, section 4.1).
pub const MODBUS_PDU_BYTES_MAX: usize = 253;
/// Registers in one write (function 16), and in one that reads back as well (function 23).
pub const MODBUS_WRITE_REGISTERS_MAX: u16 = 123;
pub const MODBUS_READ_WRITE_REGISTERS_MAX: u16 = 121;
/// Coils in one write (function 15).
pub const MODBUS_WRITE_BITS_MAX: u16 = 1968;
/// Writes that wait for one connection; each may take an exchange or two, and people notice more than that.
pub const MODBUS_WRITES_WAITING_MAX: usize = 16;
/// The longest timeout, in milliseconds: gateways to radio links and to modems take most of a minute.
pub const MODBUS_TIMEOUT_MS_MAX: u64 = 60_000;
/// Bytes beyond the longest frame that a header may tell of: what devices add that count their header, or pad.
pub const MODBUS_EXCESS_BYTES_MAX: usize = 16;
/// On a device that closes each connection after its reply, a request waits so long for the close before it goes out all
/// the same: the end of the connection follows the reply within a round trip.
pub const CLOSE_AFTER_REPLY_WAIT: Nanos = Nanos::from_millis(50);
/// Connections in a row that ended after one reply, from which on a device is known to close after each.
pub const CLOSES_AFTER_REPLY: u32 = 2;
/// Outstanding transactions on one connection: what the specification recommends as a server's most (1 to 16).
pub const MODBUS_PIPELINE_MAX: usize = 16;
/// Elements of an array tag: the registers of one read.
pub const ARRAY_ELEMENTS_MAX: u16 = MODBUS_REGISTERS_MAX;
/// The power of ten that a scale in another register may be, either way (SunSpec: sunssf, -10 to 10).
pub const SCALE_POWER_MAX: i64 = 10;
/// Texts of the values of one tag: all that 12 bits tell apart, so that names stay small beside their samples.
pub const VALUE_TEXTS_MAX: usize = 4096;
/// Bytes of one of them: a line of a display.
pub const VALUE_TEXT_BYTES_MAX: usize = 256;
/// Raw values of one tag that say that there is none.
pub const NOT_AVAILABLE_MAX: usize = 32;

// --- serial lines (Modbus over Serial Line Specification and Implementation Guide V1.02) ---
/// Slower lines can't carry one full frame in the longest timeout.
pub const SERIAL_BAUD_MIN: u32 = 1_200;
/// The fastest that common USB adapters have.
pub const SERIAL_BAUD_MAX: u32 = 3_000_000;
/// Unit, PDU of 253 bytes, CRC (2.5.1).
pub const RTU_FRAME_BYTES_MAX: usize = 256;
/// Colon, two characters for each byte of unit, PDU and LRC, CR, LF (2.5.2).
pub const ASCII_FRAME_BYTES_MAX: usize = 513;
/// Silence after which a disturbed line counts as quiet, beside its own: a USB adapter hands over what it has each
/// 16 ms at the latest.
pub const LINE_RESYNC: Nanos = Nanos::from_millis(20);
/// What came on a line was looked at so recently that it need not be again before a request goes out: within the silence
/// between frames, a reply that begins then meets the request in any case.
pub const LINE_LOOK: Nanos = Nanos::from_micros(50);
/// What it takes at most until a frame that writes is the kernel's: none may get there after its deadline.
pub const WRITE_HAND_OVER: Nanos = Nanos::from_micros(20);
/// After a broadcast, until the devices have done it (2.1: typically 100 to 200 ms).
pub const BROADCAST_PAUSE: Nanos = Nanos::from_millis(100);
/// Time for a serial port to be opened.
pub const SERIAL_OPEN_TIMEOUT: Nanos = Nanos::from_millis(1_000);
/// Time for the socket of a CAN interface to be opened.
pub const CAN_OPEN_TIMEOUT: Nanos = Nanos::from_millis(1_000);
/// Time for a device of the machine's own to be opened and set up.
pub const LOCAL_IO_OPEN_TIMEOUT: Nanos = Nanos::from_millis(1_000);
/// Bytes of a file that a link names (DBC, EDS). The largest databases of vehicles have a few MiB.
pub const SIDE_FILE_BYTES_MAX: u64 = 8 << 20;
/// Findings on one such file that are shown: a generated file repeats its oddity on every line.
pub const SIDE_FILE_FAULTS_MAX: usize = 20;
/// Bytes of one written value: 123 registers (Modbus function 16) have 246.
pub const WRITE_BYTES_MAX: usize = 256;
/// Writes of one executor that may wait for their answers: more than people and control loops above this one send in
/// the time that one takes.
pub const WRITES_PENDING_MAX: usize = 256;

// --- local inputs and outputs ---
/// Tags in one request to a device's thread: what an executor takes in one step.
pub const LOCAL_IO_REQUEST_ITEMS_MAX: usize = 128;
/// Edges that are told at once.
pub const LOCAL_IO_EDGES_AT_ONCE_MAX: usize = 64;
/// A datagram between an executor and a device's thread: an entry of 24 bytes for each tag of a request.
pub const LOCAL_IO_DATAGRAM_BYTES_MAX: usize = 16 + 24 * LOCAL_IO_REQUEST_ITEMS_MAX;
/// Lines of one GPIO link: as many as the kernel hands out in one request (linux/gpio.h).
pub const GPIO_LINES_MAX: usize = 64;
/// Edges of one line that are told one by one in a second; all are counted. Contacts bounce, inputs float: without a
/// bound one of them would fill the ring.
pub const GPIO_EDGES_PER_S_MAX: u64 = 1_000;
/// Bytes that one access to a device reads.
pub const LOCAL_IO_READ_BYTES_MAX: u8 = 32;
/// Bytes that are sent before a read.
pub const LOCAL_IO_COMMAND_BYTES_MAX: usize = 16;
/// The longest pause within an access: slow converters take a third of a second.
pub const LOCAL_IO_WAIT_MAX: Nanos = Nanos::from_millis(500);
/// Clock of an I2C bus: from the slowest that SMBus allows to high-speed mode.
pub const I2C_CLOCK_HZ_MIN: u32 = 10_000;
pub const I2C_CLOCK_HZ_MAX: u32 = 3_400_000;
/// Clock of SPI.
pub const SPI_SPEED_HZ_MIN: u32 = 1_000;
pub const SPI_SPEED_HZ_MAX: u32 = 125_000_000;
/// Bytes read of a file of sysfs that holds one number.
pub const SYSFS_NUMBER_BYTES_MAX: usize = 64;
/// Samples of one IIO buffer that are told one by one in a second: 64 of them are a datagram, which an executor takes in
/// one step.
pub const IIO_SAMPLES_PER_S_MAX: u64 = 20_000;
/// Scans of a buffer that are read at once.
pub const IIO_SCANS_AT_ONCE_MAX: usize = 64;
/// Wake-ups of a buffer that may fail to come before its values count as old.
pub const IIO_SILENT_PERIODS: f64 = 3.0;
/// How far a scan's own time may lie back. One of another clock (UTC, or since the device was switched on) is further
/// away, or in the future.
pub const IIO_TIME_STRAYS_MAX: Nanos = Nanos::from_millis(60_000);
/// SCHED_FIFO priority of a device's thread at most: below the executors, and below the threads of the kernel's
/// interrupts (50), which it waits for.
pub const LOCAL_IO_PRIORITY_MAX: u8 = 45;

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
/// A connection on which nothing was ever answered is given back at its second probe when the next one comes no sooner than
/// after this. A new one is probed at once.
pub const UNANSWERED_KEPT: Nanos = Nanos::from_millis(3_000);
/// Misses in a row after which a block is taken apart whose unit answers others meanwhile: one may be noise.
pub const HALVED_AFTER_MISSES: u32 = 2;
/// So often such a block is halved at once. A part that is answered costs a reply, one that is not the whole timeout:
/// of 125 registers, the mute one stands alone after two more timeouts instead of seven.
pub const SEARCH_LEVELS: usize = 4;
/// Timeouts of a link between two requests that may stay unanswered, while what is mute is looked for: others keep four
/// fifths of the wire even then.
pub const SUSPECT_SPACING: u64 = 4;
/// The same once it is known: however many they are, they take 2 % of the wire.
pub const MUTE_SPACING: u64 = 50;
/// First and longest pause of one mute request, in timeouts, so that it takes less than 1 % of the wire, and the bounds of
/// both: after a timeout of milliseconds it would be asked all the time, after one of a minute hardly ever.
pub const MUTE_PAUSE_FIRST: (u64, Nanos) = (50, Nanos::from_millis(5_000));
pub const MUTE_PAUSE_LONGEST: (u64, Nanos) = (120, Nanos::from_millis(15_000));
pub const MUTE_PAUSE_MAX: Nanos = Nanos::from_millis(600_000);
/// What gives way to others has waited for them alone for so long when it goes by turns with them: the others are late
/// themselves by then, again and again, or this would have had its turn.
pub const LATER_WAITS_MAX: Nanos = Nanos::from_millis(1_000);
/// A single value that was missed twice, and may just have met noise.
pub const MISSED_TWICE_PAUSE: (u64, Nanos) = (5, Nanos::from_millis(500));
/// A refused request is asked again after this, growing: a device that boots has its registers soon, a new program may
/// come at any time.
pub const REFUSED_PAUSE_MIN: Nanos = Nanos::from_millis(1_000);
pub const REFUSED_PAUSE_MAX: Nanos = Nanos::from_millis(30_000);
/// The same for exception 04: failures pass more often than registers appear.
pub const FAILED_PAUSE_MAX: Nanos = Nanos::from_millis(10_000);
/// Refusals of one unit in a row after which a refusal is no longer taken for the block's own fault without a test: in a
/// search for one address there are two, for two addresses four.
pub const REFUSALS_IN_A_ROW_MAX: u32 = 4;
/// Single values that are asked for until a unit counts as one that refuses everything: the first may be the one that is
/// refused for itself.
pub const SINGLES_TRIED: u32 = 2;
/// A busy device is asked again after an eighth of the scan's period, within these bounds, and growing up to this.
pub const BUSY_PAUSE_MIN: Nanos = Nanos::from_millis(1);
pub const BUSY_PAUSE_FIRST_MAX: Nanos = Nanos::from_millis(50);
pub const BUSY_PAUSE_MAX: Nanos = Nanos::from_millis(1_000);
/// The same for a scan that is slower than eight times this, an eighth of its period, and the most.
pub const BUSY_PAUSE_SLOW_MAX: Nanos = Nanos::from_millis(60_000);
/// Periods for which a busy device's values are held as good, and the most; the link's timeout at least.
pub const BUSY_PERIODS: u64 = 3;
pub const BUSY_HELD_MAX: Nanos = Nanos::from_millis(10_000);
/// First and longest pause between attempts to connect, before jitter.
pub const CONNECT_PAUSE_MIN: Nanos = Nanos::from_millis(250);
pub const CONNECT_PAUSE_MAX: Nanos = Nanos::from_millis(15_000);
/// First pause after an attempt that failed right after a connection on which all was answered: devices that close after
/// each reply may take a moment until they accept again.
pub const CONNECT_AGAIN_PAUSE: Nanos = Nanos::from_millis(10);
/// A connection that lives this long was a good one: the next pause starts small again.
pub const CONNECT_STABLE_AFTER: Nanos = Nanos::from_millis(10_000);
/// A connection that lives this long has ended the trouble before it: a device that accepts and drops, or talks
/// nonsense, is not told as well again with each attempt.
pub const CONNECT_MENDED_AFTER: Nanos = Nanos::from_millis(1_000);
/// How often the connector looks into the executors' rings, which cannot wake it.
pub const CONNECT_POLL: Nanos = Nanos::from_millis(20);
/// Attempts to connect under way at once: a thread each, and dead hosts hold theirs for the whole timeout.
pub const CONNECT_WORKERS_MAX: usize = 16;
/// The longest sleep of an executor: how late it can notice a new connection or the order to stop.
pub const EXECUTOR_SLEEP_MAX: Nanos = Nanos::from_millis(20);

/// How long an executor waits for a good moment to adopt a new plan: several periods of nearly every group.
pub const ADOPTION_PATIENCE: Nanos = Nanos::from_millis(250);

/// How often the configuration's files are looked at; what is the same in two looks is adopted.
pub const RELOAD_POLL: Duration = Duration::from_millis(400);
/// How long the ids of an earlier plan are not given to anything else, at least: what was under way under their
/// old meaning has long been counted by then.
pub const IDS_REST: Duration = Duration::from_secs(10);

// --- CAN ---
/// Filters of one socket (CAN_RAW_FILTER_MAX of linux/can/raw.h).
pub const CAN_FILTERS_MAX: usize = 512;
/// Cycle times without a message after which its values count as old.
pub const CAN_SILENT_CYCLES: u64 = 3;
/// Fields of a sent message that have no value at the start: bits of a mask.
pub const CAN_UNSET_MAX: usize = 64;
/// Messages that one link sends.
pub const CAN_TRANSMITS_MAX: usize = 256;
/// Writes that one link keeps for their turn.
pub const CAN_WRITES_MAX: usize = 16;
/// Branches of a multiplexed message that is sent: a switch of 8 bits has no more.
pub const CAN_BRANCHES_MAX: usize = 256;
/// After a full send queue it is tried again: a frame of classical CAN takes some 0.2 ms.
pub const CAN_SEND_RETRY: Nanos = Nanos::from_millis(1);
/// From the loss of an interface, or of the bus, until its values are given up.
pub const CAN_OUTAGE_GRACE: Nanos = Nanos::from_millis(1_000);
/// Values that one step puts into the ring on a beat, or gives a status.
pub const CAN_VALUES_PER_STEP: usize = 128;
/// Frames that one step of a link takes: so long may a flooded bus keep the executor from its next release.
pub const CAN_FRAMES_PER_STEP: usize = 16;
/// Bytes that a CAN socket may hold for a link that is late, as far as the system allows: a kernel counts some 800 for a
/// frame, so that a full bus of 1 Mbit/s (20,000 short frames a second) finds room for 60 ms.
pub const CAN_RECEIVE_BUFFER_BYTES: i32 = 1 << 20;

// --- hub, journal, outputs ---
/// How often the hub looks into the rings while somebody reads live, or while a ring fills.
pub const HUB_PERIOD: Nanos = Nanos::from_millis(2);
/// How often it does else: the journal commits each 100 ms.
pub const HUB_PERIOD_IDLE: Nanos = Nanos::from_millis(10);
/// Samples in one batch of the hub.
pub const BATCH_SAMPLES_MAX: usize = 8_192;
/// Batches (of one executor and 2 to 10 ms each, usually) that wait for the journal before the hub leaves samples in the rings.
pub const JOURNAL_QUEUE_BATCHES: usize = 128;
/// The smallest bound of the journal: below it one second of full rate does not fit.
pub const JOURNAL_BYTES_MIN: u64 = 16 << 20;

// --- writes ---
/// Bytes of one request: the largest array that one order writes, as JSON, and as much again.
pub const COMMAND_BYTES_MAX: usize = 32 << 10;
/// Bytes of the id that a requester gives: a UUID has 36.
pub const COMMAND_ID_BYTES_MAX: usize = 64;
/// How far ahead of now a request may expire. What expires later would have to be remembered longer.
pub const COMMAND_EXPIRES_MAX: Duration = Duration::from_secs(600);
/// Requests that wait to be judged; one more is refused as busy.
pub const WRITES_WAITING_MAX: usize = 256;
/// Requests that are judged together, and share a commit of the audit.
pub const WRITES_COMMIT_MAX: usize = 64;
/// Ids of writes that were sent, with their answers: longer than requests live, at the rate that is allowed by default.
pub const WRITES_SEEN_MAX: usize = 8_192;
/// Ids of requests that were refused, with their answers.
pub const REFUSALS_SEEN_MAX: usize = 1_024;
/// Bytes of the answers that are remembered, both kinds together: a second write of one id is refused all the same.
pub const WRITES_SEEN_BYTES_MAX: usize = 8 << 20;
/// The longest time that a write may take, and the shortest.
pub const WRITE_TIMEOUT_MAX: Nanos = Nanos::from_millis(60_000);
pub const WRITE_TIMEOUT_MIN: Nanos = Nanos::from_millis(10);
/// How long after its deadline an executor's answer is waited for.
pub const WRITE_ANSWER_GRACE: Duration = Duration::from_millis(500);
/// How often answers of executors are looked for while there are orders under way.
pub const WRITE_POLL: Duration = Duration::from_micros(500);
/// Refused requests a second that are recorded one by one; more are counted in one record.
pub const REFUSALS_RECORDED_PER_S: u32 = 20;

// --- commands over MQTT ---
/// Answers that wait for the broker: those of all requests that may be under way, and as many refusals.
pub const COMMAND_ANSWERS_MAX: usize = 2 * WRITES_WAITING_MAX;
/// Answers sent and not acknowledged.
pub const COMMAND_IN_FLIGHT_MAX: usize = 32;
/// Bytes of the topic that a requester wants its answer on, and of what is sent back with it.
pub const COMMAND_TOPIC_BYTES_MAX: usize = 1024;
pub const COMMAND_CORRELATION_BYTES_MAX: usize = 1024;
/// Bytes of a packet from the broker that is kept whole: the largest request, its topics, its properties, and as much
/// again that is told in the refusal. Of a larger one the head is kept, where its properties are.
pub const COMMAND_PACKET_BYTES_MAX: usize = 64 << 10;
pub const COMMAND_HEAD_BYTES_MAX: usize = 8 << 10;
/// Bytes of a packet that the broker is asked not to send at all (MQTT 5, Maximum Packet Size). Up to here whoever
/// published it is answered.
pub const COMMAND_BROKER_PACKET_BYTES_MAX: u32 = 1 << 20;
/// Messages that the broker may have under way to us without our acknowledgement (MQTT 5, Receive Maximum).
pub const COMMAND_RECEIVE_MAX: u16 = 64;
/// How long the broker keeps requests for a connection that was lost (MQTT 5): a few attempts to connect again. What is
/// away for longer gets none of them.
pub const COMMAND_SESSION_S: u32 = 10;
/// Messages and bytes that are taken from the broker in a second: many times what can be written, and a few percent of a
/// core. More waits in the socket, and at the broker.
pub const COMMAND_MESSAGES_PER_S_MAX: u32 = 2_000;
pub const COMMAND_READ_BYTES_PER_S_MAX: u32 = 16 << 20;
/// Bytes of one read, and packets that are taken between two looks at answers, time and stop.
pub const COMMAND_READ_BYTES: usize = 16 << 10;
pub const COMMAND_PACKETS_PER_ROUND: usize = 32;
/// Bytes that wait to be written, beyond which no more requests are read.
pub const COMMAND_OUT_BYTES_MAX: usize = 256 << 10;
/// How often a broker that sends too fast stands in the log.
pub const COMMAND_FLOOD_LOG_PAUSE: Duration = Duration::from_secs(60);
/// Requests of one sender under way: half of what may wait to be judged, so that others find room.
pub const COMMAND_UNDER_WAY_MAX: usize = WRITES_WAITING_MAX / 2;
/// Senders with a request under way: all that may wait, and all that may be written.
pub const COMMAND_SENDERS_MAX: usize = WRITES_WAITING_MAX + WRITES_PENDING_MAX;
/// How long no answer goes to a topic that the broker refused, connections that it must have cost when the broker just
/// closes them, and topics that are remembered.
pub const COMMAND_TOPIC_REFUSED_PAUSE: Duration = Duration::from_secs(60);
pub const COMMAND_TOPIC_STRIKES: u32 = 2;
pub const COMMAND_TOPICS_REFUSED_MAX: usize = 256;
/// With QoS 0: how long after an answer a closed connection may be the broker's opinion of it.
pub const COMMAND_ANSWER_SUSPECT: Duration = Duration::from_secs(1);

// --- control socket ---
/// Clients at once; one more pushes out the one that was idle longest.
pub const CONTROL_CLIENTS_MAX: usize = 32;
/// From the first byte of a request to its end, and for a client to take its answer.
pub const CONTROL_PATIENCE: Duration = Duration::from_secs(5);
/// Questions (status, list, get) that are answered at once, each by a thread: more than people ask, too few to weigh on a small
/// machine.
pub const QUESTIONS_MAX: usize = 8;
/// Live readers at once: each formats what it follows, on a thread of its own.
pub const LIVE_READERS_MAX: usize = 8;
/// Names and patterns in one question.
pub const QUESTION_TAGS_MAX: usize = 1024;
/// Bytes of an answer that are made before the client has taken those before: some hundreds of lines.
pub const ANSWER_BUFFER_BYTES: usize = 64 << 10;
/// Bytes of a socket's path: what the kernel's address holds (unix(7)).
pub const CONTROL_PATH_BYTES_MAX: usize = 107;

// --- MQTT output ---
/// Bytes of one PEM file; above this it is no certificate or key.
pub const PEM_BYTES_MAX: u64 = 4 << 20;
/// How often an output looks for new blocks and for the order to stop: small beside the journal's commit time.
pub const OUTPUT_POLL: Duration = Duration::from_millis(20);
/// From the first SYN to CONNACK: TCP, TLS and MQTT over a slow cellular line fit into it. Whole seconds.
pub const MQTT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest time without an acknowledgement, messages being in flight, after which a broker counts as stuck.
pub const MQTT_STALL_MIN: Duration = Duration::from_secs(10);
/// First and longest pause between attempts to connect, before jitter.
pub const OUTPUT_PAUSE_MIN: Duration = Duration::from_millis(250);
pub const OUTPUT_PAUSE_MAX: Duration = Duration::from_secs(30);
/// A connection that lived this long was a good one: the pauses start again at the shortest.
pub const OUTPUT_SETTLED: Duration = Duration::from_secs(30);
/// How often an output that uses another broker than its first looks for the first, and how long for.
pub const BROKER_PROBE_PAUSE: Duration = Duration::from_secs(5);
pub const BROKER_PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest time that the first broker must be reachable before an output goes back to it, after returns that failed.
pub const BROKER_RETURN_MAX: Duration = Duration::from_secs(3600);
/// Brokers of one output: a broker, its neighbour, and what a network of two sites has beside them.
pub const BROKERS_MAX: usize = 8;
/// Failures that are told once each while a connection is bad: one for each broker.
pub const OUTPUT_FAILURES_TOLD: usize = BROKERS_MAX;
/// Messages a second on an output's connection, which subscribes to nothing: a broker that pushes some of its own may, one
/// that floods loses the connection.
pub const MQTT_UNASKED_PER_S_MAX: u32 = 200;
/// Pause before the journal is read again after it failed.
pub const JOURNAL_READ_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// At a clean stop: how long committed samples are still sent, and how long acknowledgements are waited for.
pub const OUTPUT_STOP_SEND: Duration = Duration::from_secs(3);
pub const OUTPUT_STOP_WAIT: Duration = Duration::from_secs(5);
/// At a clean stop, after that: how long for the farewell and its acknowledgement.
pub const OUTPUT_STOP_FAREWELL: Duration = Duration::from_millis(1500);
/// Bytes of a message at least and at most, whatever is configured: one sample fits, and MQTT's own limit
/// (3.1.1, section 2.2.3: 256 MiB) is far.
pub const MQTT_MESSAGE_BYTES_MIN: usize = OUTPUT_MESSAGE_BYTES_MIN;
pub const MQTT_MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Bytes in messages that are still being gathered, of all groups; beyond it they are sent early.
pub const OUTPUT_GATHERED_BYTES_MAX: usize = 8 << 20;
/// Blocks that hold nothing for an output and are passed over before it looks at the time and at the order to stop again:
/// some 50 ms of reading.
pub const OUTPUT_BLOCKS_LEFT_OUT_MAX: u32 = 256;
/// The smallest bound of a message, whatever is configured: one sample fits.
pub const OUTPUT_MESSAGE_BYTES_MIN: usize = 512;
/// Patterns in one list of an output, and bytes of one: names, and room for stars.
pub const OUTPUT_PATTERNS_MAX: usize = 1_000;
pub const PATTERN_BYTES_MAX: usize = 2 * NAME_BYTES_MAX;
/// Lines in one request to InfluxDB at most: it advises 5,000 to 10,000.
pub const INFLUX_LINES_MAX: u64 = 50_000;
/// Bytes of a request before it is packed: far below what servers and proxies take by default (25 MB, 1 MiB of nginx once
/// packed).
pub const INFLUX_BODY_BYTES_MAX: usize = 2 << 20;
/// Members of a point's tag set: each is a dimension of the index.
pub const INFLUX_TAG_SET_MAX: usize = 16;
/// Bytes of a server's answer that are read: an error is told in a line or two.
pub const HTTP_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of an answer that a message repeats.
pub const HTTP_ANSWER_TOLD_BYTES_MAX: usize = 300;
/// From the first SYN to the end of the TLS handshake.
pub const HTTP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause that a server may ask for with Retry-After: data that is held back for longer is a loss of sight.
pub const HTTP_RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Between attempts where only a person can help: a wrong token, no such database.
pub const HTTP_REFUSED_PAUSE: Duration = Duration::from_secs(15);
/// Requests that look for the bad lines of one batch whose good lines are stored already; beyond it they are counted as the
/// server counts them.
pub const INFLUX_SEARCHES_MAX: u32 = 64;
/// Series whose bad lines stand in the log, each once.
pub const INFLUX_BAD_SERIES_TOLD_MAX: usize = 256;
/// Bytes of any MQTT string (3.1.1, section 1.5.3).
pub const MQTT_STRING_BYTES_MAX: usize = u16::MAX as usize;

// --- simulated plant ---
/// Tags in all: some 200 bytes each, and ten times what one gateway reads.
pub const PLANT_TAGS_MAX: usize = 10 * TAGS_MAX;

// --- embedded MQTT broker (demo) ---
/// Clients at once: two threads each.
pub const BROKER_CLIENTS_MAX: usize = 64;
/// Bytes of one packet.
pub const BROKER_PACKET_BYTES_MAX: usize = 4 << 20;
/// Messages, and their bytes, that wait for a slow subscriber before new ones are dropped.
pub const BROKER_QUEUE_MESSAGES_MAX: usize = 4096;
pub const BROKER_QUEUE_BYTES_MAX: usize = 32 << 20;
/// Topics with a retained message, and their bytes together.
pub const BROKER_RETAINED_MAX: usize = 1024;
pub const BROKER_RETAINED_BYTES_MAX: usize = 16 << 20;
/// Filters of one client.
pub const BROKER_FILTERS_MAX: usize = 256;
/// From the connection to CONNECT, and for a write that makes no progress.
pub const BROKER_PATIENCE: Duration = Duration::from_secs(5);

const _: () = assert!(OUTPUT_PAUSE_MIN.as_millis() < OUTPUT_PAUSE_MAX.as_millis());
const _: () = assert!(OUTPUT_STOP_SEND.as_millis() < OUTPUT_STOP_WAIT.as_millis());
const _: () = assert!(MQTT_CONNECT_TIMEOUT.subsec_nanos() == 0);
// --- metrics endpoint ---
/// Connections at once; one more pushes the oldest out, so that idle ones cannot keep a scraper away.
pub const HTTP_CONNECTIONS_MAX: usize = 16;
/// Request line and headers; a scraper sends a few hundred bytes.
pub const HTTP_REQUEST_BYTES_MAX: usize = 8 << 10;
/// From connection to the end of the request, and from there to the end of the reply.
pub const HTTP_DEADLINE: Nanos = Nanos::from_millis(5_000);
/// Reasons shown by `/health`: enough to act on, bounded when a whole plant is dark.
pub const HEALTH_REASONS_MAX: usize = 100;
/// Bad tags that `/health` names, each with its reason: enough to see what is wrong; the log and `check --learn` name more.
pub const HEALTH_TAGS_MAX: usize = 10;
/// Units and nodes whose state is a metric: five series each, so that a scrape stays below a megabyte.
pub const METRIC_UNITS_MAX: usize = 1_000;
/// A tag that is still without a first value after so long, and three cycles, is bad.
pub const FIRST_VALUE_PATIENCE: Nanos = Nanos::from_millis(10_000);
/// Between two looks at the reasons of bad tags: what passes sooner is not logged.
pub const REASONS_LOOK: Duration = Duration::from_secs(1);
/// Between two looks at which tags are not good, for those who read that over MQTT: what comes and goes is not told more often.
pub const META_LOOK: Duration = Duration::from_secs(1);
/// A reason must have held for so long before it is logged, and have been gone for so long before its end is.
pub const REASON_SETTLED: Duration = Duration::from_secs(2);
/// A reason that comes again is logged again after this pause, which doubles each time up to the longest.
pub const REASON_PAUSE_MIN: Duration = Duration::from_secs(60);
pub const REASON_PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// Lines about reasons in one look; the others wait for the next, so that a plant that starts in the dark fills no disk.
pub const REASON_LINES_MAX: usize = 20;
/// `read` waits so long for the late reply of a device that has answered nothing in time: it tells slow from silent.
pub const LATE_REPLY_WAIT: Duration = Duration::from_secs(2);
/// Tags that one line of the log names.
pub const REASON_TAGS_NAMED: usize = 5;
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
/// How long the check of a journal at its start looks at leaves and heads of overflow pages: what it delays the first sample
/// by at most. Branches, and whether all they lead to lies within the file, are looked at in any case.
pub const JOURNAL_CHECK_MAX: Duration = Duration::from_millis(1_500);
/// Between looks whether the journal's path still is the file that is written.
pub const JOURNAL_LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Damaged journals that are set aside beside a new one. Each may take the journal's bound of the disk, and a machine that
/// damages more than these will damage the next one as well: then samples are dropped, and counted, until one is removed.
pub const JOURNAL_ASIDE_MAX: usize = 3;
/// How long a journal that was lost while it was written shows on `/health`: until someone has had the time to look.
pub const JOURNAL_LOSS_SHOWN: Duration = Duration::from_secs(3_600);
/// Bytes of one record of the journal: a block's values are smaller than that, names, too.
pub const JOURNAL_RECORD_BYTES_MAX: usize = 64 << 20;
/// Pages at the file's end that LMDB has counted and never written: what one transaction frees of its own at most.
pub const JOURNAL_PAGES_UNWRITTEN_MAX: u64 = 1 << 17;
/// Levels of a tree; LMDB's own bound is 32.
pub const JOURNAL_TREE_DEPTH_MAX: usize = 32;
/// Damages that are listed one by one; all are counted.
pub const JOURNAL_DAMAGE_LISTED_MAX: usize = 100;
/// Bytes of a cursor's name: LMDB keys have 511.
pub const CURSOR_NAME_BYTES_MAX: usize = 256;
/// Decoded names that the journal's writer keeps, beside those in use, and that its readers keep: for outputs that
/// catch up and outputs that follow, each in the middle of a reload.
pub const NAMES_KEPT: usize = 4;
/// Bytes of the audit's records at most, and a sixteenth of the journal's bound: some 100,000 writes.
pub const AUDIT_BYTES_MAX: u64 = 32 << 20;
/// Bytes of one text in a record of the audit: the largest array that one request writes, as JSON.
pub const AUDIT_TEXT_BYTES_MAX: usize = 16 << 10;
/// Records that one commit removes at most, so that it stays short: more than it adds.
pub const AUDIT_TRIM_MAX: u64 = 256;
/// Names of links, and of groups, whose counts are kept after they have left the configuration, so that no counter falls when
/// they come again: as many as there may be at once.
pub const RETIRED_NAMES_MAX: usize = LINKS_MAX;
/// Batches a live reader may lag behind before it loses the oldest: half a second of one executor, 64 MiB of the fullest ones,
/// which all readers share.
pub const LIVE_QUEUE_BATCHES: usize = 256;

// --- watchdog ---
/// An executor turns at least every [`EXECUTOR_SLEEP_MAX`], also under overload: a hundred turns missed is no load.
pub const EXECUTOR_STALL: Duration = Duration::from_secs(2);
/// The journal's thread beats every 100 ms unless a call to the disk hangs. A worn flash card hangs for seconds
/// while it erases, a disk that is reset for up to 30.
pub const JOURNAL_STALL: Duration = Duration::from_secs(45);
/// The hub and the statistics are ordinary threads that never wait for a disk; executors may take most of their CPU.
pub const HUB_STALL: Duration = Duration::from_secs(10);
/// What one look of the watchdog counts for at most: a few of its periods. More than that, and it did not run itself.
pub const WATCHDOG_STEP_MAX: Duration = Duration::from_millis(500);

/// From the verdict to the end of the process: what the kernel's alarm allows. Stacks, the last samples and the
/// account take a second or two.
pub const STALL_EXIT: Duration = Duration::from_secs(10);
/// Of this, how long the other executors have to end, and how long samples may still reach the journal.
pub const STALL_EXIT_EXECUTORS: Duration = Duration::from_secs(1);
pub const STALL_EXIT_JOURNAL: Duration = Duration::from_secs(4);

const _: () =
    assert!(STALL_EXIT_EXECUTORS.as_millis() + STALL_EXIT_JOURNAL.as_millis() < STALL_EXIT.as_millis() - 3000);
const _: () = assert!(EXECUTOR_STALL.as_nanos() > 50 * EXECUTOR_SLEEP_MAX.0 as u128);

// --- doctor ---
/// Bytes read of one file under /proc or /sys; the longest that counts is the kernel command line.
pub const DOCTOR_FILE_BYTES_MAX: u64 = 64 << 10;

const _: () = assert!(MODBUS_REGISTERS_MAX as usize * 2 + 9 <= MODBUS_ADU_BYTES_MAX);
const _: () = assert!(MODBUS_BITS_MAX as usize / 8 + 9 <= MODBUS_ADU_BYTES_MAX);
const _: () = assert!(RING_SLOTS_MIN < RING_SLOTS_MAX);
const _: () = assert!(CONNECT_PAUSE_MIN.0 < CONNECT_PAUSE_MAX.0 && CONNECT_MENDED_AFTER.0 < CONNECT_STABLE_AFTER.0);
const _: () = assert!(TAGS_MAX < crate::tag::GAP_TAG as usize);
const _: () = assert!(BATCH_SAMPLES_MAX <= BLOCK_SAMPLES_MAX);

/// Bytes of a J1939 message in packets: 255 of seven (SAE J1939-21, section 5.10).
pub const J1939_MESSAGE_BYTES_MAX: u32 = 1785;
/// Messages of one parameter group that may be under way at once: from any sender, and from a certain one.
pub const J1939_SESSIONS_ANY_SOURCE: usize = 8;
pub const J1939_SESSIONS_ONE_SOURCE: usize = 2;
/// Between two packets (T1), and where a node has to answer in between (T2, T3; SAE J1939-21, section 5.10.2.4).
pub const J1939_PACKET_TIMEOUT: Nanos = Nanos::from_millis(750);
pub const J1939_CONNECTION_TIMEOUT: Nanos = Nanos::from_millis(1_250);

// --- CANopen (CiA 301, EDS by CiA 306) ---
/// Lines of a data sheet; those of large drives have 60,000.
pub const EDS_LINES_MAX: usize = 500_000;
/// Objects and sub-objects of a data sheet.
pub const EDS_OBJECTS_MAX: usize = 65_536;
/// PDOs each way that a data sheet may have (CiA 301, section 7.4.1).
pub const CANOPEN_PDOS_MAX: u16 = 512;
/// PDOs of a node that are read, each way: a table of its own for each, and their parameters are read at each start.
pub const CANOPEN_NODE_PDOS_MAX: usize = 32;
/// Objects in one PDO: one for each bit (section 7.5.2.36).
pub const CANOPEN_MAPPED_MAX: u8 = 64;
/// Nodes of a network (section 7.2.8.3).
pub const CANOPEN_NODES_MAX: usize = 127;
/// Bytes of a value that is read by SDO: room for the longest is kept for each node.
pub const CANOPEN_VALUE_BYTES_MAX: u16 = 4096;
/// Heartbeats that may be missing before a node is in doubt, and before it counts as lost, in their periods.
pub const HEARTBEAT_LATE_PERIODS: u64 = 2;
pub const HEARTBEAT_LOST_PERIODS: u64 = 4;
/// Periods of a cyclic PDO without one before its values are in doubt, and before they are bad.
pub const PDO_LATE_PERIODS: u64 = 3;
pub const PDO_LOST_PERIODS: u64 = 10;
/// After a node was started: how long its PDOs have to bring their first values before these are read by SDO.
pub const PDO_FIRST: Nanos = Nanos::from_millis(500);
/// Frames that one step of a link takes in, and sends: so long may a full bus hold its executor.
pub const CANOPEN_FRAMES_PER_STEP: usize = 16;
/// Pause before a frame is offered again that the interface had no room for: some 25 frames of 500 kbit/s.
pub const CAN_SEND_PAUSE: Nanos = Nanos::from_millis(5);
/// An object that a node has not is asked for again after this: devices get new programs.
pub const CANOPEN_REFUSED_PAUSE: Nanos = Nanos::from_millis(30_000);
const _: () = assert!(HEARTBEAT_LATE_PERIODS < HEARTBEAT_LOST_PERIODS && PDO_LATE_PERIODS < PDO_LOST_PERIODS);
/// Writes that may wait for one node: its server takes one at a time.
pub const CANOPEN_NODE_WRITES_MAX: usize = 4;
/// What is written by PDO is read back after this, and as long again if it is not there yet: a node has a loop of its
/// own. So many times at most.
pub const CANOPEN_READ_BACK_PAUSE: Nanos = Nanos::from_millis(5);
pub const CANOPEN_READ_BACKS_MAX: u8 = 5;
/// Items of a node that get a new status, or their place in its PDOs, in one step.
pub const CANOPEN_ITEMS_PER_STEP: usize = 32;
/// Log lines that wait for whoever reads standard error, with what each takes beside its text: an hour of a bad day.
pub const LOG_QUEUE_BYTES_MAX: usize = 1 << 20;
pub const LOG_LINE_OVERHEAD: usize = 64;
/// Standard error that took nothing is tried again after this.
pub const LOG_RETRY: Duration = Duration::from_millis(100);
/// For so long the end of the process waits for log lines that nobody has read.
pub const LOG_END_PATIENCE: Duration = Duration::from_millis(500);

/// Globs that choose the gateway's own tags: each is matched with each of them at every load.
pub const DIAGNOSTIC_GLOBS_MAX: usize = 64;

/// How often the gateway's own states are looked at: what is down for a fifth of a second is seen several times.
pub const DIAGNOSTIC_LOOK: Nanos = Nanos::from_millis(50);
/// A state that does not change is written again after this, or a period of the other tags where that is longer: whoever
/// begins to listen, or has lost samples, learns the states in so long a time.
pub const DIAGNOSTIC_REFRESH: Nanos = Nanos::from_millis(10_000);
/// Two to a look, since a link that was down in between is told as down and as up.
pub const DIAGNOSTIC_EVENTS_MAX_HZ: u32 = 2 * (1_000_000_000 / DIAGNOSTIC_LOOK.0) as u32;

/// How long a source's thread may stand still before the process ends: it may block on the network, but looks after its
/// sign of life each second.
pub const SOURCE_STALL: Duration = Duration::from_secs(30);

/// The longest that a source waits without a sign of life.
pub const SOURCE_BEAT: Nanos = Nanos::from_millis(500);

/// Blocks before an output's cursor in which it looks for what came before in each of its streams, once a start: those of
/// about [`JOURNAL_KEEP`], beyond which the journal holds nothing that is delivered.
pub const OUTPUT_RUN_UP_BLOCKS: u64 = 1_000;
