//! Lines of a chip that is a fake.

use super::super::device::{Fault, LineEvent};
use super::super::lines::Lines;
use super::super::{Edge, Reader};
use super::fake::Fake;
use super::{scanned, setup};
use crate::limits::GPIO_EDGES_PER_S_MAX;
use crate::tag::{NANOS_PER_SEC, Nanos, Status};

const GPIO: &str = r#""protocol": "gpio", "chip": "/dev/gpiochip0""#;
const GOOD: Status = Status::GOOD;

fn lines(tags: &[&str]) -> (Fake, std::sync::Arc<crate::protocol::local_io::plan::LocalIoSetup>, Lines) {
    let (fake, setup) = (Fake::default(), setup(GPIO, tags));
    fake.state().levels = vec![false; setup.lines.len()];
    let lines = Lines::new(Box::new(fake.clone()), Box::new(fake.clone()), setup.clone());
    (fake, setup, lines)
}

fn event(line: usize, rising: bool, t: u64, number: u32) -> LineEvent {
    LineEvent { line, rising, t: Nanos(t), number }
}

fn take_all(lines: &mut Lines) -> (Vec<Edge>, u32) {
    let (mut edges, mut lost) = (Vec::new(), 0);
    loop {
        let before = edges.len();
        let mut some = Vec::new();
        lines.edges(&mut some, &mut lost).unwrap();
        edges.append(&mut some);
        if edges.len() == before {
            return (edges, lost);
        }
    }
}

#[test]
fn a_fake_line_is_read_on_the_beat_and_its_edges_are_told_with_their_time() {
    let (fake, setup, mut lines) = lines(&[r#""address": "l:3""#, r#""address": "l:7", "edge": "both""#]);
    fake.state().levels = vec![true, false];
    assert_eq!(scanned(&mut lines, &setup), [Ok((1.0, GOOD)), Ok((0.0, GOOD))]);
    fake.state().events.extend([event(1, true, 70, 1), event(1, false, 90, 2)]);
    let (edges, lost) = take_all(&mut lines);
    let told: Vec<_> = edges.iter().map(|edge| (edge.item, edge.value, edge.t.0)).collect();
    assert_eq!((told, lost), (vec![(1, 1, 70), (1, 0, 90)], 0));
}

#[test]
fn edges_of_a_fake_line_are_counted_though_the_kernel_had_no_room_for_them() {
    let (fake, setup, mut lines) = lines(&[r#""address": "l:3", "edge": "rising", "data_type": "uint32""#]);
    fake.state().events.extend([event(0, true, 10, 1), event(0, true, 20, 2), event(0, true, 30, 40)]);
    let (edges, lost) = take_all(&mut lines);
    assert!(edges.is_empty() && lost == 0, "a count is not told edge by edge");
    assert_eq!(scanned(&mut lines, &setup), [Ok((40.0, GOOD))]);
    // The kernel's numbers wrap.
    fake.state().events.push_back(event(0, true, 50, 0));
    take_all(&mut lines);
    assert_eq!(scanned(&mut lines, &setup), [Ok((0.0, GOOD))], "a count begins anew after the most that it holds");
}

#[test]
fn a_fake_line_that_flutters_is_told_at_a_bounded_rate_and_counted_whole() {
    let (fake, setup, mut lines) =
        lines(&[r#""address": "l:3", "edge": "both""#, r#""address": "l:3", "edge": "both", "data_type": "uint64""#]);
    const EDGES: u32 = 20_000;
    let step = 2 * NANOS_PER_SEC / u64::from(EDGES);
    fake.state().events.extend((1..=EDGES).map(|n| event(0, n % 2 == 1, u64::from(n) * step, n)));
    let (edges, lost) = take_all(&mut lines);
    assert!(edges.len() as u64 <= 3 * GPIO_EDGES_PER_S_MAX, "{} told in two seconds", edges.len());
    assert!(edges.len() as u64 >= 2 * GPIO_EDGES_PER_S_MAX);
    assert_eq!(edges.len() as u32 + lost, EDGES, "told or counted as lost");
    assert_eq!(scanned(&mut lines, &setup)[1], Ok((f64::from(EDGES), GOOD)));
}

#[test]
fn an_edge_that_was_told_is_not_undone_by_an_older_level() {
    let (fake, setup, mut lines) = lines(&[r#""address": "l:3", "edge": "both""#]);
    // The line was read low; it rises before the answer is sent, and the edge is told first.
    fake.state().events.push_back(event(0, true, 1_000_000, 1));
    take_all(&mut lines);
    let mut answers = Vec::new();
    lines.scan(0, &mut answers).unwrap();
    assert_eq!((answers[0].t, answers[0].result), (Nanos(1_000_000), Ok((1, GOOD))));
    fake.state().now = 2_000_000;
    assert_eq!(scanned(&mut lines, &setup), [Ok((0.0, GOOD))], "what is read later is newer");
}

#[test]
fn a_fake_output_is_set_and_read_back() {
    let (fake, setup, mut lines) = lines(&[r#""address": "l:9", "direction": "out""#]);
    lines.write(0, &[1]).unwrap();
    let mut back = Vec::new();
    lines.read_back(0, &mut back).unwrap();
    assert_eq!((back, fake.state().levels.clone()), (vec![1], vec![true]));
    assert_eq!(scanned(&mut lines, &setup), [Ok((1.0, GOOD))]);
    assert_eq!(lines.write(0, &[1, 0]), Err(Fault::Failed(libc::EINVAL)));
    assert_eq!(lines.write(1, &[1]), Err(Fault::Failed(libc::EINVAL)));
}

#[test]
fn a_fake_chip_that_fails_gives_a_status_and_one_that_is_gone_the_end() {
    let (fake, setup, mut lines) = lines(&[r#""address": "l:3""#]);
    fake.state().fault = Some(Fault::Failed(libc::EIO));
    assert_eq!(scanned(&mut lines, &setup), [Err(Status::BAD_DEVICE_FAILURE)]);
    fake.state().fault = Some(Fault::Gone);
    assert_eq!(lines.scan(0, &mut Vec::new()).err(), Some(Fault::Gone));
}
