//! Servers whose answers pass while the host is halted.

use crate::shared::shared;

shared! {
    /// Key of `ENDPOINTS`. The address in network order, IPv4 as ::ffff:a.b.c.d; the port in network order.
    pub struct EndpointKey[20] {
        /// The server.
        pub address: [u8; 16],
        /// The port that it answers from.
        pub port: [u8; 2],
        /// IP protocol number: 6 or 17.
        pub protocol: u16,
    }
}
