//! The demo's input: database, policy and the sources drawn from them.

use std::{collections::BTreeSet, fmt::Write as _, fs, net::IpAddr, path::Path};

use anyhow::{Context as _, bail};
use cordon::{geo::EMBEDDED_ATTRIBUTION, instant::Instant};

use super::{
    draw::{Country, draw_countries, draw_unknown},
    report::Report,
};
use crate::{
    interrupt,
    oracle::{Expectations, Oracle},
    probes::Outcome,
    rng::Rng,
};

/// The example policy that the demo extends.
const EXAMPLE: &str = "policies/examples/block-list.toml";
/// Countries to draw from those that the example lets pass, and at most from those that it blocks.
const N_PASSED: usize = 16;
const N_BLOCKED: usize = 8;
/// With fewer the demo would not show the world.
const MIN_COUNTRIES: usize = 20;
/// Countries that the second policy blocks in addition.
const N_ADDED: usize = 2;

/// Everything that the demo judges by.
#[derive(Debug)]
pub struct World {
    /// Computes expectations.
    pub oracle: Oracle,
    /// The countries drawn.
    pub countries: Vec<Country>,
    /// Addresses without a country.
    pub unknown: Vec<IpAddr>,
    /// Addresses in blocked countries, one of each family, that the policy exempts.
    pub exempt: Vec<IpAddr>,
    /// Addresses in passed countries, one of each family, that the policy denies.
    pub denied: Vec<IpAddr>,
    /// Addresses in blocked countries, one of each family, that the host file makes failsafe.
    pub failsafe: Vec<IpAddr>,
    /// Addresses in blocked countries that nothing exempts: IPv4, IPv6.
    pub customer: [IpAddr; 2],
    /// The first policy: the example, with the exemptions and denies.
    pub policy: String,
    /// The second policy: the first, with one more order.
    pub second_policy: String,
    /// What the first policy says.
    pub expectations: Expectations,
    /// What the second policy says.
    pub second_expectations: Expectations,
}

impl World {
    /// Loads the database and draws everything else.
    pub fn draw(seed: u64) -> anyhow::Result<Self> {
        let mut rng = Rng::new(seed);
        let mut oracle = Oracle::load()?;
        let database = oracle.raw_database()?;
        interrupt::check()?;

        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(EXAMPLE);
        let example = fs::read_to_string(&path).with_context(|| format!("cannot read {EXAMPLE}"))?;
        let plain = oracle.compile(EXAMPLE, &example)?;
        let countries = draw_countries(&database, &mut rng, N_PASSED + N_BLOCKED, N_BLOCKED, |address| {
            plain.outcome(address)
        })?;
        if countries.len() < MIN_COUNTRIES {
            bail!(
                "only {} countries could be drawn, {MIN_COUNTRIES} are needed",
                countries.len()
            );
        }
        let unknown = draw_unknown(&database, &mut rng)?;

        let (blocked, passed): (Vec<&Country>, Vec<&Country>) = countries
            .iter()
            .partition(|country| plain.outcome(country.addresses[0]) == Outcome::Blocked);
        if blocked.is_empty() {
            bail!("{EXAMPLE} blocks none of the countries drawn");
        }
        // Different countries, if there are enough: no address is drawn for two purposes.
        let mut of_blocked = blocked.iter().cycle();
        let mut taken = Vec::new();
        let mut draw_blocked = |rng: &mut Rng| -> anyhow::Result<[IpAddr; 2]> {
            let country = of_blocked.next().context("there is a blocked country")?;
            let pair = loop {
                let pair = country.draw_pair(rng)?;
                let is_new = |address: &IpAddr| {
                    plain.outcome(*address) == Outcome::Blocked && !taken.contains(address)
                };
                if pair.iter().all(is_new) {
                    break pair;
                }
            };
            taken.extend(pair);
            Ok(pair)
        };
        let customer = draw_blocked(&mut rng)?;
        let exempt = draw_blocked(&mut rng)?;
        let failsafe = draw_blocked(&mut rng)?;
        oracle.set_failsafe(&prefixes(&failsafe))?;
        let denied = passed[rng.below(passed.len())].draw_pair(&mut rng)?;

        let policy = format!(
            "{example}\n{}{}",
            exemption(&exempt, "DEMO-EXEMPT", Instant(Instant::now().0 + 86_400)),
            deny(&denied)
        );
        let added = &passed[..N_ADDED];
        let codes: Vec<&str> = added.iter().map(|country| country.code.as_str()).collect();
        let second_policy = format!(
            "{policy}\n[[order]]\nid = \"demo-second\"\nauthority = \"Demo Authority\"\n\
             [[order.rule]]\naction = \"drop\"\ncountries = {codes:?}\n"
        );
        let expectations = oracle.compile("first policy of the demo", &policy)?;
        let second_expectations = oracle.compile("second policy of the demo", &second_policy)?;
        Ok(Self {
            oracle,
            unknown,
            exempt: exempt.into(),
            denied: denied.into(),
            failsafe: failsafe.into(),
            customer,
            policy,
            second_policy,
            expectations,
            second_expectations,
            countries,
        })
    }

    /// Says what was loaded and drawn.
    pub fn describe(&self, report: &mut Report) {
        let source = &self.oracle.location().source;
        let built = Instant(u32::try_from(source.built_s).unwrap_or(0));
        report.note(&format!(
            "database: {} ({}), built {built}, {} IPv4 and {} IPv6 networks",
            source.origin, source.database_type, source.n_networks_v4, source.n_networks_v6
        ));
        let orders: Vec<String> = self
            .expectations
            .orders()
            .iter()
            .map(|(id, authority)| format!("{id} ({authority})"))
            .collect();
        report.note(&format!("policy: {EXAMPLE}, with orders {}", orders.join(", ")));
        report.note(&format!(
            "drawn: {} countries, {} addresses in all",
            self.countries.len(),
            self.all_sources().len()
        ));
        let wrong: Vec<String> = self
            .countries
            .iter()
            .flat_map(|country| country.addresses.iter().map(move |address| (country, *address)))
            .filter(|(country, address)| self.expectations.class(*address) != country.code)
            .map(|(country, address)| format!("{address} is in {}", country.code))
            .collect();
        report.check(
            wrong.is_empty(),
            format!(
                "cordon's compiled tables and the raw database name the same country for every address{}",
                if wrong.is_empty() {
                    String::new()
                } else {
                    format!(", but: {}", wrong.join(", "))
                }
            ),
        );
    }

    /// Every address that traffic comes from.
    pub fn all_sources(&self) -> Vec<IpAddr> {
        let of_countries = self.countries.iter().flat_map(|country| &country.addresses);
        of_countries
            .chain(&self.unknown)
            .chain(&self.exempt)
            .chain(&self.denied)
            .chain(&self.failsafe)
            .copied()
            .collect()
    }

    /// Addresses that meet this under both policies, at most `n_each` of each family.
    pub fn always(&self, outcome: Outcome, n_each: usize) -> Vec<IpAddr> {
        self.some_of_each_family(n_each, |address| {
            self.expectations.outcome(address) == outcome
                && self.second_expectations.outcome(address) == outcome
        })
    }

    /// Addresses about which the two policies differ.
    pub fn differing(&self) -> Vec<IpAddr> {
        self.some_of_each_family(usize::MAX, |address| {
            self.expectations.outcome(address) != self.second_expectations.outcome(address)
        })
    }

    fn some_of_each_family(&self, n_each: usize, wanted: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        let sources: BTreeSet<IpAddr> = self
            .all_sources()
            .into_iter()
            .filter(|source| wanted(*source))
            .collect();
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = sources.into_iter().partition(IpAddr::is_ipv4);
        v4.into_iter()
            .take(n_each)
            .chain(v6.into_iter().take(n_each))
            .collect()
    }

    /// The credit that the database's licence asks for.
    pub fn credit(&self) -> &str {
        self.oracle
            .location()
            .source
            .attribution
            .as_deref()
            .unwrap_or(EMBEDDED_ATTRIBUTION)
    }
}

/// An exemption as a policy file writes it.
pub fn exemption(addresses: &[IpAddr], reference: &str, until: Instant) -> String {
    let mut text = String::new();
    writeln!(text, "[[exemption]]").expect("writing to a string");
    writeln!(text, "prefixes = {:?}", prefixes(addresses)).expect("writing to a string");
    writeln!(
        text,
        "reference = {reference:?}\nreason = \"drawn by the demo\"\nuntil = {until}\n"
    )
    .expect("writing to a string");
    text
}

fn deny(addresses: &[IpAddr]) -> String {
    format!(
        "[[deny]]\nprefixes = {:?}\nreason = \"drawn by the demo\"\n\n",
        prefixes(addresses)
    )
}

/// A prefix for each address that covers it alone.
pub fn prefixes(addresses: &[IpAddr]) -> Vec<String> {
    addresses
        .iter()
        .map(|address| crate::cordon_process::host_prefix(*address))
        .collect()
}
