//! `trust.toml`: thresholds, what keys are restricted to, which keys are revoked.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use toml::{
    Value,
    de::{DeTable, DeValue},
};

use super::Verb;
use crate::{
    bundle::{
        key::{KeyId, PublicKey},
        limits::{MAX_KEYS, MAX_SIGNATURES},
    },
    diagnostic::Diagnostic,
    instant::Instant,
    policy::{
        document::{Document, parse_tree},
        recovery::Readable,
        table::{Item, Key, Shape, Table, wrong_type},
        value::{choice, instant, list, string, text},
    },
};

/// What a host asks of the keys it trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// How many keys must sign for a verb; see [`Self::threshold`] for where it is not said.
    pub thresholds: BTreeMap<Verb, usize>,
    /// Keys that may do some verbs only.
    pub restrictions: Vec<Restriction>,
    /// Keys that are never trusted again.
    pub revocations: Vec<Revocation>,
}

/// A key that may do some verbs only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restriction {
    /// Which key.
    pub id: KeyId,
    /// What it may do.
    pub verbs: Vec<Verb>,
}

/// A key that is never trusted again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revocation {
    /// Which key: neither its id nor its material comes back under another name.
    #[serde(serialize_with = "as_base64")]
    pub key: PublicKey,
    /// Since when.
    pub at: Instant,
    /// Why.
    pub reason: String,
}

fn as_base64<S: serde::Serializer>(key: &PublicKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&key.to_base64())
}

const ROOT: Shape = Shape {
    label: "the trust file",
    keys: &[
        Key::mandatory(
            "version",
            "it says how the file is to be read",
            "add `version = 1`",
        ),
        Key::optional("threshold"),
        Key::optional("key"),
        Key::optional("revoked"),
    ],
    elsewhere: &[("keys", "write `[[key]]`"), ("revocation", "write `[[revoked]]`")],
};

const THRESHOLD: Shape = Shape {
    label: "[threshold]",
    keys: &[
        Key::optional("apply"),
        Key::optional("geo"),
        Key::optional("halt"),
        Key::optional("lift"),
        Key::optional("lift-all"),
        Key::optional("exempt"),
    ],
    elsewhere: &[],
};

const KEY: Shape = Shape {
    label: "[[key]]",
    keys: &[
        Key::mandatory(
            "id",
            "it says which key is meant",
            "add `id = \"E7620F1842B4E81F\"`",
        ),
        Key::mandatory("verbs", "it says what the key may do", "add `verbs = [\"halt\"]`"),
    ],
    elsewhere: &[],
};

const REVOKED: Shape = Shape {
    label: "[[revoked]]",
    keys: &[
        Key::mandatory(
            "key",
            "it says which key is meant",
            "write the second line of its `.pub` file",
        ),
        Key::mandatory("at", "it says since when", "add `at = 2026-03-01T00:00:00Z`"),
        Key::mandatory(
            "reason",
            "whoever reads it later must know why",
            "add `reason = \"...\"`",
        ),
    ],
    elsewhere: &[],
};

impl Rules {
    /// Parses a trust file. Gives all remarks in one pass; the rules are `None` if any of them is an error.
    pub fn read(file: &str, text: &str) -> (Option<Self>, Vec<Diagnostic>) {
        let readable = Readable::new(text);
        let tree = parse_tree(&readable);
        let mut document = Document::new(file, text, &readable.errors);
        let rules = read_rules(&mut document, &tree);
        let (refused, remarks) = document.finish();
        ((!refused).then_some(rules), remarks)
    }

    /// The text of the trust file.
    pub fn to_text(&self) -> String {
        let mut text = String::from(
            "# cordon: what is asked of the keys beside this file. `cordon key` writes it.\nversion = 1\n",
        );
        // Writing to a string cannot fail.
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        if !self.thresholds.is_empty() {
            writeln!(text, "\n[threshold]")?;
        }
        for (verb, n_keys) in &self.thresholds {
            writeln!(text, "{} = {n_keys}", verb.name())?;
        }
        for restriction in &self.restrictions {
            let verbs: Vec<String> = restriction
                .verbs
                .iter()
                .map(|verb| format!("\"{}\"", verb.name()))
                .collect();
            writeln!(
                text,
                "\n[[key]]\nid = \"{}\"\nverbs = [{}]",
                restriction.id,
                verbs.join(", ")
            )?;
        }
        for revocation in &self.revocations {
            let (key, reason) = (
                revocation.key.to_base64(),
                Value::String(revocation.reason.clone()),
            );
            writeln!(
                text,
                "\n[[revoked]]\nkey = \"{key}\"\nat = {}\nreason = {reason}",
                revocation.at
            )?;
        }
        Ok(())
    }

    /// How many keys must sign.
    pub fn threshold(&self, verb: Verb) -> usize {
        let said = |verb| self.thresholds.get(&verb).copied();
        match verb {
            // To take every order away at once is never left to one key, unless that is said.
            Verb::LiftAll => said(verb).unwrap_or_else(|| self.threshold(Verb::Lift).max(2)),
            Verb::Apply | Verb::Geo | Verb::Halt | Verb::Lift | Verb::Exempt => said(verb).unwrap_or(1),
        }
    }

    /// What a key may do by these rules, revocations aside.
    pub fn verbs(&self, id: KeyId) -> Vec<Verb> {
        match self.restrictions.iter().find(|restriction| restriction.id == id) {
            Some(restriction) => restriction.verbs.clone(),
            None => Verb::ALL.to_vec(),
        }
    }

    /// Whether a key is revoked, by its id or by its material.
    pub fn is_revoked(&self, key: &PublicKey) -> bool {
        self.revocations
            .iter()
            .any(|revocation| revocation.key.material() == key.material())
            || self.is_revoked_id(key.id())
    }

    /// Whether a key with this id is revoked.
    pub fn is_revoked_id(&self, id: KeyId) -> bool {
        self.revocations
            .iter()
            .any(|revocation| revocation.key.id() == id)
    }
}

fn read_rules<'a>(document: &mut Document<'a>, tree: &'a DeTable<'a>) -> Rules {
    let root = Table::root(document, tree, &ROOT);
    if let Some(item) = root.get("version")
        && number(document, item) != Some(1)
    {
        document.error(
            item.node,
            "there is no such version of the trust file",
            "write `version = 1`, or install a newer cordon",
        );
    }
    Rules {
        thresholds: root.read(document, "threshold", thresholds).unwrap_or_default(),
        restrictions: restrictions(document, &root),
        revocations: revocations(document, &root),
    }
}

fn thresholds<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<BTreeMap<Verb, usize>> {
    let table = Table::open(document, item, &THRESHOLD)?;
    let mut thresholds = BTreeMap::new();
    for verb in Verb::ALL {
        let Some(item) = table.get(verb.name()) else {
            continue;
        };
        match number(document, item).filter(|n_keys| (1..=MAX_SIGNATURES).contains(n_keys)) {
            Some(n_keys) => {
                thresholds.insert(verb, n_keys);
            }
            None => document.error(
                item.node,
                format!(
                    "a threshold is a number from 1 to {MAX_SIGNATURES}: a bundle has no more signatures"
                ),
                "write how many keys must sign",
            ),
        }
    }
    Some(thresholds)
}

fn restrictions<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Vec<Restriction> {
    let mut restrictions: Vec<Restriction> = Vec::new();
    for item in root.tables(document, "key", "[[key]]", MAX_KEYS) {
        let Some(table) = Table::open(document, item, &KEY) else {
            continue;
        };
        let id = table.read(document, "id", |document, item| {
            let parsed = string(document, item)?.parse::<KeyId>();
            parsed
                .map_err(|message| document.error(item.node, message, "look at `cordon key list`"))
                .ok()
        });
        let verbs = table.read(document, "verbs", verbs);
        let (Some(id), Some(verbs)) = (id, verbs) else {
            continue;
        };
        if restrictions.iter().any(|other| other.id == id) {
            document.error(item.node, "the key is restricted twice", "join the two");
        }
        restrictions.push(Restriction { id, verbs });
    }
    restrictions
}

fn verbs<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<Verb>> {
    let names = Verb::ALL.map(|verb| (verb.name(), verb));
    let elements = list(document, item, "\"halt\"")?;
    let mut verbs: Vec<Verb> = elements
        .into_iter()
        .map(|element| choice(document, element, &names, &[]))
        .collect::<Option<_>>()?;
    verbs.sort();
    verbs.dedup();
    Some(verbs)
}

fn revocations<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Vec<Revocation> {
    let mut revocations = Vec::new();
    for item in root.tables(document, "revoked", "[[revoked]]", MAX_KEYS) {
        let Some(table) = Table::open(document, item, &REVOKED) else {
            continue;
        };
        let key = table.read(document, "key", |document, item| {
            let parsed = PublicKey::from_base64(string(document, item)?);
            parsed
                .map_err(|message| {
                    document.error(item.node, message, "write the second line of its `.pub` file")
                })
                .ok()
        });
        let at = table.read(document, "at", instant);
        let reason = table.read(document, "reason", text);
        if let (Some(key), Some(at), Some(reason)) = (key, at, reason) {
            revocations.push(Revocation {
                key,
                at: at.value,
                reason,
            });
        }
    }
    revocations
}

fn number(document: &mut Document<'_>, item: Item<'_>) -> Option<usize> {
    match item.node.get_ref() {
        DeValue::Integer(value) => usize::from_str_radix(value.as_str(), value.radix()).ok(),
        _ => {
            let fix = format!("write `{} = 1`", item.key);
            wrong_type(document, item, "an integer", &fix);
            None
        }
    }
}
