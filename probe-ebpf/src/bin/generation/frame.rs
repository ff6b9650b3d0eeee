//! What the generation's host says about frames.

use probe_common::limits::MAX_NAT64;
use probe_ebpf::parse::{Address, FrameOptions};

use crate::generation_maps::{MARTIANS, N_NAT64, NAT64_PREFIXES};

/// The generation's constants.
pub struct Frames;

impl FrameOptions for Frames {
    #[inline(always)]
    fn martians(&self) -> bool {
        MARTIANS.load() != 0
    }

    #[inline(always)]
    fn nat64(&self, address: Address) -> Option<[u8; 4]> {
        if N_NAT64.load() == 0 {
            return None;
        }
        let [high, low] = address.halves();
        match cordon_nat64(high, low) {
            NONE => None,
            address => Some((address as u32).to_ne_bytes()),
        }
    }
}

const NONE: u64 = u64::MAX;

/// The IPv4 address behind a configured prefix.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_nat64(high: u64, low: u64) -> u64 {
    let address = Address::from_halves(false, [high, low]).v6();
    let n_prefixes = N_NAT64.load() as usize;
    for (idx, prefix) in NAT64_PREFIXES.iter().enumerate().take(MAX_NAT64) {
        if idx >= n_prefixes {
            break;
        }
        if let Some(address) = prefix.load().embedded(&address) {
            return u64::from(u32::from_ne_bytes(address));
        }
    }
    NONE
}
