//! Policy text to image, with one answer for everything that can be wrong with it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Refusal,
    settings::{count, n_errors},
};
use crate::{
    bundle::read_list_texts,
    compile::{self, FrameSettings, Image},
    diagnostic::{Diagnostic, Severity},
    exemption::KnownLifts,
    geo::Location,
    instant::Instant,
    policy::{self, Amendments, Beside, NamedLists, Policy},
};

/// A policy that lets everything pass: what `observe` counts with, and what an unconfirmed first policy reverts to.
pub const PASS_EVERYTHING: &str =
    "version = 1\nname = \"pass-everything\"\ndefault = \"pass\"\nunknown = \"pass\"\n";

/// What that policy is called where a file is named.
pub const BASELINE: &str = "pass-everything";

/// Parses a policy with the lists that it may name.
pub fn parse_policy(file: &str, text: &str, lists: NamedLists) -> Result<(Policy, Vec<Diagnostic>), Refusal> {
    let beside = Beside { lists, name: None };
    let (policy, diagnostics) = policy::parse_with(file, text, &beside);
    match policy {
        Some(policy) => Ok((policy, diagnostics)),
        None => Err(refused(file, diagnostics)),
    }
}

/// Compiles a parsed policy for a host that says `frame` in its host file; `diagnostics` are the parser's warnings,
/// to which the compiler's are added.
pub fn compile_policy(
    policy: &Policy,
    text: &str,
    location: &Arc<Location>,
    now: Instant,
    frame: &FrameSettings,
    diagnostics: Vec<Diagnostic>,
) -> Result<(Image, Vec<Diagnostic>), Refusal> {
    let lifts = KnownLifts::default();
    compile_with_lifts(policy, text, location, now, frame, &lifts, diagnostics)
}

/// As [`compile_policy`], for a host with run-time exemptions.
pub fn compile_with_lifts(
    policy: &Policy,
    text: &str,
    location: &Arc<Location>,
    now: Instant,
    frame: &FrameSettings,
    lifts: &KnownLifts,
    mut diagnostics: Vec<Diagnostic>,
) -> Result<(Image, Vec<Diagnostic>), Refusal> {
    let (image, mut more) = compile::compile_with_lifts(policy, text, location, now, frame, lifts);
    diagnostics.append(&mut more);
    match image {
        Some(image) => Ok((image, diagnostics)),
        None => Err(refused(&policy.file, diagnostics)),
    }
}

/// Reads the lists of a plain policy, by name and text.
pub fn read_lists(file: &str, texts: &BTreeMap<String, String>) -> Result<NamedLists, Refusal> {
    read_list_texts(texts).map_err(|remarks| {
        let n = count(n_errors(&remarks), "error");
        Refusal::input(format!("the lists of {file} have {n}"), remarks)
    })
}

/// Compiles a policy that compiles by itself, as amended. Its tests are about the policy and not about what is changed in
/// it for a time.
pub fn compile_amended(
    policy: Policy,
    text: &str,
    location: &Arc<Location>,
    as_of: Instant,
    frame: &FrameSettings,
    amendments: &Amendments,
    lifts: &KnownLifts,
) -> Result<Image, Refusal> {
    let mut policy = policy::amend(policy, amendments, as_of);
    policy.tests.clear();
    let (image, _) = compile_with_lifts(&policy, text, location, as_of, frame, lifts, Vec::new())?;
    Ok(image)
}

/// Compiles a policy that was accepted before, as amended. Its tests were for its author: by now the database may
/// be another one, and a host is better off with the policy than without. Those that fail are given besides.
/// `lifts` is asked for the lifts that the policy is to know.
pub fn build_accepted(
    policy: Policy,
    text: &str,
    location: &Arc<Location>,
    as_of: Instant,
    frame: &FrameSettings,
    amendments: &Amendments,
    lifts: impl FnOnce(&Policy) -> KnownLifts,
) -> Result<(Image, Vec<Diagnostic>), Refusal> {
    let lifts = lifts(&policy);
    if policy.tests.is_empty() {
        let image = compile_amended(policy, text, location, as_of, frame, amendments, &lifts)?;
        return Ok((image, Vec::new()));
    }
    let image = compile_amended(policy.clone(), text, location, as_of, frame, amendments, &lifts)?;
    let failed = match compile_policy(&policy, text, location, as_of, frame, Vec::new()) {
        Ok(_) => Vec::new(),
        Err(refusal) => refusal.diagnostics,
    };
    let failed = failed
        .into_iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error);
    Ok((image, failed.collect()))
}

/// Both steps.
pub fn build(
    file: &str,
    text: &str,
    location: &Arc<Location>,
    now: Instant,
    frame: &FrameSettings,
) -> Result<(Image, Vec<Diagnostic>), Refusal> {
    let (policy, diagnostics) = parse_policy(file, text, NamedLists::new())?;
    compile_policy(&policy, text, location, now, frame, diagnostics)
}

fn refused(file: &str, diagnostics: Vec<Diagnostic>) -> Refusal {
    let n = count(n_errors(&diagnostics), "error");
    Refusal::input(format!("{file} has {n}"), diagnostics)
}
