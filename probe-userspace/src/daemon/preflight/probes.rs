//! Which addresses of a prefix stand for all of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::compile::Image;

/// Most addresses that are asked about in one prefix.
const MAX_ADDRESSES: usize = 8192;

/// First and last address of the prefix, the first of every run of one class inside it, and both ends and the
/// neighbours of every override inside it: between two of them the policy cannot change its mind.
pub fn addresses(image: &Image, prefix: IpNet) -> Vec<IpAddr> {
    let (first, last) = (prefix.network(), last_address(prefix));
    let mut found = vec![first, last];
    if first != last {
        let starts_v4 = image.location.ranges_v4.iter().map(|(start, _)| start);
        let starts_v6 = image.location.ranges_v6.iter().map(|(start, _)| start);
        match prefix {
            IpNet::V4(_) => found.extend(
                starts_v4
                    .map(|start| IpAddr::V4(Ipv4Addr::from(start)))
                    .filter(|start| prefix.contains(start))
                    .take(MAX_ADDRESSES / 2),
            ),
            IpNet::V6(_) => found.extend(
                starts_v6
                    .map(|start| IpAddr::V6(Ipv6Addr::from(start)))
                    .filter(|start| prefix.contains(start))
                    .take(MAX_ADDRESSES / 2),
            ),
        }
        let inside = image
            .overrides
            .iter()
            .filter(|entry| prefix.contains(&entry.prefix));
        for entry in inside.take(MAX_ADDRESSES / 8) {
            let (first, last) = (entry.prefix.network(), last_address(entry.prefix));
            let neighbours = [step(first, false), step(last, true)];
            found.extend([first, last]);
            found.extend(
                neighbours
                    .into_iter()
                    .flatten()
                    .filter(|address| prefix.contains(address)),
            );
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The broadcast address of an IPv4 prefix is an address like any other here.
fn last_address(prefix: IpNet) -> IpAddr {
    prefix.broadcast()
}

fn step(address: IpAddr, up: bool) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let number = u32::from(address);
            let next = if up {
                number.checked_add(1)
            } else {
                number.checked_sub(1)
            };
            next.map(|number| IpAddr::V4(Ipv4Addr::from(number)))
        }
        IpAddr::V6(address) => {
            let number = u128::from(address);
            let next = if up {
                number.checked_add(1)
            } else {
                number.checked_sub(1)
            };
            next.map(|number| IpAddr::V6(Ipv6Addr::from(number)))
        }
    }
}

#[cfg(test)]
mod tests {
    use probe_common::{FOREVER, OverrideValue, profile};

    use super::*;
    use crate::{compile::Override, daemon::test_policy};

    fn probed(prefix: &str) -> Vec<String> {
        let mut image = test_policy::bare_image();
        image.overrides = ["198.51.100.64/30", "2001:db8::/127"]
            .map(|prefix| Override {
                prefix: prefix.parse().unwrap(),
                value: OverrideValue {
                    until_s: FOREVER,
                    profile: profile::DENY,
                    prefix_len: 30,
                    flags: 0,
                },
                why: String::new(),
            })
            .to_vec();
        addresses(&image, prefix.parse().unwrap())
            .iter()
            .map(IpAddr::to_string)
            .collect()
    }

    #[test]
    fn a_single_address_is_asked_about_once() {
        assert_eq!(probed("198.51.100.65/32"), ["198.51.100.65"]);
    }

    #[test]
    fn ends_of_runs_and_overrides_inside_are_asked_about() {
        // The bare image has a run that starts at 198.51.100.128.
        assert_eq!(
            probed("198.51.100.0/24"),
            [
                "198.51.100.0",
                "198.51.100.63",
                "198.51.100.64",
                "198.51.100.67",
                "198.51.100.68",
                "198.51.100.128",
                "198.51.100.255"
            ]
        );
        assert_eq!(
            probed("2001:db8::/64"),
            [
                "2001:db8::",
                "2001:db8::1",
                "2001:db8::2",
                "2001:db8::ffff:ffff:ffff:ffff"
            ]
        );
    }
}
