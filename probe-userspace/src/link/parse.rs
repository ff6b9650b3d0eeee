//! Messages of rtnetlink. Only the attributes that cordon needs are looked at, so that one which is new or odd
//! hides no interface. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::NlasIterator;

use super::{Kind, Link};

/// Lengths of `ifinfomsg` and `ifaddrmsg`.
const LINK_HEADER_LEN: usize = 16;
const ADDRESS_HEADER_LEN: usize = 8;
/// Length of `if_stats_msg`.
const STATS_HEADER_LEN: usize = 12;
/// Length of `ndmsg`.
const NEIGHBOUR_HEADER_LEN: usize = 12;

/// `IFLA_PARENT_DEV_NAME` (include/uapi/linux/if_link.h).
const PARENT_DEVICE: u16 = 56;

/// `ARPHRD_ETHER`, `ARPHRD_LOOPBACK` (include/uapi/linux/if_arp.h).
const ETHER: u16 = 1;
const LOOPBACK: u16 = 772;

/// A link message behind its netlink header; `None` if it has no name.
pub(super) fn link(body: &[u8]) -> Option<Link> {
    let header = body.get(..LINK_HEADER_LEN)?;
    let link_type = u16_at(header, 2)?;
    let flags = u32_at(header, 8)?;
    let up = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;
    let mut link = Link {
        ifindex: u32_at(header, 4)?,
        is_ethernet: link_type == ETHER,
        is_up: flags & up == up,
        ..Link::default()
    };
    if link_type == LOOPBACK {
        link.kind = Kind::Loopback;
    }
    let mut is_parent_elsewhere = false;
    let mut has_device = false;
    for (kind, value) in attributes(&body[LINK_HEADER_LEN..]) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_MTU => link.mtu = u32_at(value, 0)?,
            libc::IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            libc::IFLA_LINK => link.parent = u32_at(value, 0),
            libc::IFLA_LINK_NETNSID => is_parent_elsewhere = true,
            libc::IFLA_MASTER => link.master = u32_at(value, 0),
            PARENT_DEVICE => has_device = true,
            libc::IFLA_XDP => link.xdp = xdp(value),
            libc::IFLA_LINKINFO => (link.kind, link.vlan_id) = info(value),
            _ => {}
        }
    }
    link.is_physical = has_device && link.kind == Kind::Hardware;
    // The other end of a veth pair is not below it.
    if is_parent_elsewhere || link.kind == Kind::Veth || link.parent == Some(link.ifindex) {
        link.parent = None;
    }
    (!link.name.is_empty()).then_some(link)
}

/// An address message behind its netlink header: index and address.
pub(super) fn address(body: &[u8]) -> Option<(u32, IpAddr)> {
    let ifindex = u32_at(body, 4)?;
    let mut found = None;
    for (kind, value) in attributes(body.get(ADDRESS_HEADER_LEN..)?) {
        let address = ip_address(value);
        match kind {
            // On a point-to-point link IFA_ADDRESS is the other side's.
            libc::IFA_LOCAL => return Some((ifindex, address?)),
            libc::IFA_ADDRESS => found = address,
            _ => {}
        }
    }
    Some((ifindex, found?))
}

/// A neighbour message behind its netlink header: address, and whether its link address is known (`NUD_VALID` in
/// include/net/neighbour.h).
pub(super) fn neighbour(body: &[u8]) -> Option<(IpAddr, bool)> {
    let valid = libc::NUD_PERMANENT
        | libc::NUD_NOARP
        | libc::NUD_REACHABLE
        | libc::NUD_PROBE
        | libc::NUD_STALE
        | libc::NUD_DELAY;
    let state = u16_at(body, 8)?;
    let mut attributes = attributes(body.get(NEIGHBOUR_HEADER_LEN..)?);
    let (_, address) = attributes.find(|(kind, _)| *kind == libc::NDA_DST)?;
    Some((ip_address(address)?, state & valid != 0))
}

/// A message with statistics behind its netlink header: frames received, the first field of `rtnl_link_stats64`.
pub(super) fn received(body: &[u8]) -> Option<u64> {
    const LINK_64: u16 = 1;
    let mut attributes = attributes(body.get(STATS_HEADER_LEN..)?);
    let (_, stats) = attributes.find(|(kind, _)| *kind == LINK_64)?;
    Some(u64::from_ne_bytes(stats.get(..8)?.try_into().ok()?))
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()),
        _ => None,
    }
}

/// Id of the program, if there is one (`IFLA_XDP_PROG_ID`, or the one of the mode if there are several).
fn xdp(value: &[u8]) -> Option<u32> {
    const PROG_ID: u16 = 4;
    const HW_PROG_ID: u16 = 7;
    attributes(value)
        .filter(|(kind, _)| (PROG_ID..=HW_PROG_ID).contains(kind))
        .find_map(|(_, id)| u32_at(id, 0).filter(|id| *id != 0))
}

fn info(value: &[u8]) -> (Kind, Option<u16>) {
    /// The first attribute of each kind's data: `IFLA_VLAN_ID`, `IFLA_BOND_MODE`.
    const FIRST: u16 = 1;
    let find = |wanted| {
        attributes(value)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    };
    let name = find(libc::IFLA_INFO_KIND).map(text).unwrap_or_default();
    let data = find(libc::IFLA_INFO_DATA).unwrap_or_default();
    let first = attributes(data)
        .find(|(kind, _)| *kind == FIRST)
        .map(|(_, value)| value);
    match name.as_str() {
        "" => (Kind::Hardware, None),
        "vlan" => (Kind::Vlan, first.and_then(|id| u16_at(id, 0))),
        "bond" => {
            let mode = first.and_then(|mode| mode.first().copied());
            (Kind::Bond(mode.unwrap_or_default()), None)
        }
        "bridge" => (Kind::Bridge, None),
        "veth" => (Kind::Veth, None),
        _ => (Kind::Other(name), None),
    }
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let kind = attribute.kind();
        let bytes = attribute.into_inner();
        let len = u16_at(bytes, 0).map_or(0, usize::from);
        (kind, bytes.get(4..len).unwrap_or_default())
    })
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(link_type: u16, flags: i32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend(link_type.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend((flags as u32).to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(attributes.concat());
        bytes
    }

    fn named(name: &str) -> Vec<u8> {
        attribute(libc::IFLA_IFNAME, format!("{name}\0").as_bytes())
    }

    #[test]
    fn a_vlan_device_names_its_vlan_and_its_parent() {
        let data = attribute(1, &5u16.to_ne_bytes());
        let info = [
            attribute(libc::IFLA_INFO_KIND, b"vlan\0"),
            attribute(libc::IFLA_INFO_DATA, &data),
        ];
        let body = message(
            ETHER,
            libc::IFF_UP | libc::IFF_LOWER_UP,
            &[
                named("eth0.5"),
                attribute(libc::IFLA_MTU, &1500u32.to_ne_bytes()),
                attribute(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]),
                attribute(libc::IFLA_LINK, &3u32.to_ne_bytes()),
                attribute(libc::IFLA_LINKINFO, &info.concat()),
                attribute(999, &[1]),
            ],
        );
        let found = link(&body).unwrap();
        assert_eq!(
            found,
            Link {
                ifindex: 7,
                name: "eth0.5".to_owned(),
                mtu: 1500,
                mac: [2, 0, 0, 0, 0, 1],
                kind: Kind::Vlan,
                is_ethernet: true,
                vlan_id: Some(5),
                parent: Some(3),
                is_up: true,
                ..Link::default()
            }
        );
    }

    #[test]
    fn a_bond_names_its_mode_and_a_member_its_bond() {
        let data = attribute(1, &[4]);
        let info = [
            attribute(libc::IFLA_INFO_KIND, b"bond\0"),
            attribute(libc::IFLA_INFO_DATA, &data),
        ];
        let bond = message(
            ETHER,
            0,
            &[named("bond0"), attribute(libc::IFLA_LINKINFO, &info.concat())],
        );
        assert_eq!(link(&bond).unwrap().kind, Kind::Bond(4));
        let member = message(
            ETHER,
            libc::IFF_UP,
            &[
                named("eth0"),
                attribute(libc::IFLA_MASTER, &9u32.to_ne_bytes()),
                attribute(libc::IFLA_XDP, &attribute(4, &77u32.to_ne_bytes())),
            ],
        );
        let member = link(&member).unwrap();
        assert_eq!((member.master, member.xdp), (Some(9), Some(77)));
        assert!(!member.is_up, "up, but without a carrier");
    }

    #[test]
    fn physical_is_what_has_a_device_and_no_kind() {
        let device = attribute(PARENT_DEVICE, b"0000:00:03.0\0");
        let card = message(ETHER, 0, &[named("eth0"), device.clone()]);
        assert!(link(&card).unwrap().is_physical);
        let info = attribute(libc::IFLA_INFO_KIND, b"macvlan\0");
        let above = message(
            ETHER,
            0,
            &[named("mac0"), device, attribute(libc::IFLA_LINKINFO, &info)],
        );
        assert!(!link(&above).unwrap().is_physical);
        assert!(!link(&message(ETHER, 0, &[named("eth0")])).unwrap().is_physical);
    }

    #[test]
    fn the_other_end_of_a_veth_pair_is_no_parent() {
        let info = attribute(libc::IFLA_INFO_KIND, b"veth\0");
        let body = message(
            ETHER,
            0,
            &[
                named("veth0"),
                attribute(libc::IFLA_LINK, &3u32.to_ne_bytes()),
                attribute(libc::IFLA_LINKINFO, &info),
            ],
        );
        let found = link(&body).unwrap();
        assert_eq!((found.kind, found.parent), (Kind::Veth, None));
    }

    #[test]
    fn the_local_address_counts_on_a_point_to_point_link() {
        let mut body = vec![2, 32, 0, 0];
        body.extend(4u32.to_ne_bytes());
        body.extend(attribute(libc::IFA_ADDRESS, &[192, 0, 2, 2]));
        body.extend(attribute(libc::IFA_LOCAL, &[192, 0, 2, 1]));
        assert_eq!(address(&body), Some((4, "192.0.2.1".parse().unwrap())));
        let mut body = vec![10, 64, 0, 0];
        body.extend(4u32.to_ne_bytes());
        let six: Ipv6Addr = "2001:db8::1".parse().unwrap();
        body.extend(attribute(libc::IFA_ADDRESS, &six.octets()));
        assert_eq!(address(&body), Some((4, six.into())));
    }

    #[test]
    fn what_is_cut_short_is_no_link() {
        let body = message(ETHER, 0, &[named("eth0")]);
        assert!(link(&body).is_some());
        for len in 0..=LINK_HEADER_LEN {
            assert_eq!(link(&body[..len]), None, "{len}");
        }
        assert_eq!(address(&[2, 32, 0, 0]), None);
    }
}
