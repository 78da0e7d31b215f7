//! Links and tags of a case's tag files.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::case::Case;

fn every(case: &Case) -> impl Iterator<Item = &Value> {
    [&case.tags].into_iter().chain(case.events.changes.iter().map(|change| &change.tags))
}

fn every_mut(case: &mut Case) -> impl Iterator<Item = &mut Value> {
    [&mut case.tags].into_iter().chain(case.events.changes.iter_mut().map(|change| &mut change.tags))
}

/// What a tag file has in one of its lists.
pub fn list<'a>(file: &'a Value, of: &str) -> &'a [Value] {
    file.get(of).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub fn name(of: &Value) -> &str {
    of.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// The link that a tag lies at.
pub fn link_of(tag: &Value) -> &str {
    let address = tag.get("address").and_then(Value::as_str).unwrap_or_default();
    address.split(':').next().unwrap_or_default()
}

pub fn group_of(tag: &Value) -> &str {
    tag.get("group").and_then(Value::as_str).unwrap_or_default()
}

fn names(case: &Case, of: &str) -> Vec<String> {
    let names: BTreeSet<&str> = every(case).flat_map(|file| list(file, of)).map(name).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// The names of all links there ever are.
pub fn links(case: &Case) -> Vec<String> {
    names(case, "links")
}

pub fn tags(case: &Case) -> Vec<String> {
    names(case, "tags")
}

/// Links, tags, and events.
pub fn sizes(case: &Case) -> [usize; 3] {
    let events: usize = super::cut::CUTS.iter().map(|cut| (cut.count)(case)).sum();
    let (links, tags) = (links(case).len(), tags(case).len());
    [links, tags, events - links - tags]
}

pub fn without_links(case: &mut Case, gone: &[String]) {
    keep_tags(case, |tag| !gone.iter().any(|name| name == link_of(tag)));
}

pub fn without_tags(case: &mut Case, gone: &[String]) {
    keep_tags(case, |tag| !gone.iter().any(|gone| gone == name(tag)));
}

/// And the links and groups that have some.
fn keep_tags(case: &mut Case, keeps: impl Fn(&Value) -> bool) {
    for file in every_mut(case) {
        retain(file, "tags", &keeps);
        let (mut links, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for tag in list(file, "tags") {
            links.insert(link_of(tag).to_owned());
            groups.insert(group_of(tag).to_owned());
        }
        retain(file, "links", |link| links.contains(name(link)));
        retain(file, "groups", |group| groups.contains(name(group)));
    }
}

fn retain(file: &mut Value, of: &str, keeps: impl Fn(&Value) -> bool) {
    if let Some(list) = file.get_mut(of).and_then(Value::as_array_mut) {
        list.retain(keeps);
    }
}

/// What a change does, in words.
pub fn difference(old: &Value, new: &Value) -> String {
    let mut words = Vec::new();
    for (of, one) in [("links", "link"), ("groups", "group"), ("tags", "tag")] {
        let (before, after) = (list(old, of), list(new, of));
        let same_name = |list: &[Value], entry: &Value| list.iter().find(|other| name(other) == name(entry)).cloned();
        for entry in before.iter().filter(|entry| same_name(after, entry).is_none()) {
            words.push(format!("{one} {} goes", name(entry)));
        }
        for entry in after {
            match same_name(before, entry) {
                None => words.push(format!("{one} {} comes: {entry}", name(entry))),
                Some(other) if other != *entry => words.push(format!("{one} {} becomes {entry}", name(entry))),
                Some(_) => {}
            }
        }
    }
    if words.is_empty() { "nothing that the floor knows of".to_owned() } else { words.join("; ") }
}
