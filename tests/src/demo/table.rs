//! The table: country, address, expected, got, counters.

use std::net::IpAddr;

use super::{report::Report, world::World};
use crate::{
    cordon_process::Cordon,
    counters::Counters,
    interrupt,
    lab::Lab,
    probes::{Outcome, Protocol},
};

/// What the table was about, for the totals.
#[derive(Debug)]
pub struct Gauge {
    /// Counters before the first row.
    pub before: Counters,
    /// Probes of the table; each sent at least one packet.
    pub n_probes: usize,
}

/// Rows that are probed together, so that the counters tell what happened to them.
struct Group<'a> {
    label: &'a str,
    addresses: &'a [IpAddr],
}

/// Sends real traffic from every address drawn and prints what came of it.
pub fn judge_all(
    report: &mut Report,
    lab: &Lab,
    cordon: &Cordon<'_>,
    world: &World,
) -> anyhow::Result<Gauge> {
    let mut groups: Vec<Group<'_>> = world
        .countries
        .iter()
        .map(|country| Group {
            label: &country.code,
            addresses: &country.addresses,
        })
        .collect();
    for (label, addresses) in [
        ("unknown", &world.unknown),
        ("exempt", &world.exempt),
        ("denied", &world.denied),
        ("failsafe", &world.failsafe),
    ] {
        groups.push(Group { label, addresses });
    }

    println!("\n   each address sends TCP (HTTP GET), UDP and ping; counters are packets of the whole group");
    println!(
        "   {:<9}{:<41}{:<22}{:<8}counters",
        "country", "address", "expected", "got"
    );
    let mut tally = Tally::default();
    let before = cordon.counters()?;
    let mut counters = before.clone();
    for group in &groups {
        interrupt::check()?;
        let reaches = lab.reach(group.addresses)?;
        let counters_now = cordon.counters()?;
        let grown = counters_now.since(&counters);
        counters = counters_now;
        tally.note_counters(group, &grown, world);
        for (idx, (address, reach)) in group.addresses.iter().zip(reaches).enumerate() {
            let verdict = world.expectations.verdict(*address);
            let expected = world.expectations.outcome(*address);
            let is_right = reach.uniform() == Some(expected);
            tally.note_row(expected, is_right, *address);
            let reason = format!("{expected} ({})", verdict.reason.name());
            let (label, of_group) = if idx == 0 {
                (group.label, grown.to_string())
            } else {
                ("", String::new())
            };
            let mark = if is_right { "" } else { "  <-- WRONG" };
            let row = format!("   {label:<9}{address:<41}{reason:<22}{reach:<8}{of_group}{mark}");
            println!("{}", row.trim_end());
        }
    }
    println!();
    tally.check(report);
    Ok(Gauge {
        before,
        n_probes: tally.n_addresses() * Protocol::ALL.len(),
    })
}

#[derive(Default)]
struct Tally {
    n_passed: usize,
    n_blocked: usize,
    wrong: Vec<IpAddr>,
    wrong_counters: Vec<String>,
}

impl Tally {
    fn n_addresses(&self) -> usize {
        self.n_passed + self.n_blocked
    }

    fn note_row(&mut self, expected: Outcome, is_right: bool, address: IpAddr) {
        match expected {
            Outcome::Passed => self.n_passed += 1,
            Outcome::Blocked => self.n_blocked += 1,
        }
        if !is_right {
            self.wrong.push(address);
        }
    }

    /// Every address sent at least one packet by each protocol, and each packet is counted under the reason that
    /// the oracle gives for its address.
    fn note_counters(&mut self, group: &Group<'_>, grown: &Counters, world: &World) {
        for reason in probe_common::Reason::ALL
            .iter()
            .filter(|reason| reason.has_class())
        {
            let n_addresses = group
                .addresses
                .iter()
                .filter(|address| world.expectations.verdict(**address).reason == *reason)
                .count();
            let counted = grown.packets(reason.name());
            let n_least = (n_addresses * Protocol::ALL.len()) as u64;
            if counted < n_least || (n_addresses == 0 && counted > 0) {
                self.wrong_counters.push(format!(
                    "{}: {counted} packets as {}, from {n_addresses} addresses",
                    group.label,
                    reason.name()
                ));
            }
        }
    }

    fn check(&self, report: &mut Report) {
        report.check(
            self.wrong.is_empty(),
            format!(
                "{} addresses passed and {} blocked by TCP, UDP and ping, as the oracle says; wrong: {}",
                self.n_passed,
                self.n_blocked,
                self.wrong.len()
            ),
        );
        report.check(
            self.wrong_counters.is_empty(),
            match self.wrong_counters.as_slice() {
                [] => "every group was counted under the reasons that the oracle names".to_owned(),
                wrong => format!("the counters fit the oracle, but: {}", wrong.join("; ")),
            },
        );
    }
}
