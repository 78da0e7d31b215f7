//! Faults of a configuration: each with its place, all of them collected.

use std::cell::RefCell;
use std::fmt;

use super::text::Source;
use crate::limits::CONFIG_ERRORS_SHOWN_MAX;

/// Whether a finding keeps the gateway from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One finding: `tags/boiler.json:12:5: error: tag "boiler.level": data_type "flaot32" is unknown; allowed: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Line and column count from 1, columns in characters; line 0 means the file as a whole.
    pub source: Source,
    /// What it is about, such as `tag "boiler.level"`; may be empty.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What is allowed, or what to do; may be empty.
    pub help: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.source.file.is_empty() {
            f.write_str(&self.source.file)?;
            if self.source.line > 0 {
                write!(f, ":{}:{}", self.source.line, self.source.column)?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}: ", self.severity)?;
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        f.write_str(&self.message)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        Ok(())
    }
}

/// Why a configuration was refused: every error and warning, ordered by file, line and column; before them the files that
/// could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    shown: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// At most [`CONFIG_ERRORS_SHOWN_MAX`] of each kind.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.shown.iter()
    }

    /// All errors, shown or not.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// All warnings, shown or not.
    pub fn warnings(&self) -> usize {
        self.warnings
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.shown {
            writeln!(f, "{diagnostic}")?;
        }
        let more = self.errors + self.warnings - self.shown.len();
        if more > 0 {
            writeln!(f, "and {more} more")?;
        }
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        write!(f, "{} error{}", self.errors, plural(self.errors))?;
        if self.warnings > 0 {
            write!(f, ", {} warning{}", self.warnings, plural(self.warnings))?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Where the readers put their findings. Keeps what will be shown, counts the rest.
#[derive(Default)]
pub struct Report {
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    /// Errors from which others would follow.
    causes: Vec<Diagnostic>,
    errors: Vec<Diagnostic>,
    errors_total: usize,
    warnings: Vec<Diagnostic>,
    warnings_total: usize,
}

impl Report {
    pub fn push(&self, diagnostic: Diagnostic) {
        let found = &mut *self.found.borrow_mut();
        let (list, total) = match diagnostic.severity {
            Severity::Error => (&mut found.errors, &mut found.errors_total),
            Severity::Warning => (&mut found.warnings, &mut found.warnings_total),
        };
        *total += 1;
        if list.len() < CONFIG_ERRORS_SHOWN_MAX {
            list.push(diagnostic);
        }
    }

    pub fn error(&self, source: Source, subject: &str, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic {
            severity: Severity::Error,
            source,
            subject: subject.into(),
            message: message.into(),
            help: help.into(),
        });
    }

    /// An error that keeps others from being judged, such as a file that cannot be read: it is shown before all others.
    pub fn cause(&self, source: Source, subject: &str, message: impl Into<String>, help: impl Into<String>) {
        let found = &mut *self.found.borrow_mut();
        found.errors_total += 1;
        if found.causes.len() < CONFIG_ERRORS_SHOWN_MAX {
            found.causes.push(Diagnostic {
                severity: Severity::Error,
                source,
                subject: subject.into(),
                message: message.into(),
                help: help.into(),
            });
        }
    }

    pub fn warning(&self, source: Source, subject: &str, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic {
            severity: Severity::Warning,
            source,
            subject: subject.into(),
            message: message.into(),
            help: help.into(),
        });
    }

    pub fn has_errors(&self) -> bool {
        self.found.borrow().errors_total > 0
    }

    /// The refusal: errors and warnings together.
    pub fn into_diagnostics(self) -> Diagnostics {
        let found = self.found.into_inner();
        let mut others = found.errors;
        others.extend(found.warnings);
        sort(&mut others);
        let mut shown = found.causes;
        sort(&mut shown);
        shown.extend(others);
        Diagnostics { shown, errors: found.errors_total, warnings: found.warnings_total }
    }

    /// The warnings of a configuration that was accepted; the last one counts those left out.
    pub fn into_warnings(self) -> Vec<Diagnostic> {
        let found = self.found.into_inner();
        let mut warnings = found.warnings;
        sort(&mut warnings);
        let more = found.warnings_total - warnings.len();
        if more > 0 {
            warnings.push(Diagnostic {
                severity: Severity::Warning,
                source: Source::default(),
                subject: String::new(),
                message: format!("and {more} more warnings"),
                help: String::new(),
            });
        }
        warnings
    }
}

fn sort(list: &mut [Diagnostic]) {
    list.sort_by(|a, b| {
        let key = |d: &Diagnostic| (d.source.line, d.source.column);
        a.source.file.cmp(&b.source.file).then_with(|| key(a).cmp(&key(b)))
    });
}
