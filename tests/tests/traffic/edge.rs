//! The stage of the traffic tests: a lab, a database of their own, policies and what to expect.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use cordon::instant::Instant;
use integration_tests::{
    cordon_process::{Cordon, HostFile},
    lab::Lab,
    mmdb_writer::MmdbWriter,
    probes::Outcome,
    scratch::Scratch,
};

/// Addresses of the tests' own database.
pub(crate) const RU: [&str; 2] = ["81.0.7.7", "2a01:100::7"];
pub(crate) const NL: [&str; 2] = ["82.0.7.7", "2a02:100::7"];
pub(crate) const BY: [&str; 2] = ["83.0.7.7", "2a03:100::7"];
/// In no network of the database.
pub(crate) const UNKNOWN: [&str; 2] = ["84.0.7.7", "2a04:100::7"];
pub(crate) const LAN: [&str; 2] = ["10.1.2.3", "fd00::3"];
/// In the Netherlands, and failsafe by the host file.
pub(crate) const FAILSAFE: [&str; 2] = ["82.0.9.9", "2a02:100::9"];

/// Blocks Russia and Belarus; Belarus for exempt customers too.
pub(crate) const BLOCK_LIST: &str = r#"
version = 1
default = "pass"
unknown = "pass"

[[order]]
id = "test-1"
authority = "Test Authority"
[[order.rule]]
action = "drop"
countries = ["RU"]
[[order.rule]]
action = "drop"
countries = ["BY"]
no_exemptions = true
"#;

/// Drops everything there is a word for.
pub(crate) const DROP_ALL: &str = r#"
version = 1
default = "drop"
unknown = "drop"
lan = "drop"
"#;

fn database() -> MmdbWriter {
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("2a01:100::/32", "RU")
        .country("82.0.0.0/16", "NL")
        .country("2a02:100::/32", "NL")
        .country("83.0.0.0/16", "BY")
        .country("2a03:100::/32", "BY")
}

/// A lab with the tests' database on disk; the daemon comes with [`Edge::start`].
pub(crate) struct Edge {
    pub(crate) lab: Lab,
    database: PathBuf,
    _scratch: Scratch,
}

impl Edge {
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().join("countries.mmdb");
        database().write(&path).unwrap();
        Self {
            lab: Lab::new().unwrap(),
            database: path,
            _scratch: scratch,
        }
    }

    /// The host file of the tests' daemon.
    pub(crate) fn host_file(&self) -> HostFile {
        HostFile {
            failsafe: vec![format!("{}/32", FAILSAFE[0]), format!("{}/128", FAILSAFE[1])],
            database: Some(self.database.clone()),
            ..HostFile::default()
        }
    }

    pub(crate) fn start(&self, policy: &str) -> Cordon<'_> {
        self.start_in_mode("allow-skb", policy)
    }

    pub(crate) fn start_in_mode(&self, xdp_mode: &str, policy: &str) -> Cordon<'_> {
        let host_file = HostFile {
            xdp_mode: xdp_mode.to_owned(),
            ..self.host_file()
        };
        let cordon = Cordon::start(&self.lab, &host_file).unwrap();
        cordon.apply(policy).unwrap();
        cordon.wait_attached().unwrap();
        cordon
    }

    /// Probes from all these addresses at once; each must meet what stands beside it, by every protocol.
    pub(crate) fn expect(&self, when: &str, expected: &[(&[&str], Outcome)]) {
        let rows: Vec<(IpAddr, Outcome)> = expected
            .iter()
            .flat_map(|(sources, outcome)| sources.iter().map(|source| (address(source), *outcome)))
            .collect();
        let sources: Vec<IpAddr> = rows.iter().map(|(source, _)| *source).collect();
        for ((source, outcome), reach) in rows.iter().zip(self.lab.reach(&sources).unwrap()) {
            assert_eq!(reach.uniform(), Some(*outcome), "{when}: {source} met: {reach}");
        }
    }

    /// Applies a policy that ends something soon, and looks at it before that end; gives the end. Should a slow
    /// machine not get there in time, the end is put off.
    pub(crate) fn before_the_end(
        &self,
        cordon: &Cordon<'_>,
        policy: impl Fn(Instant) -> String,
        expected: &[(&[&str], Outcome)],
    ) -> Instant {
        for margin_s in [4, 16, 64] {
            let until = Instant(Instant::now().0 + margin_s);
            cordon.apply(&policy(until)).unwrap();
            let sources: Vec<IpAddr> = expected
                .iter()
                .flat_map(|(sources, _)| sources.iter().map(|source| address(source)))
                .collect();
            let reaches = self.lab.reach(&sources).unwrap();
            if Instant::now() >= until {
                continue;
            }
            let outcomes = expected
                .iter()
                .flat_map(|(sources, outcome)| sources.iter().map(move |_| outcome));
            for ((source, outcome), reach) in sources.iter().zip(outcomes).zip(reaches) {
                assert_eq!(
                    reach.uniform(),
                    Some(*outcome),
                    "before {until}: {source} met: {reach}"
                );
            }
            return until;
        }
        panic!("applying a policy takes more than a minute here");
    }

    /// What `ip` says about the XDP program on the interface.
    pub(crate) fn xdp_program(&self) -> Option<String> {
        let link = self.lab.edge_link().unwrap();
        link.lines()
            .map(str::trim)
            .find(|line| line.starts_with("prog/xdp"))
            .map(str::to_owned)
    }
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn sleep_past(until: Instant) {
    while Instant::now() <= until {
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn exemption(prefixes: &[&str], until: Instant) -> String {
    format!(
        "\n[[exemption]]\nprefixes = {prefixes:?}\nreference = \"CASE-1\"\nreason = \"test\"\nuntil = {until}\n"
    )
}

pub(crate) fn deny(prefixes: &[&str], until: Option<Instant>) -> String {
    let until = until
        .map(|until| format!("until = {until}\n"))
        .unwrap_or_default();
    format!("\n[[deny]]\nprefixes = {prefixes:?}\nreason = \"test\"\n{until}")
}

pub(crate) fn in_an_hour() -> Instant {
    Instant(Instant::now().0 + 3600)
}
