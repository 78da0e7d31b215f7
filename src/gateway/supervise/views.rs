//! Views of links, rings, journal and outputs for metrics and health.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::connector::LinkNotes;
use crate::hub::{self, RingStats};
use crate::output::{OutputState, OutputStats};
use crate::serve::{self, JournalView, OutputView, RingFill, View};
use crate::source::diagnostics::OutputStateView;
use crate::store::{JournalReader, JournalStats};
use crate::tag::{LinkId, Nanos};

pub(super) fn ring_views(rings: &Arc<[RingStats]>) -> Vec<Box<dyn Fn() -> RingFill + Send + Sync>> {
    (0..rings.len())
        .map(|id| {
            let rings = rings.clone();
            let view =
                move || RingFill { used: rings[id].fill.load(Relaxed), capacity: rings[id].capacity.load(Relaxed) };
            Box::new(view) as Box<dyn Fn() -> RingFill + Send + Sync>
        })
        .collect()
}

pub(super) fn link_troubles(notes: &LinkNotes) -> Box<dyn Fn() -> BTreeMap<LinkId, String> + Send + Sync> {
    let notes = notes.clone();
    Box::new(move || {
        let notes = notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let troubled = notes.iter().filter(|(_, note)| !note.trouble.is_empty());
        troubled.map(|(link, note)| (*link, note.trouble.clone())).collect()
    })
}

pub(super) fn journal_view(stats: Arc<JournalStats>, bytes_max: u64) -> Box<dyn Fn() -> JournalView + Send + Sync> {
    Box::new(move || {
        let oldest_utc_ns = stats.oldest_utc_ns.load(Relaxed);
        let age_ns = if oldest_utc_ns == 0 { 0 } else { hub::clock_pair().utc_ns.saturating_sub(oldest_utc_ns) };
        JournalView {
            bytes: stats.bytes_used.load(Relaxed),
            bytes_max,
            blocks: stats.blocks_live.load(Relaxed),
            oldest_age: Nanos(age_ns.max(0) as u64),
            stored: stats.samples_stored.load(Relaxed),
            dropped: stats.samples_unsaved.load(Relaxed) + stats.samples_refused.load(Relaxed),
            evicted: stats.samples_dropped.load(Relaxed),
            lost: stats.samples_lost.load(Relaxed),
            set_aside: stats.set_aside.load(Relaxed),
            blocks_damaged: stats.blocks_corrupt.load(Relaxed),
            commits: stats.commits.load(Relaxed),
            commit_times: stats.commit_times(),
        }
    })
}

fn output_state(stats: &OutputStats) -> serve::OutputState {
    match stats.state() {
        OutputState::Online => serve::OutputState::Up,
        OutputState::Connecting => serve::OutputState::Connecting,
        OutputState::Offline | OutputState::Stopped => serve::OutputState::Down,
    }
}

/// The state alone, for whoever looks often.
pub(super) fn output_states(outputs: &[(String, Arc<OutputStats>)]) -> Vec<OutputStateView> {
    let view = |stats: Arc<OutputStats>| Box::new(move || output_state(&stats)) as View<serve::OutputState>;
    outputs.iter().map(|(name, stats)| (name.clone(), view(stats.clone()))).collect()
}

pub(super) fn output_view(
    name: String,
    stats: Arc<OutputStats>,
    reader: &JournalReader,
) -> (String, Box<dyn Fn() -> OutputView + Send + Sync>) {
    let reader = reader.clone();
    let cursor = name.clone();
    let view = move || {
        let all = reader.cursors().unwrap_or_default();
        let (position, lost) =
            all.iter().find(|c| c.name == cursor).map_or_else(Default::default, |c| (c.position, c.samples_lost));
        OutputView {
            state: output_state(&stats),
            lag: reader.pending(position).unwrap_or(0),
            acknowledged: stats.samples_acknowledged.load(Relaxed),
            left_out: stats.samples_left_out.load(Relaxed),
            server: stats.server.load(Relaxed),
            refused: stats.samples_refused.load(Relaxed),
            published: stats.messages_published.load(Relaxed),
            in_flight: stats.in_flight.load(Relaxed),
            lost,
        }
    };
    (name, Box::new(view))
}
