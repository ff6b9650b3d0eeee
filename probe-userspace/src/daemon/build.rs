//! Policy text to image, with one answer for everything that can be wrong with it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Refusal,
    settings::{count, n_errors},
};
use crate::{
    bundle::read_list_texts,
    compile::{FrameSettings, Image, compile},
    diagnostic::{Diagnostic, Severity},
    geo::Location,
    instant::Instant,
    policy::{self, Beside, NamedLists, Policy},
};

/// A policy that lets everything pass: what `observe` counts with, and what an unconfirmed first policy reverts to.
pub const PASS_EVERYTHING: &str =
    "version = 1\nname = \"pass-everything\"\ndefault = \"pass\"\nunknown = \"pass\"\n";

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
    mut diagnostics: Vec<Diagnostic>,
) -> Result<(Image, Vec<Diagnostic>), Refusal> {
    let (image, mut more) = compile(policy, text, location, now, frame);
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

/// Compiles a policy that was accepted before. Its tests were for its author: by now the database may be
/// another one, and a host is better off with the policy than without. Those that fail are given besides.
pub fn build_accepted(
    mut policy: Policy,
    text: &str,
    location: &Arc<Location>,
    accepted: Instant,
    frame: &FrameSettings,
) -> Result<(Image, Vec<Diagnostic>), Refusal> {
    let tests = std::mem::take(&mut policy.tests);
    let (image, _) = compile_policy(&policy, text, location, accepted, frame, Vec::new())?;
    if tests.is_empty() {
        return Ok((image, Vec::new()));
    }
    policy.tests = tests;
    let failed = match compile_policy(&policy, text, location, accepted, frame, Vec::new()) {
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
