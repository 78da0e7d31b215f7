//! Answers to write requests.

use serde::Serialize;
use serde_json::Value as Json;

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The device confirmed it; with read-back, it holds the value.
    Done,
    /// Nothing was sent: what was asked for is not allowed, or not now.
    Refused,
    /// It was allowed, and was not done, or it is not known whether it was; the reason tells which.
    Failed,
}

impl Outcome {
    pub const ALL: [Outcome; 3] = [Outcome::Done, Outcome::Refused, Outcome::Failed];

    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $word:literal $outcome:ident,)*) => {
        /// Why a write was not done: a word for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            pub const ALL: &[Reason] = &[$(Reason::$name),*];

            pub fn word(self) -> &'static str {
                match self {
                    $(Reason::$name => $word,)*
                }
            }

            pub fn outcome(self) -> Outcome {
                match self {
                    $(Reason::$name => Outcome::$outcome,)*
                }
            }
        }
    };
}

reasons! {
    /// The request is none.
    Malformed "malformed" Refused,
    TooLarge "too_large" Refused,
    /// The broker refuses answers on the topic that the requester wants them on.
    ResponseTopic "response_topic" Refused,
    UnknownTag "unknown_tag" Refused,
    /// The tag's file does not say that it may be written.
    ReadOnly "read_only" Refused,
    WrongType "wrong_type" Refused,
    OutOfRange "out_of_range" Refused,
    /// The change is larger than the tag allows in one write.
    StepTooLarge "step_too_large" Refused,
    /// The tag has a largest step, and no good value from which it could be measured.
    NoGoodValue "no_good_value" Refused,
    /// The tag, or the gateway, was written too shortly before.
    TooFast "too_fast" Refused,
    /// Its `expires` has passed, or lies too far ahead.
    Expired "expired" Refused,
    /// Its id may have been used: it is older than what is remembered.
    OldId "old_id" Refused,
    /// The same id is under way.
    UnderWay "under_way" Refused,
    /// A retained MQTT message would be done again at each reconnect.
    Retained "retained" Refused,
    /// A new configuration is being adopted.
    Reloading "reloading" Refused,
    /// Too many requests wait.
    Busy "busy" Refused,
    /// The journal can't take the record without which nothing is written.
    NoRecord "no_record" Refused,
    Stopping "stopping" Refused,
    /// Not sent: the link has no connection.
    NoConnection "no_connection" Failed,
    /// Not sent: its turn did not come in time.
    NotSent "not_sent" Failed,
    /// Not sent: a new configuration came in between.
    PlanChanged "plan_changed" Failed,
    /// The device answered with an error.
    DeviceRefused "device_refused" Failed,
    /// Sent, and the answer is none; the device may have taken it.
    WrongReply "wrong_reply" Failed,
    /// Sent, and not answered; the device may have taken it.
    NoReply "no_reply" Failed,
    /// The connection was lost after it was sent; the device may have taken it.
    ConnectionLost "connection_lost" Failed,
    /// The device confirmed it and holds another value.
    ReadBackDiffers "read_back_differs" Failed,
    /// The device confirmed it, and could not be asked what it holds.
    NotReadBack "not_read_back" Failed,
    /// The gateway itself gave no answer in time; the device may have taken it.
    NoAnswer "no_answer" Failed,
}

/// The answer to one request, as it goes over socket and MQTT.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    pub outcome: Outcome,
    /// [`Reason::word`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What was found and what is allowed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The newest value before the write, and its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_status: Option<&'static str>,
    /// The value that was to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Json>,
    /// What the device held afterwards, where it was read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_back: Option<Json>,
    /// From the request's arrival to this answer.
    pub took_ms: f64,
    /// The id was used before: this is the answer of then, and nothing was written now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
}

impl Answer {
    pub fn of(id: Option<String>, tag: Option<String>, outcome: Outcome) -> Answer {
        Answer {
            id,
            tag,
            outcome,
            reason: None,
            message: None,
            old: None,
            old_status: None,
            new: None,
            read_back: None,
            took_ms: 0.0,
            repeated: false,
        }
    }

    pub fn with_reason(self, reason: Reason, message: impl Into<String>) -> Answer {
        Answer { outcome: reason.outcome(), reason: Some(reason.word()), message: Some(message.into()), ..self }
    }

    /// Nothing was looked at yet.
    pub fn refused(id: Option<String>, tag: Option<String>, reason: Reason, message: impl Into<String>) -> Answer {
        Answer::of(id, tag, Outcome::Refused).with_reason(reason, message)
    }

    /// One line of JSON, without its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let json = |json: &Option<Json>| json.as_ref().map_or(0, json_bytes);
        size_of::<Answer>()
            + text(&self.id)
            + text(&self.tag)
            + text(&self.message)
            + json(&self.old)
            + json(&self.new)
            + json(&self.read_back)
    }
}

fn json_bytes(json: &Json) -> usize {
    match json {
        Json::String(text) => text.len(),
        Json::Array(elements) => elements.iter().map(|element| size_of::<Json>() + json_bytes(element)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_has_only_what_there_is_to_tell() {
        let done = Answer::of(Some("7".into()), Some("a".into()), Outcome::Done);
        let done = Answer { old: Some(json!(1)), old_status: Some("Good"), new: Some(json!(2)), took_ms: 12.5, ..done };
        assert_eq!(
            done.to_json(),
            r#"{"id":"7","tag":"a","outcome":"done","old":1,"old_status":"Good","new":2,"took_ms":12.5}"#
        );
        let refused = Answer::refused(None, None, Reason::Malformed, "no \"tag\"");
        assert_eq!(
            refused.to_json(),
            r#"{"outcome":"refused","reason":"malformed","message":"no \"tag\"","took_ms":0.0}"#
        );
    }

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let mut words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().all(|reason| reason.outcome() != Outcome::Done));
    }
}
