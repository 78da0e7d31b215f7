//! Which groups may be by event: those of sources alone, since a link of an executor is polled.

use super::admission::PlanError;
use crate::config::{Config, DiagnosticsLink, Pace};

/// # Errors
/// The tags of polled links whose group is by event.
pub fn check(config: &Config) -> Result<(), PlanError> {
    let mut refusals = Vec::new();
    for tag in &config.tags {
        let (link, group) = (&config.links[tag.link], &config.groups[tag.group]);
        let is_source = link.protocol.is::<DiagnosticsLink>();
        if let (Pace::OnEvent { .. }, false) = (group.pace, is_source) {
            let (source, tag, link, group) = (&tag.source, &tag.name, &link.name, &group.name);
            refusals.push(format!(
                "{}:{}:{}: tag \"{tag}\": its group \"{group}\" is by event, and link \"{link}\" is polled; allowed: a \
                 group with scan_rate_ms",
                source.file, source.line, source.column
            ));
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(PlanError { refusals, admission: Box::default() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{build, load_parts};

    #[test]
    fn a_polled_link_is_refused_a_group_by_event() {
        let tags = r#"{"links":[{"name":"plc","protocol":"modbus_tcp","host":"127.0.0.1"}],
            "tags":[{"name":"a","address":"plc:1:3:40001:1","data_type":"uint16","scan_rate_ms":10}]}"#;
        let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", tags)]);
        let mut config = loaded.unwrap().config;
        assert!(build(&config, &[0]).is_ok());
        config.groups[0].pace = Pace::OnEvent { rate_max_hz: 10 };
        let told = build(&config, &[0]).unwrap_err().to_string();
        assert!(told.contains("tag \"a\": its group \"default\" is by event, and link \"plc\" is polled"), "{told}");
    }
}
