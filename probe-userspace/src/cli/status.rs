//! `cordon status`.

use std::process::ExitCode;

use super::{Format, Globals, output, remote, table::table};
use crate::daemon::api::{EthertypeRow, Health, Status};

/// Most classes in the list of counters.
const TOP_CLASSES: usize = 10;

/// How the host stands
///
/// The first line says it in one sentence.
#[derive(Debug, clap::Args)]
pub(super) struct StatusVerb {
    /// Print the first line only and say it by the exit status: 0 ok, 1 degraded (also in a halt, and while an order is
    /// lifted), 2 not enforcing, 3 unknown (also when the daemon does not answer, although the kernel may still enforce)
    #[arg(long)]
    check: bool,
}

impl StatusVerb {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let asked: anyhow::Result<Status> =
            remote::with_daemon(globals, async |client| client.get("/v1/status").await);
        let status = match asked {
            Ok(status) => status,
            Err(error) if self.check => {
                output::print_error(globals.output, &error);
                return Ok(exit_code(Health::Unknown));
            }
            Err(error) => return Err(error),
        };
        match (self.check, globals.output) {
            (true, Format::Text) => output::print_text(&format!("{}\n", status.sentence))?,
            _ => output::print(globals.output, &status, render)?,
        }
        Ok(match self.check {
            true => exit_code(status.checked()),
            false => ExitCode::SUCCESS,
        })
    }
}

fn exit_code(state: Health) -> ExitCode {
    ExitCode::from(match state {
        Health::Ok => 0,
        Health::Degraded => 1,
        Health::NotEnforcing => 2,
        Health::Unknown => 3,
    })
}

fn render(status: &Status) -> String {
    let mut text = format!("{}\n", status.sentence);
    if let Some(busy) = &status.busy {
        text.push_str(&format!("busy: {busy}; what follows is from before\n"));
    }
    for problem in &status.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    text.push('\n');
    text.push_str(&table(&details(status), &[]));
    if !status.overrides.is_empty() {
        text.push_str(&format!("\noverrides ({}):\n", status.n_overrides));
        let rows: Vec<Vec<String>> = status
            .overrides
            .iter()
            .map(|entry| {
                let until = entry
                    .until
                    .as_ref()
                    .map_or_else(|| "for ever".to_owned(), |until| format!("until {until}"));
                vec![
                    entry.prefix.clone(),
                    entry.profile.clone(),
                    until,
                    entry.why.clone(),
                ]
            })
            .collect();
        text.push_str(&table(&rows, &[]));
        if status.n_overrides > status.overrides.len() {
            text.push_str(&format!(
                "and {} more\n",
                status.n_overrides - status.overrides.len()
            ));
        }
    }
    if !status.counters.is_empty() {
        text.push_str("\npackets and bytes by reason:\n");
        text.push_str(&table(&sums(status, |row| Some(row.reason.clone())), &[1, 2]));
        text.push_str("\nby place, most first:\n");
        let mut places = sums(status, |row| row.class.clone());
        places.truncate(TOP_CLASSES);
        text.push_str(&table(&places, &[1, 2]));
    }
    if !status.ethertypes.is_empty() {
        text.push_str("\npassed as not IP, by ethertype:\n");
        let row = |row: &EthertypeRow| {
            vec![
                row.ethertype.clone(),
                row.packets.to_string(),
                row.bytes.to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = status.ethertypes.iter().map(row).collect();
        text.push_str(&table(&rows, &[1, 2]));
    }
    text
}

fn details(status: &Status) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut add = |what: &str, value: String| rows.push(vec![what.to_owned(), value]);
    if let Some(policy) = &status.policy {
        add(
            "policy",
            format!("{}, sha256 {}", policy.name, short(&policy.sha256)),
        );
    }
    if let Some(bundle) = &status.bundle {
        add(
            "bundle",
            format!(
                "{} revision {}, issued {}, ends {}, sha256 {}",
                bundle.name,
                bundle.revision,
                bundle.issued,
                bundle.expires,
                short(&bundle.digest.to_string())
            ),
        );
    }
    if status.managed {
        add("managed", "takes signed policies only".to_owned());
    }
    for order in &status.orders {
        add("order", format!("{} ({})", order.id, order.authority));
    }
    if let Some(generation) = &status.generation {
        add(
            "generation",
            format!(
                "{} in slot {}, published {}, image {}, location {}",
                generation.number,
                generation.slot,
                generation.published,
                short(&generation.image_digest),
                short(&generation.location_digest)
            ),
        );
        add(
            "look-up",
            format!(
                "IPv4 by {}, IPv6 by {}; {} prefixes in LPM tries",
                generation.engine_v4, generation.engine_v6, generation.lpm_prefixes
            ),
        );
    }
    for interface in &status.interfaces {
        add(
            "interface",
            format!(
                "{} ({}), {}{}",
                interface.ifname,
                interface.ifindex,
                interface.mode,
                interface
                    .egress
                    .as_ref()
                    .map_or_else(String::new, |hook| format!(", egress by {hook}"))
            ),
        );
    }
    if status.policy.is_some() {
        let replies = match status.replies {
            true => "pass: answers to connections that this host opened",
            false => "off: answers to this host's own connections are judged like others",
        };
        add("replies", replies.to_owned());
    }
    if status.both_directions {
        add(
            "both directions",
            "yes: leaving packets are judged too".to_owned(),
        );
    }
    let events = &status.events;
    if events.is_reporting || events.written + events.lost + events.capped > 0 {
        add(
            "events",
            format!(
                "{} written, {} lost, {} suppressed by the cap",
                events.written, events.lost, events.capped
            ),
        );
    }
    if status.redirect_errors > 0 {
        add(
            "redirect errors",
            format!(
                "{} frames that the target's driver did not take",
                status.redirect_errors
            ),
        );
    }
    for source in &status.sources {
        let age = match source.age_s {
            Some(age_s) => format!("last good {age_s} s ago"),
            None => "never good yet".to_owned(),
        };
        add("source", format!("{} ({}), {age}", source.url, source.kind));
    }
    if let Some(probing) = &status.probing {
        for row in &probing.probes {
            let how = match (row.holds, &row.message) {
                (None, _) => "not tried yet",
                (Some(true), _) => "holds",
                (Some(false), Some(why)) => why,
                (Some(false), None) => "fails",
            };
            add("probe", format!("{}: {how}", row.probe));
        }
    }
    if let Some(database) = &status.database {
        add(
            "database",
            format!(
                "{} ({}), built {}, {} days old, {} IPv4 and {} IPv6 networks, sha256 {}",
                database.origin,
                database.database_type,
                database.built,
                database.age_days,
                database.n_networks_v4,
                database.n_networks_v6,
                short(&database.sha256)
            ),
        );
        if let Some(attribution) = &database.attribution {
            add("", attribution.clone());
        }
    }
    if status.n_exemptions > 0 {
        add(
            "exemptions",
            format!(
                "{} made at run time, {} of them end within 7 days",
                status.n_exemptions, status.n_exemptions_expiring
            ),
        );
    }
    if let Some(halted) = &status.halted {
        let until = halted.until.as_deref().unwrap_or("resumed");
        add("halted", format!("until {until}: {}", halted.reason));
    }
    for halt in &status.halted_services {
        let until = halt.until.as_deref().unwrap_or("resumed");
        add(
            "halted",
            format!("service {} until {until}: {}", halt.service, halt.reason),
        );
    }
    for lift in &status.lifts {
        let until = lift.until.as_deref().unwrap_or("it is ended");
        add(
            "lifted",
            format!("order {} until {until}: {}", lift.order, lift.reason),
        );
    }
    if let Some(left_s) = status.confirm_left_s {
        add(
            "unconfirmed",
            format!("reverts in {left_s} s unless you run `cordon confirm`"),
        );
    }
    if let Some(publish) = &status.last_publish {
        let location = if publish.shared_location {
            "shared"
        } else {
            "filled anew"
        };
        add(
            "last publish",
            format!(
                "compile {} ms, load {} ms, fill {} ms, verify {} ms ({} samples), location tables {location}",
                publish.compile_ms, publish.load_ms, publish.fill_ms, publish.verify_ms, publish.n_samples
            ),
        );
    }
    add(
        "version",
        format!("{}, pins version {}", status.version, status.abi_version),
    );
    rows
}

/// Sums of packets and bytes by a label, most packets first.
fn sums(
    status: &Status,
    label: impl Fn(&crate::daemon::api::CounterRow) -> Option<String>,
) -> Vec<Vec<String>> {
    let mut sums = std::collections::BTreeMap::<String, (u64, u64)>::new();
    for row in &status.counters {
        if let Some(label) = label(row) {
            let sum = sums.entry(label).or_default();
            sum.0 += row.packets;
            sum.1 += row.bytes;
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, (packets, _))| std::cmp::Reverse(*packets));
    sums.into_iter()
        .map(|(label, (packets, bytes))| vec![label, packets.to_string(), bytes.to_string()])
        .collect()
}

/// Enough of a digest to tell two apart.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::api::CounterRow;

    #[test]
    fn counters_are_summed_and_sorted() {
        let row = |reason: &str, class: Option<&str>, packets| CounterRow {
            reason: reason.to_owned(),
            class: class.map(str::to_owned),
            packets,
            bytes: packets * 100,
        };
        let status = Status {
            counters: vec![
                row("policy_pass", Some("DE"), 5),
                row("policy_drop", Some("DE"), 1),
                row("policy_pass", Some("FR"), 7),
                row("arp", None, 3),
            ],
            ..Status::starting()
        };
        assert_eq!(
            table(&sums(&status, |row| Some(row.reason.clone())), &[1, 2]),
            "policy_pass  12  1200\narp           3   300\npolicy_drop   1   100\n"
        );
        assert_eq!(
            table(&sums(&status, |row| row.class.clone()), &[1, 2]),
            "FR  7  700\nDE  6  600\n"
        );
        let text = render(&status);
        assert!(text.starts_with("starting\nbusy: starting"), "{text}");
    }
}
