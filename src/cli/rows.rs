//! Formats the tags and values of a gateway's answers, as tables and CSV.

use serde_json::Value as Json;

/// A text of the row; empty where there is none.
pub fn text<'r>(row: &'r Json, key: &str) -> &'r str {
    row[key].as_str().unwrap_or_default()
}

/// A value as [`crate::tag::Value`] shows itself.
pub fn value(json: &Json) -> String {
    match json {
        Json::Null => "-".to_owned(),
        Json::Number(number) if number.is_f64() => number.as_f64().unwrap_or(f64::NAN).to_string(),
        // What JSON has no number for.
        Json::String(text) if matches!(text.as_str(), "NaN" | "inf" | "-inf") => text.clone(),
        Json::String(text) => format!("{text:?}"),
        Json::Array(elements) => format!("[{}]", elements.iter().map(value).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A value with its unit, and with what it is called: `2 x "on"`.
pub fn value_with_unit(row: &Json) -> String {
    let unit = text(row, "unit");
    let space = if unit.is_empty() { "" } else { " " };
    let called = row["text"].as_str().map_or(String::new(), |text| format!(" {text:?}"));
    format!("{}{space}{unit}{called}", value(&row["value"]))
}

/// How long ago something was.
pub fn ago(ms: f64) -> String {
    match ms {
        ms if ms < 10_000.0 => format!("{ms:.1} ms ago"),
        ms if ms < 600_000.0 => format!("{:.1} s ago", ms / 1e3),
        ms => format!("{} ago", span(ms / 1e3)),
    }
}

/// A time of minutes to years: `3 h 12 min`.
pub fn span(seconds: f64) -> String {
    let minutes = (seconds.max(0.0) / 60.0) as u64;
    match (minutes / (24 * 60), minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{:.0} s", seconds.max(0.0)),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// What a tag holds, as `read` and `get` show it behind its name.
pub fn latest(row: &Json) -> String {
    let age = row["age_ms"].as_f64().map_or("never read".to_owned(), ago);
    let why = row["reason"].as_str().map_or(String::new(), |reason| format!(": {reason}"));
    format!("{}  {}  {age}{why}", value_with_unit(row), text(row, "status"))
}

/// How wide the columns of these rows are.
pub fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    (0..columns).map(|at| width(at).unwrap_or(0)).collect()
}

/// A row in columns of these widths, its last cell as long as it is.
pub fn columns(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().enumerate().map(|(at, cell)| match at + 1 < row.len() {
        true => format!("{cell:<width$}  ", width = widths.get(at).copied().unwrap_or(0)),
        false => cell.clone(),
    });
    cells.collect()
}

/// A sample, as `tail` shows it.
pub fn sample(row: &Json) -> String {
    format!("{} {} {} {}", text(row, "time"), text(row, "tag"), value_with_unit(row), text(row, "status"))
}

/// A line of a table for spreadsheets (RFC 4180).
pub fn csv(row: &Json, keys: &[&str]) -> String {
    let cell = |key: &&str| {
        let text = match &row[*key] {
            Json::Null => String::new(),
            Json::String(text) => text.clone(),
            other => value(other),
        };
        let is_plain = !text.contains([',', '"', '\n', '\r']);
        if is_plain { text } else { format!("\"{}\"", text.replace('"', "\"\"")) }
    };
    keys.iter().map(cell).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_looks_as_the_gateway_itself_shows_it() {
        use crate::tag::Value;
        for (json, shown) in [
            (json!(81.5), Value::Float32(81.5)),
            (json!(81.0), Value::Float64(81.0)),
            (json!(1e-7), Value::Float32(1e-7)),
            (json!(u64::MAX), Value::Uint(u64::MAX)),
            (json!(-5), Value::Int(-5)),
            (json!(true), Value::Bool(true)),
            (json!("7 \"up\""), Value::Text("7 \"up\"".into())),
            (json!("NaN"), Value::Float32(f32::NAN)),
            (json!("-inf"), Value::Float64(f64::NEG_INFINITY)),
            (json!([1, 2.5]), Value::Array(vec![Value::Int(1), Value::Float64(2.5)])),
        ] {
            assert_eq!(value(&json), shown.to_string());
        }
        assert_eq!(value_with_unit(&json!({"value": 2, "unit": "x", "text": "on"})), "2 x \"on\"");
        assert_eq!(value_with_unit(&json!({"value": null})), "-");
    }

    #[test]
    fn lines_are_those_of_read_and_tail() {
        let row = json!({"time": "2026-11-21T08:15:00.000000Z", "tag": "a.b", "value": 81.5, "unit": "°C", "status": "Good",
                         "age_ms": 0.72});
        assert_eq!(latest(&row), "81.5 °C  Good  0.7 ms ago");
        assert_eq!(sample(&row), "2026-11-21T08:15:00.000000Z a.b 81.5 °C Good");
        let never = json!({"tag": "a", "value": null, "status": "BadNoCommunication", "reason": "no answer"});
        assert_eq!(latest(&never), "-  BadNoCommunication  never read: no answer");
        assert_eq!([ago(12_345.0), ago(3_600_000.0 * 50.0)], ["12.3 s ago", "2 d 2 h ago"]);
        assert_eq!([span(5.0), span(700.0), span(11_520.0)], ["5 s", "11 min", "3 h 12 min"]);
    }

    #[test]
    fn cells_with_commas_and_quotes_are_quoted() {
        let row = json!({"a": "x,y", "b": "say \"x\"", "c": 1.5, "d": null, "e": [1, 2]});
        assert_eq!(csv(&row, &["a", "b", "c", "d", "e"]), r#""x,y","say ""x""",1.5,,"[1, 2]""#);
    }
}
