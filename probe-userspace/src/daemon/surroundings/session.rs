//! Who has logged in from elsewhere. A connection to the SSH port alone says nothing: anybody may open one.
//!
//! systemd-logind's session files, `utmp`, and the environment that an SSH server of any make gives to a session once
//! its user is known.

use std::{fs, net::IpAddr, path::Path};

use super::parse_ssh_connection;

/// Most processes that are asked.
const MAX_PROCESSES: usize = 100_000;

/// `struct utmp` (glibc, utmp(5)): the same on all machines that cordon runs on.
const UTMP_LEN: usize = 384;
const UTMP_ADDRESS: std::ops::Range<usize> = 348..364;
/// `USER_PROCESS`.
const UTMP_USER: [u8; 2] = 7i16.to_ne_bytes();

/// The PID namespace that the system was booted with (`PROC_PID_INIT_INO`, include/linux/proc_ns.h): of its processes
/// none is hidden.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Addresses from which somebody has logged in, by what the system under `root` says. `None`: nothing there could say it,
/// as in a container that shares only the network of its host.
pub(super) fn peers(root: &Path) -> Option<Vec<IpAddr>> {
    // What nobody writes to is empty.
    let has_records = |path: &str| fs::metadata(root.join(path)).is_ok_and(|metadata| metadata.len() > 0);
    let is_first = || {
        fs::read_link(root.join("proc/self/ns/pid")).is_ok_and(|name| name.as_os_str() == FIRST_PID_NAMESPACE)
            && fs::read(root.join("proc/1/environ")).is_ok()
    };
    let has_logind = || root.join("run/systemd/sessions").exists();
    let can_tell = has_logind() || has_records("run/utmp") || has_records("var/run/utmp") || is_first();
    can_tell.then(|| known(root))
}

fn known(root: &Path) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for path in entries(&root.join("run/systemd/sessions")) {
        found.extend(
            fs::read_to_string(path)
                .ok()
                .and_then(|text| parse_session(&text)),
        );
    }
    for path in ["run/utmp", "var/run/utmp"] {
        found.extend(parse_utmp(&fs::read(root.join(path)).unwrap_or_default()));
    }
    for path in entries(&root.join("proc")).take(MAX_PROCESSES) {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.iter().all(u8::is_ascii_digit) {
            found.extend(parse_environment(
                &fs::read(path.join("environ")).unwrap_or_default(),
            ));
        }
    }
    found
}

fn entries(dir: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path())
}

/// The host of a session of systemd-logind that is not ending.
fn parse_session(text: &str) -> Option<IpAddr> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    if value("STATE=") == Some("closing") {
        return None;
    }
    value("REMOTE_HOST=")?.split('%').next()?.parse().ok()
}

/// The hosts of the users in `utmp`.
fn parse_utmp(bytes: &[u8]) -> Vec<IpAddr> {
    let records = bytes.chunks_exact(UTMP_LEN);
    let users = records.filter(|record| record[..2] == UTMP_USER);
    users
        .filter_map(|record| {
            let address = <[u8; 16]>::try_from(&record[UTMP_ADDRESS]).ok()?;
            match address {
                [0, 0, 0, 0, ..] => None,
                [a, b, c, d, rest @ ..] if rest == [0; 12] => Some(IpAddr::from([a, b, c, d])),
                address => Some(IpAddr::from(address)),
            }
        })
        .collect()
}

/// The peer that an SSH server told to what it started.
fn parse_environment(bytes: &[u8]) -> Option<IpAddr> {
    let value = bytes
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="))?;
    parse_ssh_connection(std::str::from_utf8(value).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_host_of_a_session_counts_until_it_is_closing() {
        let session =
            |state: &str| format!("# private\nUID=0\nSTATE={state}\nREMOTE=1\nREMOTE_HOST=203.0.113.9\n");
        assert_eq!(parse_session(&session("active")), Some(address("203.0.113.9")));
        assert_eq!(parse_session(&session("closing")), None);
        assert_eq!(parse_session("UID=0\nREMOTE=0\nSTATE=active\n"), None);
    }

    #[test]
    fn who_has_logged_in_is_not_known_where_nobody_could_say_it() {
        let root = tempfile::tempdir().unwrap();
        let path = |path: &str| root.path().join(path);
        for dir in ["run", "proc/1", "proc/self/ns"] {
            fs::create_dir_all(path(dir)).unwrap();
        }
        fs::write(path("run/utmp"), "").unwrap();
        assert_eq!(peers(root.path()), None, "an utmp that nobody writes to");
        std::os::unix::fs::symlink("pid:[4026532205]", path("proc/self/ns/pid")).unwrap();
        fs::write(path("proc/1/environ"), "").unwrap();
        assert_eq!(peers(root.path()), None, "processes of a container");
        fs::remove_file(path("proc/self/ns/pid")).unwrap();
        std::os::unix::fs::symlink(FIRST_PID_NAMESPACE, path("proc/self/ns/pid")).unwrap();
        assert_eq!(peers(root.path()), Some(Vec::new()), "all processes");
        fs::remove_file(path("proc/self/ns/pid")).unwrap();
        fs::create_dir_all(path("run/systemd/sessions")).unwrap();
        assert_eq!(peers(root.path()), Some(Vec::new()), "logind");
    }

    #[test]
    fn users_of_utmp_are_read_and_what_is_cut_short_is_not() {
        let record = |kind: i16, address: [u8; 16]| {
            let mut record = [0; UTMP_LEN];
            record[..2].copy_from_slice(&kind.to_ne_bytes());
            record[UTMP_ADDRESS].copy_from_slice(&address);
            record
        };
        let v4 = |last| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&[203, 0, 113, last]);
            bytes
        };
        let v6: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
        let records = [
            record(7, v4(9)),
            record(8, v4(10)),
            record(7, v6.octets()),
            record(7, [0; 16]),
        ]
        .concat();
        let expected = [address("203.0.113.9"), address("2001:db8::7")];
        assert_eq!(parse_utmp(&records), expected);
        assert!(parse_utmp(&records[..UTMP_LEN - 1]).is_empty());
    }

    #[test]
    fn the_peer_in_an_environment_is_read() {
        let environment = b"HOME=/root\0SSH_CONNECTION=203.0.113.9 50522 192.0.2.1 22\0TERM=xterm\0";
        assert_eq!(parse_environment(environment), Some(address("203.0.113.9")));
        assert_eq!(
            parse_environment(b"XSSH_CONNECTION=203.0.113.9 1 192.0.2.1 22\0"),
            None
        );
    }
}
