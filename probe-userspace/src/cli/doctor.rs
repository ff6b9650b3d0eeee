//! `cordon doctor`.

use std::process::ExitCode;

use serde::Serialize;

use super::{Globals, output, remote};
use crate::{
    daemon::{
        Refusal,
        api::Status,
        client::Client,
        settings::{DEFAULT_RUN_DIR, Settings, count},
    },
    doctor::{self, Facts, Finding, Grade},
};

/// Say what is wrong with this host, and what takes it away
///
/// Looks at kernel, driver, interfaces, BPF file system, capabilities, clock, pins, keys, database, host file, and who
/// stands in front; with the daemon or without it. Changes nothing. Exit status: 0 nothing wrong, 1 there are findings.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {}

#[derive(Debug, Serialize)]
pub(super) struct Examined {
    findings: Vec<Finding>,
    facts: Facts,
}

impl Doctor {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let examined = examine(globals)?;
        output::print(globals.output, &examined, render)?;
        let is_ill = examined
            .findings
            .iter()
            .any(|finding| finding.grade != Grade::Note);
        Ok(ExitCode::from(u8::from(is_ill)))
    }
}

/// Looks at this host.
pub(super) fn examine(globals: &Globals) -> anyhow::Result<Examined> {
    let settings = globals.settings();
    let facts = doctor::collect(&settings, status(&settings)?);
    Ok(Examined {
        findings: doctor::findings(&facts),
        facts,
    })
}

fn status(settings: &Result<Settings, Refusal>) -> anyhow::Result<Result<Status, String>> {
    let default = || std::path::Path::new(DEFAULT_RUN_DIR).join("control.sock");
    let socket = settings.as_ref().map_or_else(|_| default(), Settings::socket);
    let client = Client::new(&socket);
    let asked = remote::runtime()?.block_on(client.get("/v1/status"));
    Ok(asked.map_err(|error| format!("{error:#}")))
}

fn render(examined: &Examined) -> String {
    let n_of = |grade| {
        examined
            .findings
            .iter()
            .filter(|finding| finding.grade == grade)
            .count()
    };
    let mut text = match (n_of(Grade::Problem), n_of(Grade::Warning)) {
        (0, 0) => "nothing is wrong\n".to_owned(),
        (problems, warnings) => format!("{}, {}\n", count(problems, "problem"), count(warnings, "warning")),
    };
    for finding in &examined.findings {
        let grade = match finding.grade {
            Grade::Problem => "problem",
            Grade::Warning => "warning",
            Grade::Note => "note",
        };
        text.push_str(&format!(
            "\n{grade}: {}: {}\n  fix: {}\n",
            finding.topic, finding.what, finding.fix
        ));
    }
    let facts = &examined.facts;
    text.push_str(&format!(
        "\nlooked at: kernel {}, {} interfaces, {}, host file, clock, keys, daemon, {} connections\n",
        facts.kernel,
        facts.links.len(),
        facts.pins.dir,
        facts.peers.n_connections
    ));
    text
}
