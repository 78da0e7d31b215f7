//! Messages about a link: each fault once in the log, and its current state on request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::rt::CloseReason;
use crate::tag::{Cause, LinkId};

/// What is known of a link's connection, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkNote {
    /// Why it is not connected, or was not a moment ago; empty when it is.
    pub trouble: String,
    /// Attempts that failed, and connections that did not last, since the last good one.
    pub failures: u32,
}

/// Of every link that is to be connected. Written by the connector, read by whoever shows it; never touched by
/// the floor.
pub type LinkNotes = Arc<Mutex<BTreeMap<LinkId, LinkNote>>>;

/// Tells of one link.
pub struct Teller {
    link: LinkId,
    name: Arc<str>,
    notes: LinkNotes,
    /// What was last told in the log, to tell each trouble once.
    told: Option<String>,
    /// There is trouble, told or not, in the notes.
    is_noted: bool,
    /// That the device closes its connections was told.
    told_of_closes: bool,
    /// Connections in a row on which nothing was answered as it should be. Between two of them all may have seemed well;
    /// their trouble is told the first time, the second, the fourth, and so on.
    unanswered: u32,
}

impl Teller {
    /// Of a link that is new, or has a new target: nothing is known of it.
    pub fn new(link: LinkId, name: Arc<str>, notes: LinkNotes) -> Teller {
        let teller = Teller { link, name, notes, told: None, is_noted: false, told_of_closes: false, unanswered: 0 };
        teller.note(|note| *note = LinkNote::default());
        teller
    }

    fn note(&self, change: impl FnOnce(&mut LinkNote)) {
        if let Ok(mut notes) = self.notes.lock() {
            change(notes.entry(self.link).or_default());
        }
    }

    /// Each trouble goes to the log once; the notes keep count.
    pub fn trouble(&mut self, trouble: &str) {
        self.trouble_of_kind(trouble, trouble);
    }

    /// A connection was given up, on which nothing was answered as it should be. What `trouble` says may hold figures that
    /// change; `kind` does not.
    pub fn unanswered(&mut self, kind: &str, trouble: &str) {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered.is_power_of_two() {
            self.trouble_of_kind(kind, trouble);
        } else {
            self.note_trouble(trouble);
        }
    }

    /// Something was answered.
    pub fn answered(&mut self) {
        self.unanswered = 0;
    }

    fn trouble_of_kind(&mut self, kind: &str, trouble: &str) {
        if self.told.as_deref() != Some(kind) {
            tracing::warn!("link \"{}\": {trouble}; retrying until it works", self.name);
            self.told = Some(kind.to_owned());
        }
        self.note_trouble(trouble);
    }

    fn note_trouble(&mut self, trouble: &str) {
        self.is_noted = true;
        self.note(|note| {
            note.failures = note.failures.saturating_add(1);
            trouble.clone_into(&mut note.trouble);
        });
    }

    /// A connection came about. After trouble it is told once it has lived for a moment; of a device that closes its
    /// connections, not again.
    pub fn connected(&self) {
        if !self.is_noted && !self.told_of_closes && self.unanswered == 0 {
            tracing::info!("link \"{}\": connected", self.name);
        }
    }

    /// Whether there was trouble whose end has not been noted.
    pub fn has_trouble(&self) -> bool {
        self.is_noted
    }

    /// The connection has lived for a moment.
    pub fn mended(&mut self) {
        if self.told.take().is_some() {
            tracing::info!("link \"{}\": connected", self.name);
        }
        if std::mem::take(&mut self.is_noted) {
            self.note(|note| *note = LinkNote::default());
        }
    }

    /// The device closed the connection, and nothing is wrong with that.
    pub fn ended(&mut self) {
        self.mended();
        if !std::mem::replace(&mut self.told_of_closes, true) {
            tracing::info!(
                "link \"{}\": the device closes the connection by itself; the link reconnects immediately each time \
                 and counts it",
                self.name
            );
        }
    }

    /// The same link has another target: what was told of the old one does not count.
    pub fn start_anew(&mut self) {
        self.told = None;
        (self.is_noted, self.unanswered) = (false, 0);
        self.told_of_closes = false;
        self.note(|note| *note = LinkNote::default());
    }

    /// The link is gone.
    pub fn forget(self) {
        if let Ok(mut notes) = self.notes.lock() {
            notes.remove(&self.link);
        }
    }
}

/// Why the executor gave a connection back, in the words of whoever stands before the device: the kind of trouble, and
/// all that is known of it. `cause`: what came in place of answers.
pub fn lost_text(reason: CloseReason, cause: Option<Cause>) -> (&'static str, Cow<'static, str>) {
    if let (CloseReason::Silent | CloseReason::Doubtful, Some(cause)) = (reason, cause) {
        let text = format!("connected, but no reply matches its request: {cause}");
        return (cause.kind().name(), text.into());
    }
    let text = match reason {
        CloseReason::Lost | CloseReason::Ended | CloseReason::Stopped | CloseReason::Removed => "connection lost",
        CloseReason::Garbage => {
            "the device sent something that is not of the link's protocol; are protocol and port right?"
        }
        CloseReason::Silent | CloseReason::Doubtful => {
            "connected, but no replies; is the device busy, are the unit ids right?"
        }
        CloseReason::Refused => "the connection could not be monitored (out of kernel memory?)",
    };
    (text, text.into())
}
