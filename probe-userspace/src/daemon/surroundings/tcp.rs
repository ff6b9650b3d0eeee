//! `/proc/net/tcp` and `/proc/net/udp`, and the same of IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `TCP_ESTABLISHED` (include/net/tcp_states.h).
const ESTABLISHED: &str = "01";
/// `TCP_LISTEN`.
const LISTENING: &str = "0A";

/// Remote addresses of established connections to local ports.
pub fn parse_tcp(text: &str, local_ports: &[u16]) -> Vec<IpAddr> {
    text.lines()
        .skip(1)
        .filter_map(|line| peer(line, local_ports))
        .collect()
}

/// Local ports that somebody listens on.
pub fn listening_ports(text: &str) -> Vec<u16> {
    let local = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        (state == LISTENING).then(|| port(local)).flatten()
    };
    text.lines().skip(1).filter_map(local).collect()
}

/// Remote addresses of UDP sockets that are connected to a remote port.
pub fn parse_udp_peers(text: &str, remote_port: u16) -> Vec<IpAddr> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let [_, remote] = connected(line)?;
            (port(remote)? == remote_port).then_some(address(remote.split_once(':')?.0)?)
        })
        .collect()
}

fn peer(line: &str, local_ports: &[u16]) -> Option<IpAddr> {
    let [local, remote] = connected(line)?;
    if !local_ports.contains(&port(local)?) {
        return None;
    }
    address(remote.split_once(':')?.0)
}

/// Local and remote end of a connected socket; UDP sockets use the states of TCP.
fn connected(line: &str) -> Option<[&str; 2]> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    (state == ESTABLISHED).then_some([local, remote])
}

fn port(end: &str) -> Option<u16> {
    u16::from_str_radix(end.split_once(':')?.1, 16).ok()
}

/// The kernel prints each 32-bit word of the address, which is in network order, as a number of the host.
fn address(hex: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = (0..hex.len())
        .step_by(8)
        .map(|at| {
            let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
            Some(word.to_ne_bytes())
        })
        .collect::<Option<_>>()?;
    match words.as_slice() {
        [word] => Some(IpAddr::V4(Ipv4Addr::from(*word))),
        words => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Lines of a real /proc/net/tcp, on a little-endian machine.
    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1060 1 000000004d316d98 100 0 0 10 0
   1: 020200C0:0016 097100CB:C55A 01 00000000:00000000 02:000A5B3E 00000000     0        0 25328 1 00000000df6c797f 20 4 21 64 148
   2: 020200C0:910A 507100CB:01BB 01 00000000:00000000 00:00000000 00000000     0        0 25423 1 00000000daee90f7 20 4 1 112 146
   3: 020200C0:0016 0A7100CB:C55B 06 00000000:00000000 03:00000A5B 00000000     0        0 0 3 00000000df6c797e
";
    const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: B80D0120000000000000000001000000:0016 B80D0120000000000000000007000000:C001 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
   1: 0000000000000000FFFF0000020200C0:0016 0000000000000000FFFF0000097100CB:C002 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
";

    #[test]
    #[cfg(target_endian = "little")]
    fn only_established_connections_to_the_port_count() {
        assert_eq!(parse_tcp(TCP, &[22]), ["203.0.113.9".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn ipv6_and_mapped_addresses_are_read() {
        let found: Vec<String> = parse_tcp(TCP6, &[22]).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["2001:db8::7", "::ffff:203.0.113.9"]);
    }

    #[test]
    fn other_text_gives_nothing() {
        assert_eq!(parse_tcp("", &[22]), Vec::<IpAddr>::new());
        assert_eq!(
            parse_tcp("head\n 0: zz:0016 zz:1 01\n 1: 00:0016 :1 01\n", &[22]),
            Vec::<IpAddr>::new()
        );
    }
}
