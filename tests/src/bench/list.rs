//! A list of prefixes that every contestant is given, and addresses to send from.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use cordon::geo::Location;
use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use probe_common::class;

use crate::{mmdb_writer::MmdbWriter, rng::Rng};

/// Addresses of a family that `generate` sends from in turn.
pub const N_SOURCES: usize = 1 << 14;

/// 2001::/32, 2002::/16 and 64:ff9b::/96 are judged by the IPv4 address inside, so they are on no list.
const EMBEDDED: [(u128, u32); 3] = [(0x2001_0000, 32), (0x2002, 16), (0x0064_ff9b << 64, 96)];

/// Disjoint prefixes with the class of their place.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// IPv4, ascending.
    pub v4: Vec<(Ipv4Net, u16)>,
    /// IPv6, ascending.
    pub v6: Vec<(Ipv6Net, u16)>,
}

impl List {
    /// The places of a database that are wanted, by their codes: flattened, no prefix inside another one.
    pub fn of(world: &Location, is_wanted: impl Fn(&str) -> bool) -> Self {
        let wanted: Vec<bool> = (0..world.classes.len())
            .map(|class| class as u16)
            .map(|class| class >= class::FIRST_PLACE && is_wanted(world.classes.name(class)))
            .collect();
        let is_wanted = |class: u16| wanted.get(usize::from(class)).is_some_and(|is_wanted| *is_wanted);
        let mut list = Self::default();
        for (first, last, class) in (0..world.ranges_v4.len()).filter_map(|idx| world.ranges_v4.run(idx)) {
            if is_wanted(class) {
                let prefixes = Ipv4Subnets::new(first.into(), last.into(), 0);
                list.v4.extend(prefixes.map(|prefix| (prefix, class)));
            }
        }
        for (first, last, class) in (0..world.ranges_v6.len()).filter_map(|idx| world.ranges_v6.run(idx)) {
            if is_wanted(class) {
                let prefixes = Ipv6Subnets::new(first.into(), last.into(), 0);
                list.v6.extend(
                    prefixes
                        .filter(|prefix| !is_embedded(u128::from(prefix.network())))
                        .map(|prefix| (prefix, class)),
                );
            }
        }
        list
    }

    /// A list of few prefixes, all of one class.
    pub fn few(prefixes: &[&str]) -> anyhow::Result<Self> {
        let mut list = Self::default();
        for prefix in prefixes {
            match prefix.parse()? {
                IpNet::V4(prefix) => list.v4.push((prefix, class::FIRST_PLACE)),
                IpNet::V6(prefix) => list.v6.push((prefix, class::FIRST_PLACE)),
            }
        }
        Ok(list)
    }

    /// A database that has nothing but the list.
    pub fn database(&self, name_of: impl Fn(u16) -> String) -> MmdbWriter {
        let v4 = self.v4.iter().map(|(prefix, class)| (prefix.to_string(), class));
        let v6 = self.v6.iter().map(|(prefix, class)| (prefix.to_string(), class));
        v4.chain(v6).fold(MmdbWriter::new(), |database, (prefix, class)| {
            database.country(&prefix, &name_of(*class))
        })
    }

    /// Its prefixes of one family, 4 or 6.
    pub fn only(&self, family: u8) -> Self {
        match family {
            4 => Self {
                v4: self.v4.clone(),
                v6: Vec::new(),
            },
            _ => Self {
                v4: Vec::new(),
                v6: self.v6.clone(),
            },
        }
    }

    /// Whether it holds prefixes of a family, 4 or 6.
    pub fn has(&self, family: u8) -> bool {
        match family {
            4 => !self.v4.is_empty(),
            _ => !self.v6.is_empty(),
        }
    }

    /// The prefixes of a family as text, each followed by `end`.
    pub fn text(&self, family: u8, begin: &str, end: &str) -> String {
        let mut text = String::new();
        match family {
            4 => self.v4.iter().for_each(|(prefix, _)| {
                write!(text, "{begin}{prefix}{end}").expect("writing to a string");
            }),
            _ => self.v6.iter().for_each(|(prefix, _)| {
                write!(text, "{begin}{prefix}{end}").expect("writing to a string");
            }),
        }
        text
    }

    /// Random addresses of a family: each from a random prefix.
    pub fn draw(&self, family: u8, n_addresses: usize, rng: &mut Rng) -> Vec<IpAddr> {
        (0..n_addresses)
            .map(|_| match family {
                4 => {
                    let prefix = self.v4[rng.below(self.v4.len())].0;
                    let within = rng.next_u64() as u32 & u32::from(prefix.hostmask());
                    IpAddr::V4(Ipv4Addr::from(u32::from(prefix.network()) | within))
                }
                _ => {
                    let prefix = self.v6[rng.below(self.v6.len())].0;
                    let within = rng.next_u128() & u128::from(prefix.hostmask());
                    IpAddr::V6(Ipv6Addr::from(u128::from(prefix.network()) | within))
                }
            })
            .collect()
    }
}

fn is_embedded(address: u128) -> bool {
    EMBEDDED
        .iter()
        .any(|(prefix, prefix_len)| address >> (128 - prefix_len) == *prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images;

    #[test]
    fn a_list_holds_what_is_wanted_and_nothing_else() {
        let database = MmdbWriter::new()
            .country("20.0.0.0/8", "RU")
            .country("20.1.0.0/16", "US")
            .country("2a00::/16", "RU")
            .country("2001:0:5::/48", "RU");
        let world = images::location(&database).expect("the database is sound");
        let list = List::of(&world, |code| code == "RU");
        let holds = |address: &str| {
            let address: Ipv4Addr = address.parse().expect("an address");
            list.v4.iter().any(|(prefix, _)| prefix.contains(&address))
        };
        assert!(holds("20.0.0.1") && holds("20.255.0.1"), "RU is wanted: {list:?}");
        assert!(!holds("20.1.0.1"), "US is not: {list:?}");
        assert_eq!(list.text(6, "", ";"), "2a00::/16;", "Teredo is no place");
        let drawn = list.draw(4, 100, &mut Rng::new(1));
        assert!(drawn.iter().all(|address| holds(&address.to_string())));
    }

    #[test]
    fn addresses_with_an_ipv4_address_inside_are_known() {
        for (address, expected) in [
            ("2001:0:1::", true),
            ("2002:1::", true),
            ("64:ff9b::1", true),
            ("2001:1::", false),
            ("64:ff9b:1::", false),
        ] {
            let address: Ipv6Addr = address.parse().expect("an address");
            assert_eq!(is_embedded(address.into()), expected, "{address}");
        }
    }
}
