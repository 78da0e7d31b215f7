//! A table that grows while it is read: its pages are made by whoever plans, and never move.

use std::ops::Index;
use std::sync::OnceLock;

/// Things by number, `PAGE` of them to a page.
pub struct Pages<T, const PAGE: usize> {
    pages: Box<[OnceLock<Box<[T]>>]>,
}

impl<T: Default, const PAGE: usize> Pages<T, PAGE> {
    /// Room for `max` things, none of them there yet.
    pub fn new(max: usize) -> Pages<T, PAGE> {
        Pages { pages: (0..max.div_ceil(PAGE)).map(|_| OnceLock::new()).collect() }
    }

    /// Makes the first `len` things, or as many as there is room for.
    pub fn grow(&self, len: usize) {
        for page in self.pages.iter().take(len.div_ceil(PAGE)) {
            page.get_or_init(|| (0..PAGE).map(|_| T::default()).collect());
        }
    }
}

impl<T, const PAGE: usize> Pages<T, PAGE> {
    #[inline]
    pub fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / PAGE)?.get()?.get(at % PAGE)
    }

    /// Every page that is there, to be locked in memory.
    pub fn regions(&self) -> impl Iterator<Item = &[T]> {
        self.pages.iter().filter_map(|page| page.get().map(|page| &**page))
    }
}

/// # Panics
/// When the thing was not made.
impl<T, const PAGE: usize> Index<usize> for Pages<T, PAGE> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        match self.get(at) {
            Some(thing) => thing,
            None => missing(at),
        }
    }
}

/// Where a slice lies in memory: address and bytes.
pub fn region_of<T>(slice: &[T]) -> (*const u8, usize) {
    (slice.as_ptr().cast(), size_of_val(slice))
}

#[cold]
fn missing(at: usize) -> ! {
    panic!("number {at} was not made")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[test]
    fn what_was_made_stays_where_it_is_while_the_table_grows() {
        let table: Pages<AtomicU32, 4> = Pages::new(10);
        assert!(table.get(0).is_none());
        table.grow(3);
        let first: *const AtomicU32 = &table[2];
        table[2].store(7, Relaxed);
        table.grow(100);
        assert_eq!((std::ptr::from_ref(&table[2]), table[2].load(Relaxed)), (first, 7));
        assert_eq!(table.regions().count(), 3);
        assert!(table.get(9).is_some() && table.get(12).is_none());
    }
}
