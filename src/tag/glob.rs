//! Patterns of names: `*` stands for any characters, `?` for one.

/// Whether all of `name` is as `pattern` says. Takes time in the product of their lengths at most.
pub fn glob_matches(pattern: &str, name: &str) -> bool {
    let (mut rest, mut text) = (pattern, name);
    // Behind the last `*`, and the text from which it may take one more character.
    let mut again: Option<(&str, &str)> = None;
    loop {
        let mut left = rest.chars();
        let mut right = text.chars();
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                rest = left.as_str();
                again = Some((rest, text));
                continue;
            }
            (Some('?'), Some(_)) => {
                (rest, text) = (left.as_str(), right.as_str());
                continue;
            }
            (Some(a), Some(b)) if a == b => {
                (rest, text) = (left.as_str(), right.as_str());
                continue;
            }
            _ => {}
        }
        let Some((pattern, from)) = again else { return false };
        let mut from = from.chars();
        if from.next().is_none() {
            return false;
        }
        again = Some((pattern, from.as_str()));
        (rest, text) = (pattern, from.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters_and_question_marks_for_one() {
        for (pattern, name) in
            [("*", ""), ("*", "a.b"), ("boiler.*", "boiler.t"), ("*.t", "a.b.t"), ("a?c", "aöc"), ("a*b*c", "aXbXbYc")]
        {
            assert!(glob_matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "a"), ("?", ""), ("boiler.*", "boile.t"), ("a*b", "abc"), ("A", "a"), ("a?", "a")]
        {
            assert!(!glob_matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_still_quick() {
        let (pattern, name) = ("*a".repeat(100) + "b", "a".repeat(10_000));
        assert!(!glob_matches(&pattern, &name));
    }
}
