//! Interfaces as the kernel shows them by rtnetlink, in the network namespace of the process: what is there, what
//! changes, and what stands in the way of attaching to it.

mod advise;
mod ethtool;
mod netlink;
mod parse;
mod place;
mod select;
mod stats;
mod watch;

use std::{io, net::IpAddr};

pub use advise::{Obstacle, advise, check, why_skb};
pub use ethtool::{Features, features};
pub use place::{Place, Placement, place};
pub use select::{ALL_PHYSICAL, is_wide, may_mean};
pub use stats::received;
pub use watch::Watch;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Longest packet without the Ethernet header.
    pub mtu: u32,
    /// MAC address; zero if it has none of six bytes.
    pub mac: [u8; 6],
    /// What it is.
    pub kind: Kind,
    /// Whether a device is behind it (`IFLA_PARENT_DEV_NAME`, Linux 5.14) and no other interface.
    pub is_physical: bool,
    /// Whether its frames begin with an Ethernet header.
    pub is_ethernet: bool,
    /// The VLAN of a VLAN device.
    pub vlan_id: Option<u16>,
    /// The interface below it (VLAN devices, macvlan), if that is in this network namespace.
    pub parent: Option<u32>,
    /// The bond or bridge that it is a port of.
    pub master: Option<u32>,
    /// Up, and with a carrier: frames sent to it leave.
    pub is_up: bool,
    /// XDP program on it, whoever put it there.
    pub xdp: Option<u32>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// What an interface is made by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Hardware or a hypervisor: no kind of its own.
    #[default]
    Hardware,
    /// `lo`.
    Loopback,
    /// A VLAN of another interface.
    Vlan,
    /// Several interfaces as one; the mode as in `IFLA_BOND_MODE`.
    Bond(u8),
    /// A bridge.
    Bridge,
    /// One end of a pair.
    Veth,
    /// Anything else, by its name in `ip -details link`.
    Other(String),
}

/// All interfaces of this network namespace, by index, each with its addresses.
pub fn snapshot() -> io::Result<Vec<Link>> {
    let mut links: Vec<Link> = netlink::dump(netlink::Table::Links)?
        .iter()
        .filter_map(|body| parse::link(body))
        .collect();
    links.sort_unstable_by_key(|link| link.ifindex);
    for body in netlink::dump(netlink::Table::Addresses)? {
        let Some((ifindex, address)) = parse::address(&body) else {
            continue;
        };
        if let Some(link) = links.iter_mut().find(|link| link.ifindex == ifindex) {
            link.addresses.push(address);
        }
    }
    Ok(links)
}

/// Whether the kernel knows the link address of a neighbour, and has not found it gone.
pub fn is_neighbour(address: IpAddr) -> io::Result<bool> {
    let bodies = netlink::dump(netlink::Table::Neighbours)?;
    let mut neighbours = bodies.iter().filter_map(|body| parse::neighbour(body));
    Ok(neighbours.any(|(other, is_valid)| other == address && is_valid))
}

/// An interface by its name.
pub fn by_name<'a>(links: &'a [Link], name: &str) -> Option<&'a Link> {
    links.iter().find(|link| link.name == name)
}

/// An interface by its index.
pub fn by_index(links: &[Link], ifindex: u32) -> Option<&Link> {
    links.iter().find(|link| link.ifindex == ifindex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback_interface() {
        let links = snapshot().unwrap();
        let lo = by_name(&links, "lo").unwrap();
        assert_eq!(lo.kind, Kind::Loopback);
        assert_eq!(lo.ifindex, 1);
        assert_eq!(by_index(&links, 1), Some(lo));
        assert!(lo.mtu >= 1280 && !lo.is_ethernet, "{lo:?}");
    }
}
