//! Frames at a steady rate from a CPU of one's choice, and a socket that counts what arrives.

use std::{
    net::{Ipv6Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{setsockopt, sockopt},
    unistd::Pid,
};

use crate::{frames::FrameSocket, netns::Netns};

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Frames.
    pub n_frames: u64,
    /// From the first to the last.
    pub elapsed: Duration,
    /// The longest time in which nothing was sent although something was due: another process had the CPU.
    pub longest_pause: Duration,
}

/// Binds the calling thread to a CPU.
pub fn run_on(cpu: usize) -> anyhow::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).with_context(|| format!("there is no CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &cpus).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// Sends frames in turn, `per_s` of them a second for a time; on one CPU if one is given. Behind schedule (another
/// process had the CPU) it catches up.
pub fn send_at_rate(
    socket: &FrameSocket,
    frames: &[Vec<u8>],
    per_s: u64,
    duration: Duration,
    cpu: Option<usize>,
) -> anyhow::Result<Sent> {
    if let Some(cpu) = cpu {
        run_on(cpu)?;
    }
    let started = Instant::now();
    let mut n_frames = 0_u64;
    let mut frames = frames.iter().cycle();
    let mut longest_pause = Duration::ZERO;
    let mut last_look = started;
    loop {
        longest_pause = longest_pause.max(last_look.elapsed());
        let elapsed = started.elapsed().min(duration);
        let n_due = (elapsed.as_nanos() * u128::from(per_s) / 1_000_000_000) as u64;
        while n_frames < n_due {
            socket.send(frames.next().context("there are no frames to send")?)?;
            n_frames += 1;
        }
        if elapsed == duration {
            return Ok(Sent {
                n_frames,
                elapsed: started.elapsed(),
                longest_pause,
            });
        }
        last_look = Instant::now();
        thread::sleep(Duration::from_micros(200));
    }
}

/// Counts the datagrams that arrive at a port, IPv4 and IPv6; ends with its owner.
#[derive(Debug)]
pub struct Sink {
    stop: Arc<AtomicBool>,
    n_received: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Listens on a port of a namespace.
    pub fn listen(netns: &Netns, port: u16) -> anyhow::Result<Self> {
        let socket = netns
            .run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)))
            .with_context(|| format!("cannot listen on UDP port {port}"))?;
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).context("cannot enlarge a receive buffer")?;
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .context("cannot set a timeout")?;
        let stop = Arc::new(AtomicBool::new(false));
        let n_received = Arc::new(AtomicU64::new(0));
        let (stop_it, count) = (Arc::clone(&stop), Arc::clone(&n_received));
        let thread = thread::spawn(move || {
            let mut datagram = [0; 2048];
            while !stop_it.load(Ordering::Relaxed) {
                if socket.recv(&mut datagram).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self {
            stop,
            n_received,
            thread: Some(thread),
        })
    }

    /// Datagrams so far, once this many have arrived, or none came for half a second.
    pub fn received(&self, n_wanted: u64) -> u64 {
        let mut last = (self.n_received.load(Ordering::Relaxed), Instant::now());
        while last.0 < n_wanted && last.1.elapsed() < Duration::from_millis(500) {
            thread::sleep(Duration::from_millis(10));
            let now = self.n_received.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        last.0
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A sink that panicked has already said so.
            thread.join().ok();
        }
    }
}
