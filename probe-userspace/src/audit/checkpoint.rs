//! Checkpoints: the host key signs which record was the newest at an instant.

use super::{Actor, Chain, Entry, Event, Head, Record, Stamp};
use crate::bundle::{
    Digest, Signature,
    key::{KeyId, PublicKey, SecretKey},
};

/// First line of what is signed, so that a signature for something else is none for this.
const TITLE: &str = "cordon audit 1";
/// Trusted comment of every signature.
const COMMENT: &str = "cordon audit";

/// What is signed: in this log, at this instant, this was the newest record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Name of the host.
    pub host: &'a str,
    /// Id of the host key.
    pub key: KeyId,
    /// Number of the record.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
    /// When this was stated.
    pub at: &'a str,
}

/// A signature of a statement: the two lines of a `.minisig` file that are not comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementSignature {
    /// Line 2.
    pub signature: String,
    /// Line 4.
    pub global: String,
}

impl Statement<'_> {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            host,
            key,
            seq,
            hash,
            at,
        } = self;
        format!("{TITLE}\nhost {host}\nkey {key}\nseq {seq}\nhash {hash}\nat {at}\n").into_bytes()
    }

    /// Signs it.
    pub fn sign(&self, key: &SecretKey) -> Result<StatementSignature, String> {
        let text = key.sign(&self.to_bytes(), COMMENT)?.to_minisig();
        let mut lines = text.lines();
        Ok(StatementSignature {
            signature: lines.nth(1).unwrap_or_default().to_owned(),
            global: lines.nth(1).unwrap_or_default().to_owned(),
        })
    }

    /// Whether the key signed it.
    pub fn is_signed(&self, signature: &StatementSignature, key: &PublicKey) -> bool {
        let StatementSignature { signature, global } = signature;
        let text = format!("untrusted comment: \n{signature}\ntrusted comment: {COMMENT}\n{global}\n");
        match Signature::from_minisig(&text) {
            Ok(signature) => self.key == key.id() && signature.is_valid(&self.to_bytes(), key),
            Err(_) => false,
        }
    }
}

impl Chain {
    /// The line of a checkpoint over the newest record.
    pub fn append_checkpoint(&mut self, host: &str, key: &SecretKey, now: &Stamp) -> Result<Vec<u8>, String> {
        let Head { seq, hash } = self.head;
        let id = key.public()?.id();
        let statement = Statement {
            host,
            key: id,
            seq,
            hash,
            at: &now.at,
        };
        let StatementSignature { signature, global } = statement.sign(key)?;
        let event = Event::Checkpoint {
            key: id.to_string(),
            signature,
            global,
        };
        Ok(self.append(&Entry::new(now.clone(), &Actor::Daemon, &event), now))
    }
}

/// Whether a record that is a checkpoint holds: the key signed the record before it.
pub(super) fn holds(record: &Record, host: &str, key: &PublicKey) -> bool {
    let Some(Event::Checkpoint {
        key: _,
        signature,
        global,
    }) = record.event()
    else {
        return false;
    };
    let statement = Statement {
        host,
        key: key.id(),
        seq: record.seq.saturating_sub(1),
        hash: record.prev,
        at: &record.at,
    };
    statement.is_signed(&StatementSignature { signature, global }, key)
}
