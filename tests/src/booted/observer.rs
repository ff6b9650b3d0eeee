//! Packets all the while a host boots, whether anybody answers or not.

use std::{
    net::{IpAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use nix::sys::socket::SockType;

use crate::{lab::Lab, probes::open_socket, servers::ECHO_PORT};

/// The time between two packets of a source.
const PAUSE: Duration = Duration::from_millis(1);

/// What the packets of one source met.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Packets that went out.
    pub n_sent: u64,
    /// Those that were answered.
    pub n_answered: u64,
}

/// Sends from every source until stopped. Unlike [`crate::stream`] it waits for no answer: the other end may be down.
#[derive(Debug)]
pub struct Observer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Seen>>,
}

impl Observer {
    /// Starts sending.
    pub fn start(lab: &Lab, sources: &[IpAddr]) -> anyhow::Result<Self> {
        let open = |source: &IpAddr| {
            open_socket(*source, SockType::Datagram, None, ECHO_PORT)
                .map(UdpSocket::from)
                .with_context(|| format!("cannot open a socket on {source}"))
        };
        let sockets: Vec<UdpSocket> = lab
            .internet
            .run(|| sources.iter().map(open).collect::<anyhow::Result<_>>())?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked_to_stop = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut seen = vec![Seen::default(); sockets.len()];
            let mut answer = [0; 64];
            while !asked_to_stop.load(Ordering::Relaxed) {
                for (socket, seen) in sockets.iter().zip(&mut seen) {
                    seen.n_sent += u64::from(socket.send(b"anybody there?").is_ok());
                    while socket.recv(&mut answer).is_ok() {
                        seen.n_answered += 1;
                    }
                }
                thread::sleep(PAUSE);
            }
            seen
        });
        Ok(Self { stop, thread })
    }

    /// Stops sending; what each source met, in their order.
    pub fn stop(self) -> anyhow::Result<Vec<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the observer panicked"))
    }
}
