//! A file being read: its text, and the remarks collected so far.
//!
//! Policy and host file share this layer. It is not serde, because serde stops at the first error: here syntax
//! errors and errors of meaning come out together. A remark about a line that is no valid TOML is swallowed, as
//! it would only repeat the syntax error.

use std::{collections::BTreeSet, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{limits::MAX_REMARKS, text::TextIndex};
use crate::diagnostic::{Diagnostic, Place, Severity};

/// A value with its place in the text.
pub(crate) type Node<'a> = &'a Spanned<DeValue<'a>>;

/// A file being read.
pub(crate) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    index: TextIndex<'a>,
    broken_lines: BTreeSet<u32>,
    remarks: Vec<Diagnostic>,
}

/// Parses TOML as far as it is valid. Hand the errors to [`Document::new`].
pub(crate) fn parse_toml(text: &str) -> (DeTable<'_>, Vec<toml::de::Error>) {
    let (tree, errors) = DeTable::parse_recoverable(text);
    (tree.into_inner(), errors)
}

impl<'a> Document<'a> {
    /// Starts reading; the syntax errors become the first remarks.
    pub fn new(file: &'a str, text: &'a str, syntax_errors: &[toml::de::Error]) -> Self {
        let mut document = Self {
            file,
            text,
            index: TextIndex::new(text),
            broken_lines: BTreeSet::new(),
            remarks: Vec::new(),
        };
        for error in syntax_errors {
            document.syntax_error(error);
        }
        document
    }

    /// The file as the user named it.
    pub fn file(&self) -> &'a str {
        self.file
    }

    /// The place of a node.
    pub fn place(&self, node: Node<'_>) -> Place {
        self.place_at(node.span().start)
    }

    /// The place of a byte offset.
    pub fn place_at(&self, offset: usize) -> Place {
        let (line, column) = self.index.line_and_column(offset);
        Place {
            file: self.file.to_owned(),
            line,
            column,
        }
    }

    /// Refuses the file because of a node, quoting it.
    pub fn error(&mut self, node: Node<'_>, message: impl Into<String>, fix: impl Into<String>) {
        let place = self.place(node);
        let value = self.quote(node);
        self.remark(Diagnostic::error(place, value, message, fix));
    }

    /// Remarks on a node, quoting it.
    pub fn warning(&mut self, node: Node<'_>, message: impl Into<String>, fix: impl Into<String>) {
        let place = self.place(node);
        let value = self.quote(node);
        self.remark(Diagnostic::warning(place, value, message, fix));
    }

    /// Collects a remark, unless it stands on a line whose syntax is broken.
    pub fn remark(&mut self, remark: Diagnostic) {
        if !self.broken_lines.contains(&remark.place.line) {
            self.remarks.push(remark);
        }
    }

    /// Whether a line that is no valid TOML begins with this key: then the key is not missing, only unreadable.
    pub fn has_broken_line_for(&self, key: &str) -> bool {
        self.broken_lines.iter().any(|line| {
            let rest = self.index.line(*line).trim_start().strip_prefix(key);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-'))
        })
    }

    /// A value as the user wrote it, short enough for a message.
    pub fn quote(&self, node: Node<'_>) -> String {
        match node.get_ref() {
            DeValue::String(value) => shorten(value),
            _ => self.quote_span(node.span()),
        }
    }

    /// All remarks, in the order of the file, and whether the file is refused.
    pub fn finish(self) -> (bool, Vec<Diagnostic>) {
        let mut remarks = self.remarks;
        remarks.sort_by(|a, b| a.place.cmp(&b.place).then(b.severity.cmp(&a.severity)));
        remarks.dedup();
        let refused = crate::diagnostic::has_errors(&remarks);
        if remarks.len() > MAX_REMARKS {
            let rest = remarks.split_off(MAX_REMARKS);
            let severity = rest
                .iter()
                .map(|remark| remark.severity)
                .max()
                .unwrap_or(Severity::Warning);
            remarks.push(Diagnostic {
                severity,
                ..Diagnostic::error(
                    Place::file(self.file),
                    "",
                    format!("{} more remarks are not shown", rest.len()),
                    "correct those above first",
                )
            });
        }
        (refused, remarks)
    }

    fn syntax_error(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        let mut place = self.place_at(span.start);
        // An error at the line end is reported behind the newline: it belongs to the line before.
        if place.column == 1 && span.is_empty() && span.start > 0 && span.start == self.text.len() {
            place = self.place_at(span.start - 1);
        }
        // What follows the first error of a line is mostly its echo.
        if !self.broken_lines.insert(place.line) {
            return;
        }
        let (message, fix) = explain_syntax(error.message());
        let value = self.quote_span(span);
        self.remarks.push(Diagnostic::error(place, value, message, fix));
    }

    fn quote_span(&self, span: Range<usize>) -> String {
        let written = self.text.get(span).unwrap_or("");
        match written.split_once('\n') {
            Some((first, _)) => format!("{} ...", shorten(first.trim_end())),
            None => shorten(written),
        }
    }
}

/// The parser's message, and what to do about the common ones.
fn explain_syntax(message: &str) -> (String, &'static str) {
    if message == "duplicate key" {
        let message = "the same key is given twice in one table";
        return (message.to_owned(), "keep one of the two");
    }
    let fix = if message.starts_with("string values must be quoted") {
        "put the value in double quotes"
    } else if message.starts_with("missing assignment") || message.starts_with("key with no value") {
        "write `key = value`"
    } else if message.starts_with("missing comma") {
        "put a comma between the elements"
    } else if message.starts_with("unclosed array table") || message.starts_with("unclosed table") {
        "close the header: `[[order]]`"
    } else if message.starts_with("unclosed array") {
        "close the list with `]`"
    } else if message.starts_with("unclosed inline table") {
        "close the inline table with `}`"
    } else if message.starts_with("invalid basic string") || message.starts_with("invalid literal string") {
        "close the string with the quote that opened it"
    } else {
        ""
    };
    (format!("not valid TOML: {message}"), fix)
}

const MAX_QUOTED_CHARS: usize = 80;

/// Cuts a value for a message and makes control characters visible, so that they never reach a terminal.
pub(crate) fn shorten(value: &str) -> String {
    let mut short = String::new();
    for (n_chars, c) in value.chars().enumerate() {
        if n_chars == MAX_QUOTED_CHARS {
            short.push_str("...");
            break;
        }
        if c.is_control() {
            short.extend(c.escape_default());
        } else {
            short.push(c);
        }
    }
    short
}
