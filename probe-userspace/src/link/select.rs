//! What an entry of the host file's `interfaces` means: a name, a pattern, or all that have a device behind them. Pure.

use super::{Kind, Link, by_index};

/// The entry that stands for every interface with a device behind it.
pub const ALL_PHYSICAL: &str = "all-physical";

/// Whether an entry is a pattern or [`ALL_PHYSICAL`], so that any number of interfaces can be meant.
pub fn is_wide(entry: &str) -> bool {
    entry == ALL_PHYSICAL || entry.contains(['*', '?'])
}

/// Whether an entry may mean an interface of this name that is not there to be looked at.
pub fn may_mean(entry: &str, ifname: &str) -> bool {
    match entry {
        ALL_PHYSICAL => true,
        pattern if is_wide(pattern) => matches(pattern.as_bytes(), ifname.as_bytes()),
        name => name == ifname,
    }
}

/// The interfaces that a wide entry means. Those that could not be judged by themselves are left out: loopback,
/// interfaces without an Ethernet header, VLAN devices, members of a bond. `all-physical` has the bond in the place of
/// its members.
pub(super) fn chosen<'a>(entry: &str, links: &'a [Link]) -> Vec<&'a Link> {
    let bond_of = |link: &Link| {
        let master = link.master.and_then(|master| by_index(links, master))?;
        matches!(master.kind, Kind::Bond(_)).then_some(master)
    };
    let mut found: Vec<&Link> = links
        .iter()
        .filter(|link| link.is_ethernet && link.kind != Kind::Vlan)
        .filter_map(|link| match (entry, bond_of(link)) {
            (ALL_PHYSICAL, bond) => link.is_physical.then(|| bond.unwrap_or(link)),
            (_, Some(_)) => None,
            (pattern, None) => matches(pattern.as_bytes(), link.name.as_bytes()).then_some(link),
        })
        .collect();
    found.sort_unstable_by_key(|link| link.ifindex);
    found.dedup_by_key(|link| link.ifindex);
    found
}

/// `*`: any number of bytes, `?`: one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, name)
                || name
                    .split_first()
                    .is_some_and(|(_, shorter)| matches(pattern, shorter))
        }
        (Some((b'?', rest)), Some((_, shorter))) => matches(rest, shorter),
        (Some((byte, rest)), Some((first, shorter))) => byte == first && matches(rest, shorter),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str, kind: Kind) -> Link {
        Link {
            ifindex,
            name: name.to_owned(),
            is_physical: kind == Kind::Hardware,
            kind,
            is_ethernet: true,
            ..Link::default()
        }
    }

    fn names(entry: &str, links: &[Link]) -> Vec<String> {
        chosen(entry, links)
            .iter()
            .map(|link| link.name.clone())
            .collect()
    }

    #[test]
    fn a_pattern_is_matched_as_a_whole() {
        let cases = [
            ("eth*", "eth0", true),
            ("eth*", "eth", true),
            ("eth*", "veth0", false),
            ("eth?", "eth10", false),
            ("e*s0", "enp0s0", true),
            ("e*s0", "enp0s01", false),
            ("*", "anything", true),
            ("**", "a", true),
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
        ];
        for (pattern, name, wanted) in cases {
            assert_eq!(may_mean(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn wide_entries_leave_out_what_cannot_be_judged_by_itself() {
        let mut links = vec![
            link(2, "eth0", Kind::Hardware),
            link(3, "eth1", Kind::Hardware),
            link(4, "eth2", Kind::Hardware),
            link(5, "bond0", Kind::Bond(1)),
            link(6, "eth0.5", Kind::Vlan),
            link(7, "ethx", Kind::Veth),
            link(8, "ethip", Kind::Other("wireguard".to_owned())),
        ];
        links[1].master = Some(5);
        links[2].master = Some(5);
        links[6].is_ethernet = false;
        assert_eq!(names("eth*", &links), ["eth0", "ethx"]);
        assert_eq!(names(ALL_PHYSICAL, &links), ["eth0", "bond0"]);
        assert_eq!(names("wan*", &links), [""; 0]);
    }
}
