//! Connections that this host opened: noted when they leave, consulted when an answer would be dropped.

use crate::shared::shared;

shared! {
    /// Key of `FLOWS`. Addresses in network order, IPv4 as ::ffff:a.b.c.d; ports in network order.
    pub struct FlowKey[40] {
        /// The other side.
        pub remote: [u8; 16],
        /// This host.
        pub local: [u8; 16],
        /// Port of the other side; zero for ICMP.
        pub remote_port: [u8; 2],
        /// Port of this host; the identifier for ICMP echo.
        pub local_port: [u8; 2],
        /// IP protocol number: 6, 17, 1 or 58.
        pub protocol: u8,
        /// Zero.
        pub reserved: [u8; 3],
    }
}

shared! {
    /// Value of `FLOWS`.
    pub struct Flow[8] {
        /// Last packet noted or let pass, boot time in nanoseconds.
        pub seen_ns: u64,
    }
}

/// Value of `FLOW_PORTS`: for each local port whether a TCP or UDP flow was ever noted with it. Packets to ports of
/// services, which is what strangers send, need not be looked up then. Bytes, because a bit would need an atomic
/// operation; never cleared, because that costs a look-up at most.
pub type FlowPorts = [u8; 1 << 16];

/// Idle time after which a TCP flow is over.
pub const IDLE_TCP_NS: u64 = 300 * 1_000_000_000;
/// Idle time after which a UDP flow or an echo request is over.
pub const IDLE_OTHER_NS: u64 = 60 * 1_000_000_000;

/// Maps an IPv4 address into the form that [`FlowKey`] and [`crate::BucketKey`] use.
#[inline(always)]
pub const fn mapped(v4: [u8; 4]) -> [u8; 16] {
    [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3],
    ]
}
