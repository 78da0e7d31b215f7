//! What is left of a case, for a person to read.

use std::fmt::{self, Write};

use super::files::{list, name, sizes};
use super::timeline::timeline;
use super::{Shrunk, files};

/// What is left, and what breaks.
pub fn story(shrunk: &Shrunk) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = tell(&mut text, shrunk);
    text
}

fn tell(text: &mut String, shrunk: &Shrunk) -> fmt::Result {
    let Shrunk { case, before, .. } = shrunk;
    let [links, tags, events] = sizes(case);
    let seconds = |ns: u64| ns as f64 / 1e9;
    writeln!(
        text,
        "left after {} tries: {links} of {} links, {tags} of {} tags, {events} of {} events{}",
        shrunk.tries,
        before[0],
        before[1],
        before[2],
        if shrunk.is_least { "" } else { "; more may be possible" }
    )?;
    writeln!(
        text,
        "{} executors, trouble until {:.3} s, the hub each {:.3} s, {} ring slots{}{}",
        case.executors,
        seconds(case.trouble_ns),
        seconds(case.hub_period_ns),
        case.ring_slots,
        if case.commit_ns > 0 { ", with a journal" } else { "" },
        if case.calm { ", nothing wrong outside the devices" } else { "" }
    )?;
    for of in ["groups", "links", "tags"] {
        list(&case.tags, of).iter().try_for_each(|entry| writeln!(text, "    {of} {}: {entry}", name(entry)))?;
    }
    for host in &case.events.hosts {
        let what = match (host.steady, host.refuses_until_ns) {
            (true, _) => "always answers in time".to_owned(),
            (_, 0) => continue,
            (_, u64::MAX) => "refuses some addresses".to_owned(),
            (_, until) => format!("refuses some addresses until {:.6} s", seconds(until)),
        };
        writeln!(text, "    host {}: {what}", host.host)?;
    }
    for (at, what) in timeline(case, &shrunk.changed_at) {
        writeln!(text, "{:>14.6} s  {what}", seconds(at))?;
    }
    writeln!(text, "the last events:\n{}", shrunk.last.join("\n"))?;
    writeln!(text, "{}: {}", shrunk.broken.kind, shrunk.broken)?;
    match shrunk.inevitable_at {
        None => {}
        Some(0) if files::sizes(case)[2] == 0 => writeln!(text, "no event is needed for it")?,
        Some(at) => writeln!(text, "with what happens up to {:.6} s, it is inevitable", seconds(at))?,
    }
    Ok(())
}
