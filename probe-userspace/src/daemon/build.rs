//! Policy text to image, with one answer for everything that can be wrong with it.

use std::sync::Arc;

use super::{
    Refusal,
    settings::{count, n_errors},
};
use crate::{
    compile::{FrameSettings, Image, compile},
    diagnostic::{Diagnostic, Severity},
    geo::Location,
    instant::Instant,
    policy::{self, Amendments, Policy},
};

/// A policy that lets everything pass: what `observe` counts with, and what an unconfirmed first policy reverts to.
pub const PASS_EVERYTHING: &str =
    "version = 1\nname = \"pass-everything\"\ndefault = \"pass\"\nunknown = \"pass\"\n";

/// What that policy is called where a file is named.
pub const BASELINE: &str = "pass-everything";

/// Parses a policy.
pub fn parse_policy(file: &str, text: &str) -> Result<(Policy, Vec<Diagnostic>), Refusal> {
    let (policy, diagnostics) = policy::parse(file, text);
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

/// Compiles a policy that compiles by itself, as amended. Its tests are about the policy and not about what is changed in
/// it for a time.
pub fn compile_amended(
    policy: Policy,
    text: &str,
    location: &Arc<Location>,
    as_of: Instant,
    frame: &FrameSettings,
    amendments: &Amendments,
) -> Result<Image, Refusal> {
    let mut policy = policy::amend(policy, amendments, as_of);
    policy.tests.clear();
    let (image, _) = compile_policy(&policy, text, location, as_of, frame, Vec::new())?;
    Ok(image)
}

/// Both steps for a policy that was accepted before, as amended. Its tests were for its author: by now the database may
/// be another one, and a host is better off with the policy than without. Those that fail are given besides.
pub fn build_accepted(
    file: &str,
    text: &str,
    location: &Arc<Location>,
    as_of: Instant,
    frame: &FrameSettings,
    amendments: &Amendments,
) -> Result<(Image, Vec<Diagnostic>), Refusal> {
    let (policy, _) = parse_policy(file, text)?;
    if policy.tests.is_empty() {
        let image = compile_amended(policy, text, location, as_of, frame, amendments)?;
        return Ok((image, Vec::new()));
    }
    let image = compile_amended(policy.clone(), text, location, as_of, frame, amendments)?;
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
    let (policy, diagnostics) = parse_policy(file, text)?;
    compile_policy(&policy, text, location, now, frame, diagnostics)
}

fn refused(file: &str, diagnostics: Vec<Diagnostic>) -> Refusal {
    let n = count(n_errors(&diagnostics), "error");
    Refusal::input(format!("{file} has {n}"), diagnostics)
}
