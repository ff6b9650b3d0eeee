//! Recognises what is often found where a database should be, to say what to do about it.

/// First bytes of packed files, with the command that unpacks them.
const PACKED: [(&[u8], &str, &str); 5] = [
    (&[0x1f, 0x8b], "gzip", "gunzip, or tar -xzf for a .tar.gz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "unzstd"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "unxz"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"PK\x03\x04", "zip", "unzip"),
];

/// First characters of web pages and of other answers of web servers, in small letters.
const MARKUP: [&str; 3] = ["<!doctype", "<html", "<?xml"];

/// What a file that is no MaxMind DB is instead, if that can be told, and what to do. To be asked only about files
/// that could not be read: a database may begin with any bytes.
pub(super) fn likely_instead(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some("the file is empty: the download failed, fetch it again".to_owned());
    }
    if let Some((_, name, command)) = PACKED.iter().find(|(start, ..)| bytes.starts_with(start)) {
        return Some(format!("it is packed with {name}: unpack it first ({command})"));
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).to_lowercase();
    let start = start.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if MARKUP.iter().any(|markup| start.starts_with(markup)) {
        return Some(
            "it is a web page: the download failed (login or licence key?), fetch it again".to_owned(),
        );
    }
    let is_text = std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'));
    is_text.then(|| "it is a text file: take the binary (.mmdb) edition, not the CSV one".to_owned())
}
