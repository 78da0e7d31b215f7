//! Checks of a raw value: values that mean "no value", the scale that another register
//! holds, and the limits of a transmitter. Few tags have any of it, so it lies beside their decoding.

use super::sensor::SensorLimits;
use crate::config::TagConfig;
use crate::tag::{Status, TagId};

/// Of one tag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    pub sensor: Option<SensorLimits>,
    /// Into [`Checks::absent`], from where to where.
    absent: (u32, u32),
    /// The tag whose value is the power of ten of this one's.
    pub scale_from: Option<TagId>,
}

impl Check {
    /// What is to be thought of a float64 with these bits.
    #[inline]
    pub fn status(&self, bits: u64) -> Status {
        self.sensor.as_ref().map_or(Status::GOOD, |limits| limits.status(f64::from_bits(bits)))
    }
}

/// The checks of a link, ascending by their tags.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checks {
    tags: Box<[(TagId, Check)]>,
    /// Raw values, those of one tag together and ascending.
    absent: Box<[u64]>,
    has_scales: bool,
}

impl Checks {
    /// Whether a tag has any.
    pub fn has(tag: &TagConfig) -> bool {
        tag.sensor.is_some() || !tag.decoding.not_available.is_empty() || tag.decoding.scale_from.is_some()
    }

    pub fn of(tags: &[(TagId, &TagConfig)]) -> Checks {
        let mut absent = Vec::new();
        let mut checks: Vec<(TagId, Check)> = Vec::new();
        for (id, tag) in tags.iter().filter(|(_, tag)| Checks::has(tag)) {
            let first = absent.len() as u32;
            absent.extend_from_slice(&tag.decoding.not_available);
            let scale_from = tag.decoding.scale_from.as_ref().and_then(|name| {
                let (id, _) = tags.iter().find(|(_, other)| *other.name == **name)?;
                Some(*id)
            });
            let sensor = tag.sensor.as_ref().map(SensorLimits::of);
            checks.push((*id, Check { sensor, absent: (first, absent.len() as u32), scale_from }));
        }
        checks.sort_by_key(|(id, _)| *id);
        let has_scales = checks.iter().any(|(_, check)| check.scale_from.is_some());
        Checks { tags: checks.into(), absent: absent.into(), has_scales }
    }

    pub fn of_tag(&self, tag: TagId) -> Option<&Check> {
        let at = self.tags.binary_search_by_key(&tag, |(known, _)| *known).ok()?;
        self.tags.get(at).map(|(_, check)| check)
    }

    /// Whether a raw value says that there is none.
    #[inline]
    pub fn is_absent(&self, check: &Check, raw: u64) -> bool {
        let (first, end) = check.absent;
        self.absent.get(first as usize..end as usize).is_some_and(|values| values.binary_search(&raw).is_ok())
    }

    /// Whether any raw value does.
    pub fn may_be_absent(&self, check: &Check) -> bool {
        check.absent.0 < check.absent.1
    }

    /// Tags whose value is another's power of ten.
    pub fn scales(&self) -> impl Iterator<Item = TagId> {
        self.tags.iter().filter_map(|(_, check)| check.scale_from)
    }

    /// Whether there are such tags.
    #[inline]
    pub fn has_scales(&self) -> bool {
        self.has_scales
    }

    /// Its memory, for those that lock and touch it.
    pub fn memory(&self) -> (&[(TagId, Check)], &[u64]) {
        (&self.tags, &self.absent)
    }
}
