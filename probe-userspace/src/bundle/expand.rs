//! Compression of database sections: one zstd frame, bounded before and while it expands.

use std::io::{self, Read as _};

use super::limits::{MAX_EXPANDED_BYTES, MAX_EXPANSION};

/// Level of what `bundle build` writes. Fixed, so that the same input gives the same bytes.
const LEVEL: i32 = 19;

/// Why a section does not expand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpandError {
    /// It is larger than allowed, or than its compressed form can hold honestly.
    TooLarge,
    /// It is no single zstd frame of the size it must have.
    Malformed(String),
}

/// Compresses a section.
pub fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(bytes, LEVEL)
}

/// Expands a section that must come to `n_bytes`, as a signed manifest says.
pub fn expand(stored: &[u8], n_bytes: usize) -> Result<Vec<u8>, ExpandError> {
    if n_bytes > MAX_EXPANDED_BYTES || n_bytes > stored.len().saturating_mul(MAX_EXPANSION) {
        return Err(ExpandError::TooLarge);
    }
    let malformed = |error: io::Error| ExpandError::Malformed(error.to_string());
    let mut rest = stored;
    let decoder = zstd::stream::read::Decoder::with_buffer(&mut rest).map_err(malformed)?;
    // One byte more tells that there is more.
    let mut decoder = decoder.single_frame().take(n_bytes as u64 + 1);
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes).map_err(malformed)?;
    if bytes.len() != n_bytes {
        let more_or_less = if bytes.len() > n_bytes { "more" } else { "less" };
        return Err(ExpandError::Malformed(format!(
            "it holds {more_or_less} than that"
        )));
    }
    // The decoder may stop between the last byte and the end of the frame.
    drop(decoder);
    if !rest.is_empty() {
        return Err(ExpandError::Malformed("something follows the frame".to_owned()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_expands_to_exactly_its_size() {
        let bytes = b"database ".repeat(20);
        let stored = compress(&bytes).unwrap();
        assert_eq!(expand(&stored, bytes.len()).unwrap(), bytes);
        for n_bytes in [bytes.len() - 1, bytes.len() + 1, 0] {
            assert!(
                matches!(expand(&stored, n_bytes), Err(ExpandError::Malformed(_))),
                "{n_bytes} is not its size"
            );
        }
    }

    #[test]
    fn bombs_are_refused_before_they_expand() {
        let bomb = compress(&vec![0; 1 << 20]).unwrap();
        assert_eq!(
            expand(&bomb, 1 << 20),
            Err(ExpandError::TooLarge),
            "{} bytes",
            bomb.len()
        );
        assert_eq!(
            expand(&[0; 4096], MAX_EXPANDED_BYTES + 1),
            Err(ExpandError::TooLarge)
        );
    }

    #[test]
    fn only_one_whole_frame_is_taken() {
        let bytes = b"database ".repeat(20);
        let stored = compress(&bytes).unwrap();
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7];
        for (what, stored) in [
            ("two frames", [stored.clone(), stored.clone()].concat()),
            ("a byte behind", [&stored[..], b"x"].concat()),
            ("a skippable frame behind", [&stored[..], &skippable].concat()),
            ("a skippable frame before", [&skippable, &stored[..]].concat()),
            ("no end", stored[..stored.len() - 1].to_vec()),
            ("no frame", b"database ".repeat(20)),
        ] {
            let expanded = expand(&stored, bytes.len());
            assert!(
                matches!(expanded, Err(ExpandError::Malformed(_))),
                "{what}: {expanded:?}"
            );
        }
    }
}
