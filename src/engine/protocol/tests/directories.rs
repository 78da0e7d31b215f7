//! Configurations on disk: which files are read.

use std::fs;
use std::path::Path;

use super::{LINK, MINIMAL, lines, tag_file};
use crate::config::OutputKind;
use crate::protocol::load;

const TAG: &str = r#"{"name": "t", "address": "plc1:1:3:40001", "data_type": "int16", "scan_rate_ms": 10}"#;

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn the_examples_load_without_findings() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tags");
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "fieldbeat.toml", MINIMAL);
    fs::create_dir(dir.path().join("tags")).unwrap();
    for entry in fs::read_dir(examples).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join("tags").join(entry.file_name())).unwrap();
    }
    let loaded = load(dir.path()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!((loaded.config.links.len(), loaded.config.tags.len()), (3, 39));
}

#[test]
fn only_finished_tag_files_are_read_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "fieldbeat.toml", MINIMAL);
    write(dir, "tags/b.json", tag_file(&[TAG]));
    write(
        dir,
        "tags/a.json",
        r#"{"tags": [{"name": "a", "address": "plc1:1:3:2", "data_type": "int16", "scan_rate_ms": 10}]}"#,
    );
    // A schema for the editor, under whatever name.
    write(dir, "tags/schema.json", crate::protocol::schema().to_string());
    for half in ["tags/.c.json", "tags/c.json.tmp", "tags/c.json~", "tags/tags.schema.json", "tags/notes.txt"] {
        write(dir, half, "{");
    }
    let loaded = load(dir).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    let names: Vec<&str> = loaded.config.tags.iter().map(|tag| &*tag.name).collect();
    assert_eq!(names, ["a", "t"]);
    // A tag file that names the wrong schema is none itself.
    write(dir, "tags/e.json", r#"{"$schema": "https://json-schema.org/draft/2020-12/schema", "tgas": []}"#);
    assert!(lines(&load(dir).unwrap_err())[0].contains("the key \"tgas\" is unknown"));
    fs::remove_file(dir.join("tags/e.json")).unwrap();
    write(dir, "tags/d.JSON", "{}");
    let warnings = load(dir).unwrap().warnings;
    assert_eq!(warnings[0].to_string(), "tags/d.JSON: warning: not read: tag files are named *.json; rename it");
}

#[test]
fn missing_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().display();
    let gone = dir.path().join("gone");
    let found = lines(&load(&gone).unwrap_err());
    let line = "error: there is no such directory; it must contain fieldbeat.toml and tags/*.json";
    assert_eq!(found, [format!("{}: {line}", gone.display())]);
    let found = lines(&load(dir.path()).unwrap_err());
    assert_eq!(
        found,
        [
            format!(
                "fieldbeat.toml: error: there is no such file in {shown}; it needs at least [gateway] and below it \
                 id = \"line-4\""
            ),
            format!(
                "tags: error: there is no such directory in {shown}; it holds the links and tags, in files named *.json"
            ),
        ]
    );
}

#[test]
fn a_directory_without_tags_has_nothing_to_scan() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "fieldbeat.toml", MINIMAL);
    fs::create_dir(dir.path().join("tags")).unwrap();
    let found = lines(&load(dir.path()).unwrap_err());
    assert_eq!(found, ["tags: error: no tags: nothing to scan; declare a link and its tags in a file tags/*.json"]);
}

#[test]
fn what_is_no_text_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "fieldbeat.toml", [b"\xEF\xBB\xBF", MINIMAL.as_bytes()].concat());
    write(dir, "tags/a.json", b"{\n  \"unit\": \"\xB0C\"\n}");
    write(dir, "tags/b.json", b"\xFF\xFE{\0}\0");
    fs::create_dir(dir.join("tags/c.json")).unwrap();
    write(dir, "tags/d.json", b"\xFE\xFF\0{\0}");
    write(dir, "tags/e.json", b"{\0\0\0}\0\0\0");
    assert_eq!(
        lines(&load(dir).unwrap_err()),
        [
            "tags/a.json:2:12: error: the byte 0xB0 is not UTF-8; save it as UTF-8",
            "tags/b.json:1:1: error: the file is UTF-16LE; save it as UTF-8",
            "tags/c.json: error: is not a file",
            "tags/d.json:1:1: error: the file is UTF-16BE; save it as UTF-8",
            "tags/e.json:1:1: error: the file is UTF-32LE; save it as UTF-8",
        ]
    );
}

#[cfg(unix)]
#[test]
fn a_pipe_among_the_tag_files_does_not_make_the_gateway_wait() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "fieldbeat.toml", MINIMAL);
    write(dir.path(), "tags/a.json", tag_file(&[TAG]));
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&dir.path().join("tags/b.json"), mode).unwrap();
    assert_eq!(lines(&load(dir.path()).unwrap_err()), ["tags/b.json: error: is not a file"]);
}

#[test]
fn paths_start_at_the_directory_and_passwords_come_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let toml = format!(
        "{MINIMAL}[journal]\npath = \"journal\"\n[outputs.cloud]\ntype = \"mqtt\"\nurl = \"mqtts://b\"\nca = \"ca.pem\"\n\
         user = \"u\"\npassword_file = \"secret\"\n"
    );
    write(dir, "fieldbeat.toml", &toml);
    write(dir, "tags/a.json", tag_file(&[TAG]));
    write(dir, "secret", "p w\r\n");
    let loaded = load(dir).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.config.journal.path, dir.join("journal"));
    let OutputKind::Mqtt(mqtt) = &loaded.config.outputs[0].kind else { panic!("an output of type mqtt") };
    assert_eq!(mqtt.password.as_deref(), Some("p w"));
    assert_eq!(mqtt.tls.as_ref().unwrap().ca, Some(dir.join("ca.pem")));
    let missing = format!("ca: there is no file {}", dir.join("ca.pem").display());
    assert_eq!(loaded.warnings.iter().map(|w| w.message.clone()).collect::<Vec<_>>(), [missing]);

    write(dir, "secret", "two\nlines\n");
    let found = lines(&load(dir).unwrap_err());
    let line = "fieldbeat.toml:10:17: error: output \"cloud\": password_file \"secret\" has more than one line";
    assert!(found[1].starts_with(line), "{found:#?}");
}

#[test]
fn a_broken_file_does_not_hide_faults_of_the_others_nor_invent_any() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "fieldbeat.toml", "[gateway\n");
    write(dir, "tags/a.json", format!("{{{LINK}, "));
    write(
        dir,
        "tags/b.json",
        r#"{"tags": [{"name": "t", "address": "plc1:1:3:40001", "data_type": "int61", "scan_rate_ms": 10}]}"#,
    );
    let found = lines(&load(dir).unwrap_err());
    assert!(found[0].starts_with("fieldbeat.toml:1:9: error: not TOML: "), "{found:#?}");
    assert_eq!(
        found[1..],
        [
            "tags/a.json:1:76: error: the file ends before the { of line 1 is closed; was it written completely?",
            "tags/b.json:1:67: error: tag \"t\": data_type \"int61\" is unknown; allowed: bool, int8, uint8, int16, uint16, int24, uint24, int32, uint32, \
         int64, uint64, int128, uint128, float16, float32, float64, bcd16, bcd32, bcd64, string, datetime_unix32, \
         datetime_unix64, datetime_unix64_ms, datetime_iec60870, datetime_registers, datetime_bytes, datetime_bcd, \
         datetime_s7 (did you mean \"int16\"?)",
        ]
    );
}
