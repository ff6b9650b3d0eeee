//! Draws the sources of the demo's traffic from the database.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, bail};
use ipnet::IpNet;

use crate::{
    probes::Outcome,
    raw_database::{RawDatabase, address_in, is_usable_source},
    rng::Rng,
};

/// Addresses drawn for each country and family.
pub const N_EACH: usize = 3;
/// How often to draw before giving up on finding a usable address.
const MAX_DRAWS: usize = 10_000;

/// A country and the addresses drawn from it, IPv4 first.
#[derive(Clone, Debug)]
pub struct Country {
    /// Its code, as the database writes it.
    pub code: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Networks of the country, for further draws: IPv4, IPv6.
    networks: [Vec<IpNet>; 2],
}

impl Country {
    /// One more address of each family, not drawn before.
    pub fn draw_pair(&self, rng: &mut Rng) -> anyhow::Result<[IpAddr; 2]> {
        let [v4, v6] = &self.networks;
        Ok([self.draw_new(v4, rng)?, self.draw_new(v6, rng)?])
    }

    fn draw_new(&self, networks: &[IpNet], rng: &mut Rng) -> anyhow::Result<IpAddr> {
        draw_from(networks, rng, &self.addresses)
            .with_context(|| format!("cannot draw an address of {}", self.code))
    }
}

/// Draws countries that have both families: up to `n_blocked` that a policy blocks, the rest from those that it
/// lets pass, in the order of their codes.
pub fn draw_countries(
    database: &RawDatabase,
    rng: &mut Rng,
    n_countries: usize,
    n_blocked: usize,
    outcome: impl Fn(IpAddr) -> Outcome,
) -> anyhow::Result<Vec<Country>> {
    let mut candidates = Vec::new();
    for (code, networks) in database.networks_by_country()? {
        let (v4, v6): (Vec<IpNet>, Vec<IpNet>) = networks
            .into_iter()
            .partition(|network| matches!(network, IpNet::V4(_)));
        if !v4.is_empty() && !v6.is_empty() {
            candidates.push((code, [v4, v6]));
        }
    }
    rng.shuffle(&mut candidates);

    let mut chosen: BTreeMap<String, Country> = BTreeMap::new();
    let (mut n_blocked_left, mut n_passed_left) = (n_blocked, n_countries - n_blocked);
    for (code, networks) in candidates {
        let mut country = Country {
            code,
            addresses: Vec::new(),
            networks,
        };
        // Countries whose networks are all of a kind that cannot send are left out.
        let Ok(first) = country.draw_pair(rng) else {
            continue;
        };
        let left = match outcome(first[0]) {
            Outcome::Blocked => &mut n_blocked_left,
            Outcome::Passed => &mut n_passed_left,
        };
        if *left == 0 {
            continue;
        }
        for family in 0..2 {
            for _ in 0..N_EACH {
                let address = country.draw_new(&country.networks[family], rng);
                // A country may have fewer usable addresses than wanted; it is then left out too.
                country.addresses.extend(address);
            }
        }
        if country.addresses.len() == 2 * N_EACH {
            *left -= 1;
            chosen.insert(country.code.clone(), country);
        }
    }
    if n_passed_left > 0 {
        bail!(
            "the database has only {} countries that can be drawn",
            chosen.len()
        );
    }
    Ok(chosen.into_values().collect())
}

/// Draws addresses that the database has no country for, IPv4 first.
pub fn draw_unknown(database: &RawDatabase, rng: &mut Rng) -> anyhow::Result<Vec<IpAddr>> {
    // Global unicast: the rest of IPv6 was never given to anybody.
    let given_out: IpNet = "2000::/3".parse()?;
    let (v4, v6): (Vec<IpNet>, Vec<IpNet>) = database
        .networks_without_country()?
        .into_iter()
        .partition(|network| matches!(network, IpNet::V4(_)));
    let v6: Vec<IpNet> = v6
        .into_iter()
        .filter(|network| given_out.contains(network))
        .collect();
    let mut addresses = Vec::new();
    for networks in [v4, v6] {
        if networks.is_empty() {
            continue;
        }
        for _ in 0..N_EACH {
            let address = draw_from(&networks, rng, &addresses).context("cannot draw an unknown address")?;
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// An address that traffic may come from, of a network drawn at random, and not one of those taken.
fn draw_from(networks: &[IpNet], rng: &mut Rng, taken: &[IpAddr]) -> anyhow::Result<IpAddr> {
    for _ in 0..MAX_DRAWS {
        let address = address_in(&networks[rng.below(networks.len())], rng);
        if is_usable_source(address) && !taken.contains(&address) {
            return Ok(address);
        }
    }
    bail!("{MAX_DRAWS} draws gave no usable address")
}
