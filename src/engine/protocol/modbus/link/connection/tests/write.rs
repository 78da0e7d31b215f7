//! Writes on the real executor in virtual time: every function, framing and way round, and their place among the reads.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::super::super::{ascii, rtu};
use super::line::rtu_config;
use super::*;
use crate::config::WordOrder;
use crate::protocol::modbus::{HostPort, ModbusAddress, ModbusConfig, ModbusTransport, Table};

/// What a device holds. A register that nobody wrote holds its own address, a coil is off.
#[derive(Default)]
pub(super) struct Memory {
    pub registers: BTreeMap<u16, u16>,
    pub coils: BTreeMap<u16, bool>,
    /// Functions that it does not have.
    pub lacks: BTreeSet<u8>,
    /// Writes of these registers are answered with exception 02, or change nothing.
    pub refused: BTreeSet<u16>,
    pub stuck: BTreeSet<u16>,
    /// Every value that was written to a register.
    pub written: BTreeSet<u16>,
    /// The function and the address of each request.
    pub asked: Vec<(u8, u16)>,
}

pub(super) type Shared = Rc<RefCell<Memory>>;

impl Memory {
    pub fn register(&self, at: u16) -> u16 {
        self.registers.get(&at).copied().unwrap_or(at)
    }

    fn set(&mut self, at: u16, value: u16) {
        self.written.insert(value);
        if !self.stuck.contains(&at) {
            self.registers.insert(at, value);
        }
    }

    fn read(&self, first: u16, count: u16) -> Vec<u8> {
        (first..first + count).flat_map(|at| self.register(at).to_be_bytes()).collect()
    }

    /// The reply's PDU.
    pub fn serve(&mut self, pdu: &[u8]) -> Vec<u8> {
        let function = pdu[0];
        let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        let first = word(1);
        self.asked.push((function, first));
        if self.lacks.contains(&function) {
            return vec![function | 0x80, 1];
        }
        let words = |from: usize| pdu[from..].chunks(2).map(|w| u16::from_be_bytes([w[0], w[1]])).collect::<Vec<_>>();
        let written = match function {
            5 | 6 | 22 => first..first + 1,
            15 | 16 => first..first + word(3),
            23 => word(5)..word(5) + word(7),
            _ => 0..0,
        };
        if written.into_iter().any(|at| self.refused.contains(&at)) {
            return vec![function | 0x80, 2];
        }
        match function {
            1 => {
                let mut bytes = vec![0u8; usize::from(word(3)).div_ceil(8)];
                for i in 0..word(3) {
                    let on = self.coils.get(&(first + i)).copied().unwrap_or(false);
                    bytes[usize::from(i) / 8] |= u8::from(on) << (i % 8);
                }
                [&[1, bytes.len() as u8], &bytes[..]].concat()
            }
            3 => [&[3, word(3) as u8 * 2], &self.read(first, word(3))[..]].concat(),
            5 => {
                assert!(matches!(word(3), 0 | 0xFF00));
                self.coils.insert(first, word(3) == 0xFF00);
                pdu.to_vec()
            }
            6 => {
                self.set(first, word(3));
                pdu.to_vec()
            }
            15 => {
                assert_eq!(usize::from(pdu[5]), usize::from(word(3)).div_ceil(8));
                for i in 0..word(3) {
                    self.coils.insert(first + i, pdu[6 + usize::from(i) / 8] >> (i % 8) & 1 == 1);
                }
                pdu[..5].to_vec()
            }
            16 => {
                assert_eq!(u16::from(pdu[5]), word(3) * 2);
                words(6).into_iter().enumerate().for_each(|(i, value)| self.set(first + i as u16, value));
                pdu[..5].to_vec()
            }
            22 => {
                let (and, or) = (word(3), word(5));
                self.set(first, self.register(first) & and | or & !and);
                pdu.to_vec()
            }
            23 => {
                assert_eq!(u16::from(pdu[9]), word(7) * 2);
                let at = word(5);
                words(10).into_iter().enumerate().for_each(|(i, value)| self.set(at + i as u16, value));
                [&[23, word(3) as u8 * 2], &self.read(first, word(3))[..]].concat()
            }
            other => panic!("function {other}"),
        }
    }
}

/// Replies after so many nanoseconds, framed as the request is.
pub(super) fn device(memory: &Shared, after: u64) -> Script {
    let memory = memory.clone();
    Box::new(move |request| {
        let reply = answer_to(&memory, request);
        if reply.is_empty() { vec![] } else { vec![(after, reply)] }
    })
}

/// Nothing to a broadcast.
pub(super) fn answer_to(memory: &Shared, request: &[u8]) -> Vec<u8> {
    let mut memory = memory.borrow_mut();
    if request[0] == b':' {
        let text = std::str::from_utf8(&request[1..request.len() - 2]).unwrap();
        let byte = |i: usize| u8::from_str_radix(&text[i * 2..i * 2 + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..text.len() / 2).map(byte).collect();
        assert_eq!(ascii::lrc(&bytes), 0);
        let pdu = memory.serve(&bytes[1..bytes.len() - 1]);
        let mut out = [0; 600];
        let n = ascii::request(bytes[0], &pdu, &mut out);
        return out[..n].to_vec();
    }
    if request.len() > 6 && request[2..4] == [0, 0] && usize::from(request[5]) + 6 == request.len() {
        let pdu = memory.serve(&request[7..]);
        let length = (pdu.len() as u16 + 1).to_be_bytes();
        return [&request[..4], &length, &request[6..7], &pdu].concat();
    }
    assert_eq!(rtu::crc16(request), 0, "a whole frame: {request:?}");
    let pdu = memory.serve(&request[1..request.len() - 2]);
    if request[0] == 0 {
        return vec![];
    }
    let mut out = [0; 300];
    let n = rtu::request(request[0], &pdu, &mut out);
    out[..n].to_vec()
}

pub(super) fn writable(table: Table, first: u16, count: u16, field: FieldType) -> TagConfig {
    let mut tag = tag(0, first);
    tag.name = format!("w.{table:?}.{first}");
    tag.write = Some(WriteConfig { timeout: Nanos::from_millis(500), ..WriteConfig::default() });
    let Some(address) = tag.address.get_mut::<ModbusAddress>() else { unreachable!() };
    let per = field.registers();
    let array = (per > 0 && count > per).then(|| count / per);
    *address =
        ModbusAddress { unit: UnitId(1), table, first, count, field, array, order: WordOrder::Abcd, reference: None };
    tag
}

pub(super) fn register(first: u16) -> TagConfig {
    writable(Table::HoldingRegisters, first, 1, FieldType::Uint16)
}

pub(super) fn tcp(pipeline: u8) -> ModbusConfig {
    ModbusConfig {
        transport: ModbusTransport::Tcp(HostPort { host: "127.0.0.1".into(), port: 502 }),
        pipeline,
        ..rtu_config()
    }
}

impl Bench {
    pub(super) fn tag_at(&self, at: u16) -> TagId {
        let suffix = format!(".{at}");
        self.plan.tags.iter().find(|(_, tag)| tag.name.ends_with(&suffix)).unwrap().0
    }

    pub(super) fn now(&mut self) -> u64 {
        self.executor.floor_for_test().world.now
    }

    /// Orders `value` for the tag that begins at `at`, to be answered within so many milliseconds.
    pub(super) fn order(&mut self, at: u16, value: Value, within_ms: u64, read_back: bool) -> u64 {
        let tag = self.tag_at(at);
        let encoded = crate::protocol::kinds::encode(&self.plan, tag, &value).unwrap();
        let id = self.next_id.take().unwrap_or_else(|| fastrand::u64(..));
        let deadline = Nanos(self.now() + within_ms * MS);
        let generation = self.generation;
        let crate::protocol::write::Encoded { link, slot, payload } = encoded;
        self.orders.push(WriteOrder { id, link, slot, generation, deadline, read_back, payload }).unwrap();
        id
    }

    /// The answers that came since the last look.
    pub(super) fn answered(&mut self) -> Vec<WriteAnswer> {
        std::iter::from_fn(|| self.answers.pop().ok()).collect()
    }

    /// Orders, and waits for the one answer.
    pub(super) fn write(&mut self, at: u16, value: Value, read_back: bool) -> WriteAnswer {
        let id = self.order(at, value, 500, read_back);
        let end = self.now() + 520 * MS;
        while self.now() < end {
            self.run_ms(1);
            if let Ok(answer) = self.answers.pop() {
                assert_eq!(answer.id, id);
                return answer;
            }
        }
        panic!("no answer");
    }

    pub(super) fn outcome(&mut self, at: u16, value: Value) -> WriteOutcome {
        self.write(at, value, false).outcome
    }
}

fn values(n: u16) -> Vec<Value> {
    (0..n).map(|i| Value::Uint(u64::from(1000 + i))).collect()
}

/// One tag for each function, and one that has its own address in its name.
pub(super) fn all_functions() -> Vec<TagConfig> {
    let mut both = writable(Table::HoldingRegisters, 60, 2, FieldType::Uint16);
    both.write.as_mut().unwrap().read_write_in_one = true;
    vec![
        writable(Table::Coils, 3, 1, FieldType::Bit),
        writable(Table::Coils, 10, 20, FieldType::Bit),
        register(20),
        writable(Table::HoldingRegisters, 30, 2, FieldType::Float32),
        writable(Table::HoldingRegisters, 40, 3, FieldType::Uint16),
        writable(Table::HoldingRegisters, 50, 1, FieldType::RegisterBit(12)),
        both,
        writable(Table::HoldingRegisters, 70, 4, FieldType::Text(crate::tag::Encoding::Unstated)),
    ]
}

fn write_all(bench: &mut Bench, memory: &Shared, read_back: bool) {
    let bits: Vec<Value> = (0..20).map(|i| Value::Bool(i % 3 == 0)).collect();
    for (at, value) in [
        (3, Value::Bool(true)),
        (10, Value::Array(bits)),
        (20, Value::Uint(4711)),
        (30, Value::Float32(1.5)),
        (40, Value::Array(values(3))),
        (50, Value::Bool(true)),
        (60, Value::Array(values(2))),
        (70, Value::Text("on ü".into())),
    ] {
        let answer = bench.write(at, value.clone(), read_back);
        assert_eq!(answer.outcome, WriteOutcome::Done, "{at}");
        if read_back || at == 60 {
            let tag = bench.tag_at(at);
            assert_eq!(crate::protocol::kinds::decode(&bench.plan, tag, &answer.back), Some(value), "{at}");
        }
    }
    let memory = memory.borrow();
    assert!(memory.coils[&3] && (0..20).all(|i| memory.coils[&(10 + i)] == (i % 3 == 0)));
    assert_eq!(memory.register(20), 4711);
    assert_eq!([memory.register(30), memory.register(31)], [0x3FC0, 0]);
    assert_eq!([40, 41, 42].map(|at| memory.register(at)), [1000, 1001, 1002]);
    assert_eq!(memory.register(50), 50 | 1 << 12, "the other bits stay");
    assert_eq!([60, 61].map(|at| memory.register(at)), [1000, 1001]);
    let text: Vec<u8> = (70..74).flat_map(|at| memory.register(at).to_be_bytes()).collect();
    assert_eq!(text, "on ü\0\0\0".as_bytes());
    let functions: Vec<u8> = memory.asked.iter().map(|(function, _)| *function).filter(|f| *f > 4).collect();
    assert_eq!(functions, [5, 15, 6, 16, 16, 22, 23, 16]);
}

#[test]
fn every_function_writes_its_value_over_tcp() {
    for pipeline in [1, 8] {
        let memory = Shared::default();
        let mut bench = bench_of(&tcp(pipeline), vec![(all_functions(), device(&memory, MS / 2))], None);
        bench.run_ms(20);
        write_all(&mut bench, &memory, false);
        let link = bench.counters.link(LinkId(0));
        assert_eq!(link.foreign.get() + link.late.get() + link.timeouts.get(), 0);
        assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
        assert!(bench.requests.borrow().iter().all(|(_, request)| request[6] == 1));
    }
}

#[test]
fn every_function_is_read_back_when_that_is_asked_for() {
    let memory = Shared::default();
    let mut bench = bench_of(&tcp(4), vec![(all_functions(), device(&memory, MS / 2))], None);
    bench.run_ms(20);
    write_all(&mut bench, &memory, true);
}

fn on_lines(test: impl Fn(&ModbusConfig)) {
    let ModbusTransport::Serial(serial) = rtu_config().transport else { panic!() };
    let fast = SerialConfig { baud_rate: 1_000_000, ..serial };
    let ascii = SerialConfig { framing: SerialFraming::Ascii, data_bits: 7, ..fast.clone() };
    let over_tcp = ModbusTransport::RtuOverTcp(HostPort { host: "server".into(), port: 4001 });
    for transport in [ModbusTransport::Serial(fast), ModbusTransport::Serial(ascii), over_tcp] {
        test(&ModbusConfig { transport, ..rtu_config() });
    }
}

#[test]
fn every_function_writes_its_value_on_a_line() {
    on_lines(|config| {
        for read_back in [false, true] {
            let memory = Shared::default();
            let mut bench = bench_of(config, vec![(all_functions(), device(&memory, MS))], None);
            bench.run_ms(40);
            write_all(&mut bench, &memory, read_back);
            let link = bench.counters.link(LinkId(0));
            assert_eq!(link.foreign.get() + link.late.get() + link.timeouts.get() + link.garbage.get(), 0);
        }
    });
}

#[test]
fn a_line_keeps_its_silences_and_its_units_their_pauses_among_writes() {
    let ModbusTransport::Serial(serial) = rtu_config().transport else { panic!() };
    let config = ModbusConfig {
        transport: ModbusTransport::Serial(SerialConfig { baud_rate: 1_000_000, ..serial }),
        unit_pause: Nanos::from_millis(3),
        ..rtu_config()
    };
    let memory = Shared::default();
    let mut other = register(90);
    let Some(address) = other.address.get_mut::<ModbusAddress>() else { unreachable!() };
    address.unit = UnitId(2);
    let mut bench = bench_of(&config, vec![(vec![register(20), other], device(&memory, MS / 2))], None);
    bench.run_ms(20);
    for round in 0..20 {
        for at in [20, 90] {
            bench.order(at, Value::Uint(round), 500, true);
        }
        bench.run_ms(17);
    }
    bench.run_ms(500);
    let answers = bench.answered();
    assert_eq!(answers.len(), 40);
    assert!(answers.iter().all(|answer| answer.outcome == WriteOutcome::Done), "{answers:?}");
    let requests = bench.requests.borrow();
    // 3.5 characters are fixed at this rate.
    assert!(requests.windows(2).all(|w| w[1].0 - w[0].0 >= MS / 2 + 1_750_000), "the silence");
    for unit in [1, 2] {
        let own: Vec<u64> = requests.iter().filter(|(_, bytes)| bytes[0] == unit).map(|(t, _)| *t).collect();
        assert!(own.windows(2).all(|w| w[1] - w[0] >= 3 * MS + MS / 2), "unit {unit}");
    }
}

#[test]
fn what_the_device_made_of_a_value_is_told() {
    let memory = Shared::default();
    let mut bench = bench_of(&tcp(1), vec![(all_functions(), device(&memory, MS / 2))], None);
    bench.run_ms(20);
    memory.borrow_mut().stuck.extend([20, 50, 61]);
    let answer = bench.write(20, Value::Uint(1), true);
    assert_eq!((answer.outcome, answer.back.bytes()), (WriteOutcome::ReadBackDiffers, &[0, 20][..]));
    assert_eq!(bench.write(20, Value::Uint(1), false).outcome, WriteOutcome::Done, "it said so");
    assert_eq!(bench.write(50, Value::Bool(true), true).outcome, WriteOutcome::ReadBackDiffers);
    assert_eq!(bench.write(50, Value::Bool(false), true).outcome, WriteOutcome::Done, "that bit is off");
    // Function 23 reads back in any case.
    let answer = bench.write(60, Value::Array(values(2)), false);
    assert_eq!((answer.outcome, answer.back.bytes()), (WriteOutcome::ReadBackDiffers, &[0x03, 0xE8, 0, 61][..]));
    // A device from which it can't be read.
    memory.borrow_mut().lacks.insert(3);
    assert_eq!(bench.write(30, Value::Float32(1.0), true).outcome, WriteOutcome::NotReadBack);
    memory.borrow_mut().refused.insert(40);
    assert_eq!(bench.outcome(40, Value::Array(values(3))), WriteOutcome::Refused(2));
    memory.borrow_mut().lacks.insert(16);
    assert_eq!(bench.outcome(30, Value::Float32(1.0)), WriteOutcome::Refused(1), "there is no other way");
}

#[test]
fn a_unit_without_a_function_is_asked_by_another_from_then_on() {
    let memory = Shared::default();
    memory.borrow_mut().lacks.extend([5, 6, 22, 23]);
    let mut bench = bench_of(&tcp(1), vec![(all_functions(), device(&memory, MS / 2))], None);
    bench.run_ms(20);
    let round = |bench: &mut Bench| -> Vec<u8> {
        memory.borrow_mut().asked.clear();
        for (at, value) in
            [(3, Value::Bool(true)), (20, Value::Uint(4711)), (50, Value::Bool(true)), (60, Value::Array(values(2)))]
        {
            assert_eq!(bench.outcome(at, value), WriteOutcome::Done, "{at}");
        }
        let memory = memory.borrow();
        assert!(memory.coils[&3]);
        assert_eq!([20, 50, 61].map(|at| memory.register(at)), [4711, 50 | 1 << 12, 1001]);
        memory.asked.iter().filter(|(f, at)| *f > 4 || (*f, *at) == (3, 50)).map(|(f, _)| *f).collect()
    };
    assert_eq!(round(&mut bench), [5, 15, 6, 16, 22, 3, 16, 23, 16]);
    assert_eq!(round(&mut bench), [15, 16, 3, 16, 16], "and it is remembered");
    // After it was away for a while, a new connection may be to another device.
    bench.device(0).closed = true;
    bench.run_ms(300);
    bench.device(0).closed = false;
    bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
    bench.run_ms(25);
    assert_eq!(round(&mut bench), [5, 15, 6, 16, 22, 3, 16, 23, 16]);
}

#[test]
fn nothing_goes_between_the_reading_and_the_writing_of_a_register() {
    let memory = Shared::default();
    memory.borrow_mut().lacks.insert(22);
    let tags: Vec<TagConfig> = [0, 300]
        .map(register)
        .into_iter()
        .chain([writable(Table::HoldingRegisters, 50, 1, FieldType::RegisterBit(3))])
        .collect();
    let ModbusTransport::Serial(serial) = rtu_config().transport else { panic!() };
    let line = ModbusTransport::Serial(SerialConfig { baud_rate: 1_000_000, ..serial });
    for config in [tcp(1), ModbusConfig { transport: line, unit_pause: Nanos::from_micros(500), ..rtu_config() }] {
        let mut bench = bench_of(&config, vec![(tags.clone(), device(&memory, MS / 5))], None);
        bench.run_ms(20);
        for round in 0..50 {
            let on = round % 2 == 0;
            assert_eq!(bench.outcome(50, Value::Bool(on)), WriteOutcome::Done);
            assert_eq!(memory.borrow().register(50) >> 3 & 1, u16::from(on));
            bench.run_ms(1 + round % 7);
        }
        let asked = std::mem::take(&mut memory.borrow_mut().asked);
        let pairs: Vec<_> = asked.windows(2).filter(|pair| pair[1] == (6, 50)).collect();
        assert_eq!(pairs.len(), 50);
        assert!(pairs.iter().all(|pair| pair[0] == (3, 50)), "{pairs:?}");
    }
}

#[test]
fn what_is_no_reply_to_a_write_whose_time_is_over_does_not_make_room_for_the_next_request() {
    let memory = Shared::default();
    let mut bench = bench_of(&tcp(1), vec![(vec![register(20)], device(&memory, MS))], None);
    bench.run_ms(20);
    let script: Script = Box::new(move |request| {
        let reply = answer_to(&memory, request);
        if request[7] != 6 {
            return vec![(MS, reply)];
        }
        let (mut unit, mut function) = (reply.clone(), reply.clone());
        unit[6] = 9;
        function[7] = 5;
        vec![(15 * MS, unit), (16 * MS, function), (25 * MS, reply)]
    });
    bench.device(0).script = Some(script);
    bench.order(20, Value::Uint(3), 12, false);
    bench.run_ms(100);
    assert_eq!(bench.answered()[0].outcome, WriteOutcome::NoReply);
    let sent: Vec<(u64, u8)> = bench.requests.borrow().iter().map(|(t, bytes)| (*t, bytes[7])).collect();
    let write = sent.iter().position(|(_, function)| *function == 6).unwrap();
    assert!(sent[write + 1].0 >= sent[write].0 + 25 * MS, "{sent:?}");
    assert_eq!((bench.counters.link(LinkId(0)).foreign.get(), bench.counters.link(LinkId(0)).late.get()), (2, 1));
}
