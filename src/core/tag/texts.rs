//! Names of values: enumerations, the value tables of DBC files.

use std::sync::Arc;

/// Values of a tag as their 64 bits, each with its text; ascending. Many tags share one table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Texts(Arc<[(u64, Arc<str>)]>);

impl Default for Texts {
    fn default() -> Texts {
        Texts(Arc::from([]))
    }
}

impl Texts {
    /// Of a value that stands there twice the first text counts.
    pub fn new(mut texts: Vec<(u64, Arc<str>)>) -> Texts {
        texts.sort_by_key(|(bits, _)| *bits);
        texts.dedup_by_key(|(bits, _)| *bits);
        Texts(texts.into())
    }

    /// The text of a value that has these bits in its samples.
    pub fn of(&self, bits: u64) -> Option<&str> {
        let at = self.0.binary_search_by_key(&bits, |(known, _)| *known).ok()?;
        self.0.get(at).map(|(_, text)| &**text)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        self.0.iter().map(|(bits, text)| (*bits, &**text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_first_text_or_none() {
        let texts = Texts::new(vec![(3, "on".into()), (0, "off".into()), (3, "again".into())]);
        assert_eq!((texts.of(0), texts.of(3), texts.of(1), texts.len()), (Some("off"), Some("on"), None, 2));
        assert!(Texts::default().is_empty());
    }
}
