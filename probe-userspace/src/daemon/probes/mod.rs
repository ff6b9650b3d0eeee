//! Probes: does what this host depends on still answer? Asked before a policy is published and again and again after
//! it, so that cordon can confirm it by itself.

mod dns;
mod http;
mod ping;
mod share;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _},
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

pub use share::{Counts, Share};

use super::surroundings::{Role, Surroundings};
use crate::{
    host::{Host, Probe, SourceUrl},
    link,
};

/// Longest time that one probe may take; what comes later counts as no answer.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time to wait for one answer within a probe.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two rounds.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Something that can be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The gateway answers an echo request, or is at least a known neighbour.
    Gateway {
        /// Its address.
        address: IpAddr,
        /// It answered echo requests before: it must go on to.
        answers_ping: bool,
    },
    /// The resolver answers a question.
    Resolver(SocketAddr),
    /// A connection can be made to the server of a source.
    BundleServer {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A connection can be made.
    Tcp(SocketAddr),
    /// A request is answered with this status.
    Http {
        /// Where.
        address: SocketAddr,
        /// Path and query.
        target: String,
        /// Expected status.
        status: u16,
    },
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway { address, .. } => write!(f, "gateway {address}"),
            Self::Resolver(address) => write!(f, "resolver {}", address.ip()),
            Self::BundleServer { host, port } => write!(f, "bundle server {host} port {port}"),
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Http { address, target, .. } => write!(f, "http://{address}{target}"),
        }
    }
}

/// What came of a check: `Err` says why it does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was tried.
    pub check: Check,
    /// What came of it.
    pub result: Result<(), String>,
}

/// What a host file asks for; without `[[probe]]` tables gateways and resolvers. And the most that the share of dropped
/// packets may rise by.
pub fn checks(host: &Host, root: &Path) -> (Vec<Check>, Option<f64>) {
    let default = [Probe::Gateway, Probe::Resolver];
    let probes = match host.probes.as_slice() {
        [] => &default[..],
        probes => probes,
    };
    let surroundings = Surroundings::read(root, &[]);
    let of = |role| {
        let addresses = surroundings.addresses.iter();
        addresses
            .filter(move |(_, other)| *other == role)
            .map(|(address, _)| *address)
    };
    let mut checks = Vec::new();
    let mut max_share = None;
    for probe in probes {
        match probe {
            Probe::Gateway => checks.extend(of(Role::Gateway).map(|address| Check::Gateway {
                address,
                answers_ping: true,
            })),
            Probe::Resolver => checks.extend(
                of(Role::Resolver).map(|address| Check::Resolver(SocketAddr::new(address, dns::PORT))),
            ),
            Probe::BundleServer => {
                checks.extend(host.sources.iter().filter_map(|source| match &source.url {
                    SourceUrl::Web { host, port, .. } => Some(Check::BundleServer {
                        host: host.clone(),
                        port: *port,
                    }),
                    SourceUrl::File(_) => None,
                }))
            }
            Probe::Tcp(address) => checks.push(Check::Tcp(*address)),
            Probe::Http {
                address,
                target,
                status,
            } => checks.push(Check::Http {
                address: *address,
                target: target.clone(),
                status: *status,
            }),
            Probe::DropShare(share) => max_share = Some(max_share.unwrap_or(1.0_f64).min(*share)),
        }
    }
    let mut seen: Vec<Check> = Vec::new();
    checks.retain(|check| {
        let is_new = !seen.contains(check);
        seen.push(check.clone());
        is_new
    });
    (checks, max_share)
}

/// Tries all of them at once. A gateway that answers no echo request gets a second chance as a neighbour, and that is
/// what is asked of it from then on.
pub fn before(checks: Vec<Check>) -> Vec<Outcome> {
    let mut outcomes = run(checks);
    let silent: Vec<Check> = outcomes
        .iter()
        .filter(|outcome| outcome.result.is_err())
        .filter_map(|outcome| match outcome.check {
            Check::Gateway { address, .. } => Some(Check::Gateway {
                address,
                answers_ping: false,
            }),
            _ => None,
        })
        .collect();
    for second in run(silent) {
        let address = |check: &Check| match check {
            Check::Gateway { address, .. } => Some(*address),
            _ => None,
        };
        if let Some(outcome) = outcomes
            .iter_mut()
            .find(|outcome| address(&outcome.check) == address(&second.check))
        {
            *outcome = second;
        }
    }
    outcomes
}

/// Tries them at once, each in a thread of its own, in their order.
pub fn run(checks: Vec<Check>) -> Vec<Outcome> {
    let deadline = Instant::now() + TIMEOUT;
    let (sender, results) = mpsc::channel();
    for (idx, check) in checks.iter().enumerate() {
        let (sender, check) = (sender.clone(), check.clone());
        let spawned = thread::Builder::new()
            .name("probe".to_owned())
            .spawn(move || drop(sender.send((idx, attempt(&check)))));
        if let Err(error) = spawned {
            tracing::warn!("cannot start a probe: {error}");
        }
    }
    drop(sender);
    let late = || Err(format!("no answer within {} s", TIMEOUT.as_secs()));
    let mut outcomes: Vec<Outcome> = checks
        .into_iter()
        .map(|check| Outcome {
            check,
            result: late(),
        })
        .collect();
    while let Ok((idx, result)) = results.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Some(outcome) = outcomes.get_mut(idx) {
            outcome.result = result;
        }
    }
    outcomes
}

fn attempt(check: &Check) -> Result<(), String> {
    match check {
        Check::Gateway {
            address,
            answers_ping: true,
        } => ping::ping(*address, ANSWER_TIMEOUT),
        Check::Gateway {
            address,
            answers_ping: false,
        } => neighbour(*address),
        Check::Resolver(address) => dns::ask(*address, ANSWER_TIMEOUT),
        Check::BundleServer { host, port } => {
            let addresses = (host.as_str(), *port).to_socket_addrs();
            let addresses: Vec<SocketAddr> = addresses
                .map_err(|error| format!("cannot look it up: {error}"))?
                .collect();
            let mut last = Err("it has no address".to_owned());
            for address in addresses {
                last = connect(address);
                if last.is_ok() {
                    break;
                }
            }
            last
        }
        Check::Tcp(address) => connect(*address),
        Check::Http {
            address,
            target,
            status,
        } => http::get(*address, target, *status, ANSWER_TIMEOUT),
    }
}

fn connect(address: SocketAddr) -> Result<(), String> {
    TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)
        .map(drop)
        .map_err(|error| format!("no connection: {error}"))
}

/// An echo request makes the kernel ask who has the address; what it learned is what counts.
fn neighbour(address: IpAddr) -> Result<(), String> {
    // Whether it is answered does not matter.
    drop(ping::ping(address, ANSWER_TIMEOUT));
    match link::is_neighbour(address) {
        Ok(true) => Ok(()),
        Ok(false) => Err("it answers neither echo requests nor ARP or neighbour discovery".to_owned()),
        Err(error) => Err(format!("cannot read the neighbours: {error}")),
    }
}

/// All checks, tried once.
#[derive(Clone, Debug)]
pub struct Round {
    /// When the first was begun.
    pub began: Instant,
    /// When the last was over.
    pub ended: Instant,
    /// What came of them.
    pub outcomes: Vec<Outcome>,
}

/// Rounds of checks in a thread of their own, until the receiver is gone. They wait for nobody: what counts is when each
/// was made, not when somebody has time to look at it.
pub fn rounds(checks: Vec<Check>) -> std::io::Result<mpsc::Receiver<Round>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("probes".to_owned()).spawn(move || {
        loop {
            let began = Instant::now();
            let outcomes = run(checks.clone());
            let round = Round {
                began,
                ended: Instant::now(),
                outcomes,
            };
            if sender.send(round).is_err() {
                break;
            }
            thread::sleep(PAUSE);
        }
    })?;
    Ok(receiver)
}
