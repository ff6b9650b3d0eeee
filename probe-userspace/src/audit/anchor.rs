//! Anchors: what the log's newest record was, signed, to be kept where the host cannot reach it.

use serde::{Deserialize, Serialize};

use super::{Head, Statement, StatementSignature};
use crate::bundle::{
    Digest,
    key::{PublicKey, SecretKey},
};

/// Longest anchor file, in bytes.
pub const MAX_ANCHOR_BYTES: usize = 4_096;

/// An anchor, as its file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Version of the format: [`super::FORMAT`].
    pub cordon_audit_anchor: u32,
    /// Name of the host.
    pub host: String,
    /// Id of the host key.
    pub key: String,
    /// The host key.
    pub public_key: String,
    /// Number of the record that was the newest.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
    /// When the anchor was made.
    pub at: String,
    /// Line 2 of the signature, as in a `.minisig` file.
    pub signature: String,
    /// Line 4 of it.
    pub global: String,
}

impl Anchor {
    /// Makes one.
    pub fn make(host: &str, key: &SecretKey, head: Head, at: &str) -> Result<Self, String> {
        let public = key.public()?;
        let statement = Statement {
            host,
            key: public.id(),
            seq: head.seq,
            hash: head.hash,
            at,
        };
        let StatementSignature { signature, global } = statement.sign(key)?;
        Ok(Self {
            cordon_audit_anchor: super::FORMAT,
            host: host.to_owned(),
            key: public.id().to_string(),
            public_key: public.to_base64(),
            seq: head.seq,
            hash: head.hash,
            at: at.to_owned(),
            signature,
            global,
        })
    }

    /// Reads one and checks that it is signed by the key it names. The error says what is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_ANCHOR_BYTES {
            return Err(format!("an anchor is at most {MAX_ANCHOR_BYTES} bytes long"));
        }
        let anchor: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("this is no anchor: {error}"))?;
        if anchor.cordon_audit_anchor != super::FORMAT {
            return Err(format!(
                "this is an anchor of format {}, and this cordon knows {}: use a newer cordon",
                anchor.cordon_audit_anchor,
                super::FORMAT
            ));
        }
        let key = anchor.public_key()?;
        let statement = Statement {
            host: &anchor.host,
            key: key.id(),
            seq: anchor.seq,
            hash: anchor.hash,
            at: &anchor.at,
        };
        let signature = StatementSignature {
            signature: anchor.signature.clone(),
            global: anchor.global.clone(),
        };
        if anchor.key != key.id().to_string() || !statement.is_signed(&signature, &key) {
            return Err("the anchor is not signed by the key it names: it was altered".to_owned());
        }
        Ok(anchor)
    }

    /// The host key.
    pub fn public_key(&self) -> Result<PublicKey, String> {
        PublicKey::from_base64(&self.public_key)
    }
}
