//! Names in configurations: allowed characters, quoting, and suggestions for misspelt ones.

use crate::limits::NAME_BYTES_MAX;

/// Which characters a name may have beside `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// None: gateways, links, groups, outputs.
    Ascii,
    /// Letters and digits of every script: tags.
    Any,
}

impl Letters {
    fn has(self, c: char) -> bool {
        match c {
            '.' | '_' | '-' => true,
            c if c.is_ascii() => c.is_ascii_alphanumeric(),
            c => self == Letters::Any && c.is_alphanumeric(),
        }
    }

    pub fn allowed(self) -> String {
        let letters = match self {
            Letters::Ascii => "letters a-z and A-Z",
            Letters::Any => "letters",
        };
        format!("allowed: {letters}, digits, \".\", \"_\" and \"-\", at most {NAME_BYTES_MAX} bytes")
    }
}

/// What is wrong with a name, if anything: `is empty`, `has the character "/"`.
pub fn fault(name: &str, letters: Letters) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".into());
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("has {} bytes", name.len()));
    }
    if name.starts_with('$') {
        return Some(
            "begins with \"$\", which is reserved for the gateway's own tags (`[diagnostics]` in \
            fieldbeat.toml)"
                .into(),
        );
    }
    let wrong = name.chars().find(|c| !letters.has(*c))?;
    Some(format!("has the character {}", quoted(wrong.encode_utf8(&mut [0; 4]))))
}

/// Characters of a text that a message repeats.
const QUOTED_CHARS_MAX: usize = 60;

/// A text as messages repeat it: in quotes, control characters escaped, cut when it is long.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for (index, c) in text.chars().enumerate() {
        if index == QUOTED_CHARS_MAX {
            out.push('…');
            break;
        }
        if c.is_control() || matches!(c, '"' | '\\') {
            out.extend(c.escape_debug());
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}

/// The candidate that is nearest to `text`, if one is near enough to be meant.
pub fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = text.chars().count();
    if length > NAME_BYTES_MAX {
        return None;
    }
    let allowed = ((length + 1) / 4).min(3);
    candidates
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// ` (did you mean "…"?)`, or nothing.
pub fn guess<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    match nearest(text, candidates) {
        Some(candidate) => format!(" (did you mean {}?)", quoted(candidate)),
        None => String::new(),
    }
}

/// Edits between two texts: insertions, deletions, replacements, and swaps of neighbours; case counts nothing.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_what_topics_and_labels_can_carry() {
        assert_eq!(fault("line-4.pump_1", Letters::Ascii), None);
        assert_eq!(fault("kessel.füllstand", Letters::Any), None);
        assert_eq!(fault("füllstand", Letters::Ascii).unwrap(), "has the character \"ü\"");
        for wrong in ["a/b", "a+b", "#", "a b", "a:b", "a{b", "a\nb"] {
            assert!(fault(wrong, Letters::Any).is_some(), "{wrong:?}");
        }
        assert_eq!(fault("", Letters::Any).unwrap(), "is empty");
        assert!(fault(&"a".repeat(NAME_BYTES_MAX + 1), Letters::Any).is_some());
    }

    #[test]
    fn a_slip_finds_what_was_meant() {
        let types = || ["bool", "int16", "uint16", "float32", "float64"].into_iter();
        assert_eq!(nearest("flaot32", types()), Some("float32"));
        assert_eq!(nearest("Float32", types()), Some("float32"));
        assert_eq!(nearest("uint61", types()), Some("uint16"));
        assert_eq!(nearest("real", types()), None);
        assert_eq!(nearest(&"x".repeat(100_000), types()), None);
    }

    #[test]
    fn a_long_text_is_cut_in_messages() {
        assert_eq!(quoted("a\"b\n°C"), "\"a\\\"b\\n°C\"");
        assert!(quoted(&"x".repeat(1_000_000)).len() < 100);
    }
}
