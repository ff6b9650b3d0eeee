//! `cordon exempt`: a file per verb below it.

mod add;
mod list;
mod remove;
mod renew;
mod sync;

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;

use super::{Globals, span::parse_span};
use crate::{daemon::api::Exempted, exemption::Written};

/// Exempt customers from orders at run time, without a new policy
///
/// Exemptions are in force at once, end by themselves, and outlive policies, the daemon and a reboot. They never lift a
/// rule marked `no_exemptions`. What several exemptions of an address lift is added up. docs/exemptions.md
#[derive(Debug, clap::Args)]
pub(super) struct Exempt {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(add::Add),
    Renew(renew::Renew),
    Remove(remove::Remove),
    List(list::ListVerb),
    Sync(sync::Sync),
}

impl Exempt {
    pub(super) fn is_json(&self) -> bool {
        matches!(&self.verb, Verb::List(verb) if verb.json)
    }

    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Add(verb) => verb.execute(globals),
            Verb::Renew(verb) => verb.execute(globals),
            Verb::Remove(verb) => verb.execute(globals),
            Verb::List(verb) => verb.execute(globals),
            Verb::Sync(verb) => verb.execute(globals),
        }
    }
}

/// When an exemption ends.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct End {
    /// End (exclusive), RFC 3339 with offset: 2027-01-31T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,

    /// End after this span from now (90s, 2h, 30d)
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    span: Option<Duration>,
}

impl End {
    fn for_s(&self) -> Option<u64> {
        self.span.map(|span| span.as_secs())
    }
}

/// One exemption as a line of a table.
fn row(written: &Written) -> Vec<String> {
    let lifts = match (&written.orders, &written.services) {
        (None, None) => "all orders".to_owned(),
        (Some(orders), None) => orders.join(", "),
        (orders, Some(services)) => {
            let orders = orders
                .as_ref()
                .map_or_else(|| "all orders".to_owned(), |orders| orders.join(", "));
            format!("{orders} for {}", services.join(", "))
        }
    };
    vec![
        written.prefix.clone(),
        written.reference.clone(),
        format!("until {}", written.until.as_deref().unwrap_or("?")),
        lifts,
        format!("{} ({})", written.reason, written.approver),
    ]
}

/// Tells what changed; `what` became of each.
fn render(exempted: &Exempted, what: &str, none: &str) -> String {
    let rows: Vec<Vec<String>> = exempted.exemptions.iter().map(row).collect();
    let mut text = match rows.as_slice() {
        [] => format!("{none}\n"),
        rows => format!("{what}:\n{}", super::table::table(rows, &[])),
    };
    if let Some(generation) = exempted.generation {
        text.push_str(&format!(
            "the policy was published again (generation {generation}): nobody had lifted this combination before\n"
        ));
    }
    for problem in &exempted.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemption_is_told_in_a_line() {
        let written = Written {
            prefix: "192.0.2.0/24".to_owned(),
            reference: "C-7".to_owned(),
            reason: "contract".to_owned(),
            approver: "J. Doe".to_owned(),
            until: Some("2030-01-01T00:00:00Z".to_owned()),
            ..Written::default()
        };
        let for_web = Written {
            orders: Some(vec!["a".to_owned(), "b".to_owned()]),
            services: Some(vec!["web".to_owned()]),
            ..written.clone()
        };
        assert_eq!(row(&written)[3..], ["all orders", "contract (J. Doe)"]);
        assert_eq!(row(&for_web)[3], "a, b for web");
    }
}
