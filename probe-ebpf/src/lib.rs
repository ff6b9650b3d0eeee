//! The kernel side of cordon: what the programs in `bin/` share.
//!
//! `packet` is the one place that touches packet memory, `skb` the one that reads leaving packets. `parse` turns a
//! frame into [`parse::Facts`] or into an answer that needs no policy; `l4` and `tunnel` read what stands behind the
//! IP header, when asked. `record` is the exit. The maps are declared in `maps/`, which each program includes as far
//! as it uses them.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod clock;
pub mod l4;
pub mod packet;
pub mod parse;
pub mod record;
pub mod skb;
pub mod slot;
pub mod tunnel;

/// Every program needs one; the verifier would refuse a program that can get here.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
