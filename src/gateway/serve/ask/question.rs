//! A question as it comes: see the module above.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::limits::QUESTION_TAGS_MAX;
use crate::tag::Globs;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::serve) enum What {
    Status,
    List,
    Get,
    Live,
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            What::Status => "status",
            What::List => "list",
            What::Get => "get",
            What::Live => "live",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::serve) struct Question {
    #[serde(rename = "ask")]
    pub(super) what: What,
    /// Names and patterns; none: all.
    #[serde(default)]
    pub(super) tags: Vec<String>,
}

/// Whatever has this key is a question; a write has none.
#[derive(Deserialize)]
struct Mark {
    ask: Option<IgnoredAny>,
}

impl Question {
    /// `None`: the line is no question. `Err`: it is one that cannot be answered, and why.
    pub(in crate::serve) fn parse(line: &[u8]) -> Option<Result<Question, String>> {
        // Without the text in it there is no need to read it twice.
        line.windows(5).any(|part| part == b"\"ask\"").then_some(())?;
        serde_json::from_slice::<Mark>(line).ok()?.ask?;
        Some(Question::read(line))
    }

    fn read(line: &[u8]) -> Result<Question, String> {
        let question: Question = serde_json::from_slice(line).map_err(|error| {
            let mut what = error.to_string();
            if what.chars().count() > 200 {
                what = what.chars().take(200).chain(['…']).collect();
            }
            format!(
                r#"the question is invalid: {what}; allowed: {{"ask": "status" | "list" | "get" | "live", \
                "tags": ["…"]}}"#
            )
        })?;
        let (tags, patterns) = (question.tags.len(), Globs::new(&question.tags).patterns());
        if tags > QUESTION_TAGS_MAX {
            return Err(format!("the question names {tags} tags or patterns; allowed: {QUESTION_TAGS_MAX}"));
        }
        if patterns > PATTERNS_MAX {
            return Err(format!("the question has {patterns} patterns with *; allowed: {PATTERNS_MAX}"));
        }
        Ok(question)
    }
}

/// Each is held against every tag's name.
const PATTERNS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Option<Result<Question, String>> {
        Question::parse(text.as_bytes())
    }

    #[test]
    fn what_has_no_ask_is_no_question() {
        for text in ["", "x", "[]", r#"{"tag":"ask","value":1}"#, r#"{"tag":"a","value":"\"ask\""}"#, r#"{"ask":"#] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn questions_are_read_and_faults_say_what_is_allowed() {
        let get = parse(r#"{"ask": "get", "tags": ["a.*"]}"#).unwrap().unwrap();
        assert_eq!(get, Question { what: What::Get, tags: vec!["a.*".into()] });
        assert_eq!(parse(r#"{"ask":"status"}"#).unwrap().unwrap().tags.len(), 0);
        let fault = |text: &str| parse(text).unwrap().unwrap_err();
        assert!(
            fault(r#"{"ask":"gett"}"#).contains("unknown variant `gett`") && fault(r#"{"ask":5}"#).contains("allowed:")
        );
        assert!(fault(r#"{"ask":"get","tag":"a"}"#).contains("unknown field `tag`"));
        let many = |text: &str, count| serde_json::json!({"ask": "get", "tags": vec![text; count]}).to_string();
        assert!(fault(&many("a*", PATTERNS_MAX + 1)).ends_with("allowed: 64"));
        assert!(fault(&many("a", QUESTION_TAGS_MAX + 1)).contains("allowed: 1024"));
        assert!(parse(&many("a", QUESTION_TAGS_MAX)).unwrap().is_ok());
    }

    proptest! {
        #[test]
        fn texts_like_questions_never_panic(text in r#"\{"ask":[\{\}\[\]":,a-z0-9*\\u ]{0,120}"#) {
            let _ = parse(&text);
        }
    }
}
