//! Links to devices of the kernel's IIO, their buffers, and tags on their channels.

use super::super::model::{IioBufferConfig, LocalIoAddress, LocalIoConfig, LocalIoDevice, LocalIoPoint};
use crate::config::diagnostic::Report;
use crate::config::kind::Link;
use crate::config::model::{Sampling, TagConfig};
use crate::config::names::quoted;
use crate::config::reader::{Obj, Part, Text, span};
use crate::limits::{IIO_SAMPLES_PER_S_MAX, IIO_SILENT_PERIODS};
use crate::protocol::local_io::fields;
use crate::tag::{Nanos, ScalarType};

const ALLOWED: &str = "link:channel, a channel as its files in /sys/bus/iio/devices are named without _raw or _input, \
                       such as \"adc:in_voltage0\" or \"dac:out_voltage0\"";
/// Bytes of a name in sysfs, with room.
const NAME_BYTES_MAX: usize = 64;
/// How long scans may stay away where nobody says how often they come.
const SILENT_AFTER: Nanos = Nanos::from_millis(1_000);
/// A watermark that wakes the thread up a hundred times a second.
const WAKE_UPS_PER_S: f64 = 100.0;

pub fn read_device(link: &Obj<'_>) -> LocalIoDevice {
    let allowed = "the name of an IIO device or its folder, such as \"ads1015\" or \"iio:device0\"";
    let device = link.required_text("device", allowed).map_or(String::new(), |device| {
        if !is_name(device.value) {
            let message = format!("device is {}", quoted(device.value));
            let help = format!("allowed: {allowed}; cat /sys/bus/iio/devices/*/name shows them");
            link.error(device.span, message, help);
        }
        device.value.to_owned()
    });
    LocalIoDevice::Iio { device, buffer: read_buffer(link) }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '\0', '\n']) && text.len() <= NAME_BYTES_MAX
}

fn read_buffer(link: &Obj<'_>) -> Option<IioBufferConfig> {
    let node = link.get("buffer")?;
    let buffer = Obj::open(link.cx, node, format!("{}: buffer", link.subject), fields::IIO_BUFFER_KEYS)?;
    let length = buffer.int(&fields::IIO_LENGTH) as u32;
    let frequency_hz = buffer.get("frequency_hz").map(|_| buffer.real(&fields::FREQUENCY_HZ));
    let by_frequency = frequency_hz.map_or(1, |hz| (hz / WAKE_UPS_PER_S) as u32).clamp(1, (length / 2).max(1));
    let watermark = buffer.opt_int(&fields::IIO_WATERMARK).map_or(by_frequency, |watermark| watermark as u32);
    if watermark > length {
        let message = format!("watermark is {watermark}, and the buffer's length {length}");
        buffer.error(buffer.span_of("watermark"), message, "allowed: at most the length; half of it is a good value");
    }
    let trigger = buffer.text("trigger", "the name of a trigger").map(|trigger| {
        if !is_name(trigger.value) {
            let help = "allowed: a trigger's name; cat /sys/bus/iio/devices/trigger*/name shows them";
            buffer.error(trigger.span, format!("trigger is {}", quoted(trigger.value)), help);
        }
        trigger.value.to_owned()
    });
    let every = buffer.choice("sampling", fields::SAMPLING) == Some(Sampling::Every);
    if every && frequency_hz.is_none() {
        let help = "add it: the sample rate is calculated from it; for a trigger that is not periodic, the maximum \
            rate";
        buffer.error(buffer.span_of("sampling"), "sampling every without frequency_hz", help);
    }
    let by_periods = frequency_hz.map(|hz| Nanos((1e9 / hz * f64::from(watermark.max(1)) * IIO_SILENT_PERIODS) as u64));
    let default =
        by_periods.map_or(SILENT_AFTER, |time| time.max(Nanos::from_millis(fields::LOCAL_IO_TIMEOUT_MS.default)));
    let silent_after = buffer.opt_int(&fields::SILENT_AFTER_MS).map_or(default, Nanos::from_millis);
    Some(IioBufferConfig { length, watermark, trigger, frequency_hz, every, silent_after })
}

pub fn read(
    tag: &Obj<'_>,
    text: Text<'_>,
    parts: &[Part<'_>],
    written: Option<ScalarType>,
    is_buffered: bool,
) -> Option<(LocalIoPoint, ScalarType)> {
    let [part] = parts else {
        tag.error(text.span, format!("address {}", quoted(text.value)), format!("allowed: {ALLOWED}"));
        return None;
    };
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let is_output = part.text.starts_with("out_");
    let is_channel = part.text.starts_with("in_") || is_output;
    let fault = if !is_channel || part.text.len() > NAME_BYTES_MAX || !part.text.bytes().all(letters) {
        Some("is not a channel")
    } else if part.text.ends_with("_raw") || part.text.ends_with("_input") {
        Some("has the suffix of a file name")
    } else {
        None
    };
    if let Some(fault) = fault {
        let message = format!("the channel {} {fault}", quoted(part.text));
        tag.error(span(text, *part), message, format!("allowed: {ALLOWED}"));
        return None;
    }
    if is_output && is_buffered {
        let message = format!("{} on a link with a buffer, which samples inputs", quoted(part.text));
        tag.error(span(text, *part), message, "allowed: another link to the device, without \"buffer\"");
        return None;
    }
    let ty = written.unwrap_or(ScalarType::Float64);
    if ty == ScalarType::Bool {
        tag.error(tag.span_of("data_type"), "data_type bool with an analogue channel", "allowed: a type of numbers");
        return None;
    }
    Some((LocalIoPoint::Iio { channel: part.text.to_owned() }, ty))
}

/// Samples that are told one by one have a bound.
pub fn check_buffers(tags: &[TagConfig], links: &[Link], report: &Report) {
    for (at, link) in links.iter().enumerate() {
        let Some(bus) = link.config.protocol.get::<LocalIoConfig>() else { continue };
        let LocalIoDevice::Iio { buffer: Some(buffer), .. } = &bus.device else { continue };
        let on_link = |tag: &&TagConfig| tag.link == at && tag.address.is::<LocalIoAddress>();
        let count = tags.iter().filter(on_link).count() as u64;
        let per_s = buffer.frequency_hz.unwrap_or_default() * count as f64;
        if buffer.every && per_s > IIO_SAMPLES_PER_S_MAX as f64 {
            let subject = format!("link {}", quoted(&link.config.name));
            let message = format!("{count} tags with every sample are {per_s:.0} samples a second");
            let help = format!(
                "allowed: {IIO_SAMPLES_PER_S_MAX} of a link; lower frequency_hz, or remove \"sampling\": each scan \
                 then has the newest sample"
            );
            report.error(link.config.source.clone(), &subject, message, help);
        }
    }
}
