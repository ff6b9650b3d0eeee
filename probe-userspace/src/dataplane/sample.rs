//! One packet through a generation's sample program, a sibling of the one that judges packets: the same parse and
//! judge code over the same maps, with state and time taken from the sample, and nothing counted.

use std::net::IpAddr;

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use probe_common::{Decision, SampleHeader, SampleVerdict, Verdict};

use super::{DataplaneError, sys};
use crate::{compile::Heading, instant::Instant};

// IEEE 802 and IP protocol numbers, as registered by IANA.
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTO_ICMP: u8 = 1;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const PROTO_FRAGMENT: u8 = 44;
const PROTO_ICMPV6: u8 = 58;
/// RFC 3692 sets protocol 253 apart for experiments: no special handling on the way.
const PROTO_EXPERIMENT: u8 = 253;

const IPV4_LEN: usize = 20;
const HOP_LIMIT: u8 = 64;
/// A port from the range that is for clients (RFC 6335).
const SOURCE_PORT: u16 = 50_000;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;
/// Where a later fragment goes, in units of eight bytes.
const FRAGMENT_OFFSET: u16 = 185;

/// State and time that a sample is judged in.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// When.
    pub now: Instant,
    /// Until when the host is halted, Unix time in seconds; 0: not.
    pub halted_until_s: u32,
    /// Whether failsafe prefixes and run-time overrides count.
    pub with_shared: bool,
    /// Index of the interface that the packet comes in by; 0: none that is known.
    pub ifindex: u32,
}

/// Runs one sample: the verdict, and the decision that it came from.
pub fn run(
    program: &Xdp,
    address: IpAddr,
    heading: &Heading,
    state: State,
) -> Result<(Verdict, Decision), DataplaneError> {
    let header = SampleHeader {
        now_s: state.now.0,
        halted_until_s: state.halted_until_s,
        with_shared: state.with_shared.into(),
        ifindex: state.ifindex,
    };
    let mut input = sys::bytes_of(&header).to_vec();
    write_frame(&mut input, address, heading);
    let options = TestRunOptions {
        data_in: Some(&input),
        ..TestRunOptions::new()
    };
    let result = program
        .test_run(options)
        .map_err(|error| DataplaneError::kernel("running a sample", &error))?;
    SampleVerdict(result.return_value)
        .unpack()
        .ok_or_else(|| DataplaneError::Kernel {
            what: "running a sample".to_owned(),
            reason: format!(
                "the program returned {:#x}, which is no verdict",
                result.return_value
            ),
        })
}

/// Writes the shortest frame that says all this. Checksums are zero: no program looks at them.
fn write_frame(frame: &mut Vec<u8>, source: IpAddr, heading: &Heading) {
    let protocol = heading.protocol.unwrap_or(PROTO_EXPERIMENT);
    let has_ports = matches!(protocol, PROTO_TCP | PROTO_UDP);
    let is_later_fragment = has_ports && heading.port.is_none();
    let payload = if is_later_fragment {
        vec![0; 8]
    } else {
        payload(protocol, heading)
    };

    frame.extend([0; 12]);
    // As in a policy, VLAN 0 is no tag.
    if let Some(vlan) = heading.vlan.filter(|vlan| *vlan != 0) {
        frame.extend(ETHERTYPE_VLAN.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    match source {
        IpAddr::V4(source) => {
            let destination = match heading.destination {
                Some(IpAddr::V4(destination)) => destination.octets(),
                _ => [0; 4],
            };
            let fragment = if is_later_fragment { FRAGMENT_OFFSET } else { 0 };
            frame.extend(ETHERTYPE_IPV4.to_be_bytes());
            frame.extend([0x45, 0]);
            frame.extend(((IPV4_LEN + payload.len()) as u16).to_be_bytes());
            frame.extend([0, 0]);
            frame.extend(fragment.to_be_bytes());
            frame.extend([HOP_LIMIT, protocol, 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination);
        }
        IpAddr::V6(source) => {
            let destination = match heading.destination {
                Some(IpAddr::V6(destination)) => destination.octets(),
                _ => [0; 16],
            };
            let fragment: Vec<u8> = if is_later_fragment {
                let [high, low] = (FRAGMENT_OFFSET << 3).to_be_bytes();
                vec![protocol, 0, high, low, 0, 0, 0, 1]
            } else {
                Vec::new()
            };
            let next_header = if is_later_fragment {
                PROTO_FRAGMENT
            } else {
                protocol
            };
            frame.extend(ETHERTYPE_IPV6.to_be_bytes());
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(((fragment.len() + payload.len()) as u16).to_be_bytes());
            frame.extend([next_header, HOP_LIMIT]);
            frame.extend(source.octets());
            frame.extend(destination);
            frame.extend(fragment);
        }
    }
    frame.extend(payload);
}

/// The header behind IP, as far as anything asks for it.
fn payload(protocol: u8, heading: &Heading) -> Vec<u8> {
    let mut payload = Vec::new();
    let ports = [SOURCE_PORT, heading.port.unwrap_or(0)];
    match protocol {
        PROTO_TCP => {
            payload.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
            payload.extend([0; 8]);
            payload.extend([5 << 4, if heading.opens { TCP_SYN } else { TCP_ACK }]);
            payload.extend([0; 6]);
        }
        PROTO_UDP => {
            // Long header, Initial, version 1 (RFC 9000 section 17.2); or nothing that a protocol would say.
            let data: &[u8] = if heading.opens {
                &[0xc0, 0, 0, 0, 1, 0, 0, 0]
            } else {
                &[0; 8]
            };
            payload.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
            payload.extend([0, 8 + data.len() as u8, 0, 0]);
            payload.extend(data);
        }
        PROTO_ICMP => payload.extend([8, 0, 0, 0, 0, 0, 0, 0]),
        PROTO_ICMPV6 => payload.extend([128, 0, 0, 0, 0, 0, 0, 0]),
        _ => {}
    }
    payload
}
