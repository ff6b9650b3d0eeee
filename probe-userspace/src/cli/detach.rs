//! `cordon detach`.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    os::unix::net::UnixStream,
    process::ExitCode,
};

use anyhow::bail;

use super::{Globals, output};
use crate::{
    daemon::offline::record_detached,
    dataplane::{self, Detached},
};

/// End enforcement: detach from every interface and remove all pins
///
/// Needs no daemon, only the pin directory. Hazard: nothing is blocked afterwards. The stored policy stays and
/// comes back with the next `cordon run`.
#[derive(Debug, clap::Args)]
pub(super) struct Detach {
    /// Do not ask [default: asks on a terminal; a script is not asked]
    #[arg(long)]
    yes: bool,

    /// Why, for the audit log
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "cordon detach",
        hide_default_value = true
    )]
    reason: String,

    /// Detach although a daemon runs; it will not attach to these interfaces again until it is restarted.
    /// For a daemon that cannot be stopped; otherwise stop it first
    #[arg(long)]
    even_if_running: bool,
}

impl Detach {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let settings = globals.settings_or_defaults()?;
        if !self.even_if_running && UnixStream::connect(settings.socket()).is_ok() {
            bail!(
                "a daemon runs (it answers at {}): stop it first with `systemctl stop cordon`, or, if it cannot be stopped, use --even-if-running",
                settings.socket().display()
            );
        }
        if !self.yes && !is_meant()? {
            bail!("nothing was detached");
        }
        let detached = dataplane::detach_all(&settings.pin_dir)?;
        let uid = nix::unistd::getuid().as_raw();
        if let Err(error) = record_detached(&settings, &detached.interfaces, &self.reason, uid) {
            output::print_note(&format!("detached, but not recorded: {error:#}"))?;
        }
        output::print(globals.output, &detached, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn is_meant() -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    let mut err = io::stderr().lock();
    write!(
        err,
        "Detach from every interface? Nothing is blocked afterwards. [y/N] "
    )?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn render(detached: &Detached) -> String {
    match (detached.interfaces.as_slice(), detached.n_pins) {
        ([], 0) => "nothing was attached or pinned\n".to_owned(),
        ([], n_pins) => format!("attached to no interface; {n_pins} pins removed\n"),
        (interfaces, n_pins) => {
            format!(
                "detached from {}; {n_pins} pins removed; nothing is blocked any more\n",
                interfaces.join(", ")
            )
        }
    }
}
