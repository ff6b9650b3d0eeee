//! What an interface has counted.

use std::io;

use super::{netlink, parse};

/// Frames that an interface has received since it was made, whatever became of them.
pub fn received(ifindex: u32) -> io::Result<u64> {
    let body = netlink::stats(ifindex)?;
    parse::received(&body).ok_or_else(|| io::Error::other("the kernel's answer has no statistics"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_counts_what_it_receives() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = received(1).unwrap();
        for _ in 0..10 {
            socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        }
        assert!(received(1).unwrap() >= before + 10);
        assert!(received(u32::MAX >> 1).is_err(), "there is no such interface");
    }
}
