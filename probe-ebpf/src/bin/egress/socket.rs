//! Whether the socket behind a leaving UDP packet is a client's.
//!
//! UDP has no SYN: a server's answer looks like a client's question. What tells them apart is how the socket came to
//! its port. A socket that was connected asks one peer. One whose port the kernel chose (`inet_autobind`, or
//! a bind to port 0) asks somebody, because nobody else can know that port. A port that was asked for by number is
//! marked in the socket (`SOCK_BINDPORT_LOCK`), wherever it lies: that is a server, or takes answers only by
//! connecting.

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::{bpf_probe_read_kernel, bpf_sk_fullsock},
    programs::TcContext,
};

use crate::maps::{EPHEMERAL_FIRST, EPHEMERAL_LAST, USERLOCKS_BIT, USERLOCKS_OFFSET};

const PROTO_UDP: u32 = 17;

/// Whether the packet, which leaves from a local port, comes from a UDP socket of this host that asks. A forwarded packet
/// has no socket; a tunnel's outer packet may have the inner one's, which then has another port.
#[inline(always)]
pub fn is_client(ctx: &TcContext, packet_port: u16) -> bool {
    // SAFETY: `skb` is the program's context, and the union has one meaning.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return false;
    }
    // SAFETY: the pointer is not null, and the kernel keeps the socket while its packet is here.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return false;
    }
    // SAFETY: as above; the verifier translates each of these reads.
    let (protocol, local_port, remote_port) =
        unsafe { ((*socket).protocol, (*socket).src_port, (*socket).dst_port) };
    if protocol != PROTO_UDP || local_port != u32::from(packet_port) {
        return false;
    }
    remote_port != 0
        || (EPHEMERAL_FIRST.load()..=EPHEMERAL_LAST.load()).contains(&local_port)
            && USERLOCKS_OFFSET.load() != 0
            && !was_port_asked_for(socket)
}

/// Whether the socket's port was asked for by number. A socket that cannot be read counts as one.
#[inline(always)]
fn was_port_asked_for(socket: *mut bpf_sock) -> bool {
    let held = [socket];
    // The verifier allows no arithmetic on a socket pointer. Read back as data, it is a number.
    // SAFETY: `held` is on the stack.
    let Ok(address) = (unsafe { bpf_probe_read_kernel(held.as_ptr().cast::<u64>()) }) else {
        return true;
    };
    let byte = address + u64::from(USERLOCKS_OFFSET.load());
    // SAFETY: the helper checks the address itself; the loader took the offset from this kernel's type information.
    match unsafe { bpf_probe_read_kernel(byte as *const u8) } {
        Ok(locks) => locks >> (USERLOCKS_BIT.load() & 7) & 1 != 0,
        Err(_) => true,
    }
}
