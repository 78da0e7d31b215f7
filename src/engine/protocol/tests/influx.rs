//! Outputs of type influxdb, and the choice of tags of any output.

use super::*;
use crate::config::{InfluxApi, Precision};
use crate::tag::Nanos;

const V1: &str = "type = \"influxdb\"\nurl = \"http://db:8086\"\ndatabase = \"plant\"\n";
const V2: &str = "type = \"influxdb\"\nurl = \"https://db/x/\"\norg = \"o\"\nbucket = \"b\"\ntoken_file = \"t\"\n";

const TAG: &str = r#"{"name": "t", "address": "plc1:1:3:40001", "data_type": "int16", "scan_rate_ms": 10}"#;

fn toml(lines: &str) -> String {
    format!("{MINIMAL}[outputs.db]\n{lines}")
}

fn read(lines: &str) -> Loaded {
    loaded(&toml(lines), &[("tags/a.json", &tag_file(&[TAG]))])
}

#[test]
fn both_write_apis_are_read_with_their_defaults() {
    let config = read(V1).config;
    let influx = config.outputs[0].kind.influx().unwrap();
    assert_eq!((&*influx.host, influx.port, &*influx.path), ("db", 8086, ""));
    assert_eq!(influx.api, InfluxApi::V1 { database: "plant".into(), user: None, password: None });
    assert_eq!((&*influx.measurement, &*influx.field, &*influx.status_field), ("{tag}", "value", "status"));
    assert_eq!(influx.tag_set, [("gateway".to_owned(), "{gateway}".to_owned())]);
    assert!(influx.gzip && influx.precision == Precision::Microseconds && influx.tls.is_none());

    let lines = format!(
        "{V2}precision = \"ms\"\ngzip = false\nfield = \"{{tag}}\"\nmeasurement = \"plant\"\ntag_set = {{ site = \"n\" }}\n\
         batch_ms = 250\nbatch_lines = 10\ntags = [\"*\"]\n"
    );
    let config = read(&lines).config;
    let influx = config.outputs[0].kind.influx().unwrap();
    assert_eq!((&*influx.host, influx.port, &*influx.path), ("db", 443, "/x"));
    assert_eq!(influx.api, InfluxApi::V2 { org: "o".into(), bucket: "b".into(), token_file: "t".into() });
    assert_eq!((&*influx.field, &*influx.status_field), ("{tag}", "{tag}:status"));
    assert_eq!((influx.batch, influx.lines_max, influx.gzip), (Nanos::from_millis(250), 10, false));
    assert!(influx.tls.is_some());
    assert!(!format!("{influx:?}").contains("password"));
}

#[test]
fn what_does_not_fit_is_refused() {
    for (lines, told) in [
        ("type = \"influxdb\"\nurl = \"http://db\"\n".to_owned(), "database is missing, or org, bucket and token_file"),
        (format!("{V1}bucket = \"b\"\n"), "database and bucket together"),
        (format!("{V1}password = \"p\"\n"), "password without user"),
        (format!("{V2}user = \"u\"\n"), "user with org, bucket or token_file"),
        (V2.replace("org = \"o\"\n", ""), "org is missing"),
        (V1.replace("http:", "mqtt:"), "the URL's scheme \"mqtt\" is unknown"),
        (format!("{V1}ca = \"c\"\n"), "ca has no meaning without TLS; write the url with https://"),
        (format!("{V1}measurement = \"plant\"\n"), "no name contains {tag}"),
        (
            format!("{V1}measurement = \"{{tag}}{{unit}}\"\n"),
            "unknown placeholder \"{unit}\"; allowed: {gateway}, {group}, {link}, {tag}",
        ),
        (format!("{V1}field = \"status\"\n"), "field and status_field are the same"),
        (format!("{V1}field = \"time\"\n"), "field is \"time\""),
        (format!("{V1}measurement = \"a\\\\b{{tag}}\"\n"), "has a backslash"),
        (format!("{V1}tag_set = {{ time = \"x\" }}\n"), "tag_set has the name \"time\""),
        (format!("{V1}tag_set = {{ a = 5 }}\n"), "tag_set.a is not a valid value"),
        (format!("{V1}tag_set = [1]\n"), "tag_set is a list"),
        (format!("{V1}topic = \"t\"\n"), "the key \"topic\" is unknown"),
        (format!("{V1}tags = []\n"), "tags is an empty list"),
        (format!("{V1}tags = [5]\n"), "tags has an element that is not a pattern"),
    ] {
        let found = toml_fault(&toml(&lines));
        assert!(found.contains(told), "{found}");
    }
}

#[test]
fn an_output_that_sends_nothing_is_refused_and_a_pattern_that_matches_nothing_is_warned_of() {
    let found = toml_fault(&toml(&format!("{V1}exclude_tags = [\"*\"]\n")));
    assert!(found.contains("output \"db\": no tag is selected: the output would publish nothing"), "{found}");
    let warnings = read(&format!("{V1}exclude_tags = [\"nothing.*\", \"$*\"]\n")).warnings;
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let about: Vec<&String> = told.iter().filter(|line| line.contains("output \"db\"")).collect();
    assert_eq!(about.len(), 1, "{told:?}");
    assert!(about[0].contains("exclude_tags: \"nothing.*\" matches no tag"), "{told:?}");
}
