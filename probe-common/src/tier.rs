//! Parameters of actions, and the arithmetic of rates.

use crate::shared::shared;

/// What a `limit` counts together.
pub mod limit_per {
    /// Each IPv4 address and each IPv6 /64 has a bucket of its own.
    pub const SOURCE: u8 = 0;
    /// All sources of a class share one.
    pub const CLASS: u8 = 1;
}

/// Fraction bits of [`Tier::byte_cost`]: a byte at 100 Gbit/s lasts 0.08 ns.
pub const BYTE_COST_SHIFT: u32 = 16;

shared! {
    /// An element of `TIERS`: the parameters of an action. Which of them count follows from the action.
    pub struct Tier[48] {
        /// `limit`: nanoseconds that a packet costs (1e9 / packets per second); 0: packets are not limited.
        pub packet_cost_ns: u64,
        /// `limit`: how far packets may run ahead of the rate (burst in packets - 1, times the cost).
        pub packet_ahead_ns: u64,
        /// `limit`: cost of a byte in nanoseconds << [`BYTE_COST_SHIFT`]; 0: bytes are not limited.
        pub byte_cost: u64,
        /// `limit`: how far bytes may run ahead of the rate.
        pub byte_ahead_ns: u64,
        /// `redirect`: key into `TARGETS` and `REDIRECT`, see [`crate::name_key`].
        pub target: u32,
        /// `redirect`: destination MAC address to write; all zero: leave both addresses as they are.
        pub next_hop: [u8; 6],
        /// `mark`: the six bits to write.
        pub dscp: u8,
        /// `limit`: see [`limit_per`].
        pub limit_per: u8,
        /// Zero.
        pub reserved: [u8; 4],
    }
}

shared! {
    /// Key of `BUCKETS`.
    pub struct BucketKey[20] {
        /// `limit_per::SOURCE`: the address, IPv4 as ::ffff:a.b.c.d, IPv6 with 64 zero bits behind its /64. Else zero.
        pub source: [u8; 16],
        /// `limit_per::CLASS`: the class. Else zero.
        pub class: u16,
        /// Index of the tier.
        pub tier: u8,
        /// See [`limit_per`].
        pub limit_per: u8,
    }
}

shared! {
    /// Value of `BUCKETS`: theoretical arrival times, boot time in nanoseconds. Each is changed by
    /// compare-exchange alone.
    pub struct Bucket[16] {
        /// Of packets.
        pub packets_ns: u64,
        /// Of bytes.
        pub bytes_ns: u64,
    }
}

/// One step of the generic cell rate algorithm (ITU-T I.371, virtual scheduling): the next theoretical arrival
/// time if something that costs `cost_ns` conforms now, `None` if it comes too early.
#[inline(always)]
pub const fn gcra(arrival_ns: u64, now_ns: u64, cost_ns: u64, ahead_ns: u64) -> Option<u64> {
    let arrival_ns = if arrival_ns > now_ns { arrival_ns } else { now_ns };
    if arrival_ns - now_ns > ahead_ns {
        None
    } else {
        Some(arrival_ns.wrapping_add(cost_ns))
    }
}

/// A stored arrival time as the rate in force may read it. A bucket outlives the policy that filled it: an arrival
/// time that this rate could not have stored (its furthest is `ahead_ns` and one cost from now) counts as none, or
/// a slow rate of old would hold a source back for as long as *its* burst lasts.
#[inline(always)]
pub const fn arrival_of_rate(arrival_ns: u64, now_ns: u64, max_cost_ns: u64, ahead_ns: u64) -> u64 {
    let furthest_ns = now_ns
        .saturating_add(ahead_ns)
        .saturating_add(max_cost_ns)
        .saturating_add(CLOCK_SLACK_NS);
    if arrival_ns > furthest_ns { 0 } else { arrival_ns }
}

/// How old the time may be that a CPU compares with. Clocks of two CPUs differ by little, but a virtual CPU can be taken
/// away between its look at the clock and its look at the bucket, while another one fills that.
const CLOCK_SLACK_NS: u64 = 1_000_000_000;

/// Caps on what the program does for anybody, per CPU.
pub mod cap {
    /// Index of a cap in `CAPS`: ICMP errors that pass although the policy would stop them.
    pub const ICMP_ERROR: u32 = 0;
    /// Index of a cap in `CAPS`: answers to rejected packets.
    pub const REJECT: u32 = 1;
    /// Index of a cap in `CAPS`: events.
    pub const EVENTS: u32 = 2;
    /// Number of caps.
    pub const N: u32 = 3;

    /// ICMP errors per second and CPU; the same order as Linux's own cap on sending them
    /// (`net.ipv4.icmp_msgs_per_sec`, 1000).
    pub const ICMP_ERRORS_PER_S: u64 = 1000;
    /// Answers to rejected packets per second and CPU.
    pub const REJECTS_PER_S: u64 = 1000;
    /// How many may come at once: a tenth of a second's worth.
    pub const BURST: u64 = 100;
}

/// Key of an interface's name in shared maps: FNV-1a, 32 bits (Fowler, Noll, Vo). Stable across restarts and the
/// same for an interface that comes back under its name. The compiler refuses two names with one key.
pub const fn name_key(name: &str) -> u32 {
    let bytes = name.as_bytes();
    let mut hash: u32 = 0x811c_9dc5;
    let mut idx = 0;
    while idx < bytes.len() {
        hash = (hash ^ bytes[idx] as u32).wrapping_mul(0x0100_0193);
        idx += 1;
    }
    hash
}

shared! {
    /// Value of `TARGETS`: where a `redirect` goes. Written by the daemon as interfaces change.
    pub struct Target[16] {
        /// The interface's index.
        pub ifindex: u32,
        /// Longest frame it takes, from the Ethernet header on, without the frame check sequence.
        pub max_len: u32,
        /// Its MAC address.
        pub mac: [u8; 6],
        /// Zero.
        pub reserved: [u8; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_exact() {
        // 10 per second, 3 at once.
        let (cost, ahead) = (100_000_000, 200_000_000);
        let mut arrival = 0;
        let mut passed = 0;
        let start = 5_000_000_000;
        for tick in 0..1_000 {
            // A packet each 10 ms for ten seconds.
            if let Some(next) = gcra(arrival, start + tick * 10_000_000, cost, ahead) {
                arrival = next;
                passed += 1;
            }
        }
        // The burst of three, and one each tenth of a second after it.
        assert_eq!(passed, 2 + 100);
        assert_eq!(
            gcra(arrival, arrival + 1, cost, ahead),
            Some(arrival + 1 + cost),
            "idle time is not saved up"
        );
    }

    #[test]
    fn arrival_times_of_another_rate_do_not_hold_back() {
        let (now, cost, ahead) = (5_000_000_000, 1_000, 9_000);
        let furthest = gcra(now + ahead, now, cost, ahead).expect("conforms");
        assert_eq!(
            arrival_of_rate(furthest, now, cost, ahead),
            furthest,
            "what the rate itself stores counts"
        );
        let slow = now + 60 * 1_000_000_000;
        assert_eq!(arrival_of_rate(slow, now, cost, ahead), 0);
        let by_a_later_look = now + ahead + 500_000_000;
        assert_eq!(
            arrival_of_rate(by_a_later_look, now, cost, ahead),
            by_a_later_look,
            "another CPU was not held up"
        );
        assert_eq!(arrival_of_rate(0, now, u64::MAX, u64::MAX), 0, "no overflow");
    }

    #[test]
    fn name_keys_are_fnv_1a() {
        assert_eq!(name_key(""), 0x811c_9dc5);
        assert_eq!(name_key("a"), 0xe40c_292c);
        assert_eq!(name_key("foobar"), 0xbf9c_f968);
    }
}
