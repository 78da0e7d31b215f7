//! The process image under every interleaving and every reordering that the C11 memory model allows.
//!
//! The file under test is the gateway's own; only the atomics below are the model checker's.

// Without a test harness the file's own tests, which use real threads, are not collected.
#[allow(dead_code, unused_imports, reason = "a model uses a part of the image")]
#[path = "../../src/engine/lane/image.rs"]
mod image;

#[allow(dead_code, unused_imports, reason = "a model uses a part of it")]
#[path = "../../src/engine/lane/pages.rs"]
mod pages;

mod sync {
    pub use loom::sync::atomic::{AtomicU64, Ordering, fence};

    /// Enough to see a write and its end; each further try multiplies the interleavings.
    pub const READ_TRIES_MAX: usize = 2;

    pub const IMAGE_TAGS_MAX: usize = 2;
    pub const IMAGE_PAGE_SLOTS: usize = 1;
}

use image::{Image, Reading};
use loom::sync::Arc;
use loom::thread;

/// Every interleaving with up to this many forced switches of threads, so that the models end within seconds.
const SWITCHES_MAX: usize = 2;

fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(SWITCHES_MAX);
    builder.check(body);
}

fn reading(n: u32) -> Reading {
    Reading { t: u64::from(n), value: u64::from(n) * 10, status: n, cycle: n }
}

fn a_reader_sees_whole_readings_in_order() {
    model(|| {
        let image = Arc::new(Image::new([0], 0));
        let writer = {
            let image = image.clone();
            thread::spawn(move || {
                image.write(0, reading(1));
                image.write(0, reading(2));
            })
        };
        let seen: Vec<u64> = (0..2)
            .filter_map(|_| image.read(0))
            .map(|r| {
                assert_eq!((r.value, u64::from(r.status), u64::from(r.cycle)), (r.t * 10, r.t, r.t));
                r.t
            })
            .collect();
        assert!(seen.is_sorted(), "a later look shows no older reading");
        writer.join().unwrap();
        assert_eq!(image.read(0), Some(reading(2)), "the last write is there");
    });
}

fn a_reader_sees_the_bytes_that_belong_to_their_header() {
    model(|| {
        let image = Arc::new(Image::new([8], 0));
        let writer = {
            let image = image.clone();
            thread::spawn(move || image.write_long(0, reading(7), &[7; 8]))
        };
        let mut bytes = [0u8; 8];
        if let Some(r) = image.read_long(0, &mut bytes) {
            assert_eq!(bytes, [r.t as u8; 8]);
        }
        writer.join().unwrap();
    });
}

fn two_readers_do_not_disturb_the_writer() {
    model(|| {
        let image = Arc::new(Image::new([0], 0));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let image = image.clone();
                thread::spawn(move || {
                    if let Some(r) = image.read(0) {
                        assert_eq!(r.value, r.t * 10);
                    }
                })
            })
            .collect();
        image.write(0, reading(3));
        for reader in readers {
            reader.join().unwrap();
        }
        assert_eq!(image.read(0), Some(reading(3)));
    });
}

fn main() {
    a_reader_sees_whole_readings_in_order();
    a_reader_sees_the_bytes_that_belong_to_their_header();
    two_readers_do_not_disturb_the_writer();
    println!("3 passed, 0 failed");
}
