//! A request to write, as it comes over socket and MQTT: one JSON object.
//!
//! ```json
//! {"id": "42", "tag": "boiler.setpoint", "value": 21.5, "read_back": true, "timeout_ms": 500,
//!  "expires": "2026-11-21T08:15:10Z"}
//! ```
//! `expires` is RFC 3339, or milliseconds since the Unix epoch.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::config::quoted;
use crate::limits::{COMMAND_BYTES_MAX, COMMAND_ID_BYTES_MAX, NAME_BYTES_MAX, WRITE_TIMEOUT_MAX, WRITE_TIMEOUT_MIN};
use crate::tag::utc_of_text;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    Socket,
    Mqtt,
}

impl Way {
    pub const ALL: [Way; 2] = [Way::Socket, Way::Mqtt];

    pub fn name(self) -> &'static str {
        match self {
            Way::Socket => "socket",
            Way::Mqtt => "mqtt",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    pub way: Way,
    /// The user, or the output. Ids are unique among the requests of one.
    pub who: String,
    /// More of that, for the audit: the process, or the topic.
    pub from: String,
}

/// A request that can be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub id: Option<String>,
    pub tag: String,
    pub value: Json,
    pub read_back: bool,
    /// `None`: the tag's.
    pub timeout: Option<Duration>,
    /// UTC, nanoseconds since the Unix epoch.
    pub expires_utc_ns: Option<i64>,
}

/// Bytes that are no request: what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// As far as it could be read.
    pub id: Option<String>,
    pub tag: Option<String>,
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default)]
    id: Option<Json>,
    tag: String,
    value: Json,
    #[serde(default)]
    read_back: bool,
    #[serde(default)]
    timeout_ms: Option<Json>,
    #[serde(default)]
    expires: Option<Json>,
}

/// Texts of ours about JSON of theirs stay short.
const MESSAGE_CHARS_MAX: usize = 240;

impl Request {
    /// Reads one object of at most [`COMMAND_BYTES_MAX`].
    ///
    /// # Errors
    /// Anything else, with what is allowed.
    pub fn parse(bytes: &[u8]) -> Result<Request, Malformed> {
        if bytes.len() > COMMAND_BYTES_MAX {
            let message = format!("the request has {} bytes; allowed: {COMMAND_BYTES_MAX}", bytes.len());
            return Err(Malformed { id: None, tag: None, message });
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| malformed(bytes, &error))?;
        let mut request = Request {
            id: None,
            tag: wire.tag,
            value: wire.value,
            read_back: wire.read_back,
            timeout: None,
            expires_utc_ns: None,
        };
        let fault = |request: &Request, message: String| {
            let tag = (request.tag.len() <= NAME_BYTES_MAX).then(|| request.tag.clone());
            Err(Malformed { id: request.id.clone(), tag, message })
        };
        match wire.id.as_ref().map(id) {
            None => {}
            Some(Some(id)) => request.id = Some(id),
            Some(None) => {
                let allowed = format!("a string of 1 to {COMMAND_ID_BYTES_MAX} bytes without control characters");
                return fault(&request, format!("id is {}; allowed: {allowed}", found(wire.id.as_ref())));
            }
        }
        if request.tag.len() > NAME_BYTES_MAX {
            return fault(&request, format!("tag has {} bytes; allowed: {NAME_BYTES_MAX}", request.tag.len()));
        }
        if let Some(json) = &wire.timeout_ms {
            let (min_ms, max_ms) = (WRITE_TIMEOUT_MIN.0 / 1_000_000, WRITE_TIMEOUT_MAX.0 / 1_000_000);
            match json.as_u64().filter(|ms| (min_ms..=max_ms).contains(ms)) {
                Some(ms) => request.timeout = Some(Duration::from_millis(ms)),
                None => {
                    let found = found(Some(json));
                    return fault(&request, format!("timeout_ms is {found}; allowed: {min_ms} to {max_ms}"));
                }
            }
        }
        if let Some(json) = &wire.expires {
            let utc_ns = match json {
                Json::String(text) => utc_of_text(text),
                Json::Number(number) => number.as_i64().and_then(|ms| ms.checked_mul(1_000_000)),
                _ => None,
            };
            match utc_ns {
                Some(utc_ns) => request.expires_utc_ns = Some(utc_ns),
                None => {
                    let allowed = "a time such as \"2026-11-21T08:15:10Z\", or milliseconds since 1970-01-01T00:00:00Z";
                    return fault(&request, format!("expires is {}; allowed: {allowed}", found(Some(json))));
                }
            }
        }
        Ok(request)
    }
}

/// An id as a text; `None`: it is none that can be kept.
fn id(json: &Json) -> Option<String> {
    let id = match json {
        Json::String(text) => text.clone(),
        Json::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
        _ => return None,
    };
    let good = !id.is_empty() && id.len() <= COMMAND_ID_BYTES_MAX && !id.chars().any(char::is_control);
    good.then_some(id)
}

/// As messages repeat it, and short.
fn found(json: Option<&Json>) -> String {
    match json {
        None | Some(Json::Null) => "null".into(),
        Some(Json::String(text)) => quoted(text),
        Some(Json::Array(_)) => "a list".into(),
        Some(Json::Object(_)) => "an object".into(),
        Some(json) => json.to_string(),
    }
}

/// Says what is wrong, with the id if the object can be read so far, so that the answer finds its request.
fn malformed(bytes: &[u8], error: &serde_json::Error) -> Malformed {
    let object = serde_json::from_slice::<Json>(bytes).ok();
    let id = object.as_ref().and_then(|object| id(object.get("id")?));
    let tag = object.as_ref().and_then(|object| object.get("tag")?.as_str().map(str::to_owned));
    let mut message = match object {
        Some(Json::Object(_)) => format!("the request is invalid: {error}"),
        Some(_) => "the request is not a JSON object".to_owned(),
        None => format!("the request is not JSON: {error}"),
    };
    if message.chars().count() > MESSAGE_CHARS_MAX {
        message = message.chars().take(MESSAGE_CHARS_MAX).chain(['…']).collect();
    }
    message += r#"; allowed: {"id": "…", "tag": "…", "value": …, "read_back": true, "timeout_ms": …, "expires": "…"}"#;
    Malformed { id, tag: tag.filter(|tag| tag.len() <= NAME_BYTES_MAX), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(json: &str) -> Result<Request, Malformed> {
        Request::parse(json.as_bytes())
    }

    fn fault(json: &str) -> String {
        parse(json).unwrap_err().message
    }

    #[test]
    fn the_shortest_and_the_longest_request_are_read() {
        let short = parse(r#"{"tag": "a", "value": true}"#).unwrap();
        let expected = Request {
            id: None,
            tag: "a".into(),
            value: json!(true),
            read_back: false,
            timeout: None,
            expires_utc_ns: None,
        };
        assert_eq!(short, expected);
        let long = r#"{"id": 42, "tag": "a", "value": [1, 2.5], "read_back": true, "timeout_ms": 500,
                       "expires": 1000}"#;
        let expected = Request {
            id: Some("42".into()),
            value: json!([1, 2.5]),
            read_back: true,
            timeout: Some(Duration::from_millis(500)),
            expires_utc_ns: Some(1_000_000_000),
            ..expected
        };
        assert_eq!(parse(long).unwrap(), expected);
        let text = parse(r#"{"tag": "a", "value": 1, "expires": "1970-01-01T00:00:01Z"}"#).unwrap();
        assert_eq!(text.expires_utc_ns, expected.expires_utc_ns);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_allowed() {
        assert!(fault("").contains("not JSON"));
        assert!(fault("[]").contains("not a JSON object"));
        assert!(fault(r#"{"value": 1}"#).contains("missing field `tag`"));
        assert!(fault(r#"{"tag": "a"}"#).contains("missing field `value`"));
        assert!(fault(r#"{"tag": "a", "value": 1, "valeu": 2}"#).contains("unknown field `valeu`, expected one of"));
        assert!(fault(r#"{"tag": "a", "value": 1, "value": 2}"#).contains("duplicate field `value`"));
        assert!(fault(r#"{"tag": "a", "value": 1e999}"#).contains("number out of range"));
        assert!(fault(r#"{"tag": "a", "value": NaN}"#).contains("not JSON"));
        assert!(fault(r#"{"tag": "a", "value": 1, "id": ""}"#).starts_with("id is \"\"; allowed: a string of 1 to 64"));
        assert!(fault(r#"{"tag": "a", "value": 1, "timeout_ms": 0}"#).contains("allowed: 10 to 60000"));
        assert!(fault(r#"{"tag": "a", "value": 1, "expires": "soon"}"#).starts_with("expires is \"soon\"; allowed:"));
        assert!(fault(r#"{"tag": "a", "value": 1, "expires": 9223372036854775807}"#).contains("allowed"));
        assert!(fault(&format!(r#"{{"tag": "{}", "value": 1}}"#, "x".repeat(129))).contains("129 bytes"));
        assert!(fault(&format!(r#"{{"tag": "a", "value": "{}"}}"#, "x".repeat(COMMAND_BYTES_MAX))).contains("allowed"));
        assert!(fault(&"[".repeat(20_000)).len() < 600, "no deep recursion, no long message");
    }

    #[test]
    fn a_wrong_request_is_answered_under_its_id() {
        let fault = parse(r#"{"id": "7", "tag": "a"}"#).unwrap_err();
        assert_eq!((fault.id.as_deref(), fault.tag.as_deref()), (Some("7"), Some("a")));
        assert_eq!(parse(r#"{"id": {}, "tag": "a", "value": 1}"#).unwrap_err().id, None);
    }

    proptest! {
        #[test]
        fn bytes_never_panic(bytes: Vec<u8>) {
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn texts_like_requests_never_panic(text in r#"[\{\}\[\]":,a-z0-9.eE+\-\\u ]{0,120}"#) {
            let _ = Request::parse(text.as_bytes());
        }
    }
}
