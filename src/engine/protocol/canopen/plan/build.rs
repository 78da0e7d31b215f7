//! Configuration → the work of a CANopen link.

use std::collections::BTreeMap;

use super::*;
use crate::config::TagConfig;
use crate::limits::{CANOPEN_NODE_PDOS_MAX, WRITE_BYTES_MAX};
use crate::plan::Scanning;
use crate::protocol::canopen::eds::Eds;
use crate::protocol::canopen::eds::pdo::PdoDirection;
use crate::protocol::canopen::model::{CanOpenAccess, CanOpenAddress, CanOpenField, CanOpenNode, PdoSource};

/// Values longer than this are read in blocks: for shorter ones, segments need no more frames.
const BLOCK_BYTES_MIN: u16 = 32;
const DEVICE_TYPE: Object = Object { index: 0x1000, sub: 0 };
const VENDOR: Object = Object { index: 0x1018, sub: 1 };
const PRODUCT: Object = Object { index: 0x1018, sub: 2 };
const HEARTBEAT_PERIOD: Object = Object { index: 0x1017, sub: 0 };

/// What shares one read: a group's tags of one object.
type ItemKey = (GroupId, usize, CanOpenSource, CanOpenAccess);

impl CanOpenPlan {
    pub fn new(config: &CanOpenConfig, tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> CanOpenPlan {
        let mut members: BTreeMap<ItemKey, Vec<(TagId, &TagConfig, &CanOpenAddress)>> = BTreeMap::new();
        for &(id, tag) in tags {
            let Some(address) = tag.address.get::<CanOpenAddress>() else { continue };
            let key = (scanning.groups[tag.group], address.node, address.source, address.access);
            members.entry(key).or_default().push((id, tag, address));
        }
        let mut plan = CanOpenPlan {
            config: config.clone(),
            nodes: config.nodes.iter().map(node_plan).collect(),
            items: Vec::new(),
            decodes: Vec::new(),
            checks: Checks::of(tags),
            scans: Vec::new(),
            writes: Vec::new(),
        };
        for ((group, node, source, access), mut tags) in members {
            tags.sort_by_key(|(id, ..)| *id);
            plan.add_item(group, node, source, access, &tags, scanning);
        }
        for scan in &plan.scans {
            scanning.scans[scan.id].requests = scan.items.clone();
        }
        plan.writes.sort_by_key(|write| write.decode.tag);
        for (at, (node, own)) in plan.nodes.iter_mut().zip(&config.nodes).enumerate() {
            let by_pdo = |write: &CanOpenWrite| write.by_pdo && usize::from(write.node) == at;
            node.pdo_writes = (0..).zip(&plan.writes).filter(|(_, write)| by_pdo(write)).map(|(at, _)| at).collect();
            add_rpdos(own, node, plan.writes.iter().filter(|write| by_pdo(write)).map(|write| write.object));
            let longest = plan.items.iter().filter(|item| usize::from(item.node) == at).map(|item| item.bytes).max();
            let writes = plan.writes.iter().any(|write| usize::from(write.node) == at);
            let boot =
                node.steps.iter().map(|step| if let BootStep::Write { value, .. } = step { value.len() } else { 0 });
            node.value_bytes_max = boot
                .chain([8, usize::from(longest.unwrap_or(0)), if writes { WRITE_BYTES_MAX } else { 0 }])
                .max()
                .unwrap_or(8);
        }
        plan
    }

    fn add_item(
        &mut self,
        group: GroupId,
        node: usize,
        source: CanOpenSource,
        access: CanOpenAccess,
        tags: &[(TagId, &TagConfig, &CanOpenAddress)],
        scanning: &mut Scanning<'_>,
    ) {
        let at = self.items.len() as u32;
        let scan = scanning.scan(group, at);
        match self.scans.last_mut().filter(|last| last.id == scan) {
            Some(last) => last.items.end = at + 1,
            None => self.scans.push(CanOpenScan { id: scan, group, items: at..at + 1 }),
        }
        let start = self.decodes.len() as u32;
        let own = &self.config.nodes[node];
        let mut bytes = 0;
        for (id, tag, address) in tags {
            let decode = CanOpenDecode {
                tag: *id,
                field: address.field,
                len: address.array.unwrap_or(1),
                ty: tag.value_type(),
                scaling: tag.scaling(),
                is_checked: Checks::has(tag),
                allow_nan: tag.decoding.allow_nan,
            };
            bytes = bytes.max(address.field.bytes() * decode.len);
            self.decodes.push(decode);
            if let (Some(write), CanOpenSource::Object(object)) = (&tag.write, source)
                && (write.by_pdo || !matches!(address.field, CanOpenField::Bit(_)))
            {
                let block = own.block && address.field.bytes() >= BLOCK_BYTES_MIN;
                let by_pdo = write.by_pdo;
                self.writes.push(CanOpenWrite { node: node as u16, object, block, by_pdo, decode });
            }
        }
        let way = way(own, &mut self.nodes[node], source, access, tags);
        self.items.push(CanOpenItem {
            scan,
            group,
            node: node as u16,
            source,
            way,
            block: own.block && bytes >= BLOCK_BYTES_MIN,
            bytes,
            decodes: start..self.decodes.len() as u32,
        });
        self.nodes[node].items.push(at);
    }
}

/// By PDO, where the data sheet has the object in one; the node's plan gets that PDO.
fn way(
    node: &CanOpenNode,
    plan: &mut CanOpenNodePlan,
    source: CanOpenSource,
    access: CanOpenAccess,
    tags: &[(TagId, &TagConfig, &CanOpenAddress)],
) -> Way {
    let CanOpenSource::Object(object) = source else { return Way::Own };
    let fits_pdo = tags.iter().all(|(_, _, address)| address.array.is_none() && address.field.bytes() <= 8);
    if access == CanOpenAccess::Sdo || !fits_pdo {
        return Way::Sdo;
    }
    match (node.pdos, &node.eds) {
        (PdoSource::Node { .. }, _) if access == CanOpenAccess::Pdo => Way::Pdo,
        (PdoSource::Node { .. }, _) => Way::AsMapped,
        (PdoSource::Eds, Some(eds)) => match pdo_of(eds, node.id, object) {
            Some(pdo) if plan.tpdos.iter().any(|known| known.number == pdo.number) => Way::Pdo,
            Some(pdo) if plan.tpdos.len() < CANOPEN_NODE_PDOS_MAX => {
                if node.verify {
                    plan.steps.push(BootStep::ReadTpdo(plan.tpdos.len() as u16));
                }
                plan.tpdos.push(TpdoPlan { number: pdo.number, planned: Some(pdo) });
                Way::Pdo
            }
            _ => Way::Sdo,
        },
        _ => Way::Sdo,
    }
}

fn pdo_of(eds: &Eds, node: u8, object: Object) -> Option<Pdo> {
    let carries = |pdo: &Pdo| pdo.fields.iter().any(|field| field.object == object);
    eds.pdos(PdoDirection::Transmit, node).read.into_iter().find(carries)
}

/// The RPDOs that carry what is written by PDO. What else they carry has to be known before one is sent.
fn add_rpdos(node: &CanOpenNode, plan: &mut CanOpenNodePlan, written: impl Iterator<Item = Object>) {
    let written: Vec<Object> = written.collect();
    match (node.pdos, &node.eds) {
        (PdoSource::Node { rpdos, .. }, _) if !written.is_empty() => {
            let own = |number| RpdoPlan { number, planned: None, is_read: true };
            plan.rpdos.extend((1..=u16::from(rpdos)).map(own));
        }
        (PdoSource::Eds, Some(eds)) => {
            // The first that carries an object, as the configuration has checked it.
            let pdos = eds.pdos(PdoDirection::Receive, node.id).read;
            let carries = |pdo: &Pdo, object: &Object| pdo.fields.iter().any(|field| field.object == *object);
            for object in &written {
                let Some(pdo) = pdos.iter().find(|pdo| carries(pdo, object)) else { continue };
                let known = plan.rpdos.iter().any(|known| known.number == pdo.number);
                if !known && plan.rpdos.len() < CANOPEN_NODE_PDOS_MAX {
                    let (number, planned) = (pdo.number, Some(pdo.clone()));
                    plan.rpdos.push(RpdoPlan { number, planned, is_read: node.verify });
                }
            }
        }
        _ => {}
    }
    for (at, rpdo) in (0..).zip(&plan.rpdos) {
        plan.steps.extend(rpdo.is_read.then_some(BootStep::ReadRpdo(at)));
        plan.steps.push(BootStep::ReadImage(at));
    }
}

fn node_plan(node: &CanOpenNode) -> CanOpenNodePlan {
    let mut steps = Vec::new();
    if let Some(eds) = node.eds.as_deref().filter(|_| node.verify) {
        let told = |object| eds.number(object, node.id).ok().flatten().map(|value| value as u32);
        let mut check = |object: Object, expected: Option<u32>| {
            if let Some(expected) = expected.filter(|_| eds.get(object).is_some()) {
                steps.push(BootStep::Check { object, expected });
            }
        };
        check(DEVICE_TYPE, told(DEVICE_TYPE));
        check(VENDOR, eds.vendor);
        check(PRODUCT, eds.product);
    }
    if let NodeWatching::Heartbeat(period) = node.watching {
        let value = ((period.0 / 1_000_000) as u16).to_le_bytes().to_vec();
        steps.push(BootStep::Write { object: HEARTBEAT_PERIOD, value });
    }
    steps.extend(node.boot.iter().map(|(object, value)| BootStep::Write { object: *object, value: value.clone() }));
    let mut tpdos = Vec::new();
    if let PdoSource::Node { tpdos: count, .. } = node.pdos {
        for number in 1..=u16::from(count) {
            steps.push(BootStep::ReadTpdo(tpdos.len() as u16));
            tpdos.push(TpdoPlan { number, planned: None });
        }
    }
    CanOpenNodePlan {
        id: node.id,
        watching: node.watching,
        start: node.start,
        reset: node.reset,
        steps,
        tpdos,
        rpdos: Vec::new(),
        items: Vec::new(),
        pdo_writes: Vec::new(),
        value_bytes_max: 0,
    }
}
