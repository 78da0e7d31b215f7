//! Questions over the control socket: how the gateway is, what its tags are and what they hold.
//!
//! A question is one JSON object on a line, as a write is; it has the key `ask`. Its answer is lines of JSON; after them the
//! gateway closes the connection. Who may connect may ask.
//!
//! | question | answer |
//! |---|---|
//! | `{"ask":"status"}` | one object |
//! | `{"ask":"list","tags":["boiler.*"]}` | an object for each tag, then `{"end":true,"tags":12}` |
//! | `{"ask":"get","tags":["boiler.*"]}` | the same, with the latest values |
//! | `{"ask":"live","tags":["boiler.*"]}` | `{"live":true}`, then an object for each sample as it comes |
//!
//! `tags` has names, and patterns in which `*` stands for any characters; without it, all are meant. What is asked for and is
//! not there is named in the last line (of `live`: the first), `"unknown":["boiler.x"]`. A live reader that is too slow is told what it missed, of
//! all tags: `{"lost":250}`; the last line, where there is one, is `{"end":true,"why":"the gateway stops"}`. A question that
//! is not answered gets `{"error":"what is wrong; allowed: …"}`.
//!
//! Each question has a thread of its own, of which there is a bounded number: an answer of a hundred thousand lines, or one
//! to a client that does not read, holds nothing else up. Nobody makes more of an answer than a buffer holds before the client
//! has taken the part before.
//!
//! | file | subject |
//! |---|---|
//! | `question` | the question as JSON |
//! | `lines` | the answer on its way out |
//! | `rows` | a tag, and a tag's value, as one line |
//! | `status` | the state of everything |
//! | `live` | samples as they come |

mod lines;
mod live;
mod question;
mod rows;
mod status;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use serde_json::{Value as Json, json};

use super::Observed;
use crate::limits::{LIVE_QUEUE_BATCHES, LIVE_READERS_MAX, QUESTIONS_MAX};
use crate::plan::Plan;
use crate::tag::{Globs, glob_has};
use lines::Lines;
pub(super) use question::Question;
use question::What;

/// Questions that are being answered.
pub(super) struct Questions {
    observed: Arc<Observed>,
    stop: Arc<AtomicBool>,
    running: Vec<Running>,
}

struct Running {
    what: What,
    thread: JoinHandle<()>,
}

impl Questions {
    pub(super) fn new(observed: Arc<Observed>) -> Questions {
        Questions { observed, stop: Arc::default(), running: Vec::new() }
    }

    /// Answers from a thread of its own, or says here and now why not. `who`: the one who asks.
    pub(super) fn begin(&mut self, question: Result<Question, String>, socket: &UnixStream, who: String) {
        self.running.retain(|running| !running.thread.is_finished());
        let begun = question.and_then(|question| {
            self.has_room(question.what)?;
            self.spawn(question, socket, who)
                .map_err(|error| format!("the gateway cannot start another answer ({error}); retry later"))
        });
        match begun {
            Ok(running) => self.running.push(running),
            // As far as that goes without waiting.
            Err(message) => drop((&mut &*socket).write(format!("{}\n", json!({ "error": message })).as_bytes())),
        }
    }

    fn has_room(&self, what: What) -> Result<(), String> {
        let (max, one) = match what {
            What::Live => (LIVE_READERS_MAX, "live reader"),
            _ => (QUESTIONS_MAX, "question"),
        };
        let is_live = what == What::Live;
        let others = self.running.iter().filter(|running| (running.what == What::Live) == is_live).count();
        match others < max {
            true => Ok(()),
            false => Err(format!("there are {others} {one}s already; allowed: {max}; retry later")),
        }
    }

    fn spawn(&self, question: Question, socket: &UnixStream, who: String) -> io::Result<Running> {
        let socket = socket.try_clone()?;
        let (what, observed, stop) = (question.what, self.observed.clone(), self.stop.clone());
        let answer = move || {
            // A client that is gone, or takes nothing for too long, gets no more.
            let _ = answer(&question, &observed, &socket, &stop, who);
        };
        let thread = std::thread::Builder::new().name(format!("ask-{}", what.name())).spawn(answer)?;
        Ok(Running { what, thread })
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // Each looks at it several times a second, also while it waits for its client.
        for running in self.running.drain(..) {
            let _ = running.thread.join();
        }
    }
}

fn answer(
    question: &Question,
    observed: &Observed,
    socket: &UnixStream,
    stop: &AtomicBool,
    who: String,
) -> io::Result<()> {
    match question.what {
        What::Status => {
            let mut lines = Lines::new(socket, stop)?;
            lines.line(&status::of(observed))?;
            lines.flush()
        }
        What::List | What::Get => tags(question, observed, &mut Lines::new(socket, stop)?),
        What::Live => {
            let tap = observed.taps.subscribe(who, LIVE_QUEUE_BATCHES);
            let mut lines = Lines::patient(socket, stop)?;
            let mut begun = json!({ "live": true });
            name_unknown(question, &observed.plan(), &mut begun);
            lines.line(&begun)?;
            lines.flush()?;
            live::follow(&tap, &Globs::new(&question.tags), &mut lines)
        }
    }
}

/// A line for each tag that is meant, in the order of the plan, and the end.
fn tags(question: &Question, observed: &Observed, lines: &mut Lines<'_>) -> io::Result<()> {
    let globs = Globs::new(&question.tags);
    let plan = observed.plan();
    let mut values = (question.what == What::Get).then(|| rows::Values::new(observed, &plan));
    let mut count = 0;
    for (id, tag) in plan.tags.iter().filter(|(_, tag)| globs.has(&tag.name)) {
        count += 1;
        match &mut values {
            Some(values) => lines.line(&values.row(id, tag))?,
            None => lines.line(&rows::described(&plan, tag))?,
        }
    }
    let mut end = json!({ "end": true, "tags": count });
    name_unknown(question, &plan, &mut end);
    lines.line(&end)?;
    lines.flush()
}

/// Says in a line what is asked for and not there.
fn name_unknown(question: &Question, plan: &Plan, line: &mut Json) {
    let is_known = |asked: &&String| plan.tags.values().any(|tag| glob_has(asked, &tag.name));
    let unknown: Vec<String> = question.tags.iter().filter(|asked| !is_known(asked)).cloned().collect();
    if !unknown.is_empty() {
        line["unknown"] = Json::from(unknown);
    }
}

#[cfg(test)]
mod tests;
