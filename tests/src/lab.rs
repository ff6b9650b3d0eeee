//! The lab: an "internet" and an "edge" joined by a veth pair, with real servers on the edge.
//!
//! The internet answers for **every** address there is, so traffic can come from any source without adding it
//! first: its local routing table holds a default route. Only the lab's own prefixes are excepted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};

use anyhow::Context as _;
use nix::sys::socket::SockType;

use crate::{
    netns::Netns,
    probes::{self, Outcome, Probe, Protocol, Reach},
    servers::Servers,
};

/// The edge's interface, which cordon is attached to.
pub const EDGE_IFNAME: &str = "edge0";
/// The internet's end of the veth pair.
pub const INTERNET_IFNAME: &str = "inet0";
/// MAC address of [`EDGE_IFNAME`].
pub const EDGE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// MAC address of [`INTERNET_IFNAME`].
pub const INTERNET_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
/// The edge's IPv4 address, in the range for benchmarks (RFC 2544).
pub const EDGE_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The edge's IPv6 address, in the range for benchmarks (RFC 5180).
pub const EDGE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);
/// The edge's IPv4 gateway: the internet's own address.
pub const INTERNET_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The edge's IPv6 gateway.
pub const INTERNET_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2);
/// The lab's own IPv4 prefix: no source of traffic may lie in it, but for [`INTERNET_V4`].
pub const LAB_V4: &str = "198.18.0.0/15";
/// The lab's own IPv6 prefix.
pub const LAB_V6: &str = "2001:2::/48";

/// Internet, edge and the servers on the edge.
#[derive(Debug)]
pub struct Lab {
    // Fields are dropped in this order: the servers' sockets before the namespaces they are in.
    _servers: Servers,
    /// The namespace that all traffic comes from.
    pub internet: Netns,
    /// The namespace that cordon protects.
    pub edge: Netns,
}

impl Lab {
    /// Makes the namespaces, joins them and starts the servers.
    pub fn new() -> anyhow::Result<Self> {
        let internet = Netns::new()?;
        let edge = Netns::new()?;
        // Addresses are usable at once, and no router is asked for.
        for netns in [&internet, &edge] {
            for conf in ["all", "default"] {
                netns.sysctl(&format!("ipv6/conf/{conf}/accept_dad"), "0")?;
                netns.sysctl(&format!("ipv6/conf/{conf}/router_solicitations"), "0")?;
                netns.sysctl(&format!("ipv4/conf/{conf}/rp_filter"), "0")?;
            }
        }
        internet.sysctl("ipv4/ip_nonlocal_bind", "1")?;
        internet.sysctl("ipv6/ip_nonlocal_bind", "1")?;
        internet.sysctl("ipv4/ping_group_range", "0 2147483647")?;

        edge.ip_batch(&format!(
            "link add {EDGE_IFNAME} address {} type veth peer name {INTERNET_IFNAME} address {} netns {}\n\
             address add {EDGE_V4}/15 dev {EDGE_IFNAME}\n\
             address add {EDGE_V6}/48 dev {EDGE_IFNAME} nodad\n\
             link set {EDGE_IFNAME} up\n",
            mac_text(EDGE_MAC),
            mac_text(INTERNET_MAC),
            internet.path(),
        ))
        .context("cannot set up the edge")?;
        internet
            .ip_batch(&format!(
                "address add {INTERNET_V4}/15 dev {INTERNET_IFNAME}\n\
                 address add {INTERNET_V6}/48 dev {INTERNET_IFNAME} nodad\n\
                 link set {INTERNET_IFNAME} up\n\
                 route add {LAB_V4} dev {INTERNET_IFNAME} table local\n\
                 route add local default dev lo table local\n"
            ))
            .context("cannot set up the internet")?;
        internet
            .ip6_batch(&format!(
                "route add {LAB_V6} dev {INTERNET_IFNAME} table local\n\
                 route add fe80::/10 dev {INTERNET_IFNAME} table local\n\
                 route add local default dev lo table local\n"
            ))
            .context("cannot set up the internet's IPv6")?;
        edge.ip_batch(&format!(
            "route add default via {INTERNET_V4} dev {EDGE_IFNAME}\n"
        ))?;
        edge.ip6_batch(&format!(
            "route add default via {INTERNET_V6} dev {EDGE_IFNAME}\n"
        ))?;

        let servers = Servers::start(&edge)?;
        Ok(Self {
            _servers: servers,
            internet,
            edge,
        })
    }

    /// Sends these probes from the internet to the edge, all at once, and says for each whether it was answered.
    pub fn probe(&self, probes: &[Probe]) -> anyhow::Result<Vec<Outcome>> {
        self.internet.run(|| probes::run(probes))
    }

    /// Probes the edge by every protocol from each source.
    pub fn reach(&self, sources: &[IpAddr]) -> anyhow::Result<Vec<Reach>> {
        let probes: Vec<Probe> = sources
            .iter()
            .flat_map(|source| {
                Protocol::ALL.map(|protocol| Probe {
                    source: *source,
                    protocol,
                })
            })
            .collect();
        let outcomes = self.probe(&probes)?;
        Ok(outcomes
            .chunks_exact(Protocol::ALL.len())
            .map(Reach::new)
            .collect())
    }

    /// Probes the edge by every protocol from one source.
    pub fn reach_from(&self, source: IpAddr) -> anyhow::Result<Reach> {
        self.reach(&[source])?
            .pop()
            .context("one source gives one answer")
    }

    /// A connection from a source to a port of the edge, under way.
    pub fn connect(&self, source: IpAddr, port: u16) -> anyhow::Result<TcpStream> {
        let socket = self
            .internet
            .run(|| probes::open_socket(source, SockType::Stream, None, port));
        Ok(socket
            .with_context(|| format!("cannot connect from {source}"))?
            .into())
    }

    /// Makes the internet send nothing by itself: no ARP, no IPv6, hence no neighbour discovery and no multicast
    /// listener reports. What arrives at the edge from now on is what raw frames bring.
    pub fn silence_internet(&self) -> anyhow::Result<()> {
        self.internet
            .sysctl(&format!("ipv6/conf/{INTERNET_IFNAME}/disable_ipv6"), "1")?;
        self.internet
            .ip_batch(&format!("link set {INTERNET_IFNAME} arp off\n"))
    }

    /// Forgets all neighbours on both sides, so that the next packet needs ARP or neighbour discovery.
    pub fn flush_neighbours(&self) -> anyhow::Result<()> {
        for (netns, ifname) in [(&self.internet, INTERNET_IFNAME), (&self.edge, EDGE_IFNAME)] {
            for family in ["-4", "-6"] {
                netns.ip(&[family, "neighbour", "flush", "dev", ifname])?;
            }
        }
        Ok(())
    }

    /// The edge's interface as `ip -details link show` prints it: with XDP programs, if there are any.
    pub fn edge_link(&self) -> anyhow::Result<String> {
        self.edge.ip(&["-details", "link", "show", "dev", EDGE_IFNAME])
    }
}

/// The edge's address of the family of a source.
pub fn edge_address(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => EDGE_V4.into(),
        IpAddr::V6(_) => EDGE_V6.into(),
    }
}

/// A MAC address as `ip` and policies write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
