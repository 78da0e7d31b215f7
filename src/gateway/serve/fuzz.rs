//! Any bytes as the head of an HTTP request, and as lines of the control socket.

pub use super::http::fuzz as requests;

use super::ask::Question;

pub fn control(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        if let Some(Err(message)) = Question::parse(line.trim_ascii()) {
            assert!(message.len() < 2_048, "{}", message.len());
        }
    }
    crate::command::fuzz::lines(bytes);
}
