//! Things by their id. Ids may have holes: what leaves takes its id with it, what stays keeps its own.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// An identity that is a small number.
pub trait Id: Copy {
    fn index(self) -> usize;
    fn from_index(index: usize) -> Self;
}

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct ById<I, T> {
    entries: Vec<Option<T>>,
    len: usize,
    of: PhantomData<I>,
}

impl<I: Id, T> ById<I, T> {
    pub fn new() -> ById<I, T> {
        ById { entries: Vec::new(), len: 0, of: PhantomData }
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One beyond the highest id in use: the size of a table that is indexed by these ids.
    pub fn end(&self) -> usize {
        self.entries.len()
    }

    /// Puts a thing at `id`; gives back what was there.
    pub fn insert(&mut self, id: I, thing: T) -> Option<T> {
        if id.index() >= self.entries.len() {
            self.entries.resize_with(id.index() + 1, || None);
        }
        let old = self.entries[id.index()].replace(thing);
        self.len += usize::from(old.is_none());
        old
    }

    pub fn get(&self, id: I) -> Option<&T> {
        self.entries.get(id.index()).and_then(Option::as_ref)
    }

    pub fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.entries.get_mut(id.index()).and_then(Option::as_mut)
    }

    pub fn contains(&self, id: I) -> bool {
        self.get(id).is_some()
    }

    /// Ascending by id.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (I, &T)> {
        self.entries.iter().enumerate().filter_map(|(at, thing)| Some((I::from_index(at), thing.as_ref()?)))
    }

    /// Ascending by id.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (I, &mut T)> {
        self.entries.iter_mut().enumerate().filter_map(|(at, thing)| Some((I::from_index(at), thing.as_mut()?)))
    }

    /// Ascending by id.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = I> {
        self.iter().map(|(id, _)| id)
    }

    /// Ascending by id.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.entries.iter().flatten()
    }

    /// Keeps what `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(I, &T) -> bool) {
        for (at, entry) in self.entries.iter_mut().enumerate() {
            if entry.as_ref().is_some_and(|thing| !keep(I::from_index(at), thing)) {
                *entry = None;
                self.len -= 1;
            }
        }
        while self.entries.last().is_some_and(Option::is_none) {
            self.entries.pop();
        }
    }
}

impl<I: Id, T> Default for ById<I, T> {
    fn default() -> ById<I, T> {
        ById::new()
    }
}

/// Things that get the ids 0, 1, 2 … in their order.
impl<I: Id, T> FromIterator<T> for ById<I, T> {
    fn from_iter<A: IntoIterator<Item = T>>(things: A) -> ById<I, T> {
        let entries: Vec<Option<T>> = things.into_iter().map(Some).collect();
        ById { len: entries.len(), entries, of: PhantomData }
    }
}

impl<I: Id, T> FromIterator<(I, T)> for ById<I, T> {
    fn from_iter<A: IntoIterator<Item = (I, T)>>(things: A) -> ById<I, T> {
        let mut map = ById::new();
        for (id, thing) in things {
            map.insert(id, thing);
        }
        map
    }
}

/// # Panics
/// When nothing has that id.
impl<I: Id, T> Index<I> for ById<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        match self.get(id) {
            Some(thing) => thing,
            None => panic!("nothing has the id {}", id.index()),
        }
    }
}

impl<I: Id, T> IndexMut<I> for ById<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        match self.get_mut(id) {
            Some(thing) => thing,
            None => panic!("nothing has the id {}", id.index()),
        }
    }
}

impl<I: Id, T: std::fmt::Debug> std::fmt::Debug for ById<I, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().map(|(id, thing)| (id.index(), thing))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::LinkId;

    #[test]
    fn holes_are_passed_over_and_the_end_counts_them() {
        let mut map: ById<LinkId, &str> = ["a", "b"].into_iter().collect();
        assert_eq!(map.insert(LinkId(5), "f"), None);
        assert_eq!(map.insert(LinkId(0), "A"), Some("a"));
        assert_eq!((map.len(), map.end()), (3, 6));
        assert_eq!(map.iter().map(|(id, v)| (id.0, *v)).collect::<Vec<_>>(), [(0, "A"), (1, "b"), (5, "f")]);
        map.retain(|id, _| id.0 == 1);
        assert_eq!((map.len(), map.end(), map.get(LinkId(5))), (1, 2, None));
    }
}
