//! A thread on its socket, with chips and lines that are fakes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::super::wire::{self, Asked, Datagram, Told, WriteEnd};
use super::super::device::Fault;
use super::super::registers::Registers;
use super::super::{Answer, Reader, start};
use super::fake::Fake;
use super::setup;
use crate::limits::LOCAL_IO_DATAGRAM_BYTES_MAX;
use crate::protocol::local_io::plan::LocalIoSetup;
use crate::rt::monotonic_now;
use crate::tag::{Nanos, Status};

const I2C: &str = r#""protocol": "i2c", "bus": "/dev/i2c-1""#;

/// Says when it is dropped, that is when its thread has ended.
struct Watched<R>(R, Arc<AtomicBool>);

impl<R> Drop for Watched<R> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

impl<R: Reader> Reader for Watched<R> {
    fn scan(&mut self, request: usize, answers: &mut Vec<Answer>) -> Result<(), Fault> {
        self.0.scan(request, answers)
    }

    fn write(&mut self, slot: usize, payload: &[u8]) -> Result<(), Fault> {
        self.0.write(slot, payload)
    }

    fn read_back(&mut self, slot: usize, back: &mut Vec<u8>) -> Result<(), Fault> {
        self.0.read_back(slot, back)
    }
}

struct Thread {
    socket: OwnedFd,
    ended: Arc<AtomicBool>,
}

fn thread(fake: &Fake, setup: &Arc<LocalIoSetup>) -> Thread {
    let ended = Arc::new(AtomicBool::new(false));
    let registers = Registers::new(fake.bus(), Box::new(fake.clone()), setup.clone());
    // Nothing runs at real-time priority in a test.
    let setup = LocalIoSetup { priority: 0, ..(**setup).clone() };
    let socket = start(Box::new(Watched(registers, ended.clone())), &setup).unwrap();
    Thread { socket, ended }
}

impl Thread {
    fn ask(&self, asked: Asked<'_>) {
        let mut datagram = Datagram::default();
        datagram.ask(asked);
        self.send(datagram.bytes());
    }

    fn send(&self, bytes: &[u8]) {
        // SAFETY: pointer and length are those of a live slice.
        let sent =
            unsafe { libc::send(self.socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        assert_eq!(sent, bytes.len() as isize, "{}", io::Error::last_os_error());
    }

    fn answer(&self) -> Vec<u8> {
        let mut buffer = vec![0; LOCAL_IO_DATAGRAM_BYTES_MAX];
        // SAFETY: pointer and length are those of a live, writable slice.
        let len = unsafe { libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        buffer.truncate(usize::try_from(len).unwrap());
        buffer
    }

    fn ends(&self) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.ended.load(Ordering::SeqCst) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.ended.load(Ordering::SeqCst)
    }
}

#[test]
fn a_thread_answers_scans_and_writes_of_a_fake_chip_in_their_order() {
    let fake = Fake::default().registers(0x30, &[(0x10, &[0x01, 0x02])]);
    let setup = setup(I2C, &[r#""address": "l:0x30:0x10:2""#, r#""address": "l:0x31:0x10:2""#]);
    let thread = thread(&fake, &setup);
    let deadline = monotonic_now() + Nanos::from_millis(10_000);
    thread.ask(Asked::Scan { request: 0, sequence: 1 });
    thread.ask(Asked::Write { slot: 0, id: 9, read_back: true, deadline, payload: &[3, 4] });
    thread.ask(Asked::Write { slot: 0, id: 10, read_back: false, deadline: Nanos(1), payload: &[5, 6] });
    thread.ask(Asked::Write { slot: 1, id: 11, read_back: false, deadline, payload: &[5, 6] });
    thread.ask(Asked::Scan { request: 0, sequence: 2 });
    for (sequence, value) in [(1, 0x0102), (2, 0x0304)] {
        let bytes = thread.answer();
        let Some(Told::Scanned { request: 0, sequence: of, entries }) = wire::told(&bytes) else { panic!() };
        let found: Vec<_> = entries.map(|entry| (entry.status, entry.value)).collect();
        assert_eq!(of, sequence);
        assert_eq!(found, [(Status::GOOD, value), (Status::BAD_DEVICE_FAILURE, 0)]);
        if sequence == 1 {
            let ends: Vec<_> = (0..3)
                .map(|_| {
                    let bytes = thread.answer();
                    let Some(Told::Written { id, end, back, .. }) = wire::told(&bytes) else { panic!() };
                    (id, end, back.to_vec())
                })
                .collect();
            let refused = WriteEnd::Refused(libc::ENXIO as u32);
            let wanted = [(9, WriteEnd::Done, vec![3, 4]), (10, WriteEnd::TooLate, vec![]), (11, refused, vec![])];
            assert_eq!(ends, wanted);
        }
    }
}

#[test]
fn a_thread_ends_when_its_executor_lets_go() {
    let fake = Fake::default();
    let mut thread = thread(&fake, &setup(I2C, &[r#""address": "l:0x30:0x10:2""#]));
    assert!(!thread.ended.load(Ordering::SeqCst));
    thread.socket = std::fs::File::open("/dev/null").unwrap().into();
    assert!(thread.ends(), "and its device is closed");
}

#[test]
fn a_thread_ends_when_its_fake_device_is_gone() {
    let fake = Fake::default();
    let thread = thread(&fake, &setup(I2C, &[r#""address": "l:0x30:0x10:2""#]));
    fake.state().fault = Some(Fault::Gone);
    thread.ask(Asked::Scan { request: 0, sequence: 1 });
    assert!(thread.ends());
    assert!(thread.answer().is_empty(), "the executor sees the end of the socket");
}

#[test]
fn a_thread_that_is_sent_nonsense_ends() {
    let thread = thread(&Fake::default(), &setup(I2C, &[r#""address": "l:0x30:0x10:2""#]));
    thread.send(&[7; 40]);
    assert!(thread.ends());
}
