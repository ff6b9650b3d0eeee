//! Signed bundles, through the library and the real binary. Nothing here touches the kernel.

/// Bad bundles by class, and what is wrong with each.
pub(crate) mod cases;
/// The verbs `bundle` and `key`, from the first key to the last signature.
mod command_line;
/// Every bad bundle gets the expected remarks.
mod corpus;
/// Bundles altered by chance and signed again, so that the parsers meet them.
pub(crate) mod mutants;
/// Stock minisign and cordon take each other's keys and signatures.
mod stock;

use std::collections::BTreeMap;

use cordon::{
    bundle::{
        Envelope, HostIdentity, Rejected, Version,
        freshness::{self, Freshness, Mark, Situation},
        key::PublicKey,
        open,
        trust::{KeyFile, Rules, Trust, Verb},
    },
    instant::Instant,
};
use integration_tests::bundle_writer::Signer;

/// Name under which a bundle is read.
const FILE: &str = "x.cordon";

/// What takes a bundle.
pub(crate) struct Host {
    pub(crate) trust: Trust,
    pub(crate) mark: Option<Mark>,
    pub(crate) clock: Instant,
    pub(crate) seen: Instant,
    identity: HostIdentity,
    cordon: Version,
}

impl Host {
    /// A host that trusts two keys, of which one must sign, and has nothing yet.
    pub(crate) fn new() -> Self {
        Self::trusting(&["one", "two"], Rules::default())
    }

    fn trusting(names: &[&str], rules: Rules) -> Self {
        Self {
            trust: Trust::new(names.iter().map(|name| key_file(name)).collect(), rules).unwrap(),
            mark: None,
            clock: instant("2026-11-20T12:00:00Z"),
            seen: Instant(0),
            identity: HostIdentity {
                name: "edge-1".to_owned(),
                labels: BTreeMap::from([("site".to_owned(), "fra1".to_owned())]),
            },
            cordon: Version::default(),
        }
    }

    /// A host where so many keys must sign.
    fn with_threshold(n_keys: usize) -> Self {
        let rules = Rules {
            thresholds: BTreeMap::from([(Verb::Apply, n_keys)]),
            ..Rules::default()
        };
        Self::trusting(&["one", "two"], rules)
    }

    pub(crate) fn take(&self, bytes: &[u8]) -> Result<Freshness, Rejected> {
        let envelope = Envelope::read(FILE, bytes)?;
        let (bundle, _) = open(FILE, &envelope, &self.trust)?;
        let situation = Situation {
            mark: self.mark.as_ref(),
            clock: self.clock,
            seen: self.seen,
            host: Some(&self.identity),
            cordon: self.cordon,
        };
        freshness::judge(FILE, &bundle.manifest, bundle.digest, &situation)
    }
}

fn key_file(name: &str) -> KeyFile {
    KeyFile {
        file: format!("{name}.pub"),
        key: PublicKey::from_file_text(&Signer::public(name)).unwrap(),
    }
}

fn instant(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}
