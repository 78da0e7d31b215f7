//! What a run is made of, by its seed: a configuration as people would write it, and the troubles to come.

use fastrand::Rng;

use crate::config::{Config, LinkProtocol, TagAddress, load_parts};
use crate::plan::{self, Plan};
use crate::tag::LinkId;

const MS: u64 = 1_000_000;

/// A run before it runs.
pub struct Scenario {
    pub seed: u64,
    pub config: Config,
    pub plan: Plan,
    /// Trouble ends then, and everything must come back.
    pub trouble_ns: u64,
    /// The CPUs stall, for so long at most; 0: never.
    pub stall_max_ns: u64,
    /// All connections break together now and then.
    pub storms: bool,
    /// The consumer stops now and then.
    pub consumer_stops: bool,
    /// UTC jumps now and then.
    pub clock_steps: bool,
    /// Links whose device is never in trouble.
    pub steady: Vec<bool>,
    /// How often the hub looks into the rings.
    pub hub_period_ns: u64,
    pub ring_slots: usize,
    pub journal_batches: usize,
}

struct Shape {
    links: usize,
    tags: usize,
    executors: usize,
    periods_ms: Vec<u64>,
}

impl Scenario {
    /// Every sixth seed is fast and short, the others slow and long; `hours` overrules the length.
    ///
    /// # Errors
    /// When the configuration that was made is refused: a fault of this file, or of what reads it.
    pub fn of_seed(seed: u64, hours: Option<f64>) -> Result<Scenario, String> {
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5151);
        let fast = seed.is_multiple_of(6);
        let shape = Shape {
            links: rng.usize(1..=if fast { 8 } else { 4 }),
            tags: rng.usize(1..=if fast { 200 } else { 40 }),
            executors: if rng.u8(..3) == 0 { rng.usize(2..=3) } else { 1 },
            periods_ms: if fast { vec![2, 5, 10, 20, 50, 100, 250] } else { vec![500, 700, 1000] },
        };
        let (toml, tags) = texts(&shape, &mut rng);
        let loaded = load_parts(("fieldbeat.toml", &toml), &[("tags/sim.json", &tags)])
            .map_err(|errors| format!("the configuration is refused:\n{errors}\n{tags}"))?;
        let cpus: Vec<u32> = (0..shape.executors as u32).collect();
        let planned = plan::build(&loaded.config, &cpus).map_err(|error| format!("the plan is refused: {error}"))?;
        let usual = if fast { rng.u64(2_000..6_000) } else { rng.u64(150_000..600_000) };
        let trouble_ns = hours.map_or(usual * MS, |hours| (hours * 3.6e12) as u64);
        let steady = (0..planned.plan.links.len()).map(|_| rng.u8(..3) == 0).collect();
        Ok(Scenario {
            seed,
            config: loaded.config,
            plan: planned.plan,
            trouble_ns,
            stall_max_ns: if rng.bool() { [5, 100, 3_000][rng.usize(..3)] * MS } else { 0 },
            storms: rng.u8(..3) == 0,
            consumer_stops: rng.u8(..3) == 0,
            clock_steps: rng.bool(),
            steady,
            hub_period_ns: if fast { [2, 5, 20][rng.usize(..3)] } else { [20, 50, 100][rng.usize(..3)] } * MS,
            ring_slots: rng.usize(192..4096),
            journal_batches: rng.usize(1..=32),
        })
    }

    /// Whether nothing outside the devices goes wrong, so that steady links must not miss anything.
    pub fn is_calm(&self) -> bool {
        self.stall_max_ns == 0 && !self.storms
    }

    /// Addresses of `link` that its device refuses: of some tags, and never of a steady device.
    pub fn refused(&self, link: usize, rng: &mut Rng) -> Vec<(u8, crate::config::Table, u16)> {
        if self.steady[link] || rng.bool() {
            return Vec::new();
        }
        let tags = self.config.tags.iter().filter(|tag| tag.link == link);
        let place = |tag: &crate::config::TagConfig| {
            let TagAddress::Modbus(address) = &tag.address;
            (address.unit.0, address.table, address.first)
        };
        tags.filter(|_| rng.u8(..20) == 0).map(place).collect()
    }

    /// Whether all that a link may be asked in its shortest period fits into half of it.
    pub fn has_room(&self, link: usize) -> bool {
        let LinkProtocol::Modbus(modbus) = &self.config.links[link].protocol;
        let crate::plan::LinkProtocolPlan::Modbus(planned) = &self.plan.links[LinkId(link as u16)].protocol;
        let shortest = planned.blocks().iter().map(|r| self.plan.groups[r.group].period.0).min().unwrap_or(0);
        // The executor's own time: a wake-up, the calls, and other links' work in between.
        let each = modbus.reply_expected.0 + 150_000 * self.plan.links.len() as u64;
        planned.blocks().len() as u64 * each <= shortest / 2
    }
}

/// `fieldbeat.toml` and a tag file.
fn texts(shape: &Shape, rng: &mut Rng) -> (String, String) {
    let toml = "[gateway]\nid = \"sim\"\n".to_owned();
    let groups: Vec<u64> =
        (0..rng.usize(1..=3)).map(|_| shape.periods_ms[rng.usize(..shape.periods_ms.len())]).collect();
    let shortest = groups.iter().copied().min().unwrap_or(1);
    let group_texts: Vec<String> = groups
        .iter()
        .enumerate()
        .map(|(i, ms)| {
            let release = if rng.bool() { "together" } else { "spread" };
            format!(r#"{{"name": "g{i}", "scan_rate_ms": {ms}, "release": "{release}"}}"#)
        })
        .collect();
    let links: Vec<String> = (0..shape.links)
        .map(|i| {
            let timeout = [10, 20, 50, 100, 200][rng.usize(..5)].max(shortest / 4);
            let expected = (shortest as f64 / rng.usize(20..100) as f64).clamp(0.02, timeout as f64 / 4.0);
            format!(
                r#"{{"name": "l{i}", "protocol": "modbus_tcp", "host": "10.0.0.{i}", "timeout_ms": {timeout}, "connect_timeout_ms": {},
                "pipeline": {}, "expected_reply_ms": {expected:.3}, "addressing": "raw", "max_registers": {}}}"#,
                rng.u64(50..500),
                rng.u8(1..=4),
                rng.u8(12..=125),
            )
        })
        .collect();
    // The first tags give each link and group something to do.
    let count = shape.tags.max(shape.links).max(groups.len());
    let mut next = vec![[rng.u32(..50); 4]; shape.links * 2];
    let tags: Vec<String> =
        (0..count).map(|i| tag_text(i, (i % shape.links, i % groups.len()), &mut next, rng)).collect();
    let tags = format!(
        "{{\"groups\": [{}],\n\"links\": [{}],\n\"tags\": [\n{}\n]}}",
        group_texts.join(", "),
        links.join(",\n"),
        tags.join(",\n")
    );
    (toml, tags)
}

fn tag_text(i: usize, (link, group): (usize, usize), next: &mut [[u32; 4]], rng: &mut Rng) -> String {
    let unit = usize::from(rng.u8(..4) == 0);
    let function = [3, 3, 3, 4, 1, 2][rng.usize(..6)];
    let order = ["ABCD", "DCBA", "BADC", "CDAB"][rng.usize(..4)];
    let scaled = if rng.u8(..4) == 0 { r#", "scale": 0.5, "offset": -3"# } else { "" };
    let (registers, what) = match (function, rng.u8(..12)) {
        (1 | 2, 0) => (24, r#""data_type": "bool", "array": 24"#.to_owned()),
        (1 | 2, _) => (1, r#""data_type": "bool""#.to_owned()),
        (4, 0..4) => (9, format!(r#""data_type": "string", "byte_order": "{order}""#)),
        (_, 0) => (1, r#""data_type": "bool", "bit": 11"#.to_owned()),
        (_, 1) => (20, format!(r#""data_type": "int32", "array": 5, "byte_order": "{order}"{scaled}"#)),
        (_, n) => {
            let (name, size) =
                [("int16", 1), ("uint16", 1), ("int32", 2), ("uint32", 2), ("float32", 2), ("uint64", 4)]
                    [usize::from(n) % 6];
            let scaled = if name == "float32" { "" } else { scaled };
            (size, format!(r#""data_type": "{name}", "byte_order": "{order}"{scaled}"#))
        }
    };
    let registers = if what.contains("\"array\": 5") { 10 } else { registers };
    let place = &mut next[link * 2 + unit][function - 1];
    let first = *place;
    *place = first + registers + if rng.u8(..6) == 0 { rng.u32(1..200) } else { 0 };
    let units = [1, 7];
    format!(
        r#"{{"name": "t{i}", "group": "g{group}", "address": "l{link}:{}:{function}:{first}:{registers}", {what}}}"#,
        units[unit]
    )
}
