//! Whose signatures a host takes, and for what.
//!
//! [`Trust`] is the decision, without IO; `rules` is the file `trust.toml` with its thresholds, restrictions and
//! revocations; `directory` reads and writes the directory that holds both it and the keys.

mod directory;
mod rules;

use std::collections::BTreeMap;

use serde::Serialize;

pub(crate) use directory::read_key;
pub use directory::{RULES_FILE, TrustDirectory};
pub use rules::{Restriction, Revocation, Rules};

use super::{
    directive::Directive,
    envelope::Kind,
    key::{KeyId, PublicKey},
    rejected::{Reason, Rejected},
    signature::Signature,
};
use crate::diagnostic::{Diagnostic, Place};

/// What a signature can ask a host to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Take a policy.
    Apply,
    /// Take a geo database.
    Geo,
    /// Drop the world.
    Halt,
    /// Take an order away.
    Lift,
    /// Take all orders away.
    LiftAll,
    /// Let a customer's prefix through.
    Exempt,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Apply,
        Self::Geo,
        Self::Halt,
        Self::Lift,
        Self::LiftAll,
        Self::Exempt,
    ];

    /// What a signer of a bundle must be trusted for, as far as its kind says.
    pub const fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Policy => &[Self::Apply],
            Kind::Geo => &[Self::Geo],
            Kind::Directive => &Directive::VERBS,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Geo => "geo",
            Self::Halt => "halt",
            Self::Lift => "lift",
            Self::LiftAll => "lift-all",
            Self::Exempt => "exempt",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == text)
    }
}

/// A key file and the key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The file, for remarks.
    pub file: String,
    /// The key.
    pub key: PublicKey,
}

/// The keys that a host trusts and what it asks of them.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    keys: Vec<KeyFile>,
    rules: Rules,
}

/// What trust says about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It counts.
    Trusted,
    /// It was revoked.
    Revoked,
    /// It is trusted, but not for this.
    Restricted,
    /// It is not known here.
    Unknown,
}

/// Enough signatures by keys that count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Votes {
    /// Keys whose signatures counted, once each.
    pub keys: Vec<KeyId>,
    /// How many were needed.
    pub needed: usize,
    /// Keys whose signatures were left aside, and why.
    pub ignored: Vec<(KeyId, Standing)>,
}

impl Trust {
    /// Keys and rules that fit together. Refuses what would let one key vote twice.
    pub fn new(keys: Vec<KeyFile>, rules: Rules) -> Result<Self, Vec<Diagnostic>> {
        let mut remarks = Vec::new();
        let mut by_id: BTreeMap<KeyId, &KeyFile> = BTreeMap::new();
        let mut by_material: BTreeMap<[u8; 32], &KeyFile> = BTreeMap::new();
        for file in &keys {
            let (id, material) = (file.key.id(), *file.key.material());
            let same_id = by_id.insert(id, file);
            let same_material = by_material.insert(material, file);
            let (other, message) = match (same_id, same_material) {
                (None, None) => continue,
                (Some(other), Some(_)) => (other, "two files hold the same key: a key has one vote"),
                (Some(other), None) => (other, "two keys have the same id"),
                (None, Some(other)) => (other, "two ids stand for the same key: a key has one vote"),
            };
            remarks.push(Diagnostic::error(
                Place::file(&file.file),
                id.to_string(),
                format!("{message} (see {})", other.file),
                "remove one of the two",
            ));
        }
        if remarks.is_empty() {
            Ok(Self { keys, rules })
        } else {
            Err(remarks)
        }
    }

    /// The key files, the revoked ones among them.
    pub fn keys(&self) -> &[KeyFile] {
        &self.keys
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether no key is trusted for anything, so that the host is not managed by signatures.
    pub fn is_empty(&self) -> bool {
        self.keys.iter().all(|file| self.rules.is_revoked(&file.key))
    }

    /// What a key may do; none if it is revoked.
    pub fn verbs(&self, key: &PublicKey) -> Vec<Verb> {
        match self.rules.is_revoked(key) {
            true => Vec::new(),
            false => self.rules.verbs(key.id()),
        }
    }

    /// What is known of a key by its id, and the key if it is here.
    /// `verbs` are those of which one will do.
    pub fn standing(&self, id: KeyId, verbs: &[Verb]) -> (Standing, Option<&PublicKey>) {
        let file = self.keys.iter().find(|file| file.key.id() == id);
        let key = file.map(|file| &file.key);
        let standing = match key {
            _ if self.rules.is_revoked_id(id) => Standing::Revoked,
            Some(key) if self.rules.is_revoked(key) => Standing::Revoked,
            Some(key) if !self.rules.verbs(key.id()).iter().any(|verb| verbs.contains(verb)) => {
                Standing::Restricted
            }
            Some(_) => Standing::Trusted,
            None => Standing::Unknown,
        };
        (standing, key)
    }
}

/// Counts the votes for a payload. Every signature by a trusted key must be good: one that is not means that something
/// was altered, however many others are. Of several verbs one will do, with its own threshold; who signs for the one
/// that the payload turns out to mean is asked again with that alone.
pub fn verify(
    file: &str,
    payload: &[u8],
    signatures: &[Signature],
    trust: &Trust,
    verbs: &[Verb],
) -> Result<Votes, Rejected> {
    let rejected = |reason, value: String, message: String, fix: &str| {
        Err(Rejected::new(reason, Place::file(file), value, message, fix))
    };
    if trust.is_empty() {
        let fix = "trust one with `cordon key trust FILE`";
        return rejected(
            Reason::NoTrustedKey,
            String::new(),
            "no key is trusted here".to_owned(),
            fix,
        );
    }
    if signatures.is_empty() {
        let fix = "sign it with `cordon bundle sign`";
        return rejected(
            Reason::Unsigned,
            String::new(),
            "the bundle is not signed".to_owned(),
            fix,
        );
    }
    let thresholds = verbs.iter().map(|verb| trust.rules.threshold(*verb));
    let needed = match verbs {
        [_] => thresholds.min().unwrap_or(usize::MAX),
        // Which verb it is stands in the payload, and any one of the keys makes that genuine.
        _ => 1,
    };
    let mut votes = Votes {
        keys: Vec::new(),
        needed,
        ignored: Vec::new(),
    };
    for signature in signatures {
        let id = signature.key_id;
        match trust.standing(id, verbs) {
            (Standing::Trusted, Some(key)) if votes.keys.contains(&id) => {
                let message = format!("the key {} signed twice: it has one vote", key.id());
                let fix = "sign it again with `cordon bundle sign`";
                return rejected(Reason::MalformedSignature, id.to_string(), message, fix);
            }
            (Standing::Trusted, Some(key)) if signature.is_valid(payload, key) => votes.keys.push(id),
            (Standing::Trusted, _) => {
                let message = "the signature of this key does not fit the payload".to_owned();
                let fix = "fetch the bundle again: it was altered, or the signature is of another one";
                return rejected(Reason::BadSignature, id.to_string(), message, fix);
            }
            (standing, _) => votes.ignored.push((id, standing)),
        }
    }
    if votes.keys.len() >= needed {
        return Ok(votes);
    }
    let first = |standing| votes.ignored.iter().find(|(_, other)| *other == standing);
    let have = votes.keys.len();
    if let Some((id, _)) = first(Standing::Revoked) {
        let message = format!("the key was revoked; {have} of {needed} signatures count");
        let fix = "have the bundle signed with a key that is trusted";
        return rejected(Reason::RevokedKey, id.to_string(), message, fix);
    }
    if let Some((id, _)) = first(Standing::Restricted) {
        let message = format!(
            "the key is not trusted for `{}`; {have} of {needed} signatures count",
            verbs
                .iter()
                .map(|verb| verb.name())
                .collect::<Vec<_>>()
                .join("` or `")
        );
        let fix = "have the bundle signed with a key that is, as `cordon key list` shows";
        return rejected(Reason::VerbNotAllowed, id.to_string(), message, fix);
    }
    match votes.ignored.first() {
        Some((id, _)) if have == 0 => {
            let message = "no key that signed is trusted here".to_owned();
            let fix = "look at `cordon key list`; trust the key with `cordon key trust FILE` if it is the right one";
            rejected(Reason::UnknownKey, id.to_string(), message, fix)
        }
        _ => {
            let message = format!("{have} of {needed} trusted keys signed");
            let fix = "have it signed by more of them with `cordon bundle sign`";
            rejected(Reason::BelowThreshold, String::new(), message, fix)
        }
    }
}

#[cfg(test)]
mod tests;
