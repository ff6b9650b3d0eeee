//! `cordon exempt add`.

use std::process::ExitCode;

use super::{End, render};
use crate::{
    cli::{Globals, output, remote},
    daemon::api::{AddRequest, Exempted},
    exemption::Written,
};

/// Exempt prefixes, until an instant
///
/// In force when this returns. All prefixes are exempt, or none. With the same contents again it changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Whom: address, slash, length (203.0.113.0/24, 2001:db8::/48)
    #[arg(required = true, value_name = "PREFIX")]
    prefixes: Vec<String>,

    /// Number of the customer or case; with the prefix it names the exemption
    #[arg(long, value_name = "TEXT")]
    reference: String,

    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Who approved it
    #[arg(long, value_name = "NAME")]
    approver: String,

    #[command(flatten)]
    end: End,

    /// Orders that it lifts, by id [default: all, and the defaults for who is in no order]
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    orders: Option<Vec<String>>,

    /// Services that it is for, by name [default: whatever a packet is for]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    services: Option<Vec<String>>,

    /// The prefix may be wider than /24 or /48. Hazard: all of it is exempt
    #[arg(long)]
    wide: bool,
}

impl Add {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let written = |prefix: &String| Written {
            prefix: prefix.clone(),
            reference: self.reference.clone(),
            reason: self.reason.clone(),
            approver: self.approver.clone(),
            until: self.end.until.clone(),
            for_s: self.end.for_s(),
            orders: self.orders.clone(),
            services: self.services.clone(),
            wide: self.wide,
            ..Written::default()
        };
        let request = AddRequest {
            exemptions: self.prefixes.iter().map(written).collect(),
        };
        let exempted: Exempted = remote::with_daemon(globals, async |client| {
            client.post("/v1/exemptions", &request).await
        })?;
        output::print(globals.output, &exempted, |exempted| {
            render(exempted, "exempt", "is exempt already; nothing changed")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
