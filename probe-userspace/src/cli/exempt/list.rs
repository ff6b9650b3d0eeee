//! `cordon exempt list`.

use std::{fmt::Write as _, net::IpAddr, process::ExitCode, time::Duration};

use super::row;
use crate::{
    cli::{Globals, heading::escaped, output, remote, span::parse_span, table::table},
    daemon::api::Exemptions,
};

/// Show the exemptions made at run time
#[derive(Debug, clap::Args)]
pub(super) struct ListVerb {
    /// Only those that end within this span (7d, 12h)
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    expiring: Option<Duration>,

    /// Only those with this reference
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,

    /// Only those that cover this address
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,

    /// As JSON, as with `-o json`
    #[arg(long)]
    pub(super) json: bool,

    /// As a file that `cordon exempt sync` takes: a JSON object a line
    #[arg(long, conflicts_with = "json")]
    lines: bool,
}

impl ListVerb {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let query = [
            ("reference", self.reference.as_deref().map(escaped)),
            (
                "address",
                self.address.map(|address| escaped(&address.to_string())),
            ),
            ("expiring_s", self.expiring.map(|span| span.as_secs().to_string())),
        ];
        let query = query
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        let path = format!("/v1/exemptions?{}", query.collect::<Vec<_>>().join("&"));
        let exemptions: Exemptions = remote::with_daemon(globals, async |client| client.get(&path).await)?;
        if self.lines {
            let mut text = String::new();
            for exemption in &exemptions.exemptions {
                writeln!(text, "{}", serde_json::to_string(exemption)?)?;
            }
            output::print_text(&text)?;
        } else {
            output::print(globals.output, &exemptions, render)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn render(exemptions: &Exemptions) -> String {
    let (n, n_all) = (exemptions.exemptions.len(), exemptions.n_all);
    let rows: Vec<Vec<String>> = exemptions.exemptions.iter().map(row).collect();
    let shown = match n == n_all {
        true => format!("{n} exemptions made at run time\n"),
        false => format!("{n} of {n_all} exemptions made at run time\n"),
    };
    format!("{}{shown}", table(&rows, &[]))
}
