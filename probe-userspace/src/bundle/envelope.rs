//! The outer form of a `*.cordon` file: kind, signatures, payload. The bytes are specified in docs/bundle.md.
//!
//! Nothing in here means anything by itself: what is not covered by a signature is only framing, and what it says is
//! checked against the payload once the payload is known to be genuine.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::{
    key::KeyId,
    limits::{MAX_COMMENT_BYTES, MAX_PAYLOAD_BYTES, MAX_SIGNATURES, PREFIX_BYTES},
    rejected::{Reason, Rejected},
    signature::{Malformed, PREHASHED, Signature, check_algorithm, check_comment},
};
use crate::diagnostic::Place;

/// First bytes of every bundle. Like those of PNG they show a transfer that changes line ends or the eighth bit.
pub const MAGIC: [u8; 8] = *b"\x89CORDON\n";
/// Version of the envelope.
pub const VERSION: u16 = 1;

/// What a bundle is for. Keys are trusted for one kind and not for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A policy.
    Policy,
    /// A geo database.
    Geo,
    /// What a host is to do once: halt, resume, lift an order, exempt somebody.
    Directive,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Policy, Self::Geo, Self::Directive];

    /// Its name in payload and manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Geo => "geo",
            Self::Directive => "directive",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Policy => 1,
            Self::Geo => 2,
            Self::Directive => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// A bundle taken apart, of which nothing is known to be genuine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What it says it is.
    pub kind: Kind,
    /// Signatures, ascending by key id; no two of one key.
    pub signatures: Vec<Signature>,
    /// What they are over.
    pub payload: Vec<u8>,
}

impl Envelope {
    /// Reads a bundle to its end, which must come where the first bytes say. Takes memory only for what is there.
    pub fn read(file: &str, input: impl Read) -> Result<Self, Rejected> {
        Reader { file, input, at: 0 }.envelope()
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload.len() + 4096);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.push(self.kind.code());
        bytes.push(self.signatures.len() as u8);
        bytes.extend((self.payload.len() as u32).to_le_bytes());
        for signature in &self.signatures {
            bytes.extend(PREHASHED);
            bytes.extend(signature.key_id.to_bytes());
            bytes.extend(signature.signature);
            bytes.extend(signature.global);
            bytes.extend((signature.comment.len() as u16).to_le_bytes());
            bytes.extend(signature.comment.as_bytes());
        }
        bytes.extend(&self.payload);
        bytes
    }

    /// Adds a signature, in place of an earlier one by the same key. `false`: there are as many as there may be.
    #[must_use]
    pub fn add(&mut self, signature: Signature) -> bool {
        match self
            .signatures
            .binary_search_by_key(&signature.key_id, |other| other.key_id)
        {
            Ok(idx) => self.signatures[idx] = signature,
            Err(_) if self.signatures.len() >= MAX_SIGNATURES => return false,
            Err(idx) => self.signatures.insert(idx, signature),
        }
        true
    }
}

/// Reads on, counting bytes.
struct Reader<'a, R> {
    file: &'a str,
    input: R,
    at: usize,
}

impl<R: Read> Reader<'_, R> {
    fn envelope(mut self) -> Result<Envelope, Rejected> {
        let [
            magic @ ..,
            version_0,
            version_1,
            kind,
            n_signatures,
            len_0,
            len_1,
            len_2,
            len_3,
        ] = self.prefix()?;
        if magic != MAGIC {
            return Err(self.not_a_bundle(&magic));
        }
        let version = u16::from_le_bytes([version_0, version_1]);
        if version != VERSION {
            return Err(self.rejected(
                Reason::UnknownVersion,
                version.to_string(),
                format!("the bundle has a format that this cordon does not know: it reads version {VERSION}"),
                "install a newer cordon, or build the bundle with this one",
            ));
        }
        let Some(kind) = Kind::from_code(kind) else {
            return Err(self.rejected(
                Reason::WrongKind,
                kind.to_string(),
                "there is no such kind of bundle (byte 10)",
                "install a newer cordon, or fetch the file again",
            ));
        };
        let n_signatures = usize::from(n_signatures);
        if n_signatures > MAX_SIGNATURES {
            return Err(self.rejected(
                Reason::MalformedSignature,
                n_signatures.to_string(),
                format!("a bundle has at most {MAX_SIGNATURES} signatures"),
                "sign with fewer keys",
            ));
        }
        let n_bytes = u32::from_le_bytes([len_0, len_1, len_2, len_3]) as usize;
        if n_bytes > MAX_PAYLOAD_BYTES {
            return Err(self.rejected(
                Reason::TooLarge,
                format!("{n_bytes} bytes"),
                "the payload is too large",
                format!("keep it under {} MiB", MAX_PAYLOAD_BYTES >> 20),
            ));
        }
        let signatures = self.signatures(n_signatures)?;
        let payload = self.payload(n_bytes)?;
        Ok(Envelope {
            kind,
            signatures,
            payload,
        })
    }

    fn prefix(&mut self) -> Result<[u8; PREFIX_BYTES], Rejected> {
        let mut bytes = Vec::with_capacity(PREFIX_BYTES);
        let read = (&mut self.input)
            .take(PREFIX_BYTES as u64)
            .read_to_end(&mut bytes);
        read.map_err(|error| self.unreadable(&error))?;
        self.at = bytes.len();
        match <[u8; PREFIX_BYTES]>::try_from(bytes) {
            Ok(prefix) => Ok(prefix),
            Err(bytes) if bytes.is_empty() => {
                Err(self.rejected(Reason::Truncated, "", "the file is empty", "fetch it again"))
            }
            Err(bytes) if !MAGIC.starts_with(&bytes[..bytes.len().min(8)]) => Err(self.not_a_bundle(&bytes)),
            Err(_) => Err(self.truncated("its first 16 bytes")),
        }
    }

    fn signatures(&mut self, n_signatures: usize) -> Result<Vec<Signature>, Rejected> {
        let mut signatures: Vec<Signature> = Vec::with_capacity(n_signatures);
        for number in 1..=n_signatures {
            let signature = self.signature(number)?;
            if let Some(previous) = signatures.last()
                && previous.key_id >= signature.key_id
            {
                let message = match previous.key_id == signature.key_id {
                    true => {
                        format!("signature {number} is by the same key as the one before: a key has one vote")
                    }
                    false => format!("signature {number} is out of order: they ascend by key id"),
                };
                let (value, fix) = (
                    signature.key_id.to_string(),
                    "sign again with `cordon bundle sign`",
                );
                return Err(self.rejected(Reason::MalformedSignature, value, message, fix));
            }
            signatures.push(signature);
        }
        Ok(signatures)
    }

    fn signature(&mut self, number: usize) -> Result<Signature, Rejected> {
        let what = format!("signature {number}");
        let algorithm: [u8; 2] = self.array(&what)?;
        let key_id = KeyId::from_bytes(self.array(&what)?);
        let malformed = |wrong: Malformed| {
            let message = format!("signature {number}: {}", wrong.message);
            Rejected::new(
                Reason::MalformedSignature,
                Place::file(self.file),
                key_id.to_string(),
                message,
                wrong.fix,
            )
        };
        check_algorithm(algorithm).map_err(malformed)?;
        let signature = self.array(&what)?;
        let global = self.array(&what)?;
        let n_bytes = usize::from(u16::from_le_bytes(self.array(&what)?));
        let malformed = |message: String| {
            let fix = "sign again with `cordon bundle sign`";
            Rejected::new(
                Reason::MalformedSignature,
                Place::file(self.file),
                key_id.to_string(),
                message,
                fix,
            )
        };
        if n_bytes > MAX_COMMENT_BYTES {
            return Err(malformed(format!(
                "signature {number}: the trusted comment is longer than {MAX_COMMENT_BYTES} bytes"
            )));
        }
        let Ok(comment) = String::from_utf8(self.bytes(n_bytes, &what)?) else {
            return Err(malformed(format!(
                "signature {number}: the trusted comment is not UTF-8 text"
            )));
        };
        check_comment(&comment)
            .map_err(|wrong| malformed(format!("signature {number}: {}", wrong.message)))?;
        Ok(Signature {
            key_id,
            signature,
            comment,
            global,
        })
    }

    fn payload(&mut self, n_bytes: usize) -> Result<Vec<u8>, Rejected> {
        let payload = self.bytes(n_bytes, "the payload")?;
        let mut rest = [0];
        match self.input.read(&mut rest) {
            Ok(0) => Ok(payload),
            Ok(_) => Err(self.rejected(
                Reason::TrailingBytes,
                "",
                format!("something follows the payload, which ends at byte {}", self.at),
                "fetch the file again: it was appended to, or is still being written",
            )),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Rejected> {
        let bytes = self.bytes(N, what)?;
        bytes.try_into().map_err(|_| self.truncated(what))
    }

    /// Exactly so many bytes. The buffer grows with what arrives, not with what was announced.
    fn bytes(&mut self, n_bytes: usize, what: &str) -> Result<Vec<u8>, Rejected> {
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(n_bytes as u64).read_to_end(&mut bytes);
        read.map_err(|error| self.unreadable(&error))?;
        self.at += bytes.len();
        match bytes.len() == n_bytes {
            true => Ok(bytes),
            false => Err(self.truncated(what)),
        }
    }

    fn truncated(&self, what: &str) -> Rejected {
        let message = format!("the file ends at byte {}, within {what}", self.at);
        self.rejected(Reason::Truncated, "", message, "fetch it again")
    }

    fn not_a_bundle(&self, bytes: &[u8]) -> Rejected {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(8)]);
        let fix = match bytes {
            [b'\x89', b'C', b'O', b'R', b'D', b'O', b'N', ..] => {
                "fetch it again in binary mode: line ends were changed on the way"
            }
            [b'C', b'O', b'R', b'D', b'O', b'N', ..] | [b'\t', b'C', b'O', b'R', b'D', b'O', b'N', ..] => {
                "fetch it again in binary mode: the eighth bit was lost on the way"
            }
            [b'c', b'o', b'r', b'd', b'o', b'n', b' ', ..] => {
                "this looks like a payload: put it together with its signatures with `cordon bundle join`"
            }
            _ => "name a file that `cordon bundle build` wrote",
        };
        let value = start.escape_default().to_string();
        self.rejected(Reason::NotABundle, value, "this is no bundle of cordon", fix)
    }

    fn unreadable(&self, error: &io::Error) -> Rejected {
        self.rejected(Reason::Unreadable, "", error.to_string(), "")
    }

    fn rejected(
        &self,
        reason: Reason,
        value: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Rejected {
        Rejected::new(reason, Place::file(self.file), value, message, fix)
    }
}
