//! Names chosen by a pattern: `*` stands for any characters, `?` for one.

/// A pattern, made of what a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<char>);

impl Glob {
    pub fn new(text: &str) -> Glob {
        Glob(text.chars().collect())
    }

    /// Whether the whole name is what the pattern says. Takes at most the product of both lengths.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut of) = (0, 0);
        // Where to go on if what follows the last star does not fit: the place after the star, and of the name.
        let mut back: Option<(usize, usize)> = None;
        while of < name.len() {
            match self.0.get(at) {
                Some('*') => {
                    back = Some((at + 1, of));
                    at += 1;
                }
                Some(c) if *c == '?' || *c == name[of] => (at, of) = (at + 1, of + 1),
                _ => match back {
                    Some((after, from)) => {
                        back = Some((after, from + 1));
                        (at, of) = (after, from + 1);
                    }
                    None => return false,
                },
            }
        }
        self.0[at.min(self.0.len())..].iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        let cases = [
            ("*", "", true),
            ("boiler.*", "boiler.temperature", true),
            ("boiler.*", "boiler", false),
            ("*.state", "$link.plc1.state", true),
            ("$link.*.unit?.since_good_s", "$link.m.unit3.since_good_s", true),
            ("$link.*.unit?.since_good_s", "$link.m.unit12.since_good_s", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("caf?", "café", true),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, name, matches) in cases {
            assert_eq!(Glob::new(pattern).matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        assert!(!Glob::new(&"*a".repeat(60)).matches(&"a".repeat(59)));
        assert!(Glob::new(&"*a".repeat(60)).matches(&"a".repeat(256)));
    }
}
