//! Bounds on what a bundle may hold. Whatever is read is checked against one of them first.

/// Bytes before the signatures: magic, version, kind, number of signatures, length of the payload.
pub const PREFIX_BYTES: usize = 16;
/// Most signatures of a bundle.
pub const MAX_SIGNATURES: usize = 8;
/// Longest trusted comment of a signature, in bytes.
pub const MAX_COMMENT_BYTES: usize = 256;
/// Largest payload, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;
/// Most bytes before the payload: what is read before the signatures are checked.
pub const MAX_ENVELOPE_BYTES: usize = 4096;
/// Largest bundle, in bytes.
pub const MAX_FILE_BYTES: usize = MAX_ENVELOPE_BYTES + MAX_PAYLOAD_BYTES;
/// Most bytes of all sections together once expanded.
pub const MAX_EXPANDED_BYTES: usize = 256 << 20;
/// A section may expand to this many times its stored size.
pub const MAX_EXPANSION: usize = 100;
/// Longest first line or section header of a payload, in bytes, with its newline.
pub const MAX_HEADER_LINE_BYTES: usize = 128;
/// Most sections of a bundle, the manifest included.
pub const MAX_SECTIONS: usize = 256;
/// Largest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 256 << 10;
/// Most prefixes of one family, over all lists of a bundle.
pub const MAX_PREFIXES: usize = 4_000_000;
/// Longest name of a bundle, a list or a database, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// Largest revision: the largest integer that every JSON reader keeps exactly.
pub const MAX_REVISION: u64 = (1 << 53) - 1;
/// A revision may be this much above the one in force. A larger jump would use up the numbers in one stroke.
pub const MAX_JUMP: u64 = 1 << 32;
/// Most host patterns of a target.
pub const MAX_HOSTS: usize = 1024;
/// Most labels of a target.
pub const MAX_LABELS: usize = 64;
/// Longest host pattern, host name, label or label pattern, in characters.
pub const MAX_PATTERN_CHARS: usize = 253;
/// Largest key file, in bytes.
pub const MAX_KEY_FILE_BYTES: usize = 4096;
/// Most key files of a directory, and most entries of a trust file.
pub const MAX_KEYS: usize = 256;

const _: () = assert!(
    PREFIX_BYTES + MAX_SIGNATURES * (2 + 8 + 64 + 64 + 2 + MAX_COMMENT_BYTES) <= MAX_ENVELOPE_BYTES,
    "what is read before the signatures are checked stays within 4 KiB"
);
