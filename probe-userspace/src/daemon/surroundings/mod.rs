//! What the host depends on to stay reachable: SSH peers, gateways, resolvers, DHCP servers, and its interfaces.
//!
//! Each source has a pure parser; [`Surroundings::read`] is the only part that opens files. A file that is
//! absent or unreadable counts as empty: this is advice for `init` and for the lockout check.

mod dhcp;
mod interfaces;
mod mpls;
mod resolver;
mod route;
mod session;
mod tcp;

use std::{fs, net::IpAddr, path::Path};

pub use interfaces::uplinks;
pub use mpls::{mpls_sysctl, takes_mpls};
pub use resolver::parse_resolv_conf;
pub use route::{parse_ipv6_route, parse_route};
pub use tcp::{listening_ports, parse_tcp, parse_udp_peers};

/// Why an address matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Somebody works on this host from there.
    SshPeer,
    /// The default route.
    Gateway,
    /// Name resolution.
    Resolver,
    /// The host's own address lease.
    DhcpServer,
    /// It has a connection to the SSH port, but nobody is known to have logged in by it. Anybody may have such.
    SshStranger,
}

impl Role {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::SshPeer => "SSH peer",
            Self::Gateway => "default gateway",
            Self::Resolver => "resolver",
            Self::DhcpServer => "DHCP server",
            Self::SshStranger => "peer of an SSH connection without a login",
        }
    }
}

/// Addresses that the host depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Address and role, sorted, each pair once.
    pub addresses: Vec<(IpAddr, Role)>,
}

impl Surroundings {
    /// Reads what the system under `root` (`/` outside tests) says.
    pub fn read(root: &Path, ssh_ports: &[u16]) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let mut found = Self::default();
        let connections = ["proc/net/tcp", "proc/net/tcp6"].map(text);
        let connected = connections.iter().flat_map(|text| parse_tcp(text, ssh_ports));
        let connected: Vec<IpAddr> = connected.map(|address| address.to_canonical()).collect();
        if !connected.is_empty() {
            let sessions: Option<Vec<IpAddr>> = session::peers(root)
                .map(|peers| peers.into_iter().map(|address| address.to_canonical()).collect());
            // Where nobody can tell, no one is cut off.
            let has_logged_in =
                |address: &IpAddr| sessions.as_ref().is_none_or(|peers| peers.contains(address));
            let (peers, strangers): (Vec<_>, Vec<_>) = connected.into_iter().partition(has_logged_in);
            found.add(Role::SshPeer, peers);
            found.add(Role::SshStranger, strangers);
        }
        found.add(Role::Gateway, parse_route(&text("proc/net/route")));
        found.add(Role::Gateway, parse_ipv6_route(&text("proc/net/ipv6_route")));
        // systemd-resolved: resolv.conf names its stub, the second file the servers behind it.
        for path in ["etc/resolv.conf", "run/systemd/resolve/resolv.conf"] {
            found.add(Role::Resolver, parse_resolv_conf(&text(path)));
        }
        found.add(Role::DhcpServer, dhcp::servers(root));
        found
    }

    /// Adds addresses; loopback, unspecified and link-local ones never meet a policy and are left out.
    pub fn add(&mut self, role: Role, addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            let address = address.to_canonical();
            if !is_local(address) {
                self.addresses.push((address, role));
            }
        }
        self.addresses.sort_unstable();
        self.addresses.dedup();
    }
}

/// DHCP servers of this host's current leases, sorted, each once.
pub fn dhcp_servers(root: &Path) -> Vec<IpAddr> {
    let mut found = Surroundings::default();
    found.add(Role::DhcpServer, dhcp::servers(root));
    found.addresses.into_iter().map(|(address, _)| address).collect()
}

/// The caller's SSH peer, from `SSH_CONNECTION` (`peer port address port`) or `SSH_CLIENT`.
pub fn parse_ssh_connection(value: &str) -> Option<IpAddr> {
    let address = value.split_whitespace().next()?;
    let address = address.split('%').next()?;
    address.parse().ok()
}

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_unspecified() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_connection_names_the_peer_first() {
        let peer = |value| parse_ssh_connection(value).map(|address: IpAddr| address.to_string());
        assert_eq!(
            peer("203.0.113.9 50522 192.0.2.1 22").as_deref(),
            Some("203.0.113.9")
        );
        assert_eq!(
            peer("2001:db8::7 50522 2001:db8::1 22").as_deref(),
            Some("2001:db8::7")
        );
        assert_eq!(
            peer("fe80::1%eth0 50522 fe80::2%eth0 22").as_deref(),
            Some("fe80::1")
        );
        assert_eq!(peer(""), None);
        assert_eq!(peer("UNKNOWN 1 2 3"), None);
    }

    #[test]
    fn whoever_is_connected_counts_as_a_peer_where_nobody_can_tell() {
        let root = tempfile::tempdir().unwrap();
        let net = root.path().join("proc/net");
        fs::create_dir_all(&net).unwrap();
        let line = "0: 010200C0:0016 097100CB:C55A 01 00000000:00000000 00:00000000 00000000 0 0 1 1 0 20 4 30 10 -1";
        fs::write(net.join("tcp"), format!("sl local rem st\n{line}\n")).unwrap();
        let role = || Surroundings::read(root.path(), &[22]).addresses;
        let address = "203.0.113.9".parse().unwrap();
        assert_eq!(role(), [(address, Role::SshPeer)]);
        fs::create_dir_all(root.path().join("run/systemd/sessions")).unwrap();
        assert_eq!(role(), [(address, Role::SshStranger)]);
    }

    #[test]
    fn addresses_that_no_policy_sees_are_left_out() {
        let mut found = Surroundings::default();
        let addresses = [
            "127.0.0.53",
            "::1",
            "fe80::1",
            "169.254.1.1",
            "::ffff:192.0.2.7",
            "192.0.2.7",
        ];
        found.add(Role::Resolver, addresses.map(|address| address.parse().unwrap()));
        assert_eq!(
            found.addresses,
            [("192.0.2.7".parse().unwrap(), Role::Resolver)],
            "a mapped address is its IPv4 address"
        );
    }
}
