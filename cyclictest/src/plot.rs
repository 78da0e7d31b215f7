//! The latencies drawn: counts over microseconds, both axes logarithmic, as an SVG file.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::histogram::{Latencies, US};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 60.0;
/// The axis begins here: what is below a microsecond is drawn from here to 1.
const US_MIN: f64 = 0.5;
/// And the counts' axis here, so that a single one is seen.
const COUNT_MIN: f64 = 0.7;

/// One tool's curve.
pub struct Curve<'a> {
    pub name: &'a str,
    pub color: &'a str,
    pub latencies: &'a Latencies,
}

struct Axes {
    us_max: f64,
    count_max: f64,
}

impl Axes {
    fn x(&self, us: f64) -> f64 {
        LEFT + (us.max(US_MIN) / US_MIN).ln() / (self.us_max / US_MIN).ln() * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, count: f64) -> f64 {
        let share = (count.max(COUNT_MIN) / COUNT_MIN).ln() / (self.count_max / COUNT_MIN).ln();
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

/// The next power of ten above `value`.
fn decade_above(value: f64) -> f64 {
    10_f64.powf(value.max(1.0).log10().floor() + 1.0)
}

fn escaped(text: &str) -> String {
    let of = |c| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        // XML 1.0 has no control characters.
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(of).collect()
}

/// A whole SVG file.
pub fn svg(title: &str, subtitle: &str, curves: &[Curve]) -> String {
    let histograms: Vec<BTreeMap<u64, u64>> = curves.iter().map(|curve| curve.latencies.by_us()).collect();
    let us_max = curves.iter().map(|curve| curve.latencies.max_ns()).max().unwrap_or(0) as f64 / US as f64;
    let count_max = histograms.iter().flat_map(BTreeMap::values).copied().max().unwrap_or(1) as f64;
    let axes = Axes { us_max: decade_above(us_max), count_max: decade_above(count_max) };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"16\">{}</text>\n<text x=\"{LEFT}\" y=\"42\" fill=\"#555\">{}</text>\n",
        escaped(title),
        escaped(subtitle)
    );
    grid(&mut out, &axes);
    for (curve, histogram) in curves.iter().zip(&histograms) {
        let path = outline(&axes, histogram);
        let color = escaped(curve.color);
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"{color}\" fill-opacity=\"0.25\" stroke=\"{color}\" stroke-width=\"1\"/>"
        );
    }
    for (at, curve) in curves.iter().enumerate() {
        marks(&mut out, &axes, at, curve);
    }
    out.push_str("</svg>\n");
    out
}

/// One step a microsecond; where none was counted, the line is on the ground.
fn outline(axes: &Axes, histogram: &BTreeMap<u64, u64>) -> String {
    let bottom = axes.y(COUNT_MIN);
    let mut path = String::new();
    let mut last = None;
    for (us, n) in histogram {
        let (from, to, y) = (axes.x(*us as f64), axes.x((us + 1) as f64), axes.y(*n as f64));
        if last != Some(*us) {
            if last.is_some() {
                let _ = write!(path, "V{bottom:.1}");
            }
            let _ = write!(path, "M{from:.1} {bottom:.1}");
        }
        let _ = write!(path, "V{y:.1}H{to:.1}");
        last = Some(us + 1);
    }
    if last.is_some() {
        let _ = write!(path, "V{bottom:.1}");
    }
    path
}

/// Lines and numbers at each power of ten, and what the axes are.
fn grid(out: &mut String, axes: &Axes) {
    let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
    let decades = |max: f64| (0..).map(|n| 10_f64.powi(n)).take_while(move |v| *v <= max * 1.001);
    for us in decades(axes.us_max) {
        let x = axes.x(us);
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{us}</text>",
            bottom + 18.0
        );
    }
    for count in decades(axes.count_max) {
        let y = axes.y(count);
        let _ = writeln!(
            out,
            "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{count}</text>",
            left - 6.0,
            y + 4.0
        );
    }
    let middle = (left + right) / 2.0;
    let _ = writeln!(
        out,
        "<path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#333\"/>\
         <text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">wake-up latency, µs</text>\
         <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">wake-ups</text>",
        bottom + 42.0,
        (top + bottom) / 2.0
    );
}

/// p99.99 and the maximum of a curve, and its name with all quantiles.
fn marks(out: &mut String, axes: &Axes, at: usize, curve: &Curve) {
    let (color, latencies) = (escaped(curve.color), curve.latencies);
    let us = |ns: u64| ns as f64 / US as f64;
    let quantile = |of_10000| us(latencies.quantile_ns(of_10000));
    for (name, value, dash) in [("p99.99", quantile(9999), "5 4"), ("max", us(latencies.max_ns()), "1 3")] {
        let (x, y) = (axes.x(value), TOP + 14.0 + at as f64 * 34.0 + if name == "max" { 16.0 } else { 0.0 });
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {TOP}V{:.1}\" stroke=\"{color}\" stroke-dasharray=\"{dash}\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\" fill=\"{color}\">{name} {value:.1}</text>",
            HEIGHT - BOTTOM,
            x - 4.0
        );
    }
    let x = LEFT + 10.0 + at as f64 * 440.0;
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{}\" fill=\"{color}\">{}: p50 {:.1}, p99 {:.1}, p99.9 {:.1} µs of {}</text>",
        HEIGHT - 4.0,
        escaped(curve.name),
        quantile(5000),
        quantile(9900),
        quantile(9990),
        latencies.count()
    );
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Whether `text` is one element with balanced tags, quoted attributes and no stray `<` or `&`.
    pub fn check_xml(text: &str) -> Result<usize, String> {
        let (mut open, mut elements, mut rest) = (Vec::new(), 0, text.trim());
        while let Some(start) = rest.find('<') {
            check_text(&rest[..start])?;
            if open.is_empty() && !rest[..start].trim().is_empty() {
                return Err(format!("text outside: {:?}", &rest[..start]));
            }
            let end = rest.find('>').ok_or("a tag without its end")?;
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return Err(format!("</{name}> closes something else"));
                }
            } else {
                if open.is_empty() && elements > 0 {
                    return Err("two roots".to_owned());
                }
                elements += 1;
                let (tag, closes) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
                let name = tag.split_whitespace().next().ok_or("a tag without name")?;
                let attributes: Vec<&str> = tag[name.len()..].split('"').collect();
                if attributes.len().is_multiple_of(2) || attributes.last().is_some_and(|rest| !rest.trim().is_empty()) {
                    return Err(format!("quotes of <{tag}>"));
                }
                for pair in attributes.chunks_exact(2) {
                    let is_key = pair[0].trim().strip_suffix('=').is_some_and(|k| !k.is_empty() && !k.contains('='));
                    if !is_key {
                        return Err(format!("attribute {:?} of <{tag}>", pair[0]));
                    }
                    check_text(pair[1])?;
                }
                if !closes {
                    open.push(name);
                }
            }
        }
        match (open.is_empty() && elements > 0, rest.trim()) {
            (true, "") => Ok(elements),
            _ => Err(format!("left open: {open:?}, left over: {rest:?}")),
        }
    }

    fn check_text(text: &str) -> Result<(), String> {
        let is_entity = |part: &str| ["amp;", "lt;", "gt;", "quot;"].iter().any(|e| part.starts_with(e));
        match text.split('&').skip(1).all(is_entity) && !text.contains(|c: char| c.is_control() && c != '\n') {
            true => Ok(()),
            false => Err(format!("stray characters in {text:?}")),
        }
    }

    fn latencies(unit_ns: u64, ns: &[u64]) -> Latencies {
        let mut latencies = Latencies::new(unit_ns);
        ns.iter().for_each(|ns| latencies.record(*ns));
        latencies
    }

    #[test]
    fn the_check_itself_bites() {
        assert_eq!(check_xml("<a b=\"c\"><d/>e</a>"), Ok(2));
        for bad in
            ["", "x", "<a>", "<a></b>", "<a/><b/>", "<a b=c/>", "<a b=\"c/>", "<a>&x</a>", "<a/>x", "<a =\"b\"/>"]
        {
            assert!(check_xml(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_plot_is_well_formed_and_says_its_figures() {
        let (ours, theirs) = (latencies(100, &[50, 900, 1_200, 33_300]), latencies(1000, &[14_000, 15_000, 1_112_000]));
        let curves = [
            Curve { name: "fieldbeat", color: "#0a6", latencies: &ours },
            Curve { name: "cyclictest", color: "#c40", latencies: &theirs },
        ];
        let drawn = svg("Wake-up <on> \"this\" & that\u{1}", "CPU 1", &curves);
        check_xml(&drawn).unwrap();
        for word in
            ["max 33.3", "max 1112.0", "p99.99 33.3", "p50 15.0", "Wake-up &lt;on&gt; &quot;this&quot; &amp; that "]
        {
            assert!(drawn.contains(word), "{word} is not in {drawn}");
        }
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"));
    }

    #[test]
    fn nothing_and_a_single_value_are_drawn_too() {
        for ns in [&[][..], &[0], &[u64::MAX / 2]] {
            let one = latencies(100, ns);
            let drawn = svg("t", "s", &[Curve { name: "n", color: "#000", latencies: &one }]);
            check_xml(&drawn).unwrap();
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
        check_xml(&svg("t", "s", &[])).unwrap();
    }

    #[test]
    fn neighbours_share_a_line_and_a_gap_is_on_the_ground() {
        let axes = Axes { us_max: 1000.0, count_max: 100.0 };
        let path = outline(&axes, &BTreeMap::from([(3, 1), (4, 9), (8, 2)]));
        assert_eq!(
            (path.matches('M').count(), path.matches('H').count(), path.matches('V').count()),
            (2, 3, 5),
            "{path}"
        );
    }

    #[test]
    fn longer_is_further_right_and_more_is_higher() {
        let axes = Axes { us_max: 1000.0, count_max: 100.0 };
        assert!(axes.x(0.0) <= axes.x(1.0) && axes.x(1.0) < axes.x(10.0) && axes.x(1000.0) <= WIDTH - RIGHT + 0.01);
        assert!(axes.y(1.0) > axes.y(2.0) && axes.y(100.0) >= TOP - 0.01);
    }
}
