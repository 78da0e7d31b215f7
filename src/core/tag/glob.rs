//! Which tags are meant: by name, or by a pattern in which `*` stands for any characters, also none, and `?` for one.

use std::collections::HashSet;

/// A choice of tags; an empty one means all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Globs {
    names: HashSet<String>,
    patterns: Vec<String>,
}

impl Globs {
    pub fn new<S: AsRef<str>>(asked: impl IntoIterator<Item = S>) -> Globs {
        let mut globs = Globs::default();
        for one in asked {
            match one.as_ref() {
                pattern if is_pattern(pattern) => globs.patterns.push(pattern.to_owned()),
                name => drop(globs.names.insert(name.to_owned())),
            }
        }
        globs
    }

    /// How many of them are patterns: what a look at a name costs grows with these alone.
    pub fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// Whether the choice has a tag of this name.
    pub fn has(&self, name: &str) -> bool {
        let is_all = self.names.is_empty() && self.patterns.is_empty();
        is_all || self.names.contains(name) || self.patterns.iter().any(|pattern| glob_has(pattern, name))
    }
}

/// Whether what was asked for is a pattern, not a name.
pub fn is_pattern(asked: &str) -> bool {
    asked.contains(['*', '?'])
}

/// Whether a name is what was asked for: itself, or one that fits a pattern. Takes time in the product of their lengths at
/// most.
pub fn glob_has(asked: &str, name: &str) -> bool {
    let (mut rest, mut text) = (asked.chars(), name.chars());
    // Behind the last star, and where in the name its part was tried last.
    let mut star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (before, here) = (text.clone(), rest.next());
        match (here, text.next()) {
            (None, None) => return !name.is_empty(),
            (Some('*'), _) => {
                text = before.clone();
                star = Some((rest.clone(), before));
                continue;
            }
            (Some(asked), Some(letter)) if asked == '?' || asked == letter => continue,
            _ => {}
        }
        // One more for the star, if there was one and is one.
        let Some((behind, from)) = &mut star else { return false };
        if from.next().is_none() {
            return false;
        }
        (rest, text) = (behind.clone(), from.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_characters_wherever_it_is() {
        let globs = Globs::new(["a.b", "line1.*", "*.speed", "x*y*z"]);
        for name in ["a.b", "line1.x", "line1.", "m.speed", "xyz", "x1y2y3z"] {
            assert!(globs.has(name), "{name}");
        }
        for name in ["a.bc", "line2.x", "speed", "xzy", "", "x1z"] {
            assert!(!globs.has(name), "{name}");
        }
        assert!(glob_has("*", "a") && !glob_has("*", ""), "an id without a name is none");
        assert!(Globs::default().has("anything"));
        assert!(glob_has("caf?", "café") && glob_has("?.x", "ö.x") && !glob_has("a?", "a"));
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        assert!(!glob_has(&("*a".repeat(100) + "b"), &"a".repeat(10_000)));
    }

    proptest! {
        #[test]
        fn it_finds_what_trying_every_way_finds(asked in "[ab*?]{0,8}", name in "[ab]{1,8}") {
            fn slowly(asked: &[u8], name: &[u8]) -> bool {
                match asked.split_first() {
                    None => name.is_empty(),
                    Some((b'*', rest)) => (0..=name.len()).any(|from| slowly(rest, &name[from..])),
                    Some((b'?', rest)) => !name.is_empty() && slowly(rest, &name[1..]),
                    Some((letter, rest)) => name.first() == Some(letter) && slowly(rest, &name[1..]),
                }
            }
            prop_assert_eq!(glob_has(&asked, &name), slowly(asked.as_bytes(), name.as_bytes()));
        }
    }
}
