//! A stream of packets from several sources at once, judged all the while: the witness of every policy change.

use std::{
    io,
    net::{IpAddr, UdpSocket},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::SockType,
};

use crate::{lab::Lab, probes::open_socket, servers::ECHO_PORT};

/// How long an answer may take before the packet counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to go on listening for answers that should not come.
const LAST_LOOK: Duration = Duration::from_millis(200);

/// What must happen to every packet of a source, whatever policy is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Always {
    /// Each is answered.
    Passed,
    /// None is answered.
    Blocked,
    /// The policies differ about this source: it is only counted.
    Either,
}

/// What the packets of one source met.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// The source.
    pub source: IpAddr,
    /// What had to happen.
    pub always: Always,
    /// Packets sent.
    pub n_sent: u64,
    /// Packets answered.
    pub n_answered: u64,
}

impl SourceReport {
    /// Packets that met what they should not have met.
    pub fn n_wrong(&self) -> u64 {
        match self.always {
            Always::Passed => self.n_sent - self.n_answered,
            Always::Blocked => self.n_answered,
            Always::Either => 0,
        }
    }
}

/// A running stream.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<SourceReport>>>,
}

struct Source {
    socket: UdpSocket,
    report: SourceReport,
    /// Whether the packet of this round was answered.
    answered: bool,
}

impl Stream {
    /// Starts sending: one UDP packet from each source, then the answers, and again, until stopped.
    pub fn start(lab: &Lab, sources: &[(IpAddr, Always)]) -> anyhow::Result<Self> {
        let mut sources = lab.internet.run(|| {
            sources
                .iter()
                .map(|(source, always)| Source::open(*source, *always))
                .collect::<anyhow::Result<Vec<Source>>>()
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked_to_stop = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut round = 0_u64;
            while !asked_to_stop.load(Ordering::Relaxed) {
                round += 1;
                run_round(&mut sources, round)?;
            }
            listen_until(&mut sources, round, Instant::now() + LAST_LOOK, false)?;
            Ok(sources.into_iter().map(|source| source.report).collect())
        });
        Ok(Self { stop, thread })
    }

    /// Stops sending and reports, source by source.
    pub fn stop(self) -> anyhow::Result<Vec<SourceReport>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the stream panicked"))?
    }
}

fn run_round(sources: &mut [Source], round: u64) -> anyhow::Result<()> {
    for source in &mut *sources {
        source.answered = false;
        source
            .socket
            .send(&round.to_be_bytes())
            .with_context(|| format!("cannot send from {}", source.report.source))?;
        source.report.n_sent += 1;
    }
    listen_until(sources, round, Instant::now() + PATIENCE, true)
}

/// Takes answers until the deadline or, if it may end early, until every source that must be answered was.
fn listen_until(sources: &mut [Source], round: u64, deadline: Instant, may_end: bool) -> anyhow::Result<()> {
    loop {
        for source in &mut *sources {
            source.take_answers(round)?;
        }
        let is_complete = sources
            .iter()
            .all(|source| source.answered || source.report.always != Always::Passed);
        let left = deadline.saturating_duration_since(Instant::now());
        if (may_end && is_complete) || left.is_zero() {
            return Ok(());
        }
        let left_ms = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|source| PollFd::new(source.socket.as_fd(), PollFlags::POLLIN))
            .collect();
        match poll(&mut fds, PollTimeout::from(left_ms)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll failed"),
        }
    }
}

impl Source {
    fn open(source: IpAddr, always: Always) -> anyhow::Result<Self> {
        let socket = open_socket(source, SockType::Datagram, None, ECHO_PORT)
            .with_context(|| format!("cannot open a socket on {source}"))?;
        Ok(Self {
            socket: socket.into(),
            report: SourceReport {
                source,
                always,
                n_sent: 0,
                n_answered: 0,
            },
            answered: false,
        })
    }

    fn take_answers(&mut self, round: u64) -> anyhow::Result<()> {
        let mut answer = [0; 64];
        loop {
            match self.socket.recv(&mut answer) {
                Ok(n) => {
                    // A late answer is an answer: what was blocked must stay unanswered for ever.
                    self.report.n_answered += 1;
                    self.answered |= answer[..n] == round.to_be_bytes();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot receive at {}", self.report.source));
                }
            }
        }
    }
}
