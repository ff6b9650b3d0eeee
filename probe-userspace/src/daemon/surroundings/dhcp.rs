//! Leases of DHCP clients.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// How a client writes its leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Lines `KEY=value`: systemd-networkd, NetworkManager.
    KeyValue,
    /// ISC dhclient, which appends; NetworkManager with dhclient writes either.
    Dhclient,
    /// The server's message as it came: dhcpcd.
    Message,
}

/// Where clients keep their leases, and the end of the files' names.
const PLACES: [(&str, &str, Format); 9] = [
    ("run/systemd/netif/leases", "", Format::KeyValue),
    ("run/NetworkManager/devices", "", Format::KeyValue),
    ("var/lib/NetworkManager", ".lease", Format::KeyValue),
    ("var/lib/NetworkManager", ".lease", Format::Dhclient),
    ("var/lib/dhcp", ".leases", Format::Dhclient),
    ("var/lib/dhclient", ".leases", Format::Dhclient),
    ("var/lib/dhcpcd", ".lease", Format::Message),
    ("var/lib/dhcpcd5", ".lease", Format::Message),
    ("var/db/dhcpcd", ".lease", Format::Message),
];

/// Largest lease file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The servers of all leases found below `root`.
pub(super) fn servers(root: &Path) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut unreadable = None;
    for (dir, suffix, format) in PLACES {
        let entries = match fs::read_dir(root.join(dir)) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() == ErrorKind::PermissionDenied {
                    unreadable = Some(dir);
                }
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            if !entry.file_name().to_string_lossy().ends_with(suffix)
                || !entry
                    .metadata()
                    .is_ok_and(|it| it.is_file() && it.len() <= MAX_FILE_BYTES)
            {
                continue;
            }
            let Ok(bytes) = fs::read(entry.path()) else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes);
            found.extend(match format {
                Format::KeyValue => parse_key_value(&text),
                Format::Dhclient => parse_dhclient(&text),
                Format::Message => parse_message(&bytes),
            });
        }
    }
    if let (Some(dir), true) = (unreadable, found.is_empty()) {
        tell_once(dir);
    }
    found
}

/// The daemon is not root, and leases are looked at again and again.
fn tell_once(dir: &str) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "/{dir} may not be read, and no DHCP lease was found elsewhere: if this host has one, name its server as \
             `dhcp_servers` in the host file"
        );
    }
}

/// The server of the last lease in a file of dhclient.
fn parse_dhclient(text: &str) -> Option<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let value = line.trim().strip_prefix("option dhcp-server-identifier ")?;
            value.trim_end_matches(';').trim().parse().ok()
        })
        .next_back()
}

/// The server of a lease of systemd-networkd, or of a device of NetworkManager.
fn parse_key_value(text: &str) -> Option<IpAddr> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        match key {
            "SERVER_ADDRESS" | "dhcp_server_identifier" => value.trim().parse().ok(),
            _ => None,
        }
    })
}

/// The server identifier (option 54) of a DHCP message (RFC 2131, RFC 2132).
fn parse_message(message: &[u8]) -> Option<IpAddr> {
    const FIXED_LEN: usize = 236;
    const COOKIE: [u8; 4] = [99, 130, 83, 99];
    const PAD: u8 = 0;
    const SERVER_IDENTIFIER: u8 = 54;
    const END: u8 = 255;
    let mut rest = message.get(FIXED_LEN..)?.strip_prefix(&COOKIE)?;
    loop {
        match *rest {
            [PAD, ref after @ ..] => rest = after,
            [END, ..] | [] => return None,
            [option, len, ref after @ ..] => {
                let (value, after) = after.split_at_checked(usize::from(len))?;
                if option == SERVER_IDENTIFIER {
                    return Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into());
                }
                rest = after;
            }
            [_] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_last_lease_of_dhclient_counts() {
        let text = "\
lease {
  interface \"eth0\";
  fixed-address 192.0.2.10;
  option subnet-mask 255.255.255.0;
  option dhcp-lease-time 3600;
  option dhcp-server-identifier 192.0.2.2;
  expire 2 2026/10/20 10:00:00;
}
lease {
  interface \"eth0\";
  option dhcp-server-identifier 192.0.2.3;
}
";
        assert_eq!(parse_dhclient(text), address("192.0.2.3"));
        assert_eq!(parse_dhclient("lease { }"), None);
    }

    #[test]
    fn the_server_of_a_networkd_lease_is_read() {
        let text = "# This is private data. Do not parse.\nADDRESS=192.0.2.10\nNETMASK=255.255.255.0\nROUTER=192.0.2.1\nSERVER_ADDRESS=192.0.2.2\nT1=1800\n";
        assert_eq!(parse_key_value(text), address("192.0.2.2"));
        assert_eq!(parse_key_value("ADDRESS=192.0.2.10\n"), None);
    }

    #[test]
    fn the_server_of_a_networkmanager_device_is_read() {
        let text =
            "[device]\nmanaged=true\n\n[dhcp4]\ndhcp_lease_time=3600\ndhcp_server_identifier=192.0.2.4\n";
        assert_eq!(parse_key_value(text), address("192.0.2.4"));
    }

    #[test]
    fn the_server_of_a_message_is_read_and_a_message_cut_short_is_none() {
        let mut message = vec![0; 236];
        message.extend([99, 130, 83, 99]);
        message.extend([53, 1, 5, 0, 0, 54, 4, 192, 0, 2, 5, 255]);
        assert_eq!(parse_message(&message), address("192.0.2.5"));
        for len in 0..message.len() - 1 {
            assert_eq!(parse_message(&message[..len]), None, "{len}");
        }
        message[236] = 0;
        assert_eq!(parse_message(&message), None, "no DHCP");
    }

    #[test]
    fn every_clients_leases_are_found() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("run/systemd/netif/leases/2", b"SERVER_ADDRESS=192.0.2.2\n");
        write(
            "var/lib/dhcp/dhclient.eth0.leases",
            b"option dhcp-server-identifier 192.0.2.3;\n",
        );
        write(
            "var/lib/dhcp/notes.txt",
            b"option dhcp-server-identifier 192.0.2.9;\n",
        );
        write(
            "run/NetworkManager/devices/3",
            b"dhcp_server_identifier=192.0.2.4\n",
        );
        let mut found = servers(root.path());
        found.sort_unstable();
        let found: Vec<String> = found.iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["192.0.2.2", "192.0.2.3", "192.0.2.4"]);
    }
}
