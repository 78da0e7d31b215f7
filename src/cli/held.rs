//! Tags of devices that a running gateway holds: `read` takes them from its process image, instead of a second connection.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::ask::{AskError, ask};
use super::rows;
use crate::limits::QUESTION_TAGS_MAX;

/// What a gateway at this socket holds of these tags, by name; empty where none runs.
pub fn held(socket: &Path, names: &[String]) -> HashMap<String, Json> {
    let mut found = HashMap::new();
    for some in names.chunks(QUESTION_TAGS_MAX) {
        let asked = ask(socket, &json!({ "ask": "get", "tags": some }), false);
        let answered = asked.and_then(|mut answer| {
            answer.each(|row| drop(found.insert(rows::text(row, "tag").to_owned(), row.clone())))
        });
        match answered {
            Ok(_) => {}
            Err(AskError::NoGateway(_)) => return HashMap::new(),
            Err(AskError::Failed(why)) => {
                note!(
                    "warning: a gateway may be connected to the devices but cannot be queried: {why}; the devices \
                     are read directly"
                );
                return HashMap::new();
            }
        }
    }
    if !found.is_empty() {
        let of = if found.len() == names.len() { "" } else { " some of" };
        note!(
            "the running gateway reads{of} the devices: values are from its process image ({}); --direct reads the \
             devices",
            socket.display()
        );
    }
    found
}
