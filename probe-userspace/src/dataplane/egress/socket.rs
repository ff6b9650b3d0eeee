//! What the egress program must know of this kernel to tell a client's UDP socket from a server's.

use super::btf;

const BTF: &str = "/sys/kernel/btf/vmlinux";
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Bit of `sk_userlocks` (include/net/sock.h): the port was asked for by number.
const SOCK_BINDPORT_LOCK_BIT: u32 = 3;

/// Where `struct sock` says whether its port was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Userlocks {
    /// Offset of the byte; 0: unknown.
    pub offset: u32,
    /// The bit.
    pub bit: u32,
}

/// Finds `SOCK_BINDPORT_LOCK` in the kernel's type information. Unknown is safe: then only connected UDP sockets
/// count as clients.
pub fn userlocks() -> Userlocks {
    // Elsewhere, the bits of a byte are counted from the other end.
    let btf = if cfg!(target_endian = "little") {
        std::fs::read(BTF).ok()
    } else {
        None
    };
    let first_bit = btf.and_then(|btf| btf::member_bit(&btf, "sock", "sk_userlocks"));
    let Some(first_bit) = first_bit else {
        tracing::warn!(
            "{BTF} does not tell how a socket came to its port: UDP answers pass for connected sockets only"
        );
        return Userlocks::default();
    };
    // A bit field in older kernels, a whole byte in newer ones.
    let bit = first_bit + SOCK_BINDPORT_LOCK_BIT;
    Userlocks {
        offset: bit / 8,
        bit: bit % 8,
    }
}

/// First and last port that the kernel gives to sockets which ask for none, in this network namespace; none if it
/// cannot be read.
pub fn ephemeral_ports() -> [u32; 2] {
    const NONE: [u32; 2] = [1, 0];
    let Ok(text) = std::fs::read_to_string(PORT_RANGE) else {
        tracing::warn!("cannot read {PORT_RANGE}: UDP answers pass for connected sockets only");
        return NONE;
    };
    parse_range(&text).unwrap_or(NONE)
}

fn parse_range(text: &str) -> Option<[u32; 2]> {
    let mut ports = text.split_whitespace().map(str::parse);
    match (ports.next(), ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last)), None) => Some([first, last]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers() {
        assert_eq!(parse_range("32768\t60999\n"), Some([32_768, 60_999]));
        for wrong in ["", "1", "1 2 3", "a b"] {
            assert_eq!(parse_range(wrong), None, "{wrong}");
        }
    }
}
