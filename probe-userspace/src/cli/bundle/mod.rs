//! `cordon bundle`: a file per verb below it. All but `push` work on files alone: no daemon, no kernel.

mod build;
pub(super) mod files;
mod inspect;
mod join;
mod new;
mod push;
mod reissue;
mod sign;
mod split;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use super::Globals;

/// Make, sign, check and push bundles: signed files that carry a policy, a geo database or a directive to hosts
///
/// A policy from hand to host: `bundle new DIR`, edit, `bundle build DIR`, `bundle sign FILE --key KEY` by as many as the
/// hosts ask for, `bundle verify FILE`, `bundle push FILE`.
#[derive(Debug, clap::Args)]
pub(super) struct Bundle {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    New(new::New),
    Build(build::Build),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Inspect(inspect::Inspect),
    Split(split::Split),
    Join(join::Join),
    Push(push::Push),
    Reissue(reissue::Reissue),
}

impl Bundle {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::New(verb) => verb.execute(globals),
            Verb::Build(verb) => verb.execute(globals),
            Verb::Sign(verb) => verb.execute(globals),
            Verb::Verify(verb) => verb.execute(globals),
            Verb::Inspect(verb) => verb.execute(globals),
            Verb::Split(verb) => verb.execute(globals),
            Verb::Join(verb) => verb.execute(globals),
            Verb::Push(verb) => verb.execute(globals),
            Verb::Reissue(verb) => verb.execute(globals),
        }
    }
}
