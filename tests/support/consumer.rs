//! `examples/consumer.py`, which knows nothing but the messages.

use std::io::Write;
use std::process::{Command, Stdio};

/// What it makes of these messages, each a topic and a payload: samples, repeats, losses and missing ones.
pub fn consumed<'l>(lines: impl IntoIterator<Item = &'l String>) -> [u64; 4] {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/consumer.py");
    let mut consumer = Command::new("python3");
    let piped = consumer.args([script, "--count"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for line in lines {
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{text:?}, {}", out.status))
}
