//! Counters: every packet is counted exactly once, by reason and, where one was looked up, by class.

use crate::{Reason, shared::shared};

shared! {
    /// Packets and bytes. Per-CPU, written by one softirq at a time, so plain additions suffice.
    pub struct Counter[16] {
        /// Packets.
        pub packets: u64,
        /// Bytes, from the Ethernet header on (L2 length), without the frame check sequence.
        pub bytes: u64,
    }
}

/// Index into `COUNTERS` of a packet's reason and class. Reasons without a class come first, then a row of
/// [`Reason::N_WITH_CLASS`] for each class.
#[inline(always)]
pub const fn counter_index(reason: Reason, class: u16) -> u32 {
    let reason = reason as u32;
    if reason < Reason::N_WITH_CLASS {
        Reason::N_WITHOUT_CLASS + class as u32 * Reason::N_WITH_CLASS + reason
    } else {
        reason - Reason::N_WITH_CLASS
    }
}

/// Reason and class of an index into `COUNTERS`, the reverse of [`counter_index`]; `None` for a counter that no
/// reason uses.
pub const fn counter_at(idx: u32) -> Option<(Reason, Option<u16>)> {
    let (code, class) = match idx.checked_sub(Reason::N_WITHOUT_CLASS) {
        Some(rest) => (
            rest % Reason::N_WITH_CLASS,
            Some((rest / Reason::N_WITH_CLASS) as u16),
        ),
        None => (idx + Reason::N_WITH_CLASS, None),
    };
    match Reason::from_code(code as u8) {
        Some(reason) => Some((reason, class)),
        None => None,
    }
}

/// Size of `COUNTERS` for a number of classes.
pub const fn n_counters(n_classes: u32) -> u32 {
    Reason::N_WITHOUT_CLASS + n_classes * Reason::N_WITH_CLASS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_share_a_counter() {
        let n_classes = 3;
        let mut seen = [false; 256];
        for reason in Reason::ALL {
            let classes = if reason.has_class() { 0..n_classes } else { 0..1 };
            for class in classes {
                let idx = counter_index(*reason, class) as usize;
                assert!(idx < n_counters(u32::from(n_classes)) as usize);
                assert!(!seen[idx], "{reason:?} of class {class} shares its counter");
                seen[idx] = true;
                let class = reason.has_class().then_some(class);
                assert_eq!(counter_at(idx as u32), Some((*reason, class)));
            }
        }
    }
}
