//! The boot, and the files that it left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

/// It takes 80 s on an idle machine with two CPUs.
const SECONDS_MAX: &str = "500";

/// The part of the scenario that needs no peers.
pub const MACHINE: &str = "machine";

/// A file beside this one.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest").join(name)
}

/// A guest that has run the scenario to its end.
pub struct Guest {
    out: PathBuf,
}

impl Guest {
    /// Boots, runs the parts of the scenario, and says how long it took. A guest that does not come to its end fails
    /// every test.
    pub fn boot(parts: &[&str]) -> Guest {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("guest");
        let _ = fs::remove_dir_all(&out);
        let mut programs = vec![PathBuf::from(env!("CARGO_BIN_EXE_fieldbeat"))];
        if parts.contains(&MACHINE) {
            programs.push(latency_harness());
            programs.extend(on_path("cyclictest"));
        }
        programs.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("rt-config/fieldbeat-rt"));
        let started = Instant::now();
        let status = Command::new("sh")
            .arg(file("boot.sh"))
            .arg("-o")
            .arg(&out)
            .args(["-t", SECONDS_MAX])
            .args(programs.iter().flat_map(|program| [Path::new("-f"), program]))
            .args(["scenario.sh", "parts", "peers"].iter().flat_map(|name| ["-f".to_owned(), into_guest(name)]))
            .args(peers(parts).unwrap().iter().flat_map(|archive| ["-i", archive]))
            .args(["--", &format!("sh /scenario.sh {}", parts.join(" "))])
            .status()
            .unwrap();
        let guest = Guest { out };
        let whole = started.elapsed().as_secs();
        assert!(status.success(), "the scenario ended with {status} after {whole} s");
        println!("the guest was up after {} s of its time, the whole took {whole} s", guest.text("up").trim());
        guest
    }

    /// Where a file of the guest's /out lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    /// A file of the guest's /out.
    pub fn text(&self, name: &str) -> String {
        let path = self.path(name);
        String::from_utf8_lossy(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).into_owned()
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The exit code of a step.
    pub fn code(&self, step: &str) -> i32 {
        self.text(&format!("{step}.code")).trim().parse().unwrap()
    }

    /// A command that was kept has ended well.
    pub fn assert_done(&self, name: &str) {
        let code = self.code(name);
        assert_eq!(code, 0, "{name}: exit code {code}\n{}{}", self.text(name), self.text(&format!("{name}.err")));
    }

    /// A file of lines "path value".
    pub fn settings(&self, when: &str) -> BTreeMap<String, String> {
        let text = self.text(&format!("settings.{when}"));
        let pairs = text.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
        pairs.map(|(path, value)| (path.to_owned(), value.to_owned())).collect()
    }

    /// The value of a line "name value" of a page of metrics.
    pub fn metric(&self, page: &str, name: &str) -> f64 {
        let text = self.text(page);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
    }
}

/// A file or directory beside this file goes to the guest's root.
fn into_guest(name: &str) -> String {
    format!("{}:/{name}", file(name).display())
}

/// The archive of the peers, for parts that have some.
pub fn peers(parts: &[&str]) -> Result<Option<String>, String> {
    parts.iter().any(|part| *part != MACHINE).then(|| ask("peers.sh", &[])).transpose()
}

/// What a script beside this file prints; if it fails, why.
pub fn ask(script: &str, arguments: &[&str]) -> Result<String, String> {
    let asked = Command::new("sh").arg(file(script)).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if asked.status.success() { Ok(text(&asked.stdout)) } else { Err(text(&asked.stderr)) }
}

/// Builds the member crate `cyclictest`, as its own tests need it built too.
fn latency_harness() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    // What cargo tells this test of itself would make it build half of the dependencies once more.
    for (name, _) in std::env::vars_os() {
        let of_this = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if of_this.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            build.env_remove(&name);
        }
    }
    let status = build
        .args(["build", "--quiet", "-p", "fieldbeat-cyclictest", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "fieldbeat-latency can't be built");
    target.join("debug/fieldbeat-latency")
}

/// Where a program lies, if it is installed.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
