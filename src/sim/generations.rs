//! The plans of a run, one after the other, and which tag each id stood for under each.

use std::rc::Rc;
use std::sync::Arc;

use super::device::Meaning;
use super::given::key_of;
use super::local::ITEM_MAX_NS;
use super::model::host_of_link;
use super::script::DeviceKind;
use crate::config::{Config, FieldType, TagConfig};
use crate::plan::Plan;
use crate::protocol::can::model::{CanAddress, CanFrames};
use crate::protocol::can::plan::model::CanPlan;
use crate::protocol::canopen::plan::CanOpenPlan;
use crate::protocol::kinds::FieldWork;
use crate::protocol::local_io::plan::LocalIoPlan;
use crate::protocol::modbus::line_time::SerialLine;
use crate::protocol::modbus::model::ModbusAddress;
use crate::protocol::modbus::plan::{ModbusPlan, ModbusRequest};
use crate::tag::{Dictionary, DictionaryTag, GroupId, Id, LinkId, Status, TagId};

/// A CAN frame of eight bytes at a bit a second, with the most stuff bits and the pause behind it (ISO 11898-1).
const CAN_FRAME_S: u64 = 135;

/// A tag as long as it is the same one: over plans, until it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(pub usize);

/// One plan.
pub struct Generation {
    pub config: Rc<Config>,
    pub plan: Arc<Plan>,
    pub names: Arc<Dictionary>,
    /// By TagId: its life, and its place in the configuration.
    tags: Vec<Option<(Life, usize)>>,
    /// By TagId: see [`key_of`].
    keys: Vec<u64>,
    /// By LinkId: its device's host, and its tags.
    hosts: Vec<u32>,
    by_link: Vec<Vec<TagId>>,
}

/// Not every bit pattern is a value of the tag's type.
pub fn may_be_no_value(tag: &TagConfig) -> bool {
    let may = |field| matches!(field, FieldType::Bcd { .. } | FieldType::Float32 | FieldType::Float64);
    tag.address.get::<ModbusAddress>().is_some_and(|address| may(address.field))
}

/// What a tag has whose bit pattern is none.
pub fn is_no_value(status: Status) -> bool {
    matches!(status, Status::BAD_DECODING_ERROR | Status::BAD_DATA_UNAVAILABLE)
}

fn dictionary(plan: &Plan) -> Dictionary {
    let tag = |id: usize| {
        let tag = plan.tags.get(TagId::from_index(id));
        tag.map_or_else(DictionaryTag::default, |tag| DictionaryTag {
            name: tag.name.to_string(),
            ty: tag.ty.code(),
            unit: tag.unit.to_string(),
            texts: tag.texts.clone(),
            link: plan.links.get(tag.link).map(|link| link.name.clone()).unwrap_or_default(),
        })
    };
    let group = |id: usize| plan.groups.get(GroupId::from_index(id)).map_or_else(String::new, |g| g.name.to_string());
    Dictionary {
        gateway: "sim".to_owned(),
        tags: (0..plan.tags.end()).map(tag).collect(),
        groups: (0..plan.groups.end()).map(group).collect(),
    }
}

impl Generation {
    /// `lives`: how many tags there were so far; those that are new are counted in.
    pub fn new(config: Config, plan: Arc<Plan>, old: Option<&Generation>, lives: &mut usize) -> Generation {
        let mut life = |id: TagId| {
            let name = &plan.tags[id].name;
            let at = config.tags.iter().position(|tag| tag.name == **name)?;
            let kept = old.filter(|old| old.plan.tags.get(id).is_some_and(|tag| tag.name == *name));
            let life = kept.and_then(|old| old.tag(id)).map(|(life, _)| life).unwrap_or_else(|| {
                *lives += 1;
                Life(*lives - 1)
            });
            Some((life, at))
        };
        let mut tags = vec![None; plan.tags.end()];
        plan.tags.ids().for_each(|id| tags[id.index()] = life(id));
        let mut hosts = vec![u32::MAX; plan.links.end()];
        plan.links.ids().for_each(|id| hosts[id.index()] = host_of_link(&plan, id));
        let key = |of: &Option<(Life, usize)>| of.map_or(0, |(_, at)| key_of(&config.tags[at]));
        let keys = tags.iter().map(key).collect();
        let names = Arc::new(dictionary(&plan));
        let mut by_link = vec![Vec::new(); plan.links.end()];
        plan.tags.iter().for_each(|(id, tag)| by_link[tag.link.index()].push(id));
        Generation { config: Rc::new(config), plan, names, tags, keys, hosts, by_link }
    }

    pub fn tag(&self, id: TagId) -> Option<(Life, &TagConfig)> {
        self.tags.get(id.index()).copied().flatten().map(|(life, at)| (life, &self.config.tags[at]))
    }

    /// The tags of a link that an answer of that meaning may concern: all, or those whose value may be none.
    pub fn of_link(&self, link: LinkId, meaning: Meaning) -> impl Iterator<Item = (Life, &TagConfig)> {
        let all = matches!(meaning, Meaning::Exception(_));
        let of_link = self.by_link.get(link.index()).map_or(&[][..], |tags| &tags[..]);
        let (life, config) = (&self.tags, &self.config);
        let found = of_link.iter().filter_map(move |id| life[id.index()]).map(|(life, at)| (life, &config.tags[at]));
        found.filter(move |(_, tag)| all || may_be_no_value(tag))
    }

    /// Every host, and what kind of device is expected there.
    pub fn places(&self) -> impl Iterator<Item = (u32, DeviceKind)> {
        self.plan.links.iter().filter_map(|(id, link)| {
            let kind = match FieldWork::of(&*link.protocol) {
                Some(FieldWork::Modbus(_)) => DeviceKind::Modbus,
                Some(FieldWork::LocalIo(_)) => DeviceKind::Local,
                Some(FieldWork::Can(_)) => DeviceKind::Can,
                Some(FieldWork::CanOpen(_)) => DeviceKind::CanOpen,
                None => return None,
            };
            Some((self.host(id), kind))
        })
    }

    /// The host of a link's device.
    pub fn host(&self, link: LinkId) -> u32 {
        self.hosts.get(link.index()).copied().unwrap_or(u32::MAX)
    }

    /// Where a tag lies at its link: see [`key_of`].
    pub fn key(&self, id: TagId) -> u64 {
        self.keys.get(id.index()).copied().unwrap_or(0)
    }

    /// The tags that lie at a place of a link.
    pub fn at(&self, link: LinkId, key: u64) -> impl Iterator<Item = (TagId, Life)> {
        let of_link = self.by_link.get(link.index()).map_or(&[][..], |tags| &tags[..]);
        let there = of_link.iter().filter(move |id| self.key(**id) == key);
        there.filter_map(|id| Some((*id, self.tag(*id)?.0)))
    }

    /// Whether a tag lies in a message that is sent only when something is written to it.
    pub fn comes_when_written(&self, link: LinkId, tag: &TagConfig) -> bool {
        let (Some(can), Some(address)) =
            (self.plan.links[link].protocol.get::<CanPlan>(), tag.address.get::<CanAddress>())
        else {
            return false;
        };
        can.transmits.iter().any(|t| t.period.is_none() && address.frames == CanFrames::Id(t.id))
    }

    /// Whether all that a link may be asked in its shortest period fits into half of it.
    pub fn has_room(&self, link: LinkId) -> bool {
        match FieldWork::of(&*self.plan.links[link].protocol) {
            Some(FieldWork::Modbus(modbus)) => self.has_room_on_modbus(modbus),
            Some(FieldWork::LocalIo(bus)) => self.has_room_at_thread(bus),
            Some(FieldWork::CanOpen(canopen)) => self.has_room_on_canopen(canopen),
            // Nothing is asked for: its beats cost the executor's own time alone.
            Some(FieldWork::Can(can)) => {
                let shortest =
                    can.scans.iter().map(|scan| self.plan.groups[scan.group].interval().0).min().unwrap_or(0);
                self.own_time() <= shortest / 2
            }
            None => true,
        }
    }

    /// The executor's own time for a request: a wake-up, the calls, and other links' work in between.
    fn own_time(&self) -> u64 {
        150_000 * self.plan.links.len() as u64
    }

    fn has_room_at_thread(&self, bus: &LocalIoPlan) -> bool {
        let shortest = bus.requests.iter().map(|r| self.plan.groups[r.group].interval().0).min().unwrap_or(0);
        let each = |items: u64| items * ITEM_MAX_NS + self.own_time();
        bus.requests.iter().map(|r| each(r.items.len() as u64)).sum::<u64>() <= shortest / 2
    }

    fn has_room_on_modbus(&self, modbus: &ModbusPlan) -> bool {
        let of_line = |r: &ModbusRequest| Some(SerialLine::of(&modbus.config)?.line_time(r.table, r.count).0);
        let longest = modbus.blocks().iter().filter_map(of_line).max().unwrap_or(modbus.config.reply_expected.0);
        let shortest = modbus.blocks().iter().map(|r| self.plan.groups[r.group].interval().0).min().unwrap_or(0);
        modbus.blocks().len() as u64 * (longest + self.own_time()) <= shortest / 2
    }

    /// A node answers one request after the other: of a value of more than four bytes, a question of it and one for
    /// each seven bytes.
    fn has_room_on_canopen(&self, canopen: &CanOpenPlan) -> bool {
        let shortest = canopen.scans.iter().map(|scan| self.plan.groups[scan.group].interval().0).min().unwrap_or(0);
        let questions = |bytes: u16| if bytes <= 4 { 1 } else { 1 + u64::from(bytes.div_ceil(7)) };
        let frames = 2 * CAN_FRAME_S * 1_000_000_000 / u64::from(canopen.config.bit_rate);
        let each = canopen.config.reply_expected.0 + frames + self.own_time();
        let of_node = |node: usize| {
            let own = canopen.items.iter().filter(|item| usize::from(item.node) == node);
            own.map(|item| questions(item.bytes) * each).sum::<u64>()
        };
        // Their frames share one bus.
        let all: u64 = canopen.items.iter().map(|item| questions(item.bytes) * frames).sum();
        (0..canopen.nodes.len()).map(of_node).max().unwrap_or(0) + all <= shortest / 2
    }
}
