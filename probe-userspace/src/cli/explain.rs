//! `cordon explain`.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use probe_common::Action;

use super::{Format, Globals, check, output, remote};
use crate::{
    compile::Query,
    daemon::{
        api::{Explained, VerdictNames},
        build,
        fixed::{explanation, fixed_verdict},
    },
    instant::Instant,
};

/// Exit status of `--quiet` for a dropped address.
const DROPPED: u8 = 10;

/// What happens to packets from an address, and why
///
/// Asks the running daemon: the compiled policy and the program in the kernel are both asked, and a difference
/// prints both and fails. With --policy it needs no daemon and asks the file.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// Source address
    address: IpAddr,

    /// Explain by this policy file instead of the one in force
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Explain for this instant, RFC 3339 with offset (2026-03-01T00:00:00Z) [default: now]
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse, requires = "policy")]
    at: Option<Instant>,

    /// Print nothing; exit status 0 pass, 10 drop, 1 error
    #[arg(short, long)]
    quiet: bool,
}

impl Explain {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        match &self.policy {
            Some(file) => self.offline(globals, file),
            None => self.live(globals),
        }
    }

    fn offline(&self, globals: &Globals, file: &Path) -> anyhow::Result<ExitCode> {
        let settings = globals.settings_or_defaults()?;
        let name = file.display().to_string();
        let text = check::policy_text(file)?;
        let (policy, warnings) = build::parse_policy(&name, &text)?;
        let location = check::location(&settings)?;
        let now = self.at.unwrap_or_else(Instant::now);
        let (image, _) =
            build::compile_policy(&policy, &text, &location, now, &settings.host.frame, warnings)?;
        let failsafe = settings.failsafe_prefixes();
        let value = match fixed_verdict(self.address) {
            Some((verdict, why)) => explanation(self.address, verdict, why),
            None => serde_json::to_value(image.explain(&Query {
                heading: crate::compile::Heading::default(),
                address: self.address,
                now,
                failsafe: &failsafe,
            }))?,
        };
        if !self.quiet {
            output::print(globals.output, &value, |value| {
                format!(
                    "{}{}",
                    headline(self.address, &text_of(value, "action"), &text_of(value, "reason")),
                    render(value)
                )
            })?;
        }
        Ok(self.exit_code(&text_of(&value, "action")))
    }

    fn live(&self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/explain?ip={}", self.address);
        let explained: Explained = remote::with_daemon(globals, async |client| client.get(&path).await)?;
        if !self.quiet {
            output::print(globals.output, &explained, |explained| {
                self.render_live(explained)
            })?;
        }
        if !explained.same {
            if globals.output == Format::Text {
                anyhow::bail!(
                    "the kernel does not do what the policy says: see `cordon status`, then apply the policy again"
                );
            }
            return Ok(ExitCode::FAILURE);
        }
        Ok(self.exit_code(&explained.live.action))
    }

    fn render_live(&self, explained: &Explained) -> String {
        let live = &explained.live;
        let mut text = headline(self.address, &live.action, &live.reason);
        if !explained.same {
            text.push_str(&format!("  the policy says: {}\n", verdict(&explained.expected)));
            text.push_str(&format!("  the kernel does: {}\n", verdict(&explained.live)));
        }
        text.push_str(&render(&explained.explanation));
        text
    }

    fn exit_code(&self, action: &str) -> ExitCode {
        match self.quiet && action == Action::Drop.name() {
            true => ExitCode::from(DROPPED),
            false => ExitCode::SUCCESS,
        }
    }
}

fn headline(address: IpAddr, action: &str, reason: &str) -> String {
    format!("{address}: {action} ({reason})\n")
}

fn verdict(names: &VerdictNames) -> String {
    match &names.class {
        Some(class) => format!("{} ({}, {class})", names.action, names.reason),
        None => format!("{} ({})", names.action, names.reason),
    }
}

/// The explanation, a line for each thing that led to the verdict. Takes the JSON form, so that offline and live
/// explanations look the same.
fn render(explanation: &serde_json::Value) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {what}: {value}\n"));
        }
    };
    line("whatever the policy says", text_of(explanation, "fixed"));
    line("place", text_of(explanation, "class"));
    let run = [0, 1].map(|idx| plain(&explanation["run"][idx]));
    let run: Vec<String> = run.into_iter().filter(|end| !end.is_empty()).collect();
    line("addresses of that place around it", run.join(" - "));
    line("override", text_of(explanation, "override"));
    line("failsafe prefix", text_of(explanation, "failsafe"));
    for order in explanation["orders"].as_array().into_iter().flatten() {
        line(
            "order",
            format!(
                "{} ({}): {}",
                plain(&order[0]),
                plain(&order[1]),
                plain(&order[2])
            ),
        );
    }
    line("changes at", text_of(explanation, "changes_at"));
    text
}

fn text_of(value: &serde_json::Value, key: &str) -> String {
    plain(&value[key])
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_told_line_by_line() {
        let explanation = serde_json::json!({
            "address": "203.0.113.9", "action": "drop", "reason": "policy_drop", "class": "XB",
            "run": ["203.0.113.0", "203.0.113.255"], "override": null, "failsafe": null,
            "orders": [["EU-1", "Council", "drop"]], "changes_at": "2026-12-01T00:00:00Z",
        });
        assert_eq!(
            render(&explanation),
            "  place: XB\n  addresses of that place around it: 203.0.113.0 - 203.0.113.255\n  order: EU-1 (Council): drop\n  changes at: 2026-12-01T00:00:00Z\n"
        );
    }

    #[test]
    fn a_difference_prints_both() {
        let names = |action: &str, reason: &str| VerdictNames {
            action: action.to_owned(),
            reason: reason.to_owned(),
            class: Some("DE".to_owned()),
        };
        let explained = Explained {
            explanation: serde_json::json!({}),
            expected: names("drop", "policy_drop"),
            live: names("pass", "policy_pass"),
            same: false,
        };
        let verb = Explain {
            address: "203.0.113.9".parse().unwrap(),
            policy: None,
            at: None,
            quiet: false,
        };
        let text = verb.render_live(&explained);
        assert!(text.contains("the policy says: drop (policy_drop, DE)"), "{text}");
        assert!(text.contains("the kernel does: pass (policy_pass, DE)"), "{text}");
    }
}
