//! What ids mean: the names behind the tags and groups of a plan.

use std::sync::Arc;

use super::id::{GroupId, TagId};
use super::texts::Texts;

/// The names of one plan. Samples carry ids only, and an id that became free may mean something else in the next
/// plan: samples are told with the names that they were made under.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dictionary {
    pub gateway: String,
    /// By TagId; an id that is not in use has an empty name.
    pub tags: Vec<DictionaryTag>,
    /// By GroupId; an id that is not in use has an empty name.
    pub groups: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DictionaryTag {
    pub name: String,
    /// [`crate::tag::ValueType::code`].
    pub ty: u8,
    /// Engineering unit, may be empty.
    pub unit: String,
    /// What its values are called.
    pub texts: Texts,
    /// The link that it is read over; empty in names of earlier gateways, which did not keep it.
    pub link: Arc<str>,
}

impl Dictionary {
    /// `None`: the id is not in use.
    pub fn tag(&self, id: TagId) -> Option<&DictionaryTag> {
        self.tags.get(id.index()).filter(|tag| !tag.name.is_empty())
    }

    /// The group's name; `None`: the id is not in use.
    pub fn group(&self, id: GroupId) -> Option<&str> {
        self.groups.get(id.index()).map(String::as_str).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_without_a_name_is_not_in_use() {
        let tag = |name: &str| DictionaryTag { name: name.into(), ..DictionaryTag::default() };
        let groups = vec!["fast".into(), String::new()];
        let names = Dictionary { gateway: "line-4".into(), tags: vec![tag(""), tag("boiler.flow")], groups };
        let tags: Vec<_> = (0..3).map(|id| names.tag(TagId(id)).map(|tag| tag.name.as_str())).collect();
        assert_eq!(tags, [None, Some("boiler.flow"), None]);
        assert_eq!([0, 1, 2].map(|id| names.group(GroupId(id))), [Some("fast"), None, None]);
    }
}
