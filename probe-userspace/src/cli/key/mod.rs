//! `cordon key`: a file per verb below it. All but `unmanage` work on files alone.

mod list;
mod new;
mod revoke;
pub(super) mod secret;
mod trust;
mod unmanage;

use std::process::ExitCode;

use clap::Subcommand;

use super::Globals;

/// Make signing keys, and say whose signatures this host takes
///
/// Keys are minisign's: `minisign -G` makes them as well. Rotation: trust the new key, sign with both, revoke the old.
#[derive(Debug, clap::Args)]
pub(super) struct Key {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    New(new::New),
    Trust(trust::TrustVerb),
    List(list::List),
    Revoke(revoke::Revoke),
    Unmanage(unmanage::Unmanage),
}

impl Key {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::New(verb) => verb.execute(globals),
            Verb::Trust(verb) => verb.execute(globals),
            Verb::List(verb) => verb.execute(globals),
            Verb::Revoke(verb) => verb.execute(globals),
            Verb::Unmanage(verb) => verb.execute(globals),
        }
    }
}
