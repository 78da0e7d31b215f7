//! What a server's answer to a write means.

use std::time::Duration;

use hyper::header::LOCATION;

use crate::OutputError;
use crate::engine::{Again, Failed};
use crate::http::Answer;
use crate::limits::{HTTP_ANSWER_TOLD_BYTES_MAX, HTTP_REFUSED_PAUSE, HTTP_RETRY_AFTER_MAX};
use crate::peer;

/// Why nothing of a request is known to be taken: it is sent again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Connection(#[from] peer::Failure),
    #[error("{0}")]
    Files(#[from] OutputError),
    /// Only a person can help: rights, no such database, another address.
    #[error("{0}")]
    Refused(String),
    /// For a while.
    #[error("{text}")]
    Busy { text: String, after: Option<Duration> },
}

impl Failed for Failure {
    fn again(&self) -> Again {
        match self {
            Failure::Refused(_) | Failure::Files(_) => Again::After(HTTP_REFUSED_PAUSE),
            Failure::Busy { after: Some(pause), .. } => Again::After((*pause).min(HTTP_RETRY_AFTER_MAX)),
            Failure::Busy { after: None, .. } | Failure::Connection(_) => Again::Growing,
        }
    }
}

/// What became of the lines of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// All but some lines; how many, if the server says.
    AllBut {
        dropped: Option<u64>,
        text: String,
    },
    /// None; `is_of_lines`: because of what stands in some of them.
    None {
        text: String,
        is_of_lines: bool,
    },
    TooLarge,
}

/// Who writes, and where to: for messages.
pub(super) struct Names<'a> {
    pub(super) address: &'a str,
    /// The token's file or the user, with what to do.
    pub(super) credentials: &'a str,
    /// `database "x"`, `bucket "x" of organisation "y"`.
    pub(super) store: &'a str,
    pub(super) path: &'a str,
}

pub(super) fn verdict(answer: &Answer, names: &Names<'_>) -> Result<Verdict, Failure> {
    let Names { address, credentials, store, path } = names;
    let text = text_of(answer);
    let said = if text.is_empty() { String::new() } else { format!(": {text}") };
    let status = answer.status;
    match status {
        200..=299 => Ok(Verdict::Taken),
        300..=399 => {
            let to = answer.headers.get(LOCATION).map(|to| cut(&String::from_utf8_lossy(to.as_bytes())));
            let to = to.map_or_else(String::new, |to| format!(" to {to}"));
            Err(Failure::Refused(format!(
                "{address} redirects ({status}){to}; redirects are not followed: write the final address in `url`"
            )))
        }
        400 | 422 => Ok(match dropped_of(&text) {
            Some(dropped) => Verdict::AllBut { dropped, text },
            None => Verdict::None { is_of_lines: is_of_lines(&text), text },
        }),
        401 | 403 => {
            Err(Failure::Refused(format!("{address} refuses the write to {store} ({status}){said}; {credentials}")))
        }
        404 => Err(Failure::Refused(format!(
            "{address} does not know {store}, or has no {path} (404){said}; create it there, or correct the names \
             and `url`"
        ))),
        413 => Ok(Verdict::TooLarge),
        429 | 503 => {
            let after = answer.retry_after();
            let pause = after.map_or_else(String::new, |pause| format!("; retry after {} s", pause.as_secs()));
            Err(Failure::Busy { text: format!("{address} accepts no writes for now ({status}){said}{pause}"), after })
        }
        408 | 500..=599 => {
            Err(Failure::Busy { text: format!("{address} failed ({status}){said}; look at its log"), after: None })
        }
        _ => Err(Failure::Refused(format!("{address} answers a write with {status}{said}; check `url`"))),
    }
}

/// What the server says: InfluxDB 1 in `error`, InfluxDB 2 in `message`; else the beginning of the answer. One line.
fn text_of(answer: &Answer) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let member = |key| json.as_ref().and_then(|json| json.get(key)).and_then(serde_json::Value::as_str);
    match member("error").or_else(|| member("message")) {
        Some(text) => cut(text),
        None => cut(&String::from_utf8_lossy(&answer.body)),
    }
}

pub(super) fn cut(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        if out.len() >= HTTP_ANSWER_TOLD_BYTES_MAX {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

/// `partial write: …: dropped=3`: the outer `Some` says that it is a partial write, the inner one how many are not taken.
fn dropped_of(text: &str) -> Option<Option<u64>> {
    if !text.contains("partial write") {
        return None;
    }
    let digits = text.rsplit_once("dropped=").map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    Some(digits.flatten().and_then(|digits| digits.parse().ok()).filter(|dropped| *dropped > 0))
}

/// Whether the text speaks of lines, as against the request or the database as a whole.
fn is_of_lines(text: &str) -> bool {
    [
        "unable to parse",
        "field type conflict",
        "line protocol",
        "invalid field",
        "points beyond retention",
        "max-values",
    ]
    .iter()
    .any(|part| text.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER};

    fn of(status: u16, body: &str, headers: HeaderMap) -> Result<Verdict, Failure> {
        let names = Names {
            address: "db:8086",
            credentials: "check `token_file` /etc/t",
            store: "bucket \"plant\"",
            path: "/api/v2/write",
        };
        verdict(&Answer { status, headers, body: body.into() }, &names)
    }

    fn plain(status: u16, body: &str) -> Result<Verdict, Failure> {
        of(status, body, HeaderMap::new())
    }

    #[test]
    fn a_partial_write_tells_how_many_lines_are_not_taken() {
        let text = r#"partial write: field type conflict: input field "value" on measurement "m" is type float, already exists as type integer dropped=3"#;
        let body = serde_json::json!({ "error": text }).to_string();
        let all_but = |dropped| Verdict::AllBut { dropped, text: text.replace("dropped=3", "") };
        match plain(400, &body).unwrap() {
            Verdict::AllBut { dropped: Some(3), text } => assert!(text.contains("field type conflict"), "{text}"),
            other => panic!("{other:?} is not {:?}", all_but(Some(3))),
        }
        let unparsed = r#"{"error":"partial write: unable to parse 'x': missing fields dropped=0"}"#;
        assert!(matches!(plain(400, unparsed).unwrap(), Verdict::AllBut { dropped: None, .. }));
        let second = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: points beyond retention policy dropped=7"}"#;
        assert!(matches!(plain(422, second).unwrap(), Verdict::AllBut { dropped: Some(7), .. }));
    }

    #[test]
    fn a_refusal_of_lines_is_told_from_one_of_the_request() {
        let lines = plain(400, r#"{"error":"unable to parse 'x': missing fields"}"#).unwrap();
        assert!(matches!(lines, Verdict::None { is_of_lines: true, .. }));
        let request = plain(400, r#"{"error":"database is required"}"#).unwrap();
        assert!(matches!(request, Verdict::None { is_of_lines: false, .. }));
    }

    #[test]
    fn what_only_a_person_can_help_with_says_what_to_do_and_waits_longer() {
        let mut to = HeaderMap::new();
        to.insert(LOCATION, HeaderValue::from_static("https://db/"));
        for (answer, parts) in [
            (
                plain(401, r#"{"code":"unauthorized","message":"unauthorized access"}"#),
                ["token_file", "unauthorized access"],
            ),
            (plain(404, r#"{"error":"database not found: \"x\""}"#), ["bucket \"plant\"", "database not found"]),
            (of(301, "", to), ["redirects (301) to https://db/", "`url`"]),
        ] {
            let failure = answer.unwrap_err();
            let text = failure.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert_eq!(failure.again(), Again::After(HTTP_REFUSED_PAUSE));
        }
    }

    #[test]
    fn a_busy_server_gets_the_pause_that_it_asks_for_within_bounds() {
        let asks = |seconds: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
            of(429, "slow down", headers).unwrap_err().again()
        };
        assert_eq!(asks("7"), Again::After(Duration::from_secs(7)));
        assert_eq!(asks("999999"), Again::After(HTTP_RETRY_AFTER_MAX));
        assert_eq!(plain(503, "").unwrap_err().again(), Again::Growing);
        assert_eq!(plain(500, "boom").unwrap_err().again(), Again::Growing);
    }

    #[test]
    fn an_answer_of_any_bytes_is_told_in_one_bounded_line() {
        let text = plain(500, &"a\nb\0\u{1b}[31m".repeat(10_000)).unwrap_err().to_string();
        assert!(text.len() < 2 * HTTP_ANSWER_TOLD_BYTES_MAX && !text.chars().any(char::is_control), "{text}");
    }
}
