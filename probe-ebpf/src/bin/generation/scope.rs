//! Heading to row: which services a packet is for, and which row of the matrix that gives.

use aya_ebpf::btf_maps::lpm_trie::Key;
use probe_common::{
    ServiceSet,
    scope::{FIRST_UDP_PORT, MAY, MAY_BE_ANY, PORT_UNKNOWN, PROTOCOL_UNKNOWN, dimension},
};
use probe_ebpf::parse::Address;

use crate::{
    actions_maps::INTERFACES,
    generation_maps::{
        SCOPE_ANY_DESTINATION, SCOPE_ANY_INTERFACE, SCOPE_DIMENSIONS, SCOPE_INTERFACE, SCOPE_PORT,
        SCOPE_PROTOCOL, SCOPE_ROWS, SCOPE_V4, SCOPE_V6, SCOPE_VLAN,
    },
};

const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
/// The row of packets that are for no service.
pub const NO_SERVICE: u32 = 0;

/// Protocol and port of this host's side.
#[derive(Clone, Copy)]
pub struct Endpoint {
    /// `None`: unknown.
    pub protocol: Option<u8>,
    /// `None` for TCP and UDP: unknown. Else without meaning.
    pub port: Option<u16>,
}

/// Where a packet goes on this host. A trait, because address and endpoint are read only if a service asks for
/// them.
pub trait Heading {
    /// Outermost VLAN; [`probe_common::scope::UNTAGGED`] if there is none.
    fn vlan(&self) -> u16;
    /// The address on this side.
    fn local(&self) -> Option<Address>;
    /// What it is for there.
    fn endpoint(&self) -> Endpoint;
}

/// The row of a packet. `None` if the tables do not know the packet's services: they were verified before they were
/// published, so that does not happen unless they were tampered with.
#[inline(always)]
pub fn row(ifindex: u32, heading: &impl Heading) -> Option<u32> {
    let dimensions = SCOPE_DIMENSIONS.load();
    if dimensions == 0 {
        return Some(NO_SERVICE);
    }
    let mut services = !(MAY | MAY_BE_ANY);
    let mut may = 0;
    if dimensions & dimension::INTERFACE != 0 {
        services &= of_interface(ifindex);
    }
    if dimensions & dimension::VLAN != 0 {
        services &= bits(SCOPE_VLAN.get(u32::from(heading.vlan())));
    }
    if dimensions & dimension::DESTINATION != 0 {
        services &= of_destination(&heading.local()?);
    }
    if dimensions & dimension::PROTOCOL != 0 {
        let of_endpoint;
        (of_endpoint, may) = services_of(heading.endpoint());
        services &= of_endpoint;
    }
    if services == 0 {
        return Some(NO_SERVICE);
    }
    // SAFETY: the daemon changes this table only before the program judges.
    unsafe { SCOPE_ROWS.get(services | may) }.copied()
}

#[inline(always)]
fn of_interface(ifindex: u32) -> u64 {
    // SAFETY: the value is one word, and a reader that sees the key's entry given to another interface sees what
    // it would have seen a moment later.
    let services = unsafe { INTERFACES.get(ifindex) }
        // SAFETY: the daemon changes this table only before the program judges.
        .and_then(|name| unsafe { SCOPE_INTERFACE.get(*name) });
    match services {
        Some(services) => services.bits(),
        None => SCOPE_ANY_INTERFACE.load(),
    }
}

#[inline(always)]
fn of_destination(destination: &Address) -> u64 {
    let services = if destination.is_v4() {
        SCOPE_V4.get(&Key::new(32, destination.v4()))
    } else {
        SCOPE_V6.get(&Key::new(128, destination.v6()))
    };
    match services {
        Some(services) => services.bits(),
        None => SCOPE_ANY_DESTINATION.load(),
    }
}

/// The services of an endpoint, and 0; or those that it may be for, and what the key has for that.
#[inline(always)]
fn services_of(endpoint: Endpoint) -> (u64, u64) {
    let Some(protocol) = endpoint.protocol else {
        return (bits(SCOPE_PROTOCOL.get(PROTOCOL_UNKNOWN)), MAY | MAY_BE_ANY);
    };
    let whatever_port = u32::from(protocol);
    let first_port = match protocol {
        PROTO_TCP => 0,
        PROTO_UDP => FIRST_UDP_PORT,
        _ => return (bits(SCOPE_PROTOCOL.get(whatever_port)), 0),
    };
    match endpoint.port {
        Some(port) => {
            let of_port = SCOPE_PORT.get(first_port + u32::from(port));
            (bits(SCOPE_PROTOCOL.get(whatever_port)) | bits(of_port), 0)
        }
        None => (bits(SCOPE_PROTOCOL.get(PORT_UNKNOWN + whatever_port)), MAY),
    }
}

#[inline(always)]
fn bits(services: Option<&ServiceSet>) -> u64 {
    services.map_or(0, |services| services.bits())
}
