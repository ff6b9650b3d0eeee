//! Damage to frames.

use crate::rng::Rng;

/// Damages a frame once; `other` is one to take parts of.
pub(super) fn damage(rng: &mut Rng, frame: &mut Vec<u8>, other: &[u8]) {
    if frame.is_empty() {
        return;
    }
    // Most damage hits headers.
    let near = frame.len().min(if rng.below(2) == 0 { 24 } else { 96 });
    let at = match rng.below(4) {
        0 => rng.below(frame.len()),
        _ => 12.min(frame.len() - 1) + rng.below(near),
    }
    .min(frame.len() - 1);
    match rng.below(9) {
        0 | 1 => frame[at] ^= 1 << rng.below(8),
        2 => frame[at] = rng.next_u64() as u8,
        3 => frame[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5)],
        4 => frame.truncate(at),
        5 => {
            // Splice: the rest is another frame's.
            frame.truncate(at);
            frame.extend(other.iter().skip(rng.below(other.len().max(1))));
        }
        6 => {
            let end = (at + 1 + rng.below(16)).min(frame.len());
            frame.drain(at..end);
        }
        7 => {
            let n_bytes = 1 + rng.below(16);
            let byte = rng.next_u64() as u8;
            frame.splice(at..at, std::iter::repeat_n(byte, n_bytes));
        }
        _ => {
            // A length that lies, wherever one may be.
            let value = [0_u16, 1, 19, 20, 21, 39, 40, 1500, 0xffff][rng.below(9)].to_be_bytes();
            let end = (at + 2).min(frame.len());
            frame[at..end].copy_from_slice(&value[..end - at]);
        }
    }
}
