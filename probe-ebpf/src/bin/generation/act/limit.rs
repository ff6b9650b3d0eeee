//! `limit`: pass up to a rate.

use core::intrinsics::{AtomicOrdering::SeqCst, atomic_cxchg};

use aya_ebpf::bindings::BPF_NOEXIST;
use probe_common::{BYTE_COST_SHIFT, Bucket, BucketKey, Tier, arrival_of_rate, gcra, limit_per};
use probe_ebpf::{clock, parse::Address};

use crate::{actions_maps::BUCKETS, generation_maps::TIERS, judge::Judgement};

/// Tries to store a new arrival time. Each failure means that another CPU's packet of the same bucket got through, so
/// that many in a row mean far more packets than any rate allows.
const MAX_TRIES: usize = 8;
/// The longest packet that an old arrival time is taken for the work of, see [`arrival_of_rate`].
const MAX_BYTES: u64 = 1 << 16;

/// Whether the packet is within its tier's rate; takes its share.
#[inline(always)]
pub fn is_within(source: Address, judgement: Judgement, bytes: u64) -> bool {
    let [high, low] = source.halves();
    let who = u64::from(judgement.class) << 8 | u64::from(judgement.decision.tier());
    cordon_limit(high, low, who, bytes) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_limit(high: u64, low: u64, who: u64, bytes: u64) -> u32 {
    let res = try_limit([high, low], (who >> 8) as u16, who as u8, bytes);
    u32::from(res.is_some())
}

#[inline(always)]
fn try_limit(source: [u64; 2], class: u16, tier_idx: u8, bytes: u64) -> Option<()> {
    let tier = TIERS.get(u32::from(tier_idx))?;
    let key = bucket_key(source, class, tier_idx, tier.limit_per);
    let now_ns = clock::boot_ns();
    let bucket = bucket(&key.0, now_ns)?;
    let byte_cost_ns = bytes.wrapping_mul(tier.byte_cost) >> BYTE_COST_SHIFT;
    let packets = Rate {
        cost_ns: tier.packet_cost_ns,
        max_cost_ns: tier.packet_cost_ns,
        ahead_ns: tier.packet_ahead_ns,
    };
    let bytes = Rate {
        cost_ns: byte_cost_ns,
        max_cost_ns: MAX_BYTES.wrapping_mul(tier.byte_cost) >> BYTE_COST_SHIFT,
        ahead_ns: tier.byte_ahead_ns,
    };
    // SAFETY: both are aligned words of a map value, which stays mapped while the program runs; they are changed by
    // compare-exchange alone.
    unsafe {
        let packets_ns = &raw mut (*bucket).packets_ns;
        let bytes_ns = &raw mut (*bucket).bytes_ns;
        // A packet that is too many bytes must not use up a packet's share, so bytes are asked first and taken last.
        if tier.byte_cost != 0 {
            bytes.next(bytes_ns.read_volatile(), now_ns)?;
        }
        if tier.packet_cost_ns != 0 {
            packets.take(packets_ns, now_ns)?;
        }
        if tier.byte_cost != 0 {
            bytes.take(bytes_ns, now_ns)?;
        }
    }
    Some(())
}

/// One of a tier's two rates, for one packet.
#[derive(Clone, Copy)]
struct Rate {
    cost_ns: u64,
    max_cost_ns: u64,
    ahead_ns: u64,
}

impl Rate {
    #[inline(always)]
    fn next(self, arrival_ns: u64, now_ns: u64) -> Option<u64> {
        let arrival_ns = arrival_of_rate(arrival_ns, now_ns, self.max_cost_ns, self.ahead_ns);
        gcra(arrival_ns, now_ns, self.cost_ns, self.ahead_ns)
    }

    /// Takes the packet's share of the rate. Plain stores would let packets on several CPUs have the same share.
    ///
    /// # Safety
    ///
    /// `arrival_ns` is an aligned word of a map value.
    #[inline(always)]
    unsafe fn take(self, arrival_ns: *mut u64, now_ns: u64) -> Option<()> {
        // SAFETY: as the caller promises.
        let mut old_ns = unsafe { arrival_ns.read_volatile() };
        for _ in 0..MAX_TRIES {
            let next_ns = self.next(old_ns, now_ns)?;
            // SAFETY: as the caller promises.
            let (found_ns, is_stored) =
                unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(arrival_ns, old_ns, next_ns) };
            if is_stored {
                return Some(());
            }
            old_ns = found_ns;
        }
        None
    }
}

/// The bucket under a key; made if there is none. `None` only if the kernel has no entry to give.
#[inline(always)]
fn bucket(key: &BucketKey, now_ns: u64) -> Option<*mut Bucket> {
    if let Some(bucket) = BUCKETS.get_ptr_mut(key) {
        return Some(bucket);
    }
    let unused = Bucket {
        packets_ns: now_ns,
        bytes_ns: now_ns,
    };
    // Another CPU may have made it meanwhile: that one is kept.
    let _ = BUCKETS.insert(key, unused, u64::from(BPF_NOEXIST));
    BUCKETS.get_ptr_mut(key)
}

/// A key that the compiler makes of words: for fewer bytes it would call `memset`, which the verifier refuses.
#[repr(align(8))]
struct Aligned(BucketKey);

#[inline(always)]
fn bucket_key(source: [u64; 2], class: u16, tier: u8, limit_per: u8) -> Aligned {
    let is_by_class = limit_per == limit_per::CLASS;
    let source = if is_by_class { [0; 2] } else { source_key(source) };
    let [high, low] = source.map(u64::to_ne_bytes);
    let (h, l) = (&high, &low);
    Aligned(BucketKey {
        source: [
            h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7],
        ],
        class: if is_by_class { class } else { 0 },
        tier,
        limit_per,
    })
}

/// An IPv4 address as it is; of an IPv6 address the /64, since a host has all of it at will.
#[inline(always)]
const fn source_key([high, low]: [u64; 2]) -> [u64; 2] {
    if high == 0 { [high, low] } else { [high, 0] }
}

const _: () = assert!(align_of::<Tier>() == 8, "a tier's words are read as words");
