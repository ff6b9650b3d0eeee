//! Bytes to text, and byte offsets to lines and columns.

use super::limits::MAX_FILE_BYTES;
use crate::diagnostic::{Diagnostic, Place};

/// The text of a policy or host file: UTF-8, of bounded size, a byte order mark removed.
pub fn decode(file: &str, bytes: &[u8]) -> Result<String, Diagnostic> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Diagnostic::error(
            Place::file(file),
            format!("{} bytes", bytes.len()),
            "the file is too large",
            format!("keep it under {} MiB", MAX_FILE_BYTES >> 20),
        ));
    }
    utf8(file, bytes)
}

/// The text of a file of any size.
pub fn utf8(file: &str, bytes: &[u8]) -> Result<String, Diagnostic> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()),
        Err(error) => {
            let valid = &bytes[..error.valid_up_to()];
            let before = String::from_utf8_lossy(valid);
            Err(Diagnostic::error(
                Place::at(file, &before, before.len()),
                format!("{:#04x}", bytes[error.valid_up_to()]),
                "the file is not UTF-8 text",
                "save it as UTF-8, or check that it is the file you meant",
            ))
        }
    }
}

/// Finds line and column of an offset in constant time, however long the file or one of its lines is.
pub(super) struct TextIndex<'a> {
    text: &'a str,
    /// Offset of the first byte of each line.
    line_starts: Vec<usize>,
    /// Characters before each multiple of [`STRIDE`] bytes.
    chars_before: Vec<usize>,
}

const STRIDE: usize = 256;

impl<'a> TextIndex<'a> {
    /// Indexes a text.
    pub fn new(text: &'a str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0)
            .chain(newlines.map(|(offset, _)| offset + 1))
            .collect();
        let mut n_chars = 0;
        let chars_before = text
            .as_bytes()
            .chunks(STRIDE)
            .map(|chunk| {
                let before = n_chars;
                n_chars += count_chars(chunk);
                before
            })
            .collect();
        Self {
            text,
            line_starts,
            chars_before,
        }
    }

    /// Line and column of a byte offset, both from 1.
    pub fn line_and_column(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        let column = self.chars_up_to(offset) - self.chars_up_to(start) + 1;
        (
            u32::try_from(line).unwrap_or(u32::MAX),
            u32::try_from(column).unwrap_or(u32::MAX),
        )
    }

    /// The text of a line, counted from 1; empty if there is no such line.
    pub fn line(&self, line: u32) -> &'a str {
        let start = (line as usize)
            .checked_sub(1)
            .and_then(|idx| self.line_starts.get(idx));
        start
            .and_then(|start| self.text.get(*start..))
            .and_then(|rest| rest.lines().next())
            .unwrap_or("")
    }

    /// Number of lines.
    pub fn n_lines(&self) -> u32 {
        u32::try_from(self.line_starts.len()).unwrap_or(u32::MAX)
    }

    fn chars_up_to(&self, offset: usize) -> usize {
        let chunk = offset / STRIDE;
        match self.chars_before.get(chunk) {
            Some(before) => before + count_chars(&self.text.as_bytes()[chunk * STRIDE..offset]),
            // Only when the text ends exactly at the end of a chunk, or is empty.
            None => match (
                self.chars_before.last(),
                self.text.as_bytes().chunks(STRIDE).next_back(),
            ) {
                (Some(before), Some(last)) => before + count_chars(last),
                _ => 0,
            },
        }
    }
}

/// Characters that start in the bytes: all that are no continuation bytes.
fn count_chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decode_refuses_what_is_no_text_and_says_where() {
        let error = decode("x.toml", b"ok\n\xc3\xa9 \xff").unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.toml:2:3: error: the file is not UTF-8 text: `0xff`\n    \
             fix: save it as UTF-8, or check that it is the file you meant"
        );
        let error = decode("x.toml", &vec![b' '; MAX_FILE_BYTES + 1]).unwrap_err();
        assert_eq!(error.message, "the file is too large");
        assert!(decode("x.toml", &vec![b' '; MAX_FILE_BYTES]).is_ok());
    }

    #[test]
    fn decode_takes_a_byte_order_mark_away() {
        assert_eq!(
            decode("x.toml", b"\xef\xbb\xbfversion = 1").unwrap(),
            "version = 1"
        );
    }

    proptest! {
        /// The slow and plain `Place::at` is the reference.
        #[test]
        fn index_gives_the_place_that_counting_gives(text in "([a-zé\u{1F30D}]{0,40}\n?){0,40}", at in 0.0..=1.0f64) {
            let mut offset = (text.len() as f64 * at) as usize;
            while !text.is_char_boundary(offset) {
                offset -= 1;
            }
            let place = Place::at("x", &text, offset);
            prop_assert_eq!(TextIndex::new(&text).line_and_column(offset), (place.line, place.column));
        }
    }
}
