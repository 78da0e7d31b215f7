//! Plans that follow a running one: what stays keeps its ids, executor and phase; nothing new can be mistaken for
//! something old.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::protocol;
use crate::protocol::load_parts;
use crate::tag::{Id, LinkId, Nanos, TagId};

/// A configuration by (link, its group's period in ms, tags, host).
type Drawn = Vec<(usize, u32, u16, u8)>;

fn config(links: &Drawn) -> Config {
    let mut taken = BTreeSet::new();
    let files: Vec<(String, String)> = links
        .iter()
        .filter(|(link, ..)| taken.insert(*link))
        .map(|(link, ms, tags, host)| {
            let tags: Vec<String> = (0..*tags)
                .map(|i| {
                    let ty = if i % 7 == 3 { r#""data_type":"string""# } else { r#""data_type":"float64""# };
                    let count = if i % 7 == 3 { 4 + i % 3 * 8 } else { 4 };
                    let first = i * 40;
                    format!(
                        r#"{{"name":"l{link}.t{i}","address":"l{link}:1:3:{first}:{count}",{ty},"scan_rate_ms":{ms}}}"#
                    )
                })
                .collect();
            let text = format!(
                r#"{{"links":[{{"name":"l{link}","protocol":"modbus_tcp","host":"10.0.0.{host}","addressing":"raw",
                    "expected_reply_ms":0.01}}],"tags":[{}]}}"#,
                tags.join(",")
            );
            (format!("tags/{link}.json"), text)
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &files).unwrap_or_else(|e| panic!("{e}")).config
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let link = (0..8usize, prop::sample::select(vec![5u32, 10, 20, 100]), 1..20u16, 1..3u8);
    prop::collection::vec(link, 1..8)
}

fn long_room(image: &BTreeMap<TagId, usize>) -> impl Fn(TagId, usize) -> bool {
    move |id, bytes| image.get(&id).is_none_or(|room| *room >= bytes)
}

/// Gives out room for long values as the image does: once, with the first that needs it.
fn make_room(image: &mut BTreeMap<TagId, usize>, plan: &Plan) {
    for (id, tag) in plan.tags.iter().filter(|(_, tag)| tag.ty.long_bytes_max() > 0) {
        let room = *image.entry(id).or_insert(tag.ty.long_bytes_max().next_multiple_of(8));
        assert!(room >= tag.ty.long_bytes_max(), "a long value got a slot that is too small for it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_stays_keeps_its_ids_executor_and_phase_and_resting_ids_are_not_given_out(
        series in prop::collection::vec(drawn(), 2..8), cpus in 1u32..4
    ) {
        let cpus: Vec<u32> = (0..cpus).collect();
        let mut old = protocol::build(&config(&series[0]), &cpus).unwrap().plan;
        let mut image = BTreeMap::new();
        make_room(&mut image, &old);
        let mut resting: Vec<UsedIds> = Vec::new();
        let mut rested: Vec<Plan> = Vec::new();
        for links in &series[1..] {
            let fits = long_room(&image);
            let base = Base { plan: &old, resting: &resting, long_fits: &fits };
            let new = protocol::rebuild(&config(links), &base).unwrap().plan;
            drop(fits);
            make_room(&mut image, &new);
            for (id, tag) in new.tags.iter() {
                let before = old.tags.iter().find(|(_, t)| (&t.name, t.link, t.ty) == (&tag.name, tag.link, tag.ty));
                match before {
                    Some((before, _)) => prop_assert_eq!(id, before),
                    None => for plan in rested.iter().chain([&old]) {
                        prop_assert!(!plan.tags.contains(id), "an id that rests is given out");
                    },
                }
            }
            for (id, link) in new.links.iter() {
                match old.links.iter().find(|(_, l)| l.name == link.name) {
                    Some((before, l)) => prop_assert_eq!((id, link.lane), (before, l.lane)),
                    None => prop_assert!(rested.iter().chain([&old]).all(|plan| !plan.links.contains(id))),
                }
            }
            for (id, group) in new.groups.iter() {
                let before = old.groups.iter().find(|(_, g)| (&g.name, g.interval()) == (&group.name, group.interval()));
                prop_assert!(before.is_none_or(|(before, _)| before == id));
                let named = |plan: &Plan| plan.groups.iter().filter(|(_, g)| g.name == group.name).count();
                let only = old.groups.iter().find(|(_, g)| g.name == group.name).filter(|_| named(&old) == 1);
                prop_assert!(named(&new) > 1 || only.is_none_or(|(before, _)| before == id), "another rate, the same group");
            }
            // Every scan has one release, and the releases of scans that stay keep their phase.
            let of = |plan: &Plan| -> BTreeMap<ScanId, ReleasePlan> {
                let releases = plan.lanes.iter().flat_map(|e| &e.releases);
                releases.flat_map(|r| r.scans.iter().map(|scan| (*scan, r.clone()))).collect()
            };
            let (before, after) = (of(&old), of(&new));
            prop_assert_eq!(after.len(), new.scans.len());
            for (scan, release) in &after {
                let stays = old.scans.get(*scan).is_some_and(|s| {
                    (s.group, s.link) == (new.scans[*scan].group, new.scans[*scan].link)
                });
                if let Some(earlier) = before.get(scan).filter(|earlier| stays && earlier.period == release.period) {
                    prop_assert_eq!(earlier.phase, release.phase);
                }
                prop_assert!(release.phase < release.period);
            }
            // A link that is said to stay as it is, is.
            let changed: BTreeSet<LinkId> = changes(&old, &new).into_iter().map(|(id, _)| id).collect();
            for (id, link) in new.links.iter().filter(|(id, _)| !changed.contains(id)) {
                prop_assert_eq!(Some(link), old.links.get(id));
            }
            resting.push(UsedIds::of(&old));
            rested.push(old);
            old = new;
        }
    }
}

#[test]
fn groups_of_one_name_are_one_to_whoever_reads_and_a_new_rate_moves_none_of_the_others() {
    let old = protocol::build(&config(&vec![(0, 20, 9, 1), (3, 100, 4, 1)]), &[0]).unwrap().plan;
    let named = old.named_groups();
    assert_eq!((named.len(), &**named[0].name, named[0].pace.interval()), (1, "default", Nanos::from_millis(20)));
    assert_eq!((named[0].first, named[0].ids.len()), (named[0].ids[0], 2));
    assert!(old.first_of_name().values().all(|first| *first == named[0].first));
    let faster = config(&vec![(0, 20, 9, 1), (1, 5, 1, 1), (3, 100, 4, 1)]);
    let new = protocol::rebuild(&faster, &Base { plan: &old, resting: &[], long_fits: &|_, _| true }).unwrap().plan;
    for (id, group) in old.groups.iter() {
        assert_eq!(new.groups.get(id), Some(group));
    }
    for (id, scan) in old.scans.iter() {
        assert_eq!(new.scans.get(id), Some(scan));
    }
    assert_eq!(new.named_groups()[0].pace.interval(), Nanos::from_millis(5));
}

#[test]
fn the_same_configuration_is_the_same_plan() {
    let config = config(&vec![(0, 10, 9, 1), (3, 10, 4, 1), (5, 100, 12, 2)]);
    let old = protocol::build(&config, &[0, 1]).unwrap().plan;
    let new = protocol::rebuild(&config, &Base { plan: &old, resting: &[], long_fits: &|_, _| true }).unwrap().plan;
    assert_eq!(changes(&old, &new), []);
    assert_eq!((&old.tags, &old.groups, &old.links, &old.scans), (&new.tags, &new.groups, &new.links, &new.scans));
    for (before, after) in old.lanes.iter().zip(&new.lanes) {
        assert_eq!(before.releases, after.releases);
    }
}

#[test]
fn each_kind_of_change_is_told_apart() {
    let old =
        protocol::build(&config(&vec![(0, 10, 9, 1), (1, 10, 4, 1), (2, 10, 4, 1), (3, 10, 4, 1)]), &[0]).unwrap().plan;
    let later = config(&vec![(0, 10, 10, 1), (1, 10, 4, 2), (3, 10, 4, 1), (7, 10, 1, 1)]);
    let new = protocol::rebuild(&later, &Base { plan: &old, resting: &[], long_fits: &|_, _| true }).unwrap().plan;
    let expected =
        [(LinkId(0), Change::Work), (LinkId(1), Change::Target), (LinkId(2), Change::Gone), (LinkId(4), Change::New)];
    assert_eq!(changes(&old, &new), expected);
}

#[test]
fn a_link_does_not_move_to_another_executor_and_what_then_does_not_fit_is_refused() {
    // Two light links beside each other; the third goes to the executor with less work.
    let tags = |link: usize, n: usize, ms: u32| {
        let tags: Vec<String> = (0..n)
            .map(|i| {
                let first = i * 200;
                format!(
                    r#"{{"name":"l{link}.t{i}","address":"l{link}:1:3:{first}:1","data_type":"uint16","scan_rate_ms":{ms}}}"#
                )
            })
            .collect();
        let text = format!(
            r#"{{"links":[{{"name":"l{link}","protocol":"modbus_tcp","host":"10.0.0.1","addressing":"raw",
                "expected_reply_ms":0.01}}],"tags":[{}]}}"#,
            tags.join(",")
        );
        (format!("tags/{link}.json"), text)
    };
    let load = |files: &[(String, String)]| {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
        let toml = "[gateway]\nid = \"g\"\n[realtime]\nguard_us = 0\n";
        load_parts(("fieldbeat.toml", toml), &files).unwrap().config
    };
    let light: Vec<_> = (0..4).map(|link| tags(link, 2, 10)).collect();
    let old = protocol::build(&load(&light), &[0, 1]).unwrap().plan;
    let beside: Vec<LinkId> =
        old.links.iter().filter(|(_, link)| link.lane == old.links[LinkId(0)].lane).map(|(id, _)| id).collect();
    assert_eq!(beside.len(), 2);
    // Both links of one executor become heavy: each fits a CPU, both do not.
    let heavy: Vec<_> =
        (0..4).map(|link| tags(link, if beside.contains(&LinkId(link as u16)) { 22 } else { 2 }, 1)).collect();
    let config = load(&heavy);
    let awake = Costs { wake_up: Nanos(0), ..Costs::default() };
    protocol::build_with(&config, &[0, 1], &awake)
        .unwrap_or_else(|error| panic!("from the start it would fit: {error}"));
    let base = Base { plan: &old, resting: &[], long_fits: &|_, _| true };
    let error = protocol::rebuild_with(&config, &base, &awake).unwrap_err();
    assert!(error.to_string().contains("executor"), "{error}");
    assert!(error.to_string().contains("restart"), "{error}");
}

#[test]
fn ids_that_are_used_up_are_an_error_that_says_what_to_do() {
    let old = protocol::build(&config(&vec![(0, 10, 1, 1)]), &[0]).unwrap().plan;
    let everything: Vec<Plan> = vec![Plan {
        tags: (0..crate::limits::TAGS_MAX).map(|i| (TagId::from_index(i), old.tags[TagId(0)].clone())).collect(),
        ..Plan::default()
    }];
    let resting: Vec<UsedIds> = everything.iter().map(UsedIds::of).collect();
    let base = Base { plan: &old, resting: &resting, long_fits: &|_, _| true };
    let error = protocol::rebuild(&config(&vec![(0, 10, 2, 1)]), &base).unwrap_err().to_string();
    assert!(error.contains("too many tags were added and removed") && error.contains("restart"), "{error}");
}

#[test]
fn a_link_that_joins_follows_the_shortest_pack_and_else_goes_where_there_is_room() {
    let of = |links: &[usize]| config(&links.iter().map(|link| (*link, 10, 1, 1)).collect());
    let mut plan = protocol::build(&of(&[0, 1, 2, 3, 4]), &[0]).unwrap().plan;
    let phases_us = |plan: &Plan| {
        let mut phases: Vec<u64> = plan.lanes[0].releases.iter().map(|r| r.phase.0 / 1_000).collect();
        phases.sort_unstable();
        phases
    };
    assert_eq!(phases_us(&plan), [0, 25, 50, 5_000, 5_025]);
    let mut links = vec![0, 1, 2, 3, 4];
    for (joins, at) in [(5, 5_050), (6, 75), (7, 5_075), (8, 2_500)] {
        let before = phases_us(&plan);
        links.push(joins);
        let base = Base { plan: &plan, resting: &[], long_fits: &|_, _| true };
        plan = protocol::rebuild(&of(&links), &base).unwrap().plan;
        let new: Vec<u64> = phases_us(&plan).into_iter().filter(|phase| !before.contains(phase)).collect();
        assert_eq!(new, [at], "link {joins}");
    }
}
