//! Which slot judges: the entry program and the egress program must take the same one.

use probe_common::{State, StateWord};

use crate::clock;

/// The slot in force. The word is read once, and the clock only while a deadline is set.
///
/// # Safety
///
/// `state` is element 0 of the map `STATE`.
#[inline(always)]
pub unsafe fn in_force(state: *const State) -> u8 {
    // SAFETY: as the caller promises; the element lives as long as the program. Volatile: one read, no second one that
    // could see another publish.
    let word = StateWord::unpack(unsafe { (&raw const (*state).word).read_volatile() });
    if word.deadline_s == 0 {
        word.active
    } else {
        word.effective(clock::boot_ns())
    }
}
