//! Leases of DHCP clients.

use std::net::IpAddr;

/// The server of the last lease in a file of ISC dhclient, which appends.
pub fn parse_dhclient_leases(text: &str) -> Option<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let value = line.trim().strip_prefix("option dhcp-server-identifier ")?;
            value.trim_end_matches(';').trim().parse().ok()
        })
        .next_back()
}

/// The server of a lease as systemd-networkd and NetworkManager write it.
pub fn parse_key_value_lease(text: &str) -> Option<IpAddr> {
    text.lines()
        .find_map(|line| line.strip_prefix("SERVER_ADDRESS=")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(parse_dhclient_leases(text), Some("192.0.2.3".parse().unwrap()));
        assert_eq!(parse_dhclient_leases("lease { }"), None);
    }

    #[test]
    fn the_server_of_a_networkd_lease_is_read() {
        let text = "# This is private data. Do not parse.\nADDRESS=192.0.2.10\nNETMASK=255.255.255.0\nROUTER=192.0.2.1\nSERVER_ADDRESS=192.0.2.2\nT1=1800\n";
        assert_eq!(parse_key_value_lease(text), Some("192.0.2.2".parse().unwrap()));
        assert_eq!(parse_key_value_lease("ADDRESS=192.0.2.10\n"), None);
    }
}
