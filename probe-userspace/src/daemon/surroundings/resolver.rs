//! `/etc/resolv.conf`.

use std::net::IpAddr;

/// The name servers it lists.
pub fn parse_resolv_conf(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            if words.next()? != "nameserver" {
                return None;
            }
            words.next()?.split('%').next()?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_found_with_scope_and_without() {
        let text = "# Generated\nsearch example.org\nnameserver 192.0.2.53\nnameserver  fe80::1%eth0\n#nameserver 192.0.2.54\nnameserver\noptions edns0\n";
        let found: Vec<String> = parse_resolv_conf(text).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["192.0.2.53", "fe80::1"]);
    }
}
