//! `fieldbeat discover`: reads the points of a device, and writes a tag file for it.
//!
//! | file | subject |
//! |---|---|
//! | `client` | reads of holding registers, one by one |
//! | `models` | the points of SunSpec's models |
//! | `sunspec` | which models a device has, and the tag file |

mod client;
mod models;
mod sunspec;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use client::Client;

#[derive(Args)]
pub struct DiscoverArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A SunSpec device (inverter, meter, battery) on Modbus TCP: lists its models and writes their points as
    /// a tag file, each with its scale factor.
    Sunspec(SunspecArgs),
}

#[derive(Args)]
struct SunspecArgs {
    /// The device: HOST, or HOST:PORT where the port is not 502.
    #[arg(value_name = "HOST")]
    host: String,
    /// The Modbus unit; usually 1 for inverters, 200 or 240 for meters behind them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=247))]
    unit: u8,
    /// Name of the link, and prefix of the tags' names.
    #[arg(long, default_value = "sunspec", value_parser = name)]
    name: String,
    /// Scan rate.
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..))]
    scan_rate_ms: u32,
    /// Timeout of a request.
    #[arg(long, default_value_t = 2000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout_ms: u64,
    /// File to write the tags to; it must not exist. Without it: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What names of links may have.
fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("allowed: 1 to 64 letters, digits, and . _ -".to_owned())
    }
}

pub fn discover(args: &DiscoverArgs) -> ExitCode {
    let What::Sunspec(args) = &args.what;
    let (host, port) = match client::host_and_port(&args.host) {
        Ok(place) => place,
        Err(message) => return super::fail(super::EXIT_CONFIG, format!("error: {message}")),
    };
    match of_sunspec(args, &host, port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => super::fail(super::EXIT_FAILED, format!("error: {message}")),
    }
}

fn of_sunspec(args: &SunspecArgs, host: &str, port: u16) -> Result<(), String> {
    let mut client = Client::connect(host, port, args.unit, Duration::from_millis(args.timeout_ms))?;
    let found = sunspec::walk(&mut |first, count| client.read(first, count))?;
    for model in &found {
        let known = models::of(model.id);
        let what = known.map_or("its points are unknown to this version", |known| known.label);
        note!("model {} at {}, {} registers: {what}", model.id, model.at, model.registers);
    }
    let place = sunspec::Place { name: &args.name, host, port, unit: args.unit, scan_rate_ms: args.scan_rate_ms };
    let file = sunspec::tag_file(&place, &found);
    let tags = file.tags();
    let text = file.text()?;
    match &args.out {
        None => out!("{}", text.trim_end()),
        Some(path) => {
            let refused = |error: std::io::Error| format!("{}: {error}", path.display());
            let mut out = OpenOptions::new().write(true).create_new(true).open(path).map_err(refused)?;
            out.write_all(text.as_bytes()).map_err(refused)?;
            note!("{tags} tags in {}", path.display());
        }
    }
    Ok(())
}
