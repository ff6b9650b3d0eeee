//! One minisign signature: as the envelope holds it, and as the text of a `.minisig` file.
//!
//! The envelope holds only what the signature covers. The untrusted comment of a `.minisig` file is left out: nothing
//! protects it, so a bundle could be altered there without anyone noticing.

use std::io::Cursor;

use ct_codecs::{Base64, Decoder as _, Encoder as _};

use super::{
    key::{KeyId, PublicKey},
    limits::MAX_COMMENT_BYTES,
};

/// Algorithm bytes of a signature over the BLAKE2b-512 digest of the payload, which is the only kind taken.
pub(crate) const PREHASHED: [u8; 2] = *b"ED";
const LEGACY: [u8; 2] = *b"Ed";

const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";

/// A signature over a payload and over its own trusted comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Id of the key that made it, by its own account.
    pub key_id: KeyId,
    /// Ed25519 signature of the payload's digest.
    pub signature: [u8; 64],
    /// What the signer wrote: covered by `global`.
    pub comment: String,
    /// Ed25519 signature of `signature` and `comment`.
    pub global: [u8; 64],
}

/// What is wrong with a signature: message and fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: &'static str,
}

fn malformed(message: impl Into<String>, fix: &'static str) -> Malformed {
    Malformed {
        message: message.into(),
        fix,
    }
}

/// Checks the algorithm bytes of a signature.
pub(crate) fn check_algorithm(algorithm: [u8; 2]) -> Result<(), Malformed> {
    match algorithm {
        PREHASHED => Ok(()),
        LEGACY => Err(malformed(
            "the signature is a legacy one, over the payload itself instead of its digest",
            "sign again with minisign 0.10 or newer, or with `cordon bundle sign`",
        )),
        [first, second] => Err(malformed(
            format!("there is no signature algorithm {first:#04x} {second:#04x}"),
            "sign again with minisign or with `cordon bundle sign`",
        )),
    }
}

/// Checks a trusted comment: bounded, one line, nothing that a terminal or a log would act on.
pub(crate) fn check_comment(comment: &str) -> Result<(), Malformed> {
    if comment.len() > MAX_COMMENT_BYTES {
        return Err(malformed(
            format!("the trusted comment is longer than {MAX_COMMENT_BYTES} bytes"),
            "sign again with a shorter one: `minisign -t`",
        ));
    }
    if comment.chars().any(|c| c.is_control() && c != '\t') {
        return Err(malformed(
            "the trusted comment holds control characters",
            "sign again with another one: `minisign -t`",
        ));
    }
    if comment.trim() != comment {
        return Err(malformed(
            "the trusted comment begins or ends with a blank",
            "sign again with another one: `minisign -t`",
        ));
    }
    Ok(())
}

impl Signature {
    /// The text of a `.minisig` file, as minisign writes and reads it.
    pub fn to_minisig(&self) -> String {
        let mut bytes = Vec::with_capacity(74);
        bytes.extend(PREHASHED);
        bytes.extend(self.key_id.to_bytes());
        bytes.extend(self.signature);
        format!(
            "{UNTRUSTED}signature by key {}\n{}\n{TRUSTED}{}\n{}\n",
            self.key_id,
            base64(&bytes),
            self.comment,
            base64(&self.global)
        )
    }

    /// Reads the text of a `.minisig` file: four lines, nothing else.
    pub fn from_minisig(text: &str) -> Result<Self, Malformed> {
        let fix = "name a file that minisign or `cordon bundle split` wrote";
        let lines: Vec<&str> = text.lines().collect();
        let [untrusted, signature, trusted, global] = lines[..] else {
            let message = format!("a signature has four lines, not {}", lines.len());
            return Err(malformed(message, fix));
        };
        if !untrusted.starts_with(UNTRUSTED) {
            return Err(malformed(format!("line 1 must begin with `{UNTRUSTED}`"), fix));
        }
        let Some(comment) = trusted.strip_prefix(TRUSTED) else {
            return Err(malformed(format!("line 3 must begin with `{TRUSTED}`"), fix));
        };
        let not_base64 =
            |line: u32, n: usize| malformed(format!("line {line} must be {n} bytes in base64"), fix);
        let bytes: [u8; 74] = decode_base64(signature).ok_or_else(|| not_base64(2, 74))?;
        let global = decode_base64(global).ok_or_else(|| not_base64(4, 64))?;
        let ([first, second, rest @ ..], comment) = (bytes, comment.to_owned());
        check_algorithm([first, second])?;
        check_comment(&comment)?;
        let (key_id, signature) = rest.split_at(8);
        Ok(Self {
            key_id: KeyId::from_bytes(key_id.try_into().unwrap_or_default()),
            signature: signature.try_into().map_err(|_| not_base64(2, 74))?,
            comment,
            global,
        })
    }

    /// Whether a key made this signature for a payload.
    pub fn is_valid(&self, payload: &[u8], key: &PublicKey) -> bool {
        if self.key_id != key.id() {
            return false;
        }
        let Ok(boxed) = minisign::SignatureBox::from_string(&self.to_minisig()) else {
            return false;
        };
        minisign::verify(key.minisign(), &boxed, Cursor::new(payload), true, false, false).is_ok()
    }
}

/// Base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    Base64::encode_to_string(bytes).unwrap_or_default()
}

/// The bytes of a base64 text, if they are as many as expected and the text is the one way to write them.
pub(crate) fn decode_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut buffer = [0; N];
    let n_bytes = Base64::decode(&mut buffer, text, None).ok()?.len();
    (n_bytes == N && base64(&buffer) == text).then_some(buffer)
}
