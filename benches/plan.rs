//! 5000 tags on 50 devices: how long reading the files and compiling the plan takes.

use std::fmt::Write;
use std::time::Instant;

use fieldbeat::protocol;

const LINKS: usize = 50;
const TAGS_PER_LINK: usize = 100;
const ROUNDS: usize = 25;

fn tag_file(link: usize) -> String {
    let mut out = format!(
        r#"{{"links":[{{"name":"dev{link}","protocol":"modbus_tcp","host":"192.168.10.{link}","addressing":"raw"}}],"tags":["#
    );
    // A mixture of types, rates, units and gaps, as a real line has.
    let kinds = [("float32", 2), ("uint16", 1), ("int32", 2), ("float64", 4), ("int16", 1)];
    for tag in 0..TAGS_PER_LINK {
        let (data_type, registers) = kinds[tag % kinds.len()];
        let first = tag * 5 + usize::from(tag % 17 == 0);
        let (unit, rate) = (1 + tag / 50, [10, 50, 100][tag % 3]);
        let comma = if tag == 0 { "" } else { "," };
        let _ = write!(
            out,
            r#"{comma}{{"name":"dev{link}.tag{tag}","protocol":"modbus_tcp","address":"dev{link}:{unit}:3:{first}:{registers}","data_type":"{data_type}","scan_rate_ms":{rate},"unit":"°C","description":"one of many"}}"#
        );
    }
    out + "]}"
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let texts: Vec<(String, String)> = (0..LINKS).map(|l| (format!("tags/dev{l}.json"), tag_file(l))).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let toml = ("fieldbeat.toml", "[gateway]\nid = \"bench\"\n");
    let (mut loads, mut builds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let loaded = protocol::load_parts(toml, &files).unwrap_or_else(|error| panic!("{error}"));
        loads.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(loaded.config.tags.len(), LINKS * TAGS_PER_LINK);
        let start = Instant::now();
        std::hint::black_box(protocol::build(&loaded.config, &[0, 1]).unwrap_or_else(|error| panic!("{error}")));
        builds.push(start.elapsed().as_secs_f64() * 1e3);
    }
    println!("| 5000 tags on {LINKS} devices | ms (median of {ROUNDS}) |");
    println!("|---|---|");
    println!("| read and check the files | {:.1} |", median(loads));
    println!("| compile the plan, with admission | {:.1} |", median(builds));
}
