//! Bad bundles. The classes are those of the project's reliability goals: S3 signatures, S4 freshness, S5 clock, S6
//! container, S7 content.

mod container;
mod content;
mod directive;
mod freshness;
mod manifest;
mod signature;

use cordon::bundle::Reason;
use integration_tests::bundle_writer::{Draft, RawBundle, Signer};

use super::Host;

/// A bad bundle.
pub(crate) struct Case {
    /// Which class.
    pub class: &'static str,
    /// What is wrong with it.
    pub name: String,
    /// Why it is refused.
    pub reason: Reason,
    /// The file.
    pub bytes: Vec<u8>,
    /// What meets it.
    pub host: Host,
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let mut corpus = Corpus {
        cases: Vec::new(),
        one: Signer::named("one"),
        two: Signer::named("two"),
        three: Signer::named("three"),
    };
    signature::add(&mut corpus);
    freshness::add(&mut corpus);
    container::add(&mut corpus);
    manifest::add(&mut corpus);
    content::add(&mut corpus);
    directive::add(&mut corpus);
    corpus.cases
}

struct Corpus {
    cases: Vec<Case>,
    one: Signer,
    two: Signer,
    three: Signer,
}

impl Corpus {
    fn add(&mut self, class: &'static str, name: &str, reason: Reason, bytes: Vec<u8>, host: Host) {
        self.cases.push(Case {
            class,
            name: name.to_owned(),
            reason,
            bytes,
            host,
        });
    }

    /// A good bundle that is altered after it was signed, sent to a host where both keys must sign.
    fn altered(
        &mut self,
        class: &'static str,
        name: &str,
        reason: Reason,
        alter: impl FnOnce(&mut RawBundle),
    ) {
        let mut bundle = Draft::policy().signed(&[&self.one, &self.two]);
        alter(&mut bundle);
        self.add(class, name, reason, bundle.to_bytes(), Host::with_threshold(2));
    }

    /// A bundle that was wrong before it was signed.
    fn signed(&mut self, class: &'static str, name: &str, reason: Reason, draft: &Draft) {
        let bytes = draft.signed(&[&self.one]).to_bytes();
        self.add(class, name, reason, bytes, Host::new());
    }

    /// A policy bundle whose draft is altered.
    fn policy(&mut self, class: &'static str, name: &str, reason: Reason, alter: impl FnOnce(&mut Draft)) {
        let mut draft = Draft::policy();
        alter(&mut draft);
        self.signed(class, name, reason, &draft);
    }

    /// A geo bundle whose draft is altered.
    fn geo(&mut self, class: &'static str, name: &str, reason: Reason, alter: impl FnOnce(&mut Draft)) {
        let mut draft = Draft::geo();
        alter(&mut draft);
        self.signed(class, name, reason, &draft);
    }

    /// A directive whose draft is altered.
    fn directive(&mut self, class: &'static str, name: &str, reason: Reason, alter: impl FnOnce(&mut Draft)) {
        let mut draft = Draft::directive();
        alter(&mut draft);
        self.signed(class, name, reason, &draft);
    }

    /// A payload that no draft can express.
    fn payload(&mut self, class: &'static str, name: &str, reason: Reason, payload: Vec<u8>) {
        let bytes = RawBundle::signed(1, payload, &[&self.one]).to_bytes();
        self.add(class, name, reason, bytes, Host::new());
    }
}

/// Replaces a text that must be there.
fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not in:\n{text}");
    text.replacen(from, to, 1)
}
