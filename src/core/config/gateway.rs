//! `fieldbeat.toml`: the gateway itself, its executors, journal and metrics.

use super::fields::{self, keys};
use super::model::{
    AdmissionRule, ControlConfig, DiagnosticsConfig, GatewayConfig, Guard, HardwareWatchdogConfig, JournalConfig,
    MetricsConfig, OutputConfig, RealtimeConfig, WatchdogConfig,
};
use super::names::{Letters, fault, quoted};
use super::node::{Kind, Node};
use super::paths::{Base, path};
use super::reader::{Cx, Obj, range};
use super::{control, diagnostics, outputs};
use crate::limits::EXECUTORS_MAX;
use crate::tag::Nanos;

/// What `fieldbeat.toml` says.
pub struct GatewayFile {
    pub gateway: GatewayConfig,
    pub realtime: RealtimeConfig,
    pub journal: JournalConfig,
    pub metrics: MetricsConfig,
    pub control: ControlConfig,
    pub watchdog: WatchdogConfig,
    pub diagnostics: Option<DiagnosticsConfig>,
    pub outputs: Vec<OutputConfig>,
}

/// `None` when something that has no default is missing or wrong, which has been reported.
pub fn read<'c>(cx: Cx<'c>, root: &'c Node<'c>, base: Base<'_>) -> Option<GatewayFile> {
    let root = Obj::open(cx, root, String::new(), keys::ROOT)?;
    let gateway = read_gateway(&root);
    let realtime = read_realtime(section(&root, "realtime", keys::REALTIME).as_ref());
    let journal = read_journal(section(&root, "journal", keys::JOURNAL).as_ref(), base);
    let metrics = read_metrics(section(&root, "metrics", keys::METRICS).as_ref());
    let control = control::read(section(&root, "control", keys::CONTROL).as_ref(), &journal.path, base);
    let watchdog = read_watchdog(section(&root, "watchdog", keys::WATCHDOG).as_ref());
    let diagnostics = diagnostics::read(section(&root, "diagnostics", keys::DIAGNOSTICS).as_ref());
    let id = gateway.as_ref().map_or("gateway", |gateway| &gateway.id);
    let outputs = outputs::read(&root, id, base);
    Some(GatewayFile { gateway: gateway?, realtime, journal, metrics, control, watchdog, diagnostics, outputs })
}

fn section<'c>(root: &Obj<'c>, name: &'static str, keys: &'static [&'static str]) -> Option<Obj<'c>> {
    Obj::open(root.cx, root.get(name)?, format!("[{name}]"), keys)
}

fn read_gateway(root: &Obj<'_>) -> Option<GatewayConfig> {
    if root.get("gateway").is_none() {
        let help = "each gateway needs its own name: [gateway] and below it id = \"line-4\"";
        root.error(root.span, "[gateway] is missing", help);
    }
    let gateway = section(root, "gateway", keys::GATEWAY)?;
    let id = gateway.required_text("id", "the gateway's name, such as \"line-4\"")?;
    if let Some(fault) = fault(id.value, Letters::Ascii) {
        gateway.error(id.span, format!("id {fault}"), Letters::Ascii.allowed());
        return None;
    }
    Some(GatewayConfig { id: id.value.to_owned() })
}

fn read_realtime(section: Option<&Obj<'_>>) -> RealtimeConfig {
    let Some(section) = section else {
        let priority = fields::PRIORITY.default as u8;
        return RealtimeConfig { cores: None, priority, guard: Guard::Auto, admission: AdmissionRule::Refuse };
    };
    RealtimeConfig {
        cores: section.get("cores").map(|_| read_cores(section)),
        priority: section.int(&fields::PRIORITY) as u8,
        guard: read_guard(section),
        admission: section.choice("admission", fields::ADMISSION).unwrap_or(AdmissionRule::Refuse),
    }
}

fn read_cores(section: &Obj<'_>) -> Vec<u32> {
    let elements = section.list("cores", "CPU numbers");
    if let Some(node @ Node { kind: Kind::Array(_), .. }) = section.get("cores")
        && elements.is_empty()
    {
        let help =
            "allowed: CPU numbers such as [2, 3]; without this key the isolated CPUs are used, else the last CPU";
        section.error(node.span, "cores is an empty list", help);
    }
    let mut cores: Vec<u32> = Vec::new();
    for element in elements {
        let Some(core) = section.as_int(&fields::CORE, element) else { continue };
        let core = core as u32;
        if cores.contains(&core) {
            section.error(element.span, format!("cores names CPU {core} twice"), "allowed: each CPU once");
        } else if cores.len() == EXECUTORS_MAX {
            section.error(element.span, format!("cores has more than {EXECUTORS_MAX} CPUs"), "");
            break;
        } else {
            cores.push(core);
        }
    }
    cores
}

fn read_guard(section: &Obj<'_>) -> Guard {
    match section.get("guard_us") {
        None => Guard::Auto,
        Some(Node { kind: Kind::Text(text), .. }) if text == "auto" => Guard::Auto,
        Some(Node { kind: Kind::Text(text), span }) => {
            let help = format!("allowed: \"auto\" or {}", range(&fields::GUARD_US));
            section.error(*span, format!("guard_us is the string {}", quoted(text)), help);
            Guard::Auto
        }
        Some(node) => match section.as_int(&fields::GUARD_US, node) {
            Some(us) => Guard::Fixed(Nanos::from_micros(us)),
            None => Guard::Auto,
        },
    }
}

fn read_journal(section: Option<&Obj<'_>>, base: Base<'_>) -> JournalConfig {
    let path = section.and_then(|section| path(section, "path"));
    JournalConfig {
        path: base.dir.join(path.unwrap_or(fields::JOURNAL_PATH)),
        bytes_max: section.and_then(read_max_bytes).unwrap_or(fields::MAX_BYTES.default),
        commit: Nanos::from_millis(
            section.map_or(fields::COMMIT_MS.default, |section| section.int(&fields::COMMIT_MS)),
        ),
    }
}

fn read_max_bytes(section: &Obj<'_>) -> Option<u64> {
    let Some(node @ Node { kind: Kind::Text(text), .. }) = section.get("max_bytes") else {
        return section.opt_int(&fields::MAX_BYTES);
    };
    let help = "allowed: bytes, or a string such as \"8GiB\" (KiB, MiB, GiB, TiB, KB, MB, GB, TB), from 16MiB to 16TiB";
    let bytes = parse_bytes(text).filter(|bytes| (fields::MAX_BYTES.min..=fields::MAX_BYTES.max).contains(bytes));
    if bytes.is_none() {
        section.error(node.span, format!("max_bytes is {}", quoted(text)), help);
    }
    bytes
}

/// `8GiB`, `500 MB`, `1048576`.
fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn read_metrics(section: Option<&Obj<'_>>) -> MetricsConfig {
    let allowed = "an address and port such as \"127.0.0.1:9464\", or \"off\"";
    let text = section.and_then(|section| section.text("listen", allowed));
    let written = text.map_or(fields::METRICS_LISTEN, |text| text.value);
    let listen = written.parse().ok();
    if let (None, Some(section), Some(text)) = (listen, section, text)
        && written != "off"
    {
        section.error(text.span, format!("listen is {}", quoted(written)), format!("allowed: {allowed}"));
    }
    MetricsConfig { listen, per_link: section.is_some_and(|section| section.flag("per_link")) }
}

fn read_watchdog(section: Option<&Obj<'_>>) -> WatchdogConfig {
    let Some(section) = section else { return WatchdogConfig::default() };
    let timeout_s = section.opt_int(&fields::WATCHDOG_TIMEOUT_S);
    let device = path(section, "device");
    if section.get("device").is_none() && section.get("timeout_s").is_some() {
        let help = "name the hardware watchdog: device = \"/dev/watchdog0\"";
        section.error(section.span_of("timeout_s"), "timeout_s without device", help);
    }
    let timeout_s = timeout_s.unwrap_or(fields::WATCHDOG_TIMEOUT_S.default) as u32;
    WatchdogConfig {
        executor_stall: Nanos::from_millis(section.int(&fields::EXECUTOR_STALL_S) * 1000),
        journal_stall: Nanos::from_millis(section.int(&fields::JOURNAL_STALL_S) * 1000),
        hardware: device.map(|device| HardwareWatchdogConfig { device: device.into(), timeout_s }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_bytes("8GiB"), Some(8 << 30));
        assert_eq!(parse_bytes("500 MB"), Some(500_000_000));
        assert_eq!(parse_bytes("1048576"), Some(1 << 20));
        for wrong in ["", "GiB", "8gib", "8 GiB x", "-1", "1.5GiB", "99999999999TiB", "8Gi"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong:?}");
        }
    }
}
