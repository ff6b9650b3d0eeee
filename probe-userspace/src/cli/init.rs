//! `cordon init`.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use serde::Serialize;

use super::{Globals, output, remote};
use crate::{
    daemon::surroundings::{Role, Surroundings, uplinks},
    durable::{self, Existing},
    host::Host,
};

/// The host file of the packages: it attaches to nothing.
const AS_PACKAGED: &str = include_str!("../../packaging/cordon.toml");

/// Write a host file for this machine
///
/// Finds the interfaces, and makes failsafe what the machine depends on: SSH peers, gateways, resolvers, DHCP
/// servers. The file is the one that --config names. Read it before the first `cordon run`.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// Replace an existing host file. Hazard: what was written there by hand is lost
    #[arg(long)]
    force: bool,

    /// Print the file instead of writing it
    #[arg(long)]
    stdout: bool,

    /// Look at a system below this directory, for tests
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

#[derive(Debug, Serialize)]
struct Written {
    file: String,
    interfaces: Vec<String>,
    failsafe: Vec<FailsafeEntry>,
}

/// The host file that would be written.
#[derive(Debug, Serialize)]
struct Shown {
    text: String,
    interfaces: Vec<String>,
    failsafe: Vec<FailsafeEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct FailsafeEntry {
    prefix: IpNet,
    comment: String,
}

impl Init {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let mut surroundings = Surroundings::read(&self.root, Host::default().ssh_ports());
        // Anybody may have a connection; a failsafe prefix is for those who have logged in.
        surroundings
            .addresses
            .retain(|(_, role)| *role != Role::SshStranger);
        surroundings.add(Role::SshPeer, remote::ssh_peer());
        let interfaces = uplinks(&self.root);
        let failsafe = entries(&surroundings.addresses);
        let text = host_file(&interfaces, &failsafe);
        if self.stdout {
            let shown = Shown {
                text,
                interfaces,
                failsafe,
            };
            output::print(globals.output, &shown, |shown| shown.text.clone())?;
            return Ok(ExitCode::SUCCESS);
        }
        let path = globals.host_file();
        write(&path, &text, self.force)?;
        let written = Written {
            file: path.display().to_string(),
            interfaces,
            failsafe,
        };
        output::print(globals.output, &written, next_steps)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// One entry for each address, with all its roles.
fn entries(addresses: &[(IpAddr, Role)]) -> Vec<FailsafeEntry> {
    let mut entries: Vec<FailsafeEntry> = Vec::new();
    for (address, role) in addresses {
        let prefix = IpNet::from(*address);
        match entries.last_mut() {
            Some(last) if last.prefix == prefix => {
                last.comment.push_str(" and ");
                last.comment.push_str(role.text());
            }
            _ => entries.push(FailsafeEntry {
                prefix,
                comment: role.text().to_owned(),
            }),
        }
    }
    entries
}

fn host_file(interfaces: &[String], failsafe: &[FailsafeEntry]) -> String {
    let mut text = String::from(
        "# cordon: what belongs to this host and not to a policy. Written by `cordon init`; yours to change.\n\
         # `cordon run` reads it at start.\n\
         \n\
         # Interfaces whose incoming packets are judged.\n",
    );
    let names: Vec<String> = interfaces.iter().map(|name| format!("{name:?}")).collect();
    text.push_str(&format!("interfaces = [{}]\n", names.join(", ")));
    if interfaces.is_empty() {
        text.push_str("# None was found to be up: name them here.\n");
    }
    text.push_str(
        "\n\
         # MaxMind DB file. Without it: the first in /var/lib/cordon/geoip, /var/lib/GeoIP, /usr/share/GeoIP, else\n\
         # the one inside the program.\n\
         # database = \"/var/lib/GeoIP/GeoLite2-Country.mmdb\"\n\
         \n\
         # If a driver has no native XDP: \"allow-skb\" (slower, and the status says so), \"require-native\", \"skb\".\n\
         # xdp_mode = \"allow-skb\"\n\
         \n\
         # Failsafe prefixes: no policy and no halt can block them. Keep the list short, and keep your way in on it.\n",
    );
    for entry in failsafe {
        text.push_str(&format!(
            "\n[[failsafe]]\nprefix = \"{}\"\ncomment = \"{}, found by init\"\n",
            entry.prefix, entry.comment
        ));
    }
    if failsafe.is_empty() {
        text.push_str(
            "# Nothing was found. Name at least where you log in from:\n\
             # [[failsafe]]\n\
             # prefix = \"198.51.100.0/24\"\n\
             # comment = \"office\"\n",
        );
    }
    text
}

fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
    }
    // What the package brought says nothing that could be lost.
    let force = force || fs::read_to_string(path).is_ok_and(|known| known == AS_PACKAGED);
    let existing = if force { Existing::Replace } else { Existing::Keep };
    match durable::write(path, text.as_bytes(), 0o644, existing) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
            "{} exists: look at a new one with --stdout, or replace it with --force",
            path.display()
        ),
        written => written.with_context(|| format!("cannot write {}", path.display())),
    }
}

fn next_steps(written: &Written) -> String {
    let file = &written.file;
    let first = written.interfaces.first().map_or("IFACE", String::as_str);
    let mut text = format!("wrote {file}\n");
    text.push_str(&match written.interfaces.as_slice() {
        [] => "  no interface is up: name them in the file\n".to_owned(),
        names => format!("  interfaces: {}\n", names.join(", ")),
    });
    for entry in &written.failsafe {
        text.push_str(&format!("  failsafe: {} ({})\n", entry.prefix, entry.comment));
    }
    text.push_str(&format!(
        "next:\n  read {file}: are all your ways in failsafe?\n  cordon observe {first}   # who comes, blocking nothing\n  cordon check FILE         # is the policy good?\n  systemctl enable --now cordon-restore cordon   # or, without the package: cordon run\n  cordon apply FILE         # on a terminal: reverts after 120 s unless confirmed\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_two_roles_is_one_entry() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let found = entries(&[
            (address("192.0.2.1"), Role::Gateway),
            (address("192.0.2.1"), Role::Resolver),
            (address("2001:db8::7"), Role::SshPeer),
        ]);
        let found: Vec<String> = found
            .iter()
            .map(|entry| format!("{} {}", entry.prefix, entry.comment))
            .collect();
        assert_eq!(
            found,
            [
                "192.0.2.1/32 default gateway and resolver",
                "2001:db8::7/128 SSH peer"
            ]
        );
    }

    #[test]
    fn an_existing_file_is_replaced_only_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/cordon.toml");
        write(&path, "a longer first text", false).unwrap();
        let error = write(&path, "two", false).unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a longer first text");
        write(&path, "two", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }

    #[test]
    fn the_packages_file_is_good_attaches_to_nothing_and_is_replaced() {
        let (host, diagnostics) = crate::host::parse("cordon.toml", AS_PACKAGED);
        assert!(host.unwrap().interfaces.is_empty() && diagnostics.is_empty());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cordon.toml");
        fs::write(&path, AS_PACKAGED).unwrap();
        write(&path, "mine", false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn the_file_is_a_good_host_file() {
        let entry = FailsafeEntry {
            prefix: "192.0.2.1/32".parse().unwrap(),
            comment: "default gateway".to_owned(),
        };
        for (interfaces, failsafe) in [(vec!["eth0".to_owned()], vec![entry]), (Vec::new(), Vec::new())] {
            let text = host_file(&interfaces, &failsafe);
            let (host, diagnostics) = crate::host::parse("cordon.toml", &text);
            let host = host.unwrap_or_else(|| panic!("{diagnostics:?}"));
            assert_eq!(host.interfaces.len(), interfaces.len());
            assert_eq!(host.failsafe.len(), failsafe.len());
        }
    }
}
