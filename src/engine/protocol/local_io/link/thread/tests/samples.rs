//! Samples out of a buffer that is a fake: scans are bytes that the test puts there.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex};

use super::super::super::wire;
use super::super::device::{Fault, Scans};
use super::super::iio_buffer::{Element, Stream};
use super::super::samples::SampleReader;
use super::super::scan_element::Format;
use super::super::{Answer, Edge, Reader};
use super::fake::Fake;
use super::setup;
use crate::protocol::local_io::model::LocalIoDevice;
use crate::protocol::local_io::plan::LocalIoSetup;
use crate::tag::{Nanos, Status};

const MS: u64 = 1_000_000;
const GOOD: Status = Status::GOOD;
const HZ: u64 = 1_000;

/// What the kernel would hold.
#[derive(Clone, Default)]
struct Kernel(Arc<Mutex<VecDeque<u8>>>);

impl Scans for Kernel {
    fn read(&mut self, scans: &mut [u8]) -> Result<usize, Fault> {
        let mut bytes = self.0.lock().unwrap();
        let count = bytes.len().min(scans.len());
        for (slot, byte) in scans.iter_mut().zip(bytes.drain(..count)) {
            *slot = byte;
        }
        Ok(count)
    }

    fn descriptors(&self) -> &[RawFd] {
        &[]
    }
}

impl Kernel {
    /// A scan of two channels of 12 bits and its time.
    fn scan(&self, one: i16, other: u16, t: u64) {
        let mut bytes = self.0.lock().unwrap();
        bytes.extend((one << 4).to_le_bytes());
        bytes.extend(other.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(t.to_le_bytes());
    }
}

fn stream() -> Stream {
    let element = |at, text, scale, offset| Element { at, format: Format::of(text).unwrap(), scale, offset };
    Stream {
        scan_bytes: 16,
        channels: vec![element(0, "le:s12/16>>4", 0.5, 10.0), element(2, "be:u16/16", 1.0, 0.0)],
        time: Some(element(8, "le:s64/64>>0", 1.0, 0.0)),
    }
}

/// Value and status, and the time.
type Told = (Result<(f64, Status), Status>, u64);

struct Bench {
    fake: Fake,
    kernel: Kernel,
    reader: SampleReader,
    setup: Arc<LocalIoSetup>,
}

fn bench(buffer: &str, stream: Stream) -> Bench {
    let link = format!(r#""protocol": "iio", "device": "adc", "buffer": {{"frequency_hz": 1000, {buffer}}}"#);
    let loop_ma = r#", "sensor": {"type": "4-20mA", "raw_min": 4000, "raw_max": 20000, "range": [0, 100]}"#;
    let setup = setup(&link, &[r#""address": "l:in_voltage0""#, &format!(r#""address": "l:in_current1"{loop_ma}"#)]);
    let LocalIoDevice::Iio { buffer: Some(config), .. } = setup.device.clone() else { panic!() };
    let (fake, kernel) = (Fake::default(), Kernel::default());
    fake.state().now = 1_000 * MS;
    let clock = Box::new(fake.clone());
    let reader = SampleReader::new(Box::new(kernel.clone()), stream, clock, setup.clone(), config);
    Bench { fake, kernel, reader, setup }
}

impl Bench {
    fn at_ms(&mut self, ms: u64) {
        self.fake.state().now = ms * MS;
    }

    fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        self.reader.scan(0, &mut answers).unwrap();
        answers
    }

    /// Value, status and time of each item; `None`: nothing new.
    fn told(&mut self) -> Vec<Option<Told>> {
        let told = |answer: Answer| {
            let value = answer.result.map(|(bits, status)| (f64::from_bits(bits), status));
            (answer.news == wire::NEW).then_some((value, answer.t.0))
        };
        self.answers().into_iter().map(told).collect()
    }

    fn edges(&mut self) -> (Vec<Edge>, u32) {
        let (mut all, mut lost) = (Vec::new(), 0);
        loop {
            let mut edges = Vec::new();
            let more = self.reader.edges(&mut edges, &mut lost).unwrap();
            all.append(&mut edges);
            if !more && self.kernel.0.lock().unwrap().is_empty() {
                return (all, lost);
            }
        }
    }
}

#[test]
fn the_newest_sample_is_told_on_the_beat_with_its_own_time_and_once() {
    let mut bench = bench(r#""sampling": "latest""#, stream());
    bench.at_ms(1_010);
    assert_eq!(bench.told(), [None, None], "nothing yet");
    for n in 0..200u64 {
        bench.kernel.scan(-(n as i16), 12_000, 1_010 * MS + n * MS / 10);
    }
    bench.at_ms(1_040);
    let t = 1_010 * MS + 199 * MS / 10;
    assert_eq!(bench.told(), [Some((Ok((-94.5, GOOD)), t)), Some((Ok((50.0, GOOD)), t))]);
    assert_eq!(bench.told(), [None, None], "told already");
    bench.kernel.scan(0, 3_500, 1_050 * MS);
    bench.at_ms(1_051);
    let broken = Err(Status::BAD_SENSOR_FAILURE);
    assert_eq!(bench.told(), [Some((Ok((5.0, GOOD)), 1_050 * MS)), Some((broken, 1_050 * MS))]);
    assert!(bench.edges().0.is_empty());
}

#[test]
fn samples_that_stay_away_are_uncertain_then_bad_and_good_again_with_the_next() {
    let mut bench = bench(r#""silent_after_ms": 50"#, stream());
    bench.kernel.scan(1, 12_000, 1_000 * MS);
    bench.at_ms(1_001);
    assert!(bench.told().iter().all(Option::is_some));
    bench.at_ms(1_049);
    assert_eq!(bench.told(), [None, None]);
    for (ms, status) in [
        (1_052, Status::UNCERTAIN_LAST_USABLE),
        (1_149, Status::UNCERTAIN_LAST_USABLE),
        (1_152, Status::BAD_NO_COMMUNICATION),
    ] {
        bench.at_ms(ms);
        let told: Vec<_> = bench.told().into_iter().map(|told| told.unwrap().0).collect();
        assert_eq!(told, [Err(status); 2], "at {ms}");
    }
    bench.kernel.scan(2, 12_000, 1_160 * MS);
    bench.at_ms(1_161);
    assert_eq!(bench.told()[0], Some((Ok((6.0, GOOD)), 1_160 * MS)));
}

#[test]
fn a_buffer_that_never_fills_is_told() {
    let mut bench = bench(r#""silent_after_ms": 50"#, stream());
    bench.at_ms(1_060);
    let told: Vec<_> = bench.told().into_iter().map(|told| told.unwrap().0).collect();
    assert_eq!(told, [Err(Status::BAD_NO_COMMUNICATION); 2]);
}

#[test]
fn with_sampling_every_each_sample_is_told_in_order_with_its_time_and_status() {
    let mut bench = bench(r#""sampling": "every""#, stream());
    for n in 0..100u64 {
        bench.kernel.scan(n as i16, if n == 50 { 3_600 } else { 12_000 }, (1_001 + n) * MS);
    }
    bench.at_ms(1_102);
    let (edges, lost) = bench.edges();
    assert_eq!((edges.len(), lost), (200, 0));
    for (n, pair) in edges.chunks(2).enumerate() {
        assert_eq!((pair[0].item, pair[1].item), (0, 1));
        assert_eq!(f64::from_bits(pair[0].value), (n as f64 + 10.0) * 0.5);
        assert!(pair.iter().all(|edge| edge.t == Nanos((1_001 + n as u64) * MS)));
        assert_eq!(pair[1].status, if n == 50 { Status::BAD_SENSOR_FAILURE } else { GOOD });
    }
    assert_eq!(bench.told(), [None, None], "on the beat there is nothing new");
}

#[test]
fn samples_that_are_missing_or_too_many_are_counted() {
    let mut bench = bench(r#""sampling": "every""#, stream());
    for n in [0u64, 1, 2, 7, 8] {
        bench.kernel.scan(0, 12_000, (1_001 + n) * MS);
    }
    bench.at_ms(1_010);
    let (edges, lost) = bench.edges();
    assert_eq!((edges.len(), lost), (10, 8), "the times say that four scans are missing");
    // Ten times as fast as was said: a quarter more than that is told.
    for n in 0..10 * HZ {
        bench.kernel.scan(0, 12_000, 1_020 * MS + n * MS / 10);
    }
    bench.at_ms(2_021);
    let (edges, lost) = bench.edges();
    assert_eq!(edges.len() + lost as usize, 20 * HZ as usize + 2 * 10, "each is told or counted, and ten in the gap");
    assert!((2_400..=5_100).contains(&edges.len()), "{}", edges.len());
}

#[test]
fn without_times_of_their_own_samples_have_the_time_of_their_reading_and_their_place() {
    for time in [None, stream().time] {
        let mut bench = bench(r#""sampling": "every""#, Stream { time, ..stream() });
        // Those of another clock: UTC, and a time since the device was switched on.
        for t in [1_700_000_000_000 * MS, 5, u64::MAX] {
            bench.kernel.scan(0, 12_000, t);
        }
        bench.at_ms(90_000);
        let (edges, lost) = bench.edges();
        let now = 90_000 * MS + 1_000;
        let told: Vec<u64> = edges.iter().step_by(2).map(|edge| edge.t.0).collect();
        assert_eq!(told, [now - 2 * MS, now - MS, now]);
        assert_eq!(lost, 0, "no gap is made of it");
    }
}

#[test]
fn a_read_that_is_no_whole_scan_ends_the_device() {
    let mut bench = bench(r#""sampling": "latest""#, stream());
    bench.kernel.scan(0, 0, 1_000 * MS);
    bench.kernel.0.lock().unwrap().push_back(1);
    assert_eq!(bench.reader.scan(0, &mut Vec::new()).err(), Some(Fault::Gone));
}

#[test]
fn a_device_that_never_stops_does_not_keep_the_thread_from_answering() {
    struct Endless;
    impl Scans for Endless {
        fn read(&mut self, scans: &mut [u8]) -> Result<usize, Fault> {
            Ok(scans.len())
        }
        fn descriptors(&self) -> &[RawFd] {
            &[]
        }
    }
    for sampling in ["latest", "every"] {
        let mut bench = bench(&format!(r#""sampling": "{sampling}", "length": 512"#), stream());
        let LocalIoDevice::Iio { buffer: Some(config), .. } = bench.setup.device.clone() else { panic!() };
        let clock = Box::new(bench.fake.clone());
        bench.reader = SampleReader::new(Box::new(Endless), stream(), clock, bench.setup.clone(), config);
        assert_eq!(bench.answers().len(), 2);
        assert!(bench.edges().0.len() <= 2 * (512 + 64), "{sampling}");
    }
}

/// Prints the seed with which it fails.
#[test]
fn no_scans_of_random_formats_and_bytes_make_it_panic() {
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut told = 0;
    for round in 0..2_000 {
        let mut element = || {
            let storage = [8u8, 16, 32, 64][rng.usize(..4)];
            let bits = rng.u8(1..=storage);
            let shift = rng.u8(..=storage - bits);
            let (order, sign) = (["le", "be"][rng.usize(..2)], ["s", "u"][rng.usize(..2)]);
            let format = Format::of(&format!("{order}:{sign}{bits}/{storage}>>{shift}")).unwrap();
            Element { at: rng.usize(..20), format, scale: rng.f64() * 1e9 - 5e8, offset: rng.f64() }
        };
        let (channels, time) = (vec![element(), element()], Some(element()));
        let stream = Stream { scan_bytes: rng.usize(..40), channels, time };
        let sampling = ["latest", "every"][round % 2];
        let mut bench = bench(&format!(r#""sampling": "{sampling}""#), stream);
        let scans = rng.usize(..200) * bench.reader.scan_bytes();
        bench.kernel.0.lock().unwrap().extend((0..scans).map(|_| rng.u8(..)));
        bench.at_ms(1_000 + rng.u64(..200_000));
        let _ = bench.reader.scan(0, &mut Vec::new());
        let (mut edges, mut lost) = (Vec::new(), 0);
        while bench.reader.edges(&mut edges, &mut lost).unwrap_or(false) {}
        told += edges.len();
    }
    assert!(told > 10_000, "seed {seed}: hardly anything was told");
}
