//! What a run is made of: a configuration as people would write it, and the troubles to come.

use fastrand::Rng;

use super::case::Case;
use super::log::KEPT;
use super::model::{Model, Shape, dbc};
use super::script::{Drawn, Ends, Hosts, Script, rng_of};
use crate::config::model::Reporting;
use crate::config::{Config, Suppress, WriteConfig};
use crate::plan::Plan;
use crate::protocol;
use crate::protocol::load_parts;
use crate::protocol::modbus::model::ModbusAddress;
use crate::tag::Nanos;

const MS: u64 = 1_000_000;
/// After the trouble: longer than every pause but that of refused addresses, so that all else must be well again.
const RECOVERY_NS: u64 = 20_000 * MS;
/// The configuration beside the tags.
const GATEWAY: &str = "[gateway]\nid = \"sim\"\n";
/// Of so many seeds one is fast and short.
const FAST_OF: u64 = 12;
/// A source, where there is one: some dozens of tags, which come and go with links.
const SOURCE: &str = "[diagnostics]\nscan_rate_ms = 100\n\
    tags = [\"$gateway.*\", \"$journal.*\", \"$link.*.state\", \"$link.*.requests\"]\n";
/// Of so many pairs of seeds one has a source.
const SOURCE_OF: u64 = 3;
/// Of so many seeds one has links of other kinds, of the slow ones and of the fast ones.
const OTHERS_OF: u64 = 3;
/// Periods are doubled so often at most, until the plan fits.
const SLOWER_MAX: usize = 10;

/// A run before it runs.
pub struct Scenario {
    /// Of everything that the script does not say.
    pub seed: u64,
    /// The first tag file.
    pub tags: String,
    pub config: Config,
    pub plan: Plan,
    /// Devices send by themselves every few milliseconds.
    pub fast: bool,
    /// Trouble ends then, and everything must come back.
    pub trouble_ns: u64,
    /// How often the hub looks into the rings.
    pub hub_period_ns: u64,
    pub ring_slots: usize,
    pub journal_batches: usize,
    /// Virtual time after the trouble, in which all becomes well again.
    pub recovery_ns: u64,
    /// Nothing outside the devices goes wrong, so that steady links must not miss anything.
    pub calm: bool,
    /// No link may miss anything: the plan was admitted, and every device answers in its declared time, always.
    pub promised: bool,
    /// Each device takes the declared time for each answer, not up to it.
    pub exact: bool,
    /// There is a source beside the executors.
    pub source: bool,
    /// Between two commits of the journal; 0: there is none.
    pub commit_ns: u64,
    /// How many of the last events are told of what breaks.
    pub told: usize,
    pub hosts: Hosts,
    pub script: Script,
}

/// Reads a tag file; `source`: beside the links of the file, there is one of a source.
///
/// # Errors
/// When it is refused: a fault of `model`, or of what reads it.
pub fn load(text: &str, source: bool) -> Result<Config, String> {
    let gateway = if source { format!("{GATEWAY}{SOURCE}") } else { GATEWAY.to_owned() };
    let loaded = load_parts(("fieldbeat.toml", &gateway), &[("tags/sim.json", text), ("tags/sim.dbc", dbc::TEXT)]);
    let mut config = loaded.map_err(|errors| format!("the configuration is refused:\n{errors}\n{text}"))?.config;
    // By its name, so that a tag stays writable for as long as it is there.
    let written = config.tags.iter_mut().filter(|tag| tag.address.get::<ModbusAddress>().is_some());
    for tag in written.filter(|tag| tag.name.len() % 2 == 0 || tag.name.ends_with(['1', '4', '7'])) {
        let read_write_in_one = tag.name.ends_with(['2', '7']);
        tag.write = Some(WriteConfig { read_write_in_one, ..WriteConfig::default() });
    }
    report_by_exception(&mut config);
    Ok(config)
}

/// A quarter of a source's tags, by their names.
fn report_by_exception(config: &mut Config) {
    let own = config.tags.iter_mut().filter(|tag| tag.name.starts_with('$'));
    for tag in own.filter(|tag| tag.name.len().is_multiple_of(4)) {
        let suppress = if tag.name.len().is_multiple_of(8) { Suppress::Ring } else { Suppress::Journal };
        let max_silence = Nanos::from_millis(20_000);
        tag.reporting = Some(Reporting { deadband: 2.0, max_silence, suppress, keep_last: false });
    }
}

impl Scenario {
    /// Every twelfth seed is fast and short, the others slow and long; `hours` overrules the length.
    ///
    /// # Errors
    /// When the configuration that was made is refused: a fault of this module, or of what reads it.
    pub fn of_seed(seed: u64, hours: Option<f64>) -> Result<Scenario, String> {
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5151);
        let fast = seed.is_multiple_of(FAST_OF);
        let shape = Shape {
            links: rng.usize(1..=if fast { 8 } else { 4 }),
            tags: rng.usize(1..=if fast { 200 } else { 40 }),
            periods_ms: if fast { vec![2, 5, 10, 20, 50, 100, 250] } else { vec![500, 700, 1000] },
            others: seed % OTHERS_OF == 1 || seed % (FAST_OF * OTHERS_OF) == FAST_OF,
        };
        let source = (seed / 2).is_multiple_of(SOURCE_OF);
        let executors = if rng.u8(..3) == 0 { rng.u32(2..=3) } else { 1 };
        let cpus: Vec<u32> = (0..executors).collect();
        let mut model = Model::new(shape, &mut rng);
        let mut slower = 0;
        let (tags, config, planned) = loop {
            let tags = model.text();
            let config = load(&tags, source)?;
            match protocol::build(&config, &cpus) {
                Ok(planned) => break (tags, config, planned),
                Err(_) if slower < SLOWER_MAX => model.slow_down(),
                Err(_) if slower < 2 * SLOWER_MAX => model.thin_out(),
                Err(error) => return Err(format!("the plan is refused: {error}")),
            }
            slower += 1;
        };
        let usual = if fast { rng.u64(2_000..6_000) } else { rng.u64(150_000..600_000) };
        let drawn = Drawn {
            stall_max_ns: if rng.bool() { [5, 100, 3_000][rng.usize(..3)] * MS } else { 0 },
            storms: rng.u8(..3) == 0,
            consumer_stops: rng.u8(..3) == 0,
            clock_steps: rng.bool(),
            changes: match (rng.u8(..3), fast) {
                (0, _) => None,
                (_, true) => Some((model, [500, 2_000][rng.usize(..2)] * MS)),
                (_, false) => Some((model, [4_000, 40_000][rng.usize(..2)] * MS)),
            },
            writes: false,
        };
        let scenario = Scenario {
            seed,
            tags,
            config,
            plan: planned.plan,
            fast,
            trouble_ns: hours.map_or(usual * MS, |hours| (hours * 3.6e12) as u64),
            calm: drawn.stall_max_ns == 0 && !drawn.storms,
            hub_period_ns: if fast { [2, 5, 20][rng.usize(..3)] } else { [20, 50, 100][rng.usize(..3)] } * MS,
            ring_slots: rng.usize(192..4096),
            journal_batches: rng.usize(1..=32),
            recovery_ns: RECOVERY_NS,
            promised: false,
            exact: false,
            source,
            commit_ns: match (rng.u8(..4), fast) {
                (0, true) => 100 * MS,
                (0, false) => 500 * MS,
                _ => 0,
            },
            told: KEPT,
            hosts: Hosts::new(seed, false, &[]),
            script: Script::Drawn(Drawn { writes: rng.u8(..3) != 0, ..drawn }),
        };
        Ok(scenario)
    }

    /// A case, without a look at its changes: what is refused of them shows when its time has come.
    ///
    /// # Errors
    /// When the first tag file is refused, or its plan.
    pub fn of_case(case: &Case) -> Result<Scenario, String> {
        let tags = case.tags.to_string();
        let config = load(&tags, case.source)?;
        let cpus: Vec<u32> = (0..u32::from(case.executors)).collect();
        let planned = protocol::build(&config, &cpus).map_err(|error| format!("the plan is refused: {error}"))?;
        Ok(Scenario {
            seed: case.seed,
            tags,
            config,
            plan: planned.plan,
            fast: case.fast,
            trouble_ns: case.trouble_ns,
            hub_period_ns: case.hub_period_ns,
            ring_slots: case.ring_slots,
            journal_batches: case.journal_batches,
            recovery_ns: case.recovery_ns,
            calm: case.calm,
            promised: false,
            exact: false,
            source: case.source,
            commit_ns: case.commit_ns,
            told: KEPT,
            hosts: Hosts::new(case.seed, false, &case.events.hosts),
            script: Script::Listed(case.events.clone()),
        })
    }

    pub fn ends(&self) -> Ends {
        let (trouble, recovery) = (self.trouble_ns, self.recovery_ns);
        Ends { trouble, writes: trouble + recovery / 3, all: trouble + recovery }
    }

    /// A generator for the details of one part, of one executor where there are several.
    pub fn rng(&self, part: &str, executor: u16) -> Rng {
        rng_of(self.seed, part, executor)
    }
}
