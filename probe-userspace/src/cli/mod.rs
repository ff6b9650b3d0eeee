//! The command line: a file per verb. Arguments are parsed, resolved against the host file, then acted upon.

mod apply;
mod audit;
mod bundle;
mod check;
mod confirm;
mod confirmation;
mod detach;
mod doctor;
mod exempt;
mod explain;
mod halt;
mod heading;
mod history;
mod import;
mod init;
mod key;
mod lift;
mod observe;
mod output;
mod policy_file;
mod remote;
mod restore;
mod resume;
mod rollback;
mod run;
mod status;
mod support;
mod table;
mod usage;
mod watch;

use std::{env, io, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    daemon::settings::{DEFAULT_HOST_FILE, IfMissing, Settings},
    span,
};

/// Geo-blocking in the kernel: judges packets by the country of their source.
///
/// A first evening: `cordon init`, `cordon observe IFACE`, `cordon check FILE`, `cordon run`, `cordon apply FILE`.
#[derive(Debug, Parser)]
#[command(
    name = "cordon",
    version,
    max_term_width = 110,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit status: 0 ok, 1 error, 2 wrong command line; `status --check` and `explain --quiet` have more."
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options of every verb.
#[derive(Debug, clap::Args)]
pub(crate) struct Globals {
    /// Host file: interfaces, failsafe prefixes, database [default: /etc/cordon/cordon.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// How results and errors are printed; JSON goes to standard output, errors included
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    // The verbs of the first day come first.
    Init(init::Init),
    Observe(observe::Observe),
    Apply(apply::Apply),
    Confirm(confirm::Confirm),
    Status(status::StatusVerb),
    Explain(explain::Explain),
    Halt(halt::Halt),
    Resume(resume::Resume),
    Check(check::Check),
    Run(run::Run),
    Restore(restore::Restore),
    Doctor(doctor::Doctor),
    History(history::History),
    Rollback(rollback::Rollback),
    Exempt(exempt::Exempt),
    Lift(lift::Lift),
    Unlift(lift::Unlift),
    Watch(watch::Watch),
    Detach(detach::Detach),
    Bundle(bundle::Bundle),
    Key(key::Key),
    Audit(audit::Audit),
    Import(import::Import),
    Support(support::Support),
}

impl Cli {
    /// A verb's own word for JSON counts for its errors too.
    fn resolved(mut self) -> Self {
        let is_json = match &self.command {
            Command::Watch(verb) => verb.json,
            Command::History(verb) => verb.json,
            Command::Audit(verb) => verb.is_json(),
            Command::Exempt(verb) => verb.is_json(),
            _ => false,
        };
        if is_json {
            self.globals.output = Format::Json;
        }
        self
    }
}

impl Globals {
    /// Path of the host file.
    fn host_file(&self) -> PathBuf {
        self.config
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEFAULT_HOST_FILE))
    }

    /// The host file, for a verb that cannot do without it.
    fn settings(&self) -> Result<Settings, crate::daemon::Refusal> {
        Settings::read(&self.host_file(), IfMissing::Refuse)
    }

    /// The host file, or the defaults if it was not named and there is none.
    fn settings_or_defaults(&self) -> Result<Settings, crate::daemon::Refusal> {
        let if_missing = match self.config {
            Some(_) => IfMissing::Refuse,
            None => IfMissing::UseDefaults,
        };
        Settings::read(&self.host_file(), if_missing)
    }
}

/// The definition of the command line, for manual pages and completions.
pub fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Parses the arguments and runs the verb.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli.resolved(),
        Err(error) => return usage::print(&error, usage::format_asked_for(env::args_os())),
    };
    match cli.command.execute(&cli.globals) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(cli.globals.output, &error);
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init(verb) => verb.execute(globals),
            Self::Observe(verb) => verb.execute(globals),
            Self::Run(verb) => verb.execute(globals),
            Self::Restore(verb) => verb.execute(globals),
            Self::Check(verb) => verb.execute(globals),
            Self::Apply(verb) => verb.execute(globals),
            Self::Confirm(verb) => verb.execute(globals),
            Self::History(verb) => verb.execute(globals),
            Self::Rollback(verb) => verb.execute(globals),
            Self::Status(verb) => verb.execute(globals),
            Self::Explain(verb) => verb.execute(globals),
            Self::Halt(verb) => verb.execute(globals),
            Self::Resume(verb) => verb.execute(globals),
            Self::Exempt(verb) => verb.execute(globals),
            Self::Lift(verb) => verb.execute(globals),
            Self::Unlift(verb) => verb.execute(globals),
            Self::Watch(verb) => verb.execute(globals),
            Self::Detach(verb) => verb.execute(globals),
            Self::Bundle(verb) => verb.execute(globals),
            Self::Key(verb) => verb.execute(globals),
            Self::Audit(verb) => verb.execute(globals),
            Self::Import(verb) => verb.execute(globals),
            Self::Support(verb) => verb.execute(globals),
            Self::Doctor(verb) => verb.execute(globals),
        }
    }
}

/// Whoever read our output has enough of it.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
        && error
            .downcast_ref::<crate::daemon::client::Unreachable>()
            .is_none()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_begins_with_the_verbs_of_the_first_day() {
        let help = Cli::command().render_help().to_string();
        let at = |verb: &str| {
            help.find(&format!("\n  {verb} "))
                .unwrap_or_else(|| panic!("{verb}: {help}"))
        };
        let places = [
            "init", "observe", "apply", "confirm", "status", "explain", "halt", "resume",
        ]
        .map(at);
        assert!(places.is_sorted(), "{help}");
        let first = Cli::command();
        assert_eq!(
            first.get_subcommands().next().map(clap::Command::get_name),
            Some("init")
        );
    }

    #[test]
    fn every_verb_and_option_says_what_it_does() {
        for verb in Cli::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{} has no help", verb.get_name());
            for arg in verb.get_arguments() {
                assert!(
                    arg.get_help().is_some(),
                    "{} {} has no help",
                    verb.get_name(),
                    arg.get_id()
                );
            }
        }
    }
}
