//! What the tests of actions share: a lab with a daemon whose books must balance, and the texts of policies.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use integration_tests::{
    cordon_process::{Cordon, HostFile},
    counters::Counters,
    frames::FrameSocket,
    lab::{EDGE_IFNAME, INTERNET_IFNAME, Lab, edge_address},
    ledger::Ledger,
    taker::Taker,
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};

use crate::traffic::edge::Edge;

/// How long what must come may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Head of a policy that passes what its order does not mention.
const HEAD: &str = "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n";

/// A policy that passes everything.
pub(super) fn pass_all() -> String {
    HEAD.to_owned()
}

/// A policy in which one action (or tier) awaits Russia, and the rest passes. `parts` are tables that it needs.
pub(super) fn treat_ru(action: &str, parts: &str) -> String {
    [HEAD, parts, &order(&rule("RU", action, ""))].concat()
}

/// A policy of one order.
pub(super) fn policy(parts: &str, rules: &[String]) -> String {
    [HEAD, parts, &order(&rules.concat())].concat()
}

fn order(rules: &str) -> String {
    format!("\n[[order]]\nid = \"test-1\"\nauthority = \"Test Authority\"\n{rules}")
}

/// A rule about a country. `more` are further lines of it.
pub(super) fn rule(country: &str, action: &str, more: &str) -> String {
    format!("[[order.rule]]\naction = \"{action}\"\ncountries = [\"{country}\"]\n{more}\n")
}

/// A tier. `more` are the lines of its parameters.
pub(super) fn tier(name: &str, action: &str, more: &str) -> String {
    format!("\n[[tier]]\nname = \"{name}\"\naction = \"{action}\"\n{more}\n")
}

/// A service. `more` are the lines that describe it.
pub(super) fn service(name: &str, more: &str) -> String {
    format!("\n[[service]]\nname = \"{name}\"\n{more}\n")
}

/// A server of the edge, as a client from this source names it.
pub(super) fn server(source: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(edge_address(source), port)
}

/// A stage on which nothing is sent but by the test's own raw frames.
pub(super) fn silent_edge() -> Edge {
    let edge = Edge::new();
    edge.lab.silence_internet().unwrap();
    edge
}

/// Lets what XDP sends out of the edge's interface arrive, as long as the result lives.
pub(super) fn take_answers(edge: &Edge) -> Taker {
    Taker::attach(&edge.lab.internet, INTERNET_IFNAME).unwrap()
}

/// Opens the books of the edge's interface.
pub(super) fn open_books(lab: &Lab, cordon: &Cordon<'_>) -> Ledger {
    Ledger::open(&lab.edge, cordon, &[EDGE_IFNAME]).unwrap()
}

/// What was counted since the books were opened: all of it, or this fails.
pub(super) fn balance(lab: &Lab, cordon: &Cordon<'_>, books: &Ledger) -> Counters {
    match books.balance(&lab.edge, cordon) {
        Ok(counted) => counted,
        Err(error) => panic!("the books do not balance: {error:#}\n{}", cordon.log()),
    }
}

/// Sends frames from the internet, pausing often enough for the veth queue of 256 to take them all.
pub(super) fn send_all(lab: &Lab, frames: &[Vec<u8>]) {
    let sender = FrameSocket::open(&lab.internet, INTERNET_IFNAME).unwrap();
    for batch in frames.chunks(64) {
        for frame in batch {
            sender.send(frame).unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a condition holds; `what` it is makes the failure readable.
pub(super) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a daemon with a host file of the test's own.
pub(super) fn start_with<'lab>(edge: &'lab Edge, host_file: &HostFile, policy: &str) -> Cordon<'lab> {
    let cordon = Cordon::start(&edge.lab, host_file).unwrap();
    cordon.apply(policy).unwrap();
    cordon.wait_attached().unwrap();
    cordon
}

/// A TCP connection from a source address of the calling thread's namespace.
pub(super) fn connect_from(source: IpAddr, to: SocketAddr) -> nix::Result<TcpStream> {
    let family = match source {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(fd.into())
}
