//! Any bytes as what a server answers to a write.

use hyper::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};

use super::answer::{self, Failure, Names};
use super::form::Lines;
use super::parts::Parts;
use crate::engine::{Again, Failed};
use crate::http::Answer;
use crate::limits::{HTTP_ANSWER_TOLD_BYTES_MAX, HTTP_RETRY_AFTER_MAX};
use crate::store::Position;

const LINES: usize = 10;

/// The first byte chooses the status, the second cuts headers from the body.
pub fn answers(bytes: &[u8]) {
    let [status, cut, rest @ ..] = bytes else { return };
    let (header, body) = rest.split_at(usize::from(*cut).min(rest.len()));
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(header) {
        headers.insert(RETRY_AFTER, value.clone());
        headers.insert(LOCATION, value);
    }
    const STATUSES: [u16; 12] = [200, 204, 302, 400, 401, 404, 413, 418, 422, 429, 500, 503];
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let answer = Answer { status, headers, body: body.to_vec() };
    let names = Names { address: "db:8086", credentials: "", store: "database \"d\"", path: "/write" };
    let mut lines = Lines::default();
    for i in 0..LINES {
        lines.body.extend(format!("m value={i} 1\n").bytes());
        lines.ends.push(lines.body.len() as u32);
    }
    let mut parts = Parts::new(lines, Position::default());
    let mut requests = 0;
    while parts.next().is_some() {
        requests += 1;
        assert!(requests < 4 * LINES, "it comes to an end");
        let verdict = match answer::verdict(&answer, &names) {
            Ok(verdict) => verdict,
            Err(failure) => return check(&failure),
        };
        if parts.settle(verdict, |bad| assert!(bad.text.len() < 2 * HTTP_ANSWER_TOLD_BYTES_MAX)).is_err() {
            assert_eq!(parts.refused, 0);
            return;
        }
    }
    assert!(parts.refused <= LINES as u64);
}

fn check(failure: &Failure) {
    assert!(failure.to_string().len() < 4 * HTTP_ANSWER_TOLD_BYTES_MAX);
    if let Again::After(pause) = failure.again() {
        assert!(pause <= HTTP_RETRY_AFTER_MAX);
    }
}
