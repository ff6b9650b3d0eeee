//! `cordon explain`.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use probe_common::Action;

use super::{
    Format, Globals, check,
    heading::{HeadingArgs, url_query},
    output,
    policy_file::PolicyFile,
    remote,
};
use crate::{
    compile::{Heading, Query},
    daemon::{
        api::{Explained, VerdictNames},
        build,
        fixed::{explanation, fixed_verdict},
    },
    instant::Instant,
    policy::halted_service,
};

/// What happens to packets from an address, and why
///
/// Asks the running daemon: the compiled policy and the program in the kernel are both asked, and a difference
/// prints both and fails. With --policy it needs no daemon and asks the file. Answers to connections that this host
/// opened, ICMP errors and rate limits are matters of the moment and not part of the answer.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// Source address
    address: IpAddr,

    #[command(flatten)]
    heading: HeadingArgs,

    /// Explain by this policy file instead of the one in force
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Explain for this instant, RFC 3339 with offset (2026-03-01T00:00:00Z) [default: now]
    #[arg(long, value_name = "INSTANT", value_parser = Instant::parse, requires = "policy")]
    at: Option<Instant>,

    /// Print nothing; exit status 0 pass or count, 10 drop, 11 reject, 12 redirect, 13 limit, 14 mark, 15 drain, 1 error
    #[arg(short, long)]
    quiet: bool,
}

impl Explain {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let heading = self.heading.heading(self.address)?;
        match &self.policy {
            Some(file) => self.offline(globals, file, heading),
            None => self.live(globals, &heading),
        }
    }

    fn offline(&self, globals: &Globals, file: &Path, heading: Heading) -> anyhow::Result<ExitCode> {
        let settings = globals.settings_or_defaults()?;
        let PolicyFile { file, text, lists } = PolicyFile::read(file)?;
        let lists = build::read_lists(&file, &lists)?;
        let (policy, warnings) = build::parse_policy(&file, &text, lists)?;
        let location = check::location(&settings)?;
        let now = self.at.unwrap_or_else(Instant::now);
        let (image, _) =
            build::compile_policy(&policy, &text, &location, now, &settings.host.frame, warnings)?;
        let failsafe = settings.failsafe_prefixes();
        let value = match fixed_verdict(self.address, &image.frame) {
            Some((verdict, why)) => explanation(self.address, verdict, why),
            None => serde_json::to_value(image.explain(&Query {
                heading,
                address: self.address,
                now,
                failsafe: &failsafe,
                runtime: &[],
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

    fn live(&self, globals: &Globals, heading: &Heading) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/explain?ip={}{}", self.address, url_query(heading));
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
        for exemption in &explained.exemptions {
            text.push_str(&format!(
                "  exempt at run time: {}, reference {} ({}), until {}: lifts {}\n",
                exemption.prefix, exemption.reference, exemption.reason, exemption.until, exemption.lifts
            ));
        }
        for lift in &explained.lifted {
            let until = lift.until.as_deref().unwrap_or("it is ended");
            text.push_str(&format!(
                "  lifted: order {} until {until}: {}\n",
                lift.order, lift.reason
            ));
        }
        text
    }

    fn exit_code(&self, action: &str) -> ExitCode {
        let known = Action::ALL.iter().find(|known| known.name() == action);
        match known.filter(|_| self.quiet) {
            Some(action) => ExitCode::from(quiet_code(*action)),
            None => ExitCode::SUCCESS,
        }
    }
}

/// Exit status of `--quiet`.
fn quiet_code(action: Action) -> u8 {
    match action {
        Action::Pass | Action::Count => 0,
        Action::Drop => 10,
        Action::Reject => 11,
        Action::Redirect => 12,
        Action::Limit => 13,
        Action::Mark => 14,
        Action::Drain => 15,
    }
}

fn headline(address: IpAddr, action: &str, reason: &str) -> String {
    format!("{address}: {action} ({reason})\n")
}

fn verdict(names: &VerdictNames) -> String {
    let more = [&names.class, &names.tier].into_iter().flatten();
    let more: String = more.map(|name| format!(", {name}")).collect();
    format!("{} ({}{more})", names.action, names.reason)
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
    line("judged as", text_of(explanation, "judged_as"));
    line("place", text_of(explanation, "class"));
    let run = [0, 1].map(|idx| plain(&explanation["run"][idx]));
    let run: Vec<String> = run.into_iter().filter(|end| !end.is_empty()).collect();
    line("addresses of that place around it", run.join(" - "));
    line("for", text_of(explanation, "service"));
    let tier = &explanation["tier"];
    let parameters = plain(&tier["parameters"]);
    line(
        "tier",
        match parameters.as_str() {
            "" => plain(&tier["name"]),
            parameters => format!("{} ({parameters})", plain(&tier["name"])),
        },
    );
    line("override", text_of(explanation, "override"));
    line("failsafe prefix", text_of(explanation, "failsafe"));
    for order in explanation["orders"].as_array().into_iter().flatten() {
        let [id, authority, action] = [0, 1, 2].map(|idx| plain(&order[idx]));
        match halted_service(&id) {
            Some(service) => line("halted", format!("service {service} ({authority}): {action}")),
            None => line("order", format!("{id} ({authority}): {action}")),
        }
    }
    let changes = explanation["changes"].as_array().map_or(&[][..], Vec::as_slice);
    if changes.is_empty() {
        line("changes at", text_of(explanation, "changes_at"));
    }
    for change in changes {
        line(
            "changes at",
            format!("{} to {}", plain(&change["at"]), outcome(change)),
        );
    }
    for other in explanation["other_services"].as_array().into_iter().flatten() {
        line(
            &format!("packets for {}", plain(&other["service"])),
            outcome(other),
        );
    }
    text
}

/// Action, reason and tier of one of an explanation's lists.
fn outcome(value: &serde_json::Value) -> String {
    let parts = [plain(&value["reason"]), plain(&value["tier"])];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{} ({})", plain(&value["action"]), parts.join(", "))
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
    use crate::daemon::api::Lifted;

    #[test]
    fn an_explanation_is_told_line_by_line() {
        let explanation = serde_json::json!({
            "address": "203.0.113.9", "action": "drop", "reason": "policy_drop", "class": "XB",
            "run": ["203.0.113.0", "203.0.113.255"], "override": null, "failsafe": null,
            "orders": [["EU-1", "Council", "drop"], ["halt of web", "drill", "drop"]], "changes_at": "2026-12-01T00:00:00Z",
            "changes": [{"at": "2026-12-01T00:00:00Z", "action": "limit", "reason": "within_limit", "tier": "slow"}],
            "other_services": [{"service": "web", "action": "pass", "reason": "policy_pass", "tier": null}],
        });
        assert_eq!(
            render(&explanation),
            "  place: XB\n  addresses of that place around it: 203.0.113.0 - 203.0.113.255\n  order: EU-1 (Council): drop\n  halted: service web (drill): drop\n  changes at: 2026-12-01T00:00:00Z to limit (within_limit, slow)\n  packets for web: pass (policy_pass)\n"
        );
    }

    #[test]
    fn a_difference_prints_both() {
        let names = |action: &str, reason: &str| VerdictNames {
            action: action.to_owned(),
            reason: reason.to_owned(),
            class: Some("DE".to_owned()),
            tier: None,
        };
        let explained = Explained {
            explanation: serde_json::json!({}),
            exemptions: Vec::new(),
            expected: names("drop", "policy_drop"),
            live: names("pass", "policy_pass"),
            same: false,
            lifted: vec![Lifted {
                order: "EU-1".to_owned(),
                until: None,
                reason: "appeal".to_owned(),
            }],
        };
        let verb = Explain {
            address: "203.0.113.9".parse().unwrap(),
            heading: HeadingArgs::default(),
            policy: None,
            at: None,
            quiet: false,
        };
        let text = verb.render_live(&explained);
        assert!(text.contains("the policy says: drop (policy_drop, DE)"), "{text}");
        assert!(text.contains("the kernel does: pass (policy_pass, DE)"), "{text}");
        assert!(
            text.ends_with("  lifted: order EU-1 until it is ended: appeal\n"),
            "{text}"
        );
    }
}
