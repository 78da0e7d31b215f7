//! One batch in progress: which of its lines are still to be sent, and which the server rejects.
//!
//! A request that is refused for what stands in its lines is halved until the lines at fault stand alone. A line that was
//! sent twice writes the same point again.

use std::ops::Range;

use hyper::body::Bytes;

use super::answer::Verdict;
use super::form::Lines;
use crate::limits::INFLUX_SEARCHES_MAX;
use crate::store::Position;

/// So many lines refused, each alone, and none taken: it is not the lines.
const SUSPECTS_MAX: usize = 8;

pub(super) struct Parts {
    body: Bytes,
    ends: Vec<u32>,
    pub(super) untold: u64,
    pub(super) covers: Position,
    /// Ranges of lines to send; the next one is the last.
    rest: Vec<Range<usize>>,
    /// Requests that were sent only to find bad lines among good ones that are stored already.
    searches: u32,
    any_taken: bool,
    /// Lines refused by a text that may mean all of them.
    suspects: Vec<(usize, String)>,
    /// Lines that the server does not take.
    pub(super) refused: u64,
}

/// A line that the server does not take, for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) line: String,
    pub(super) text: String,
    pub(super) lines: u64,
}

/// The server takes no line at all: the batch stays, and is sent again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoneTaken(pub(super) String);

impl Parts {
    pub(super) fn new(lines: Lines, covers: Position) -> Parts {
        let Lines { body, ends, untold } = lines;
        Parts {
            body: body.into(),
            rest: vec![Range { start: 0, end: ends.len() }],
            ends,
            untold,
            covers,
            searches: 0,
            any_taken: false,
            suspects: Vec::new(),
            refused: 0,
        }
    }

    /// The lines of the next request; `None`: all is done.
    pub(super) fn next(&self) -> Option<Bytes> {
        self.rest.last().map(|range| self.bytes_of(range))
    }

    fn bytes_of(&self, range: &Range<usize>) -> Bytes {
        let end = |lines: usize| lines.checked_sub(1).and_then(|i| self.ends.get(i)).map_or(0, |end| *end as usize);
        self.body.slice(end(range.start)..end(range.end))
    }

    /// What the server did with the lines of [`Parts::next`]. Bad lines are handed to `tell`.
    pub(super) fn settle(&mut self, verdict: Verdict, mut tell: impl FnMut(Bad)) -> Result<(), NoneTaken> {
        let Some(range) = self.rest.pop() else { return Ok(()) };
        let lines = range.len() as u64;
        match verdict {
            Verdict::Taken => self.any_taken = true,
            Verdict::AllBut { dropped, text } => {
                let all = lines == 1 || dropped.is_some_and(|dropped| dropped >= lines);
                self.any_taken |= !all;
                if !all && self.searches < INFLUX_SEARCHES_MAX {
                    self.searches += 1;
                    self.halve(range);
                } else {
                    let bad = if all { lines } else { dropped.unwrap_or(1) };
                    self.refuse(range.start, text, bad, &mut tell);
                }
            }
            Verdict::TooLarge | Verdict::None { .. } if lines > 1 => self.halve(range),
            Verdict::TooLarge => {
                self.refuse(range.start, "it is larger than the server accepts".to_owned(), 1, &mut tell);
            }
            Verdict::None { text, is_of_lines } if is_of_lines || self.any_taken => {
                self.refuse(range.start, text, 1, &mut tell);
            }
            Verdict::None { text, .. } => self.suspects.push((range.start, text)),
        }
        if self.any_taken {
            for (line, text) in std::mem::take(&mut self.suspects) {
                self.refuse(line, text, 1, &mut tell);
            }
        } else if self.suspects.len() >= SUSPECTS_MAX || self.rest.is_empty() && !self.suspects.is_empty() {
            let text = self.suspects.swap_remove(0).1;
            self.suspects.clear();
            self.rest = vec![Range { start: 0, end: self.ends.len() }];
            self.refused = 0;
            return Err(NoneTaken(text));
        }
        Ok(())
    }

    fn halve(&mut self, range: Range<usize>) {
        let middle = range.start + range.len() / 2;
        self.rest.extend([middle..range.end, range.start..middle]);
    }

    fn refuse(&mut self, line: usize, text: String, lines: u64, tell: &mut impl FnMut(Bad)) {
        self.refused += lines;
        let line = String::from_utf8_lossy(&self.bytes_of(&(line..line + 1))).trim_end().to_owned();
        tell(Bad { line, text, lines });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(lines: usize) -> Parts {
        let mut all = Lines::default();
        for i in 0..lines {
            all.body.extend(format!("m value={i} 1\n").bytes());
            all.ends.push(all.body.len() as u32);
        }
        Parts::new(all, Position::default())
    }

    fn numbers(bytes: &[u8]) -> Vec<usize> {
        let text = std::str::from_utf8(bytes).unwrap();
        text.lines().map(|line| line.split(['=', ' ']).nth(2).unwrap().parse().unwrap()).collect()
    }

    /// Sends all parts to a server; the requests, and the bad lines.
    fn send(parts: &mut Parts, server: impl Fn(&[usize]) -> Verdict) -> Result<(usize, Vec<Bad>), NoneTaken> {
        let (mut requests, mut bad) = (0, Vec::new());
        while let Some(bytes) = parts.next() {
            requests += 1;
            assert!(requests < 100_000, "it comes to an end");
            parts.settle(server(&numbers(&bytes)), |line| bad.push(line))?;
        }
        Ok((requests, bad))
    }

    fn refused(text: &str) -> Verdict {
        Verdict::None { text: text.into(), is_of_lines: text == "unable to parse" }
    }

    #[test]
    fn a_bad_line_is_found_among_good_ones_and_each_good_one_is_taken() {
        let taken = std::cell::RefCell::new(Vec::new());
        for text in ["unable to parse", "something else"] {
            let mut all = parts(1_000);
            let server = |lines: &[usize]| {
                if lines.contains(&613) || lines.contains(&0) {
                    return refused(text);
                }
                taken.borrow_mut().extend_from_slice(lines);
                Verdict::Taken
            };
            let (requests, bad) = send(&mut all, server).unwrap();
            assert_eq!(bad.iter().map(|bad| &*bad.line).collect::<Vec<_>>(), ["m value=0 1", "m value=613 1"]);
            assert_eq!(all.refused, 2);
            assert!(requests < 50, "{requests}");
            let mut taken = std::mem::take(&mut *taken.borrow_mut());
            taken.sort_unstable();
            assert_eq!(taken, (0..1_000).filter(|i| ![0, 613].contains(i)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_a_partial_write_leaves_out_is_counted_as_the_server_counts_and_the_search_is_bounded() {
        let mut all = parts(10_000);
        let server = |lines: &[usize]| match lines.iter().filter(|line| *line % 10 == 3).count() as u64 {
            0 => Verdict::Taken,
            dropped => Verdict::AllBut { dropped: Some(dropped), text: "partial write".into() },
        };
        let (requests, bad) = send(&mut all, server).unwrap();
        assert_eq!(all.refused, 1_000);
        assert_eq!(bad.iter().map(|bad| bad.lines).sum::<u64>(), 1_000);
        assert!(requests <= 2 * INFLUX_SEARCHES_MAX as usize + 1, "{requests}");
    }

    #[test]
    fn a_batch_of_bad_lines_only_is_left_out_where_the_server_speaks_of_lines() {
        let mut all = parts(500);
        let all_dropped = |lines: &[usize]| Verdict::AllBut { dropped: Some(lines.len() as u64), text: "old".into() };
        let (requests, bad) = send(&mut all, all_dropped).unwrap();
        assert_eq!((requests, bad.len(), all.refused), (1, 1, 500));
        let mut all = parts(50);
        send(&mut all, |_| refused("unable to parse")).unwrap();
        assert_eq!(all.refused, 50);
    }

    #[test]
    fn a_server_that_refuses_everything_costs_no_line() {
        let mut all = parts(5_000);
        assert_eq!(send(&mut all, |_| refused("database is required")), Err(NoneTaken("database is required".into())));
        assert_eq!(all.refused, 0);
        let (requests, bad) = send(&mut all, |_| Verdict::Taken).unwrap();
        assert_eq!((requests, bad.len()), (1, 0), "all of it, once the server is right again");
        let mut one = parts(1);
        assert!(send(&mut one, |_| refused("database is required")).is_err());
    }

    #[test]
    fn a_request_that_is_too_large_is_sent_in_halves() {
        let mut all = parts(100);
        let server = |lines: &[usize]| if lines.len() > 30 { Verdict::TooLarge } else { Verdict::Taken };
        assert_eq!(send(&mut all, server).unwrap(), (7, vec![]));
        let mut huge = parts(3);
        let (_, bad) =
            send(&mut huge, |lines| if lines.contains(&1) { Verdict::TooLarge } else { Verdict::Taken }).unwrap();
        assert_eq!(bad.len(), 1);
    }
}
