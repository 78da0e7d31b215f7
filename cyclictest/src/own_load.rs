//! Our own loads, for machines without stress-ng. Each runs until its process is ended.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use crate::options::LoadKind;

/// Runs the load that the words name: kind, workers, directory.
///
/// # Errors
/// When the words are wrong, or the load can't go on.
pub fn run(words: &[String]) -> io::Result<()> {
    let [kind, workers, dir] = words else { return Err(io::ErrorKind::InvalidInput.into()) };
    let workers: usize = workers.parse().map_err(io::Error::other)?;
    let kind = LoadKind::All.parts().into_iter().find(|part| part.name() == kind).ok_or(io::ErrorKind::InvalidInput)?;
    let work = |_| {
        let dir = dir.clone();
        thread::spawn(move || match kind {
            LoadKind::Cpu => cpu(),
            LoadKind::Net => net(),
            LoadKind::Disk => disk(Path::new(&dir)),
            LoadKind::Inference | LoadKind::None | LoadKind::All => inference(),
        })
    };
    // One disk is written by one.
    let workers = if kind == LoadKind::Disk { 1 } else { workers.clamp(1, 1024) };
    let threads: Vec<_> = (0..workers).map(work).collect();
    threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(io::ErrorKind::Other.into())))
}

/// Arithmetic, and a walk through more memory than caches hold.
fn cpu() -> io::Result<()> {
    let mut memory = vec![0_u64; 8 << 20];
    let mut state: u64 = 1;
    loop {
        for _ in 0..1 << 16 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 41) as usize % memory.len();
            memory[at] = memory[at].wrapping_add(state);
        }
        let sum: f64 = (1..1 << 16).map(|n| f64::from(n).sqrt().sin()).sum();
        std::hint::black_box((sum, &memory));
    }
}

/// Small and large messages there and back on loopback.
fn net() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut here = TcpStream::connect(listener.local_addr()?)?;
    let (mut there, _) = listener.accept()?;
    here.set_nodelay(true)?;
    there.set_nodelay(true)?;
    thread::spawn(move || -> io::Result<()> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            match there.read(&mut bytes)? {
                0 => return Ok(()),
                n => there.write_all(&bytes[..n])?,
            }
        }
    });
    let mut bytes = vec![7; 32 << 10];
    for length in [64, 1 << 10, 32 << 10].into_iter().cycle() {
        here.write_all(&bytes[..length])?;
        here.read_exact(&mut bytes[..length])?;
    }
    Ok(())
}

/// 64 MiB, written over and over, synced every MiB.
fn disk(dir: &Path) -> io::Result<()> {
    let mut file = File::create(dir.join("load"))?;
    let bytes = vec![0x5a; 1 << 20];
    loop {
        file.seek(SeekFrom::Start(0))?;
        for _ in 0..64 {
            file.write_all(&bytes)?;
            file.sync_data()?;
        }
    }
}

/// Products of 256 × 256 matrices of float32.
fn inference() -> io::Result<()> {
    const SIDE: usize = 256;
    let a: Vec<f32> = (0..SIDE * SIDE).map(|i| (i % 17) as f32).collect();
    let mut b = a.clone();
    let mut product = vec![0_f32; SIDE * SIDE];
    loop {
        for (row, out) in a.chunks_exact(SIDE).zip(product.chunks_exact_mut(SIDE)) {
            out.fill(0.0);
            for (factor, line) in row.iter().zip(b.chunks_exact(SIDE)) {
                out.iter_mut().zip(line).for_each(|(sum, x)| *sum += factor * x);
            }
        }
        b.iter_mut().zip(&product).for_each(|(x, p)| *x = p % 17.0);
        std::hint::black_box(&product);
    }
}
