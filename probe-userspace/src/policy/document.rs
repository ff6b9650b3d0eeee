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

use super::{
    limits::MAX_REMARKS,
    recovery::{LIST_NOT_CLOSED, Readable, SyntaxError},
    text::TextIndex,
};
use crate::diagnostic::{Diagnostic, Place, Severity};

/// A value with its place in the text.
pub(crate) type Node<'a> = &'a Spanned<DeValue<'a>>;

/// A file being read.
pub(crate) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    index: TextIndex<'a>,
    /// Lines that are no valid TOML, and those below a header that is none.
    broken_lines: BTreeSet<u32>,
    /// What the broken lines begin with: keys that are not missing, only unreadable.
    broken_words: BTreeSet<&'a str>,
    remarks: Vec<Diagnostic>,
    /// Remarks that are counted only.
    n_dropped: usize,
    is_refused: bool,
}

/// Remarks kept before sorting; a hostile file has millions.
const MAX_KEPT: usize = 10 * MAX_REMARKS;

/// The tree of a text that was made readable.
pub(crate) fn parse_tree<'a>(readable: &'a Readable<'_>) -> DeTable<'a> {
    DeTable::parse_recoverable(&readable.text).0.into_inner()
}

impl<'a> Document<'a> {
    /// Starts reading; the syntax errors become the first remarks.
    pub fn new(file: &'a str, text: &'a str, syntax_errors: &[SyntaxError]) -> Self {
        let mut document = Self {
            file,
            text,
            index: TextIndex::new(text),
            broken_lines: BTreeSet::new(),
            broken_words: BTreeSet::new(),
            remarks: Vec::new(),
            n_dropped: 0,
            is_refused: false,
        };
        for error in syntax_errors {
            document.syntax_error(error);
        }
        document.break_lines_below_broken_headers();
        document
    }

    /// Whether any line is no valid TOML.
    pub fn has_broken_lines(&self) -> bool {
        !self.broken_lines.is_empty()
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
            self.keep(remark);
        }
    }

    /// Whether a line that is no valid TOML begins with this key.
    pub fn has_broken_line_for(&self, key: &str) -> bool {
        self.broken_words.contains(key)
    }

    /// A value as the user wrote it, short enough for a message.
    pub fn quote(&self, node: Node<'_>) -> String {
        match node.get_ref() {
            DeValue::String(value) => shorten(value),
            _ => self.quote_span(node.span()),
        }
    }

    /// Whether the file is refused, and all remarks in the order of the file.
    pub fn finish(self) -> (bool, Vec<Diagnostic>) {
        let mut remarks = self.remarks;
        remarks.sort_by(|a, b| a.place.cmp(&b.place).then(b.severity.cmp(&a.severity)));
        remarks.dedup();
        let n_hidden = self.n_dropped + remarks.len().saturating_sub(MAX_REMARKS);
        remarks.truncate(MAX_REMARKS);
        if n_hidden > 0 {
            let summary = Diagnostic::error(
                Place::file(self.file),
                "",
                format!("{n_hidden} more remarks are not shown"),
                "correct those above first",
            );
            remarks.push(Diagnostic {
                severity: if self.is_refused {
                    Severity::Error
                } else {
                    Severity::Warning
                },
                ..summary
            });
        }
        (self.is_refused, remarks)
    }

    fn keep(&mut self, remark: Diagnostic) {
        self.is_refused |= remark.severity == Severity::Error;
        if self.remarks.len() < MAX_KEPT {
            self.remarks.push(remark);
        } else {
            self.n_dropped += 1;
        }
    }

    fn syntax_error(&mut self, error: &SyntaxError) {
        let span = error.span.clone();
        let mut place = self.place_at(span.start);
        // An error at the end of the text is reported behind the last newline: it belongs to the line before.
        if place.column == 1 && span.start > 0 && span.start == self.text.len() {
            place = self.place_at(span.start - 1);
        }
        // What follows the first error of a line is mostly its echo.
        if !self.broken_lines.insert(place.line) {
            return;
        }
        let line = self.index.line(place.line).trim_start();
        let word_end = line.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
        self.broken_words.insert(&line[..word_end.unwrap_or(line.len())]);
        let (message, fix) = explain_syntax(&error.message, span.is_empty());
        let value = self.quote_span(span);
        self.keep(Diagnostic::error(place, value, message, fix));
    }

    /// Keys below a header that could not be read are counted to the table above: remarks on them would mislead.
    fn break_lines_below_broken_headers(&mut self) {
        let is_header = |line: &u32| self.index.line(*line).trim_start().starts_with('[');
        let headers: Vec<u32> = self.broken_lines.iter().copied().filter(is_header).collect();
        for header in headers {
            let below = (header + 1..=self.index.n_lines()).take_while(|line| !is_header(line));
            self.broken_lines.extend(below);
        }
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
fn explain_syntax(message: &str, is_empty: bool) -> (String, &'static str) {
    if message.starts_with("string values must be quoted") && is_empty {
        return ("the value is missing".to_owned(), "write `key = value`");
    }
    if message == LIST_NOT_CLOSED {
        return (message.to_owned(), "close the list with `]`");
    }
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
    } else if message.starts_with("invalid date") || message.starts_with("invalid time") {
        "write instants like `2026-03-01T00:00:00Z`"
    } else if message.starts_with("invalid unquoted key") {
        "keys are made of letters, digits, `_` and `-`"
    } else if message.starts_with("extra comma") {
        "remove the comma"
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
