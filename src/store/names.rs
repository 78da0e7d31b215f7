//! The names that blocks refer to: which of them are stored, and up to which block each is needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codec::CutBlock;
use crate::limits::NAMES_KEPT;
use crate::tag::{Dictionary, LaneId};

/// Names are stored with the first block that uses them and known by its index, which no other block ever has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamesId(pub u64);

/// Stands in the record of the last block while blocks go on to use the names, so that it need not be written with
/// each commit.
pub const STILL_USED: u64 = u64::MAX;

/// The writer's books of stored names.
#[derive(Debug, Default)]
pub struct Books {
    /// The last block that uses them, of all that are stored.
    last: BTreeMap<NamesId, u64>,
    /// Those whose record is [`STILL_USED`].
    open: Option<NamesId>,
    /// Stored names that may come again; those that were used last stand last. Equal ones may stand here twice,
    /// with one id.
    known: Vec<(NamesId, Arc<Dictionary>)>,
    /// The names that each executor used last.
    current: BTreeMap<LaneId, Arc<Dictionary>>,
}

/// What a commit changes in the books.
#[derive(Debug, Default)]
pub struct Entries {
    /// By block of the commit.
    pub ids: Vec<NamesId>,
    /// Names that are not stored yet.
    pub new: Vec<(NamesId, Arc<Dictionary>)>,
    used: Vec<(LaneId, Arc<Dictionary>)>,
    last: BTreeMap<NamesId, u64>,
}

impl Books {
    /// `records`: the stored names, each with the last block that uses it as its record says. `newest` is the
    /// newest block: names that were [`STILL_USED`] are not needed beyond it.
    pub fn open(records: impl Iterator<Item = (NamesId, u64)>, newest: u64) -> Books {
        let mut books = Books::default();
        for (id, last) in records {
            if last == STILL_USED {
                books.open = Some(id);
            }
            books.last.insert(id, last.min(newest));
        }
        books
    }

    /// The entries for a commit of `blocks`, of which the first gets the index `first`.
    pub fn enter(&self, first: u64, blocks: &[CutBlock<'_>]) -> Entries {
        let mut entries = Entries::default();
        for (index, block) in (first..).zip(blocks) {
            let names = block.names;
            let all = || self.known.iter().chain(&entries.new);
            let same = all().find(|(_, known)| Arc::ptr_eq(known, names));
            let id = match same.or_else(|| all().find(|(_, known)| known == names)) {
                Some((id, _)) => *id,
                None => {
                    entries.new.push((NamesId(index), names.clone()));
                    NamesId(index)
                }
            };
            entries.ids.push(id);
            entries.last.insert(id, index);
            entries.used.push((block.lane, names.clone()));
        }
        entries
    }

    /// The records of last blocks that the commit has to write: none while all blocks use the newest names.
    pub fn records(&self, entries: &Entries) -> Vec<(NamesId, u64)> {
        let open = self.open_after(entries);
        let mut records = entries.last.clone();
        if open != self.open {
            let closed = self.open.and_then(|id| self.last.get_key_value(&id));
            closed.map(|(id, last)| *records.entry(*id).or_insert(*last));
            open.map(|id| records.insert(id, STILL_USED));
        } else if let Some(open) = open {
            records.remove(&open);
        }
        records.into_iter().collect()
    }

    fn open_after(&self, entries: &Entries) -> Option<NamesId> {
        let newest = entries.new.last().map(|(id, _)| *id);
        newest.or(self.open).or_else(|| entries.last.last_key_value().map(|(id, _)| *id))
    }

    /// The last blocks of all names, the commit's blocks included, in order.
    pub fn ends(&self, entries: &Entries) -> Vec<(u64, NamesId)> {
        let last = |id: &NamesId, last: &u64| (entries.last.get(id).copied().unwrap_or(*last), *id);
        let new = entries.new.iter().map(|(id, _)| last(id, &id.0));
        let mut ends: Vec<_> = self.last.iter().map(|(id, before)| last(id, before)).chain(new).collect();
        ends.sort_unstable();
        ends
    }

    /// The commit is durable, and has removed the names `gone`.
    pub fn settle(&mut self, entries: Entries, gone: &[NamesId]) {
        self.open = self.open_after(&entries).filter(|open| !gone.contains(open));
        self.last.extend(entries.last);
        for (id, (executor, names)) in entries.ids.into_iter().zip(entries.used) {
            self.known.retain(|(_, known)| !Arc::ptr_eq(known, &names));
            self.known.push((id, names.clone()));
            self.current.insert(executor, names);
        }
        for id in gone {
            self.last.remove(id);
            self.known.retain(|(known, _)| known != id);
        }
        let mut surplus = self.known.len().saturating_sub(NAMES_KEPT);
        let current = &self.current;
        self.known.retain(|(_, names)| {
            let goes = surplus > 0 && !current.values().any(|used| Arc::ptr_eq(used, names));
            surplus -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::cut;
    use crate::tag::Batch;
    use crate::tag::{ClockPair, Nanos, Sample};

    fn names(gateway: &str) -> Arc<Dictionary> {
        Arc::new(Dictionary { gateway: gateway.into(), ..Dictionary::default() })
    }

    fn batch(executor: u16, names: &Arc<Dictionary>) -> Arc<Batch> {
        Arc::new(Batch {
            lane: LaneId(executor),
            first_sequence: 0,
            samples: 1,
            slots: vec![Sample::default()],
            clock: ClockPair::default(),
            drained: Nanos::ZERO,
            names: names.clone(),
        })
    }

    /// Commits one batch of one block; its names and the records written.
    fn commit(books: &mut Books, index: u64, executor: u16, names: &Arc<Dictionary>) -> (u64, Vec<(u64, u64)>) {
        let batches = [batch(executor, names)];
        let entries = books.enter(index, &cut(&batches).blocks);
        let id = entries.ids[0].0;
        let records = books.records(&entries).into_iter().map(|(id, last)| (id.0, last)).collect();
        books.settle(entries, &[]);
        (id, records)
    }

    #[test]
    fn equal_names_are_stored_once_and_the_old_ones_record_follows_whoever_still_uses_them() {
        let mut books = Books::default();
        let (a, b) = (names("a"), names("b"));
        assert_eq!(commit(&mut books, 0, 0, &a), (0, vec![(0, STILL_USED)]));
        assert_eq!(commit(&mut books, 1, 1, &a), (0, vec![]));
        assert_eq!(commit(&mut books, 2, 0, &names("a")), (0, vec![]), "equal, not the same");
        assert_eq!(commit(&mut books, 3, 0, &b), (3, vec![(0, 2), (3, STILL_USED)]));
        assert_eq!(commit(&mut books, 4, 1, &a), (0, vec![(0, 4)]), "executor 1 has not changed yet");
        assert_eq!(commit(&mut books, 5, 1, &b), (3, vec![]));
        assert_eq!(commit(&mut books, 6, 0, &names("a")), (0, vec![(0, 6)]), "and back again");
        assert_eq!(books.ends(&Entries::default()), [(5, NamesId(3)), (6, NamesId(0))]);
    }

    #[test]
    fn what_a_commit_that_failed_had_entered_is_entered_again() {
        let mut books = Books::default();
        let a = names("a");
        let batches = [batch(0, &a)];
        let lost = books.enter(0, &cut(&batches).blocks);
        assert_eq!((lost.new.len(), books.ends(&lost)), (1, vec![(0, NamesId(0))]));
        assert_eq!(commit(&mut books, 0, 0, &a), (0, vec![(0, STILL_USED)]));
    }

    #[test]
    fn names_that_were_removed_are_stored_anew() {
        let mut books = Books::default();
        let (a, b) = (names("a"), names("b"));
        commit(&mut books, 0, 0, &a);
        commit(&mut books, 1, 0, &b);
        books.settle(Entries::default(), &[NamesId(0)]);
        assert_eq!(commit(&mut books, 2, 0, &a), (2, vec![(1, 1), (2, STILL_USED)]));
    }

    #[test]
    fn when_the_newest_names_go_before_older_ones_the_records_still_cover_every_block() {
        let mut books = Books::default();
        let (a, b) = (names("a"), names("b"));
        commit(&mut books, 0, 0, &a);
        commit(&mut books, 1, 0, &b);
        assert_eq!(commit(&mut books, 2, 0, &a), (0, vec![(0, 2)]));
        books.settle(Entries::default(), &[NamesId(1)]);
        assert_eq!(commit(&mut books, 3, 0, &a), (0, vec![(0, STILL_USED)]));
        assert_eq!(commit(&mut books, 4, 0, &a), (0, vec![]));
        assert_eq!(commit(&mut books, 5, 0, &b), (5, vec![(0, 4), (5, STILL_USED)]));
    }

    #[test]
    fn thousands_of_reloads_keep_few_names_in_memory_and_those_in_use_among_them() {
        let mut books = Books::default();
        let idle = names("of an executor that is not reloaded");
        commit(&mut books, 0, 7, &idle);
        for reload in 1..10_000 {
            commit(&mut books, reload, 0, &names(&reload.to_string()));
            assert!(books.known.len() <= NAMES_KEPT);
        }
        assert_eq!(commit(&mut books, 10_000, 7, &idle), (0, vec![(0, 10_000)]));
    }

    #[test]
    fn after_opening_no_names_are_needed_beyond_the_newest_block() {
        let records = [(NamesId(0), 4), (NamesId(3), STILL_USED)];
        let mut books = Books::open(records.into_iter(), 9);
        assert_eq!(books.ends(&Entries::default()), [(4, NamesId(0)), (9, NamesId(3))]);
        assert_eq!(commit(&mut books, 10, 0, &names("a")), (10, vec![(3, 9), (10, STILL_USED)]));
    }
}
