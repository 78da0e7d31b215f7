//! Which tags an output sends.

use crate::config::TagChoice;
use crate::tag::{Dictionary, Sample};

/// The choice for the ids of one dictionary.
#[derive(Debug, Clone)]
pub(super) enum Chosen {
    All,
    Some {
        /// By TagId.
        tags: Box<[bool]>,
        /// By GroupId.
        groups: Box<[bool]>,
    },
}

impl Chosen {
    pub(super) fn new(choice: &TagChoice, dictionary: &Dictionary) -> Chosen {
        if choice.is_all() {
            return Chosen::All;
        }
        Chosen::Some {
            tags: dictionary.tags.iter().map(|tag| choice.takes_tag(&tag.name)).collect(),
            groups: dictionary.groups.iter().map(|group| choice.takes_group(group)).collect(),
        }
    }

    pub(super) fn takes(&self, sample: &Sample) -> bool {
        match self {
            Chosen::All => true,
            // An id without a name was chosen by nobody.
            Chosen::Some { tags, groups } => {
                tags.get(sample.tag as usize) == Some(&true) && groups.get(usize::from(sample.group)) == Some(&true)
            }
        }
    }
}
