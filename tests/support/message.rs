//! The output's payload as a consumer reads it; see `src/output/mqtt/payload.rs`.

use std::marker::PhantomData;

use serde::Deserialize;

/// A data message, with values of type `V`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message<V> {
    pub gateway: String,
    pub boot: String,
    pub lane: u64,
    pub group: String,
    pub prev: Option<u64>,
    pub prev_boot: Option<String>,
    #[serde(default)]
    pub missing: u64,
    #[serde(bound(deserialize = "V: Deserialize<'de>"))]
    pub frames: Vec<Frame<V>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame<V> {
    pub seq: u64,
    pub t: i64,
    pub cycle: i64,
    pub q: u32,
    /// Where `q` is not 0.
    pub status: Option<String>,
    #[serde(bound(deserialize = "V: Deserialize<'de>"))]
    pub values: Ordered<V>,
    /// What values are called, by tag.
    #[serde(default)]
    pub texts: std::collections::HashMap<String, String>,
}

impl<V> Frame<V> {
    /// A status has its name where it is not good, and texts belong to values.
    pub fn check(&self) {
        assert_eq!(self.status.is_some(), self.q != 0);
        let is_there = |tag: &String| self.values.0.iter().any(|(name, _)| name == tag);
        assert!(self.texts.keys().all(is_there), "{:?}", self.texts);
    }
}

/// The values of a frame as they are written.
pub struct Ordered<V>(pub Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Ordered<V>, D::Error> {
        struct Pairs<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> serde::de::Visitor<'de> for Pairs<V> {
            type Value = Ordered<V>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("values by name")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered<V>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Ordered(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}
