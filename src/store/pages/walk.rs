//! Walks the trees of a file from a meta page on and checks what they are made of: numbers, flags and bounds of pages,
//! order of keys, that every page lies within the file and is used once, and that the counts agree.
//!
//! What lies in the records is not looked at: blocks and names have checksums of their own.

use std::collections::HashMap;
use std::time::Instant;

use super::file::PageFile;
use super::layout::{Data, Entry, INTEGER_KEY, Meta, NO_PAGE, NodePage, SUB_DATA, TREE_BYTES, Tree, WORD, word_at};
use super::scan::Place;
use crate::limits::{JOURNAL_DAMAGE_LISTED_MAX, JOURNAL_TREE_DEPTH_MAX};

/// Tables with keys of eight bytes.
const NUMBERED: [&str; 4] = ["blocks", "dictionaries", "names_last", "audit"];

/// What a walk has found.
#[derive(Debug, Default)]
pub struct Findings {
    /// The first ones.
    pub damage: Vec<String>,
    pub damages: u64,
    /// Tables in which something is wrong; the main tree has no name.
    tables: Vec<String>,
    /// Leaves and heads of overflow pages that were not looked at, for want of time.
    pub unseen: u64,
    /// Pages of a file that branches, leaves and overflow pages lie in: one bit each.
    used: Vec<u64>,
}

impl Findings {
    fn note(&mut self, table: &str, what: String) {
        self.damages += 1;
        if self.damage.len() < JOURNAL_DAMAGE_LISTED_MAX {
            self.damage.push(what);
        }
        if !self.tables.iter().any(|known| known == table) {
            self.tables.push(table.to_owned());
        }
    }

    pub fn is_whole(&self) -> bool {
        self.damages == 0
    }

    /// Whether every record of a table was come by.
    pub fn has_all_of(&self, table: &str) -> bool {
        !self.tables.iter().any(|damaged| damaged.is_empty() || damaged == table)
    }

    /// Whether it was free until now.
    fn take(&mut self, page: u64) -> bool {
        let Some(bits) = self.used.get_mut((page / 64) as usize) else { return true };
        let bit = 1 << (page % 64);
        let was_free = *bits & bit == 0;
        *bits |= bit;
        was_free
    }
}

/// What is counted on the way through a tree.
#[derive(Default)]
struct Counted {
    branches: u64,
    leaves: u64,
    overflow: u64,
    entries: u64,
    last_key: Option<Vec<u8>>,
    /// The key of the branch above; the next one may not be less.
    bound: Option<Vec<u8>>,
}

struct Walk<'f> {
    file: &'f PageFile,
    findings: Findings,
    /// Leaves of tables, and heads of overflow pages, are looked at until then.
    until: Option<Instant>,
    all: bool,
}

/// Checks the trees of `meta`. `until`: when to leave out what can wait. `all`: goes on after the first damage.
pub fn walk(
    file: &PageFile,
    meta: &Meta,
    until: Option<Instant>,
    all: bool,
    mut visit: impl FnMut(&str, Place, &Entry<'_>),
) -> Findings {
    let mut walk = Walk { file, findings: Findings::default(), until, all };
    walk.findings.used = vec![0; (file.pages / 64 + 1) as usize];
    walk.findings.take(0);
    walk.findings.take(1);
    let mut subs: HashMap<String, Tree> = HashMap::new();
    if meta.main.flags != 0 || meta.free.flags & INTEGER_KEY == 0 {
        walk.findings.note("", "the meta page has other flags than a journal's".to_owned());
    }
    walk.tree("", &meta.main, |_, entry| {
        let name = String::from_utf8_lossy(entry.key).into_owned();
        let tree = match entry.data {
            Data::Here(bytes) if entry.flags == SUB_DATA && bytes.len() == TREE_BYTES => Tree::read(bytes),
            _ => None,
        };
        let tree = tree.ok_or_else(|| format!("the record of table {name:?} is damaged"))?;
        subs.insert(name, tree);
        Ok(())
    });
    let mut free = Vec::new();
    let last = meta.last_page;
    walk.tree("the free pages", &meta.free, |_, entry| {
        let bytes = file.data(&entry.data).map_err(|what| format!("a list of free pages {what}"))?;
        free.extend(free_pages(&bytes, last).ok_or("a list of free pages is damaged")?);
        Ok(())
    });
    for page in free {
        if !walk.findings.take(page) {
            walk.findings.note("the free pages", format!("page {page} is used, and listed as free"));
        }
    }
    // Last, since this may take longer than there is time.
    let mut names: Vec<_> = subs.into_iter().collect();
    names.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, tree) in names {
        if tree.flags != 0 {
            walk.findings.note(&name, format!("table {name:?} has other flags than a journal's"));
            continue;
        }
        let numbered = NUMBERED.contains(&name.as_str());
        walk.tree(&name, &tree, |place, entry| {
            if numbered && entry.key.len() != 8 {
                return Err(format!("table {name:?} has a key of {} bytes", entry.key.len()));
            }
            visit(&name, place, entry);
            Ok(())
        });
    }
    walk.findings
}

/// A list as LMDB keeps it: its length, then numbers that fall.
fn free_pages(bytes: &[u8], last_page: u64) -> Option<Vec<u64>> {
    let count = usize::try_from(word_at(bytes, 0)?).ok()?;
    let end = count.checked_add(1)?.checked_mul(WORD)?;
    bytes.get(..end)?;
    let pages: Vec<u64> = (1..=count).filter_map(|at| word_at(bytes, at * WORD)).collect();
    let falls = pages.windows(2).all(|pair| pair[0] > pair[1]);
    let within = pages.iter().all(|page| (2..=last_page).contains(page));
    (falls && within).then_some(pages)
}

impl Walk<'_> {
    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn is_done(&self) -> bool {
        !self.all && !self.findings.is_whole()
    }

    fn tree(&mut self, table: &str, tree: &Tree, mut visit: impl FnMut(Place, &Entry<'_>) -> Result<(), String>) {
        let mut counted = Counted::default();
        let before = self.findings.damages;
        let named = if table.is_empty() { "the main tree".to_owned() } else { format!("table {table:?}") };
        if tree.root == NO_PAGE {
            if tree.entries != 0 || tree.depth != 0 {
                self.findings.note(table, format!("{named} has entries and no pages"));
            }
            return;
        }
        if tree.depth == 0 || usize::from(tree.depth) > JOURNAL_TREE_DEPTH_MAX {
            self.findings.note(table, format!("{named} has {} levels", tree.depth));
            // It can be walked nonetheless: leaves say that they are some.
        }
        let integers = tree.flags & INTEGER_KEY != 0;
        self.page(table, &named, tree.root, 1, tree.depth, integers, &mut counted, &mut visit);
        let found = (counted.branches, counted.leaves, counted.overflow, counted.entries);
        let told = (tree.branch_pages, tree.leaf_pages, tree.overflow_pages, tree.entries);
        if self.findings.damages == before && found != told && self.findings.unseen == 0 {
            self.findings.note(table, format!("{named} has other counts of pages or entries than it says"));
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one recursion, in which half of them never change")]
    fn page(
        &mut self,
        table: &str,
        named: &str,
        number: u64,
        level: u16,
        depth: u16,
        integers: bool,
        counted: &mut Counted,
        visit: &mut impl FnMut(Place, &Entry<'_>) -> Result<(), String>,
    ) {
        if self.is_done() {
            return;
        }
        if usize::from(level) > JOURNAL_TREE_DEPTH_MAX {
            return self.findings.note(table, format!("{named} has more levels than a tree can have"));
        }
        if number >= self.file.pages {
            let pages = self.file.pages;
            return self
                .findings
                .note(table, format!("page {number} of {named} lies beyond the file, which has {pages} pages"));
        }
        if !self.findings.take(number) {
            return self.findings.note(table, format!("page {number} of {named} is used twice"));
        }
        // The leaves are most of the pages where blocks are small. That this one lies within the file is known.
        if level == depth && self.is_late() {
            self.findings.unseen += 1;
            return;
        }
        let mut bytes = Vec::new();
        if let Err(error) = self.file.page(number, &mut bytes) {
            return self.findings.note(table, format!("page {number} of {named} cannot be read: {error}"));
        }
        let page = match NodePage::read(&bytes, number) {
            Ok(page) => page,
            Err(what) => return self.findings.note(table, format!("page {number} of {named} {what}")),
        };
        // A branch of the free pages may have been left with one.
        let least = if page.is_leaf() || integers { 1 } else { 2 };
        if page.is_leaf() != (level == depth) || page.len() < least {
            self.findings.note(table, format!("page {number} of {named} is not what belongs there"));
            if page.len() == 0 {
                return;
            }
        }
        if page.is_leaf() {
            counted.leaves += 1;
            return self.leaf(table, named, number, &page, integers, counted, visit);
        }
        counted.branches += 1;
        for at in 0..page.len() {
            if at > 0 {
                counted.bound = Some(page.key(at).to_vec());
                if counted.last_key.as_ref().is_some_and(|last| !is_before(last, page.key(at), integers)) {
                    self.findings.note(table, format!("page {number} of {named} has keys out of order"));
                    counted.last_key = None;
                }
            }
            self.page(table, named, page.child(at), level + 1, depth, integers, counted, visit);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the second half of the recursion above")]
    fn leaf(
        &mut self,
        table: &str,
        named: &str,
        number: u64,
        page: &NodePage<'_>,
        integers: bool,
        counted: &mut Counted,
        visit: &mut impl FnMut(Place, &Entry<'_>) -> Result<(), String>,
    ) {
        let first = page.key(0);
        let below = counted.bound.take().is_some_and(|bound| is_before(first, &bound, integers));
        let mut ordered = !below;
        for at in 0..page.len() {
            let key = page.key(at);
            ordered &= !key.is_empty() && counted.last_key.as_ref().is_none_or(|last| is_before(last, key, integers));
            counted.last_key = Some(key.to_vec());
            counted.entries += 1;
            let Some(entry) = page.entry(at) else { continue };
            if let Data::Overflow(from, bytes) = entry.data {
                match self.overflow(from, bytes) {
                    Ok(pages) => counted.overflow += pages,
                    Err(what) => {
                        self.findings.note(table, format!("page {from}, with an entry of {named}, {what}"));
                    }
                }
            }
            if let Err(what) = visit(Place { page: number, at: at as u16 }, &entry) {
                self.findings.note(table, what);
            }
        }
        if !ordered {
            self.findings.note(table, format!("page {number} of {named} has keys out of order"));
        }
    }

    fn overflow(&mut self, from: u64, bytes: usize) -> Result<u64, String> {
        let need = super::layout::overflow_pages(bytes, self.file.page_bytes);
        if from.checked_add(need).is_none_or(|end| end > self.file.pages) {
            return Err(format!("lies beyond the file, which has {} pages", self.file.pages));
        }
        let pages = if self.is_late() {
            self.findings.unseen += 1;
            need
        } else {
            self.file.overflow(from, bytes)?
        };
        let free = (from..from + pages).map(|page| self.findings.take(page)).filter(|free| *free).count() as u64;
        if free == pages { Ok(pages) } else { Err("is used twice".to_owned()) }
    }
}

fn is_before(a: &[u8], b: &[u8], integers: bool) -> bool {
    match (integers, word_at(a, 0), word_at(b, 0)) {
        (true, Some(a), Some(b)) => a < b,
        (true, ..) => false,
        (false, ..) => a < b,
    }
}
