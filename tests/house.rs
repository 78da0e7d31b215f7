//! The house keeps its order: imports point down, the floor stays clean, a file says what it is about.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules each module may import. Nobody else's business is nobody's import.
const MAY_IMPORT: [(&str, &[&str]); 23] = [
    ("tag", &[]),
    ("limits", &["tag"]),
    ("disk", &[]),
    ("logs", &["limits"]),
    ("config", &["limits", "tag"]),
    ("command", &["config", "limits", "tag"]),
    ("plan", &["config", "limits", "tag"]),
    ("lane", &["limits", "plan", "tag"]),
    ("rt", &["lane", "limits", "plan", "tag"]),
    ("connector", &["config", "limits", "plan", "rt", "tag"]),
    ("protocol", &["config", "connector", "lane", "limits", "plan", "rt", "tag"]),
    ("hub", &["lane", "limits", "plan", "protocol", "rt", "tag"]),
    ("store", &["config", "disk", "limits", "tag"]),
    ("output", &["command", "config", "limits", "store", "tag"]),
    (
        "serve",
        &[
            "command",
            "config",
            "disk",
            "hub",
            "lane",
            "limits",
            "connector",
            "protocol",
            "logs",
            "output",
            "plan",
            "rt",
            "store",
            "tag",
        ],
    ),
    ("door", &["lane", "limits", "plan", "rt", "tag"]),
    ("source", &["config", "door", "hub", "lane", "limits", "plan", "rt", "serve", "store", "tag"]),
    ("doctor", &["config", "limits", "rt", "tag"]),
    ("plant", &["config", "limits", "protocol", "rt", "tag"]),
    (
        "supervise",
        &[
            "command",
            "config",
            "door",
            "hub",
            "lane",
            "limits",
            "connector",
            "protocol",
            "logs",
            "output",
            "plan",
            "rt",
            "serve",
            "source",
            "store",
            "tag",
        ],
    ),
    (
        "sim",
        &[
            "config",
            "hub",
            "lane",
            "limits",
            "connector",
            "protocol",
            "logs",
            "output",
            "plan",
            "rt",
            "door",
            "store",
            "tag",
        ],
    ),
    (
        "cli",
        &[
            "command",
            "config",
            "doctor",
            "hub",
            "lane",
            "limits",
            "connector",
            "protocol",
            "logs",
            "output",
            "plan",
            "plant",
            "rt",
            "serve",
            "sim",
            "store",
            "supervise",
            "tag",
        ],
    ),
    ("fuzz", &["command", "config", "connector", "protocol", "output", "serve", "store"]),
];

/// What the floor's files must not contain outside their tests: it allocates, locks, logs or resolves.
const NOT_ON_THE_FLOOR: [&str; 9] = [
    "tracing::",
    "println!",
    "format!",
    "String",
    ".to_owned()",
    "Mutex",
    "HashMap",
    "to_socket_addrs",
    ".collect::<Vec",
];
/// Files and folders beside the floor's loop: they run before it or in other threads.
const BESIDE_THE_FLOOR: [&str; 4] = [
    "src/engine/rt/calibrate.rs",
    "src/engine/rt/thread.rs",
    "src/engine/connector/",
    "src/engine/protocol/local_io/link/thread/",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Path from the root, and the text without comments and without the part that is compiled for tests only.
fn code() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    files
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("tests"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap()
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            (path.strip_prefix(root()).unwrap().display().to_string(), code.join("\n"))
        })
        .collect()
}

/// Crates of several modules; every other folder of `src` is one module.
const FLOORS: [&str; 3] = ["core", "engine", "gateway"];

fn module_of(path: &str) -> &str {
    let mut parts = path.trim_start_matches("src/").split('/');
    let first = parts.next().unwrap();
    let module = if FLOORS.contains(&first) { parts.next().unwrap() } else { first };
    module.trim_end_matches(".rs")
}

/// A module of the same crate, whatever those below it are called.
fn is_own(path: &str, target: &str) -> bool {
    let folder = Path::new("src").join(path.trim_start_matches("src/").split('/').next().unwrap());
    let is_floor = FLOORS.iter().any(|floor| folder.ends_with(floor));
    !is_floor && [format!("{target}.rs"), target.to_owned()].iter().any(|name| root().join(&folder).join(name).exists())
}

#[test]
fn imports_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let mut wrong = Vec::new();
    for (path, text) in code() {
        let module = module_of(&path);
        if matches!(module, "lib" | "main" | "Cargo") {
            continue;
        }
        let Some(may) = allowed.get(module) else {
            wrong.push(format!("{path}: the module {module} is not on the map of this test"));
            continue;
        };
        let name = |part: &str| -> String { part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
        let of_crate = text.split("crate::").skip(1).map(name).filter(|target| !is_own(&path, target));
        let of_others = text.split("fieldbeat_").skip(1).map(|part| match part.split_once("::") {
            Some((floor, rest)) if FLOORS.contains(&floor) => name(rest),
            _ => name(part),
        });
        for target in of_crate.chain(of_others) {
            let is_module = allowed.contains_key(target.as_str());
            if is_module && target != module && !may.contains(&target.as_str()) {
                wrong.push(format!("{path} imports {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_map_has_no_circle() {
    for (at, (module, may)) in MAY_IMPORT.iter().enumerate() {
        for target in *may {
            let place = MAY_IMPORT.iter().position(|(m, _)| m == target);
            assert!(place.is_some_and(|p| p < at), "{module} imports {target}, which does not lie below it");
        }
    }
}

/// Which protocols build on which others.
const ROOMS: [(&str, &[&str]); 4] = [("modbus", &[]), ("can", &[]), ("canopen", &["can"]), ("local_io", &[])];

/// A protocol is one folder: beside it, only `kinds.rs` and what serves the whole set name it.
#[test]
fn a_protocol_does_not_know_the_others() {
    let mut wrong = Vec::new();
    for (path, text) in code() {
        let Some((room, _)) = path.strip_prefix("src/engine/protocol/").and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{path}: the room {room} is not on the map of this test"));
            continue;
        };
        for (other, _) in ROOMS.iter().filter(|(other, _)| *other != room && !may.contains(other)) {
            if ["protocol", "super"].iter().any(|from| text.contains(&format!("{from}::{other}::"))) {
                wrong.push(format!("{path} imports {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_floor_does_not_allocate_lock_or_log() {
    let mut wrong = Vec::new();
    for (path, text) in code() {
        let is_link = path.starts_with("src/engine/protocol/") && path.contains("/link/");
        let floor = (is_link || matches!(module_of(&path), "rt" | "lane"))
            && !BESIDE_THE_FLOOR.iter().any(|beside| path.starts_with(beside));
        if floor {
            wrong.extend(NOT_ON_THE_FLOOR.iter().filter(|w| text.contains(**w)).map(|w| format!("{path}: {w}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_file_says_what_it_is_about() {
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches"] {
        sources(&root().join(dir), &mut files);
    }
    let silent: Vec<_> = files.iter().filter(|path| !fs::read_to_string(path).unwrap().starts_with("//! ")).collect();
    assert!(silent.is_empty(), "the first line is no //! line: {silent:#?}");
}

#[test]
fn nothing_is_left_open() {
    let marks = ["todo!(", "unimplemented!(", "dbg!(", "FIXME"];
    let mut wrong = Vec::new();
    for (path, text) in code() {
        wrong.extend(marks.iter().filter(|m| text.contains(**m)).map(|m| format!("{path}: {m}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// `println!` ends whoever calls it when nobody reads: what is printed goes through `cli::print` and `logs`.
#[test]
fn nothing_is_printed_by_a_macro_that_panics() {
    let wrong: Vec<String> = code()
        .into_iter()
        .filter(|(path, text)| {
            !path.starts_with("src/sim/admitted")
                && ["println!(", "print!(", "dbg!("].iter().any(|call| text.contains(call))
        })
        .map(|(path, _)| path)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Words that a user's texts do without, and what stands in their place: see docs/STYLE.md.
const NOT_SAID_TO_USERS: [(&str, &str); 14] = [
    ("told", "reported, logged"),
    ("tells", "reports, logs"),
    ("nobody", "no client, no thread"),
    ("somebody", "another program, another client"),
    ("whoever", "the client that, the user that"),
    ("meanwhile", "while …, in the meantime"),
    ("anew", "again, restart, reconnect"),
    ("reckoned", "calculated"),
    ("stands still", "stalled"),
    ("tried again", "retrying"),
    ("given up", "abandoned, closed"),
    ("has come", "was received"),
    ("that which", "what"),
    ("mends", "fixes"),
];

/// The string literals of a source without comments, in which `{…}` is cut out: names of variables are no words.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // A character: of quotes, such as '"', or of an escape.
            '\'' if rest.peek() == Some(&'"') => {
                rest.nth(1);
            }
            '\'' if rest.peek() == Some(&'\\') => {
                rest.nth(1);
            }
            '"' => {
                let (mut text, mut depth) = (String::new(), 0_u32);
                while let Some(c) = rest.next() {
                    match c {
                        '"' => break,
                        '\\' => {
                            let after = rest.next();
                            if after == Some('\n') {
                                while rest.peek().is_some_and(|c| c.is_whitespace()) {
                                    rest.next();
                                }
                            } else {
                                text.push(' ');
                            }
                        }
                        '{' => depth += 1,
                        '}' => depth = depth.saturating_sub(1),
                        c if depth == 0 => text.push(c.to_ascii_lowercase()),
                        _ => {}
                    }
                }
                found.push(text);
            }
            _ => {}
        }
    }
    found
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word)
        .any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next()))
}

#[test]
fn what_users_read_speaks_the_words_of_the_field() {
    let mut wrong = Vec::new();
    for (path, text) in code() {
        for literal in literals(&text) {
            for (word, instead) in NOT_SAID_TO_USERS.iter().filter(|(word, _)| has_word(&literal, word)) {
                wrong.push(format!("{path}: \"{word}\" (say: {instead}) in: {literal}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The scan itself finds what it is to find.
    let seen = literals("note!(\"a value is {told} and \\\n  told twice\", '\"', 'x'); \"none\"");
    assert_eq!(seen, ["a value is  and told twice", "none"]);
    assert!(has_word(&seen[0], "told") && !has_word("untold retold", "told"));
}
