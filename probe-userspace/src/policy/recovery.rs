//! Reading on behind a syntax error.
//!
//! The TOML parser stops at a key without a value, and lets a list that is not closed go on to the end of the
//! file. Both would hide every error below. So such a statement is reported, replaced by spaces, which keeps all
//! offsets, and the text is parsed again.

use std::{borrow::Cow, ops::Range};

use toml::de::DeTable;

/// One syntax error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// The bytes that are wrong.
    pub span: Range<usize>,
    /// What the parser says about them.
    pub message: String,
}

/// A text that the parser reads to its end, and what is wrong with the original.
pub(crate) struct Readable<'t> {
    /// The original, or a copy with spaces for what stops the parser: offsets are the same.
    pub text: Cow<'t, str>,
    /// Errors of the original; one that is met again is there again.
    pub errors: Vec<SyntaxError>,
}

/// Times that the text is parsed anew; each costs as much as the first.
const MAX_ROUNDS: usize = 16;

/// The message for a list that goes on into the next statement.
pub(crate) const LIST_NOT_CLOSED: &str = "the list that begins here is not closed";

const KEY_WITHOUT_VALUE: &str = "key with no value";

impl<'t> Readable<'t> {
    /// Finds the errors of a text and makes it readable.
    pub fn new(text: &'t str) -> Self {
        let mut text = Cow::Borrowed(text);
        let mut errors = Vec::new();
        for _ in 1..MAX_ROUNDS {
            let found = syntax_errors(&text);
            let (stops, spans): (Vec<SyntaxError>, Vec<Range<usize>>) =
                stops(&text, &found).into_iter().unzip();
            if stops.is_empty() {
                errors.extend(found);
                return Self { text, errors };
            }
            errors.extend(stops);
            for span in spans {
                blank(&mut text, span);
            }
        }
        errors.extend(syntax_errors(&text));
        Self { text, errors }
    }
}

fn syntax_errors(text: &str) -> Vec<SyntaxError> {
    let (_, errors) = DeTable::parse_recoverable(text);
    errors
        .iter()
        .map(|error| SyntaxError {
            span: error.span().unwrap_or(0..0),
            message: error.message().to_owned(),
        })
        .collect()
}

/// Errors behind which the parser does not read on, each with the statement to replace: all keys without a value,
/// else the first list that is not closed (what is found behind it may be its echo).
fn stops(text: &str, found: &[SyntaxError]) -> Vec<(SyntaxError, Range<usize>)> {
    let keys: Vec<(SyntaxError, Range<usize>)> = found
        .iter()
        .filter(|error| error.message.starts_with(KEY_WITHOUT_VALUE))
        .map(|error| (error.clone(), line_at(text, error.span.start)))
        .collect();
    if !keys.is_empty() {
        return keys;
    }
    found
        .iter()
        .find_map(|error| list_not_closed(text, error))
        .into_iter()
        .collect()
}

/// Takes an error at the beginning of a line that looks like a statement of its own for what it is: the end of a
/// list above was forgotten.
fn list_not_closed(text: &str, error: &SyntaxError) -> Option<(SyntaxError, Range<usize>)> {
    let in_list = error.message.contains("array elements")
        || error.message.contains("in array")
        || error.message.starts_with("string values must be quoted");
    let line = line_at(text, error.span.start);
    if !in_list || !(is_header(&text[line.clone()]) || is_assignment(&text[line.clone()])) {
        return None;
    }
    let mut start = line.start;
    while start > 0 {
        let above = line_at(text, start - 1);
        start = above.start;
        let statement = &text[above.clone()];
        if is_header(statement) {
            return None;
        }
        if is_assignment(statement) {
            let value = statement.find('=').map_or(0, |equals| equals + 1);
            let open = statement[value..].find('[')? + value;
            if !statement[value..value + (open - value)].trim().is_empty() {
                return None;
            }
            let span = above.start + open..above.end;
            let message = LIST_NOT_CLOSED.to_owned();
            return Some((SyntaxError { span, message }, above.start..line.start));
        }
    }
    None
}

/// `[table]` or `[[table]]`.
fn is_header(line: &str) -> bool {
    let line = line.trim();
    line.ends_with(']')
        && line
            .trim_start_matches('[')
            .starts_with(|c: char| c.is_ascii_alphabetic())
        && line.starts_with('[')
}

/// `key = ...`.
fn is_assignment(line: &str) -> bool {
    let line = line.trim_start();
    let key_end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    key_end.is_some_and(|end| end > 0 && line[end..].trim_start().starts_with('='))
}

/// The line around an offset, without its newline.
fn line_at(text: &str, offset: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let offset = offset.min(bytes.len());
    let start = bytes[..offset]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let end = bytes[offset..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |newline| offset + newline);
    start..end
}

/// Replaces everything but line ends by spaces.
fn blank(text: &mut Cow<'_, str>, span: Range<usize>) {
    let spaces: String = text[span.clone()]
        .bytes()
        .map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                char::from(byte)
            } else {
                ' '
            }
        })
        .collect();
    text.to_mut().replace_range(span, &spaces);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_text_is_left_alone() {
        let text = "a = [\n  \"x\",\n]\n[[b]]\nc = 1\n";
        let readable = Readable::new(text);
        assert!(matches!(readable.text, Cow::Borrowed(same) if same == text));
        assert_eq!(readable.errors, []);
    }

    #[test]
    fn reading_goes_on_behind_what_stops_the_parser() {
        for text in [
            "a\nb = 1\n",
            "é = 1\nä \"x\"\nb = 1\n",
            "a = [\"x\"\nb = 1\n",
            "a = [\n \"x\",\n \"y\"\nb = 1\n",
            "a = [\"x\", \nb = 1\n",
            "a = [\"x\"\n[[b]]\nc = 1\n",
            "a = [\"x\",\n[[b]]\nc = 1\n",
            "[[b]]\nc = [\"x\"\n\n[[b]]\nc = [\"x\"\n\n[[b]]\nc = [\"x\"\nd = 1\n",
        ] {
            let readable = Readable::new(text);
            assert!(!readable.errors.is_empty(), "{text}");
            assert_eq!(readable.text.len(), text.len());
            let (tree, _) = DeTable::parse_recoverable(&readable.text);
            let value = tree
                .get_ref()
                .get("b")
                .unwrap_or_else(|| panic!("b is lost: {text}"));
            if let Some(tables) = value.get_ref().as_array() {
                assert_eq!(tables.len(), text.matches("[[b]]").count(), "{text}");
            }
        }
    }

    #[test]
    fn list_that_lacks_a_comma_is_not_taken_for_an_open_one() {
        let text = "a = [\n \"x\"\n \"y\"\n]\nb = 1\n";
        let readable = Readable::new(text);
        assert_eq!(readable.errors.len(), 1);
        assert!(readable.errors[0].message.starts_with("missing comma"));
        assert!(matches!(readable.text, Cow::Borrowed(_)));
    }
}
