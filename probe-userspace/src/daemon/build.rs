//! Policy text to image, with one answer for everything that can be wrong with it.

use std::sync::Arc;

use super::{
    Refusal,
    settings::{count, n_errors},
};
use crate::{
    compile::{Image, compile},
    diagnostic::Diagnostic,
    geo::Location,
    instant::Instant,
    policy::{self, Policy},
};

/// A policy that lets everything pass: what `observe` counts with, and what an unconfirmed first policy reverts to.
pub const PASS_EVERYTHING: &str =
    "version = 1\nname = \"pass-everything\"\ndefault = \"pass\"\nunknown = \"pass\"\n";

/// Parses a policy.
pub fn parse_policy(file: &str, text: &str) -> Result<(Policy, Vec<Diagnostic>), Refusal> {
    let (policy, diagnostics) = policy::parse(file, text);
    match policy {
        Some(policy) => Ok((policy, diagnostics)),
        None => Err(refused(file, diagnostics)),
    }
}

/// Compiles a parsed policy; `diagnostics` are the parser's warnings, to which the compiler's are added.
pub fn compile_policy(
    policy: &Policy,
    text: &str,
    location: &Arc<Location>,
    now: Instant,
    mut diagnostics: Vec<Diagnostic>,
) -> Result<(Image, Vec<Diagnostic>), Refusal> {
    let (image, mut more) = compile(policy, text, location, now);
    diagnostics.append(&mut more);
    match image {
        Some(image) => Ok((image, diagnostics)),
        None => Err(refused(&policy.file, diagnostics)),
    }
}

/// Both steps.
pub fn build(
    file: &str,
    text: &str,
    location: &Arc<Location>,
    now: Instant,
) -> Result<(Image, Vec<Diagnostic>), Refusal> {
    let (policy, diagnostics) = parse_policy(file, text)?;
    compile_policy(&policy, text, location, now, diagnostics)
}

fn refused(file: &str, diagnostics: Vec<Diagnostic>) -> Refusal {
    let n = count(n_errors(&diagnostics), "error");
    Refusal::input(format!("{file} has {n}"), diagnostics)
}
