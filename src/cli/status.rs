//! `fieldbeat status`: the state of a running gateway.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value as Json, json};

use super::ask::{At, ask};
use super::{files, rows};

#[derive(Args)]
pub struct StatusArgs {
    #[command(flatten)]
    at: At,
    /// Print the complete answer as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn status(args: &StatusArgs) -> ExitCode {
    let socket = match args.at.socket() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    let answer = ask(&socket, &json!({ "ask": "status" }), false).and_then(|mut answer| answer.next_line());
    match answer {
        Ok(Some(status)) if args.json => out!("{status}"),
        Ok(Some(status)) => lines_of(&status).iter().for_each(|line| out!("{line}")),
        Ok(None) => {
            return super::fail(
                super::EXIT_FAILED,
                "error: the gateway closed its control socket without an answer: it is \
            stopping",
            );
        }
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: {error}")),
    }
    ExitCode::SUCCESS
}

fn count(of: &Json, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_default()
}

fn list<'s>(of: &'s Json, key: &str) -> &'s [Json] {
    of[key].as_array().map_or(&[], Vec::as_slice)
}

fn lines_of(status: &Json) -> Vec<String> {
    let text = |key| rows::text(status, key);
    let up = rows::span(status["uptime_s"].as_f64().unwrap_or_default());
    let mut lines = vec![
        format!(
            "gateway {}, version {}, up {up}, boot {}, process {}",
            text("gateway"),
            text("version"),
            text("boot"),
            status["pid"]
        ),
        format!("health  {}", text("health")),
    ];
    lines.extend(list(status, "reasons").iter().map(|reason| format!("  {}", reason.as_str().unwrap_or_default())));
    let tags = &status["tags"];
    lines.push(format!(
        "tags    {}: {} good, {} uncertain, {} bad, {} waiting for their first value",
        tags["total"], tags["good"], tags["uncertain"], tags["bad"], tags["waiting"]
    ));
    let links = list(status, "links");
    let are_up = links.iter().filter(|link| link["state"] == "up").count();
    lines.push(format!("links   {}: {are_up} up", links.len()));
    lines.extend(table(links.iter().map(link)));
    let groups = list(status, "groups");
    lines.push(format!("groups  {}", groups.len()));
    lines.extend(table(groups.iter().map(group)));
    let journal = &status["journal"];
    lines.push(format!(
        "journal {} of {}, the oldest {} old; {} samples stored, {} dropped, {} lost",
        bytes(count(journal, "bytes")),
        bytes(count(journal, "bytes_max")),
        rows::span(journal["oldest_age_s"].as_f64().unwrap_or_default()),
        journal["stored"],
        journal["dropped"],
        journal["lost"]
    ));
    let outputs = list(status, "outputs");
    lines.push(format!("outputs {}", outputs.len()));
    lines.extend(table(outputs.iter().map(output)));
    let live = list(status, "live");
    if !live.is_empty() {
        lines.push(format!("live    {}", files::counted(live.len(), "reader")));
        lines.extend(live.iter().map(|one| format!("  {}: {} samples lost", rows::text(one, "name"), one["lost"])));
    }
    lines
}

fn link(link: &Json) -> Vec<String> {
    let text = |key| rows::text(link, key).to_owned();
    let bad = match count(link, "bad_tags") {
        0 => String::new(),
        bad => format!(", {bad} bad"),
    };
    let tags = format!("{}{bad}", files::counted(count(link, "tags") as usize, "tag"));
    let failed = [("timeouts", count(link, "timeouts")), ("exceptions", count(link, "exceptions"))];
    let failed = failed.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!(", {count} {what}"));
    let requests = format!("{} requests{}", link["requests"], failed.collect::<String>());
    let trouble = if text("trouble").is_empty() { String::new() } else { format!(": {}", text("trouble")) };
    vec![text("link"), text("protocol"), text("state"), tags, format!("{requests}{trouble}")]
}

fn group(group: &Json) -> Vec<String> {
    if let Some(rate) = group["rate_max_hz"].as_u64() {
        let pace = format!("on event, {rate} Hz at most");
        return vec![rows::text(group, "group").to_owned(), pace, format!("{} samples", group["samples"])];
    }
    let period_ms = group["period_ms"].as_f64().unwrap_or_default();
    let jitter = group["release_jitter_us_p99"].as_f64();
    let jitter = jitter.map_or(String::new(), |us| format!(", jitter p99 {us:.0} µs"));
    let cycles = format!(
        "{} cycles, {} skipped, {} past their deadline{jitter}",
        group["cycles"], group["skipped_cycles"], group["deadline_misses"]
    );
    vec![rows::text(group, "group").to_owned(), format!("every {period_ms} ms"), cycles]
}

fn output(output: &Json) -> Vec<String> {
    let behind = format!("{} samples behind, {} acknowledged", output["lag"], output["acknowledged"]);
    let lost = match count(output, "lost") {
        0 => String::new(),
        lost => format!(", {lost} lost before delivery"),
    };
    vec![rows::text(output, "output").to_owned(), rows::text(output, "state").to_owned(), format!("{behind}{lost}")]
}

fn table(rows: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let rows: Vec<Vec<String>> = rows.collect();
    let widths = rows::widths(&rows);
    rows.iter().map(|row| format!("  {}", rows::columns(row, &widths))).collect()
}

fn bytes(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 10 << 30 => format!("{} GiB", bytes >> 30),
        bytes if bytes >= 10 << 20 => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_in_lines_that_people_read() {
        let status = json!({
            "gateway": "line-4", "version": "0.1.0", "boot": "b", "pid": 7, "uptime_s": 11_520.0,
            "health": "degraded", "reasons": ["link plc2 is down: refused"],
            "tags": {"total": 6, "good": 4, "uncertain": 0, "bad": 2, "waiting": 0},
            "links": [
                {"link": "plc1", "protocol": "modbus", "state": "up", "requests": 120, "tags": 4, "bad_tags": 0},
                {"link": "b", "protocol": "modbus", "state": "down", "trouble": "refused", "requests": 1, "timeouts": 1,
                 "tags": 2, "bad_tags": 2}],
            "groups": [{"group": "10ms", "period_ms": 10.0, "cycles": 1200, "skipped_cycles": 0, "deadline_misses": 3,
                        "release_jitter_us_p99": 19.2}],
            "journal": {"bytes": 1 << 20, "bytes_max": 16u64 << 30, "oldest_age_s": 700.0, "stored": 5, "dropped": 0, "lost": 0},
            "outputs": [{"output": "cloud", "state": "up", "lag": 40, "acknowledged": 950, "lost": 0}],
            "live": [{"name": "me", "lost": 250}],
        });
        let expected = [
            "gateway line-4, version 0.1.0, up 3 h 12 min, boot b, process 7",
            "health  degraded",
            "  link plc2 is down: refused",
            "tags    6: 4 good, 0 uncertain, 2 bad, 0 waiting for their first value",
            "links   2: 1 up",
            "  plc1  modbus  up    4 tags         120 requests",
            "  b     modbus  down  2 tags, 2 bad  1 requests, 1 timeouts: refused",
            "groups  1",
            "  10ms  every 10 ms  1200 cycles, 0 skipped, 3 past their deadline, jitter p99 19 µs",
            "journal 1024 KiB of 16 GiB, the oldest 11 min old; 5 samples stored, 0 dropped, 0 lost",
            "outputs 1",
            "  cloud  up  40 samples behind, 950 acknowledged",
            "live    1 reader",
            "  me: 250 samples lost",
        ];
        assert_eq!(lines_of(&status), expected);
    }
}
