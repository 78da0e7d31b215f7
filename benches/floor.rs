//! From the bytes of a reply to image and ring: nanoseconds per sample, on the code that the executors run.
//! Beside it, the same with report by exception: all samples held back, and all told; and what rmodbus takes to decode
//! the same reply into a `Vec`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use fieldbeat::config::model::Suppress;
use fieldbeat::lane::{Counters, Frame, Image, ReportFilter, SampleWriter};
use fieldbeat::plan::Plan;
use fieldbeat::protocol;
use fieldbeat::protocol::modbus;
use fieldbeat::protocol::modbus::link::{decode, frame};
use fieldbeat::protocol::modbus::plan::ModbusPlan;
use fieldbeat::tag::{GroupId, LaneId, LinkId, Nanos, Status, ValueType};
use rmodbus::client::ModbusRequest;

const REPLIES: usize = 20_000;
const ROUNDS: usize = 15;
/// Slots of the ring: a thousand tags at 100 Hz for two seconds, as the plan would ask for.
const RING_SLOTS: usize = 200_000;

/// A reply and the plan that asks for it.
struct Case {
    plan: Plan,
    reply: Vec<u8>,
}

impl Case {
    fn new(data_type: &str, registers_each: usize, count: usize, keys: &str) -> Case {
        let tags: Vec<String> = (0..count)
            .map(|i| {
                format!(
                    r#"{{"name":"t{i}","protocol":"modbus_tcp","address":"d:1:3:{}:{registers_each}","data_type":"{data_type}","scan_rate_ms":10{keys}}}"#,
                    i * registers_each
                )
            })
            .collect();
        let file = format!(
            r#"{{"links":[{{"name":"d","protocol":"modbus_tcp","host":"127.0.0.1","port":502,"addressing":"raw"}}],"tags":[{}]}}"#,
            tags.join(",")
        );
        let toml = "[gateway]\nid = \"bench\"\n";
        let loaded = protocol::load_parts(("fieldbeat.toml", toml), &[("tags/t.json", &file)])
            .unwrap_or_else(|error| panic!("the configuration of the bench: {error}"));
        let plan = protocol::build(&loaded.config, &[0]).expect("a plan").plan;
        let values = count * registers_each * 2;
        let mut reply = vec![0, 1, 0, 0, 0, (values + 3) as u8, 1, 3, values as u8];
        reply.extend((0..values).map(|i| (i * 37 % 251) as u8 & 0x7F));
        Case { plan, reply }
    }

    fn samples(&self) -> usize {
        self.plan.tags.len()
    }
}

/// The shortest of the rounds: what the code costs when nothing disturbs it; and the middle one.
fn rounds(mut round: impl FnMut()) -> (f64, f64) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_nanos() as f64 / REPLIES as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[0], times[ROUNDS / 2])
}

/// With `changing`, every value is another one in each reply.
fn store(case: &Case, changing: bool) -> (f64, f64) {
    let (producer, mut consumer) = rtrb::RingBuffer::new(RING_SLOTS);
    let image = Arc::new(Image::new(case.plan.tags.values().map(|t| t.ty.long_bytes_max()), Status::GOOD.0));
    let counters = Arc::new(Counters::new(&case.plan));
    let mut sink = SampleWriter::new(producer, image, counters.clone(), LaneId(0), 0).with_filter(ReportFilter::new(
        LaneId(0),
        Suppress::Ring,
        &case.plan,
    ));
    let mut other = case.reply.clone();
    other[9..].iter_mut().for_each(|byte| *byte ^= 0x40);
    let replies = [&case.reply, if changing { &other } else { &case.reply }];
    let modbus = case.plan.links[LinkId(0)].protocol.get::<ModbusPlan>().expect("a Modbus link");
    let request = &modbus.requests[0];
    let decodes = &modbus.decodes[request.decodes.start as usize..request.decodes.end as usize];
    let mut cycle = 0;
    let per_drain = RING_SLOTS / decodes.len();
    let mut undrained = 0;
    let times = rounds(|| {
        for _ in 0..REPLIES {
            cycle += 1;
            let frame::Parsed::Frame { frame, .. } = frame::parse(black_box(replies[cycle as usize % 2])) else {
                unreachable!()
            };
            let frame::Reply::Values(bytes) =
                frame::reply(frame.pdu, 3, request.value_bytes(), modbus::Tolerance::default())
            else {
                unreachable!()
            };
            let shared = Frame { group: GroupId(0), cycle, t: Nanos(u64::from(cycle)).into() };
            let block = decode::BlockBytes { bytes, first: request.first };
            for d in decodes {
                let ValueType::Scalar(_) = d.ty else { unreachable!() };
                match decode::scalar(d, block) {
                    Ok(bits) => sink.scalar(shared, d.tag, d.ty.code(), bits),
                    Err(_) => sink.hold(shared, d.tag, d.ty.code(), false, Status::BAD_DECODING_ERROR),
                }
            }
            sink.flush();
            undrained += 1;
            if undrained == per_drain {
                undrained = 0;
                let slots = consumer.slots();
                consumer.read_chunk(slots).expect("so many").commit_all();
            }
        }
    });
    // The last ones that are kept are not counted yet.
    let kept = case.plan.tags.values().filter(|tag| tag.reporting.is_some_and(|rule| rule.keep_last)).count() as u64;
    assert_eq!(counters.suppressed() > 0, !changing && case.plan.tags.values().any(|tag| tag.reporting.is_some()));
    assert_eq!(counters.produced() + kept, (ROUNDS * REPLIES * decodes.len()) as u64);
    assert_eq!(counters.dropped(), 0, "the ring was drained in time");
    times
}

/// Our own decoding alone: values summed, nothing stored.
fn decode_only(case: &Case) -> (f64, f64) {
    let modbus = case.plan.links[LinkId(0)].protocol.get::<ModbusPlan>().expect("a Modbus link");
    let request = &modbus.requests[0];
    let decodes = &modbus.decodes[request.decodes.start as usize..request.decodes.end as usize];
    rounds(|| {
        for _ in 0..REPLIES {
            let frame::Parsed::Frame { frame, .. } = frame::parse(black_box(&case.reply)) else { unreachable!() };
            let frame::Reply::Values(bytes) =
                frame::reply(frame.pdu, 3, request.value_bytes(), modbus::Tolerance::default())
            else {
                unreachable!()
            };
            let block = decode::BlockBytes { bytes, first: request.first };
            for d in decodes {
                black_box(decode::scalar(d, block).expect("a value"));
            }
        }
    })
}

fn rmodbus(case: &Case, floats: bool) -> (f64, f64) {
    let mut request = ModbusRequest::new_tcp_udp(1, 1);
    let registers = (case.reply.len() - 9) / 2;
    request.generate_get_holdings(0, registers as u16, &mut Vec::new()).expect("a request");
    let (mut words, mut numbers) = (Vec::<u16>::new(), Vec::<f32>::new());
    rounds(|| {
        for _ in 0..REPLIES {
            words.clear();
            numbers.clear();
            let reply = black_box(&case.reply);
            match floats {
                true => request.parse_f32_be(reply, &mut numbers),
                false => request.parse_u16(reply, &mut words),
            }
            .expect("a reply");
            black_box((&words, &numbers));
        }
    })
}

fn main() {
    println!("| reply | what | ns a reply (best, median) | ns a sample (median) |");
    println!("|---|---|---|---|");
    let deadband = r#","deadband":0.5"#;
    for (name, data_type, registers_each, count) in
        [("62 float32 in 124 registers", "float32", 2, 62), ("125 uint16 in 125 registers", "uint16", 1, 125)]
    {
        let case = Case::new(data_type, registers_each, count, "");
        let by_exception = Case::new(data_type, registers_each, count, deadband);
        let kept = Case::new(data_type, registers_each, count, &format!(r#"{deadband},"keep_last":true"#));
        for (what, (best, median)) in [
            ("decode, image and ring", store(&case, false)),
            ("the same, each value another one", store(&case, true)),
            ("by exception: all held back", store(&by_exception, false)),
            ("by exception: all told", store(&by_exception, true)),
            ("by exception: all held back, the last kept", store(&kept, false)),
            ("decode alone", decode_only(&case)),
            ("rmodbus: decode alone, into a Vec", rmodbus(&case, data_type == "float32")),
        ] {
            let each = median / case.samples() as f64;
            println!("| {name} | {what} | {best:.0}, {median:.0} | {each:.1} |");
        }
    }
}
