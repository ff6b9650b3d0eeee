//! Sets of addresses as intervals, and as prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Addresses of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

/// First and last address, of one family.
pub type Span = (IpAddr, IpAddr);

impl Spans {
    /// Whether it holds no address.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Adds addresses.
    pub fn add(&mut self, span: Span) {
        self.family(span.0).push(numbers(span));
    }

    /// Adds all of another one's.
    pub fn add_all(&mut self, other: &Self) {
        self.v4.extend(&other.v4);
        self.v6.extend(&other.v6);
    }

    /// Takes addresses out.
    pub fn remove(&mut self, span: Span) {
        let (first, last) = numbers(span);
        let family = self.family(span.0);
        let kept = family.iter().flat_map(|&(from, to)| {
            let before = (from < first).then(|| (from, to.min(first.saturating_sub(1))));
            let behind = (to > last).then(|| (from.max(last.saturating_add(1)), to));
            [before, behind]
        });
        *family = kept.flatten().collect();
    }

    /// The fewest prefixes that cover just these addresses, IPv4 first, ascending.
    pub fn prefixes(&self) -> Vec<IpNet> {
        let v4 = split(&self.v4, 32).map(|(address, len)| {
            let address = Ipv4Addr::from(address as u32);
            Ipv4Net::new_assert(address, len).into()
        });
        let v6 = split(&self.v6, 128)
            .map(|(address, len)| Ipv6Net::new_assert(Ipv6Addr::from(address), len).into());
        v4.chain(v6).collect()
    }

    fn family(&mut self, address: IpAddr) -> &mut Vec<(u128, u128)> {
        match address {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }
}

fn numbers((first, last): Span) -> (u128, u128) {
    let number = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    (number(first), number(last))
}

/// Prefixes of intervals of addresses of so many bits: address and length.
fn split(spans: &[(u128, u128)], bits: u8) -> impl Iterator<Item = (u128, u8)> {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in sorted {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
            _ => merged.push((first, last)),
        }
    }
    merged.into_iter().flat_map(move |(mut first, last)| {
        let mut prefixes = Vec::new();
        loop {
            // The longest prefix that begins here and does not go beyond the end.
            let mut host_bits = first.trailing_zeros().min(u32::from(bits));
            while host_bits > 0 && (last - first) < mask(host_bits) {
                host_bits -= 1;
            }
            prefixes.push((first, bits - host_bits as u8));
            match first.checked_add(mask(host_bits)) {
                Some(end) if end < last => first = end + 1,
                _ => return prefixes,
            }
        }
    })
}

/// So many ones.
fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shr(128 - bits).unwrap_or(0)
}

/// Reads `ADDRESS`, `ADDRESS/LEN` and `ADDRESS-ADDRESS`.
pub fn parse(text: &str) -> Result<Span, String> {
    let address = |text: &str| text.parse::<IpAddr>().map_err(|error| error.to_string());
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (address(first.trim())?, address(last.trim())?);
        return match first.is_ipv4() == last.is_ipv4() && first <= last {
            true => Ok((first, last)),
            false => Err("the end lies before the beginning".to_owned()),
        };
    }
    if text.contains('/') {
        let prefix: IpNet = text
            .parse()
            .map_err(|error: ipnet::AddrParseError| error.to_string())?;
        return Ok((prefix.network(), prefix.broadcast()));
    }
    address(text).map(|address| (address, address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<String> {
        let mut spans = Spans::default();
        for text in texts {
            spans.add(parse(text).unwrap());
        }
        spans.prefixes().iter().map(IpNet::to_string).collect()
    }

    #[test]
    fn intervals_become_the_fewest_prefixes() {
        assert_eq!(
            prefixes(&["198.51.100.1-198.51.100.7"]),
            ["198.51.100.1/32", "198.51.100.2/31", "198.51.100.4/30"]
        );
        assert_eq!(
            prefixes(&["192.0.2.0/25", "192.0.2.128/25", "192.0.2.7"]),
            ["192.0.2.0/24"]
        );
        assert_eq!(
            prefixes(&["0.0.0.0-255.255.255.255", "::/0"]),
            ["0.0.0.0/0", "::/0"]
        );
        assert_eq!(
            prefixes(&["2001:db8::5-2001:db8::9"]),
            ["2001:db8::5/128", "2001:db8::6/127", "2001:db8::8/127"]
        );
        assert_eq!(
            prefixes(&["255.255.255.255", "ffff::/16"]),
            ["255.255.255.255/32", "ffff::/16"]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "192.0.2.1-",
            "192.0.2.9-192.0.2.1",
            "192.0.2.1-::1",
            "192.0.2.0/33",
            "host",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn just_the_addresses_of_the_spans_are_covered(
            spans in proptest::collection::vec((0u32..600, 0u32..80), 0..8),
            out in (0u32..600, 0u32..80),
        ) {
            let span = |(first, len): (u32, u32)| {
                let address = |n: u32| IpAddr::from(Ipv4Addr::from(n));
                (address(first), address(first + len))
            };
            let mut set = Spans::default();
            spans.iter().for_each(|it| set.add(span(*it)));
            set.remove(span(out));
            let prefixes = set.prefixes();
            let within = |(first, len): (u32, u32), n: u32| (first..=first + len).contains(&n);
            for n in 0..700 {
                let wanted = spans.iter().any(|it| within(*it, n)) && !within(out, n);
                let address = IpAddr::from(Ipv4Addr::from(n));
                prop_assert_eq!(prefixes.iter().any(|prefix| prefix.contains(&address)), wanted, "{}", n);
            }
            let aggregated = IpNet::aggregate(&prefixes);
            prop_assert_eq!(prefixes.len(), aggregated.len());
        }
    }
}
