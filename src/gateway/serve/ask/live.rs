//! Samples of chosen tags as they come, to one client.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use serde_json::json;

use super::lines::Lines;
use super::rows::sampled;
use crate::hub::Tap;
use crate::tag::{Batch, Dictionary, Globs, TagId};

/// How often it is looked whether the client has gone, or the gateway stops, while nothing comes.
const LOOK: Duration = Duration::from_millis(100);

/// Which ids are meant, by the names that samples were made under.
#[derive(Default)]
struct Chosen {
    names: Option<Arc<Dictionary>>,
    ids: Vec<bool>,
}

impl Chosen {
    fn look(&mut self, names: &Arc<Dictionary>, globs: &Globs) {
        if self.names.as_ref().is_some_and(|known| Arc::ptr_eq(known, names)) {
            return;
        }
        self.ids = names.tags.iter().map(|tag| !tag.name.is_empty() && globs.has(&tag.name)).collect();
        self.names = Some(names.clone());
    }

    fn has(&self, id: TagId) -> bool {
        self.ids.get(id.0 as usize) == Some(&true)
    }
}

/// Until the client has gone or the gateway stops.
pub(super) fn follow(tap: &Tap, globs: &Globs, lines: &mut Lines<'_>) -> io::Result<()> {
    let mut chosen = Chosen::default();
    let mut told = 0;
    while !lines.stop.load(Relaxed) {
        let mut next = match tap.batches.recv_timeout(LOOK) {
            Ok(batch) => Some(batch),
            Err(RecvTimeoutError::Timeout) if lines.is_left() => return Ok(()),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // Before what comes now: it is newer than what was lost.
        let lost = tap.lost().samples;
        if lost > told {
            lines.line(&json!({ "lost": lost - told }))?;
            told = lost;
        }
        while let Some(batch) = next.take() {
            write(&batch, globs, &mut chosen, lines)?;
            if !lines.is_full() {
                next = tap.batches.try_recv().ok();
            }
        }
        lines.flush()?;
    }
    lines.line(&json!({ "end": true, "why": "the gateway stops" }))?;
    lines.flush()
}

fn write(batch: &Batch, globs: &Globs, chosen: &mut Chosen, lines: &mut Lines<'_>) -> io::Result<()> {
    chosen.look(&batch.names, globs);
    for item in batch.iter().filter(|item| chosen.has(item.sample.tag())) {
        if let Some(tag) = batch.names.tag(item.sample.tag()) {
            lines.line(&sampled(&item, tag, &batch.clock))?;
        }
    }
    Ok(())
}
