//! The servers that lead out of a halt: of names, of time, of bundles. While the host is halted, their answers pass.
//!
//! DHCP servers are not among them: those of current leases and of the host file are failsafe anyway.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
};

use probe_common::limits::MAX_ENDPOINTS;

use super::surroundings::{Role, Surroundings, parse_udp_peers};
use crate::dataplane::Endpoint;

const TCP: u8 = 6;
const UDP: u8 = 17;
const DNS_PORT: u16 = 53;
const NTP_PORT: u16 = 123;

/// Largest file that is read: they are written by hand.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Files and directories in which time servers are named: of systemd-timesyncd.
const TIMESYNCD: [&str; 4] = [
    "etc/systemd/timesyncd.conf",
    "etc/systemd/timesyncd.conf.d",
    "run/systemd/timesyncd.conf.d",
    "usr/lib/systemd/timesyncd.conf.d",
];

/// The same, of chrony and ntpd.
const CHRONY_AND_NTPD: [&str; 8] = [
    "etc/chrony/chrony.conf",
    "etc/chrony.conf",
    "etc/chrony/conf.d",
    "etc/chrony/sources.d",
    "etc/chrony.d",
    "run/chrony-dhcp",
    "etc/ntp.conf",
    "etc/ntpsec/ntp.conf",
];

/// A server that is known by an address or a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// Address or name.
    pub host: String,
    /// The port that it answers from.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl Server {
    /// A server that bundles come from.
    pub fn of_bundles(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            protocol: TCP,
        }
    }

    /// A time server.
    pub fn of_time(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            port: NTP_PORT,
            protocol: UDP,
        }
    }

    fn at(&self, address: IpAddr) -> Endpoint {
        Endpoint {
            address: address.to_canonical(),
            port: self.port,
            protocol: self.protocol,
        }
    }
}

/// What the system under `root` names: resolvers, and time servers as far as they are known by address; and the time
/// servers that are known by name.
pub fn of_system(root: &Path, surroundings: &Surroundings) -> (Vec<Endpoint>, Vec<Server>) {
    let mut endpoints = Vec::new();
    let resolvers = surroundings.addresses.iter();
    for (address, _) in resolvers.filter(|(_, role)| *role == Role::Resolver) {
        endpoints.extend([UDP, TCP].map(|protocol| Endpoint {
            address: *address,
            port: DNS_PORT,
            protocol,
        }));
    }
    for path in ["proc/net/udp", "proc/net/udp6"] {
        let text = read(&root.join(path)).unwrap_or_default();
        let peers = parse_udp_peers(&text, NTP_PORT).into_iter();
        endpoints.extend(peers.map(|address| Server::of_time("").at(address)));
    }
    let timesyncd = files(root, &TIMESYNCD).into_iter();
    let others = files(root, &CHRONY_AND_NTPD).into_iter();
    let named: BTreeSet<Server> = timesyncd
        .flat_map(|text| parse_timesyncd(&text))
        .chain(others.flat_map(|text| parse_chrony(&text)))
        .map(|host| Server::of_time(&host))
        .collect();
    (endpoints, named.into_iter().collect())
}

/// Everything together, each once; those that come first are kept if they are too many.
pub fn together(
    servers: &[Server],
    endpoints: impl IntoIterator<Item = Endpoint>,
    names: &Names,
) -> Vec<Endpoint> {
    let mut seen = BTreeSet::new();
    let of_servers = servers.iter().flat_map(|server| names.endpoints_of(server));
    let mut all: Vec<Endpoint> = of_servers.chain(endpoints).collect();
    all.retain(|endpoint| seen.insert(*endpoint));
    all.truncate(MAX_ENDPOINTS as usize);
    all
}

/// Addresses of servers that are known by name. They are looked up by a thread of their own, because that can take long,
/// and only when asked for.
#[derive(Debug, Default)]
pub struct Names {
    known: BTreeMap<String, Vec<IpAddr>>,
    under_way: Option<Receiver<(String, Vec<IpAddr>)>>,
}

impl Names {
    /// Starts to look up these servers, unless that is under way.
    pub fn look_up(&mut self, servers: &[Server]) {
        if self.under_way.is_some() {
            return;
        }
        let names: BTreeSet<String> = servers
            .iter()
            .filter(|server| server.host.parse::<IpAddr>().is_err())
            .map(|server| server.host.clone())
            .collect();
        self.known.retain(|name, _| names.contains(name));
        if names.is_empty() {
            return;
        }
        let (found, inbox) = channel();
        let started = thread::Builder::new().name("names".to_owned()).spawn(move || {
            for name in names {
                // Port 0: only the addresses are of interest.
                let addresses: Vec<IpAddr> = match (name.as_str(), 0).to_socket_addrs() {
                    Ok(addresses) => addresses.map(|address| address.ip()).collect(),
                    Err(error) => {
                        tracing::debug!(name, "cannot be resolved: {error}");
                        continue;
                    }
                };
                if found.send((name, addresses)).is_err() {
                    return;
                }
            }
        });
        match started {
            Ok(_) => self.under_way = Some(inbox),
            Err(error) => tracing::warn!("names are not resolved: {error}"),
        }
    }

    /// Takes what was found since the last call; `true` if that is anything new. What cannot be resolved any more keeps
    /// the addresses that it had.
    pub fn take(&mut self) -> bool {
        let mut is_new = false;
        let Some(inbox) = &self.under_way else {
            return false;
        };
        loop {
            match inbox.try_recv() {
                Ok((name, mut addresses)) => {
                    addresses.sort_unstable();
                    addresses.dedup();
                    is_new |= self.known.get(&name) != Some(&addresses);
                    self.known.insert(name, addresses);
                }
                Err(TryRecvError::Empty) => return is_new,
                Err(TryRecvError::Disconnected) => {
                    self.under_way = None;
                    return is_new;
                }
            }
        }
    }

    fn endpoints_of(&self, server: &Server) -> Vec<Endpoint> {
        match server.host.parse() {
            Ok(address) => vec![server.at(address)],
            Err(_) => {
                let addresses = self.known.get(&server.host).into_iter().flatten();
                addresses.map(|address| server.at(*address)).collect()
            }
        }
    }
}

/// `NTP=` and `FallbackNTP=` of systemd-timesyncd.
fn parse_timesyncd(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            matches!(key.trim(), "NTP" | "FallbackNTP").then_some(value)
        })
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

/// `server`, `pool` and `peer` of chrony and ntpd.
fn parse_chrony(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            if !matches!(words.next()?, "server" | "pool" | "peer") {
                return None;
            }
            // ntpd: -4 and -6 choose the family.
            words.find(|word| !word.starts_with('-')).map(str::to_owned)
        })
        .collect()
}

/// The texts of files, and of all files in directories, that are there.
fn files(root: &Path, places: &[&str]) -> Vec<String> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for place in places {
        let path = root.join(place);
        match fs::read_dir(&path) {
            Ok(entries) => paths.extend(entries.filter_map(Result::ok).map(|entry| entry.path())),
            Err(_) => paths.push(path),
        }
    }
    paths.sort();
    paths.iter().filter_map(|path| read(path)).collect()
}

/// A file that is absent or unreadable counts as empty, as everywhere in what the system says of itself.
fn read(path: &Path) -> Option<String> {
    let info = fs::metadata(path).ok()?;
    if !info.is_file() || info.len() > MAX_FILE_BYTES {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_servers_of_every_daemon_are_found() {
        let timesyncd =
            "[Time]\n#NTP=commented.example\nNTP=192.0.2.1 ntp.example.org\nFallbackNTP = 2001:db8::1\n";
        assert_eq!(
            parse_timesyncd(timesyncd),
            ["192.0.2.1", "ntp.example.org", "2001:db8::1"]
        );
        let chrony = "# server no.example\nserver 192.0.2.2 iburst\n pool 2.debian.pool.ntp.org iburst\npeer -4 192.0.2.3\nserver\ndriftfile /x\n";
        assert_eq!(
            parse_chrony(chrony),
            ["192.0.2.2", "2.debian.pool.ntp.org", "192.0.2.3"]
        );
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_system_names_resolvers_time_servers_and_who_is_asked_now() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("etc/chrony/chrony.conf", "pool pool.example.org\n");
        write("etc/chrony/sources.d/own.sources", "server 192.0.2.9\n");
        write("etc/systemd/timesyncd.conf", "NTP=192.0.2.8\n");
        write(
            "proc/net/udp",
            "head\n 1: 020200C0:D431 070200C0:007B 01 0:0 0:0 0 0 0 1\n 2: 020200C0:D432 060200C0:0035 01 0:0 0:0 0 0 0 1\n",
        );
        let mut surroundings = Surroundings::default();
        surroundings.add(Role::Resolver, ["192.0.2.53".parse().unwrap()]);
        surroundings.add(Role::Gateway, ["192.0.2.1".parse().unwrap()]);
        let (endpoints, servers) = of_system(root.path(), &surroundings);
        let names: Vec<&str> = servers.iter().map(|server| server.host.as_str()).collect();
        assert_eq!(names, ["192.0.2.8", "192.0.2.9", "pool.example.org"]);
        let told: Vec<String> = together(&servers, endpoints, &Names::default())
            .iter()
            .map(|endpoint| format!("{} {} {}", endpoint.address, endpoint.port, endpoint.protocol))
            .collect();
        assert_eq!(
            told,
            [
                "192.0.2.8 123 17",
                "192.0.2.9 123 17",
                "192.0.2.53 53 17",
                "192.0.2.53 53 6",
                "192.0.2.7 123 17"
            ]
        );
    }

    #[test]
    fn a_name_gets_its_addresses_and_keeps_them() {
        let mut names = Names::default();
        let servers = [
            Server::of_bundles("localhost", 443),
            Server::of_bundles("192.0.2.1", 80),
        ];
        names.look_up(&servers);
        while names.under_way.is_some() {
            names.take();
            thread::yield_now();
        }
        let found = names.endpoints_of(&servers[0]);
        assert!(
            found
                .iter()
                .any(|endpoint| endpoint.address.is_loopback() && endpoint.port == 443),
            "{found:?}"
        );
        let before = names.known.clone();
        names.look_up(&servers);
        while names.under_way.is_some() {
            assert!(!names.take(), "nothing new");
            thread::yield_now();
        }
        assert_eq!(names.known, before);
        names.look_up(&[]);
        assert!(names.known.is_empty(), "nobody wants it any more");
    }

    #[test]
    fn of_too_many_the_first_are_kept() {
        let servers: Vec<Server> = (0..=MAX_ENDPOINTS)
            .map(|idx| Server::of_time(&format!("10.0.{}.{}", idx / 256, idx % 256)))
            .collect();
        let told = together(&servers, [], &Names::default());
        assert_eq!(told.len(), MAX_ENDPOINTS as usize);
        assert_eq!(told[0].address.to_string(), "10.0.0.0");
    }
}
