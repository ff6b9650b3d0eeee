//! A download that goes on until the test has seen enough: it surely spans whatever happens meanwhile.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::sys::socket::{setsockopt, sockopt};

use crate::netns::Netns;

/// What is sent at once.
const CHUNK_BYTES: usize = 1024;
/// Between two chunks: slow enough for a test to keep up with, fast enough for none to wait long.
const PACE: Duration = Duration::from_micros(200);
/// Asked for as send buffer; the kernel doubles it. What was sent beyond it was acknowledged.
const SEND_BUFFER_BYTES: usize = 16 << 10;
/// More than any send and receive buffer of a connection here.
const SPAN_BYTES: u64 = 512 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// An HTTP server for one client, which sends until it is told to finish.
#[derive(Debug)]
pub struct Download {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    n_sent: AtomicU64,
    finish: AtomicBool,
    give_up: AtomicBool,
}

impl Download {
    /// Listens on a port of a namespace, IPv4 and IPv6.
    pub fn listen(netns: &Netns, port: u16) -> anyhow::Result<Self> {
        let listener = netns
            .run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))
            .with_context(|| format!("cannot listen for a download on port {port}"))?;
        listener
            .set_nonblocking(true)
            .context("cannot make a listener non-blocking")?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || theirs.serve(&listener));
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Bytes of the body that were sent so far.
    pub fn n_sent(&self) -> u64 {
        self.shared.n_sent.load(Ordering::Relaxed)
    }

    /// Waits until so much more was sent that the client must have acknowledged packets meanwhile.
    pub fn wait_for_progress(&self) -> anyhow::Result<()> {
        let goal = self.n_sent() + SPAN_BYTES;
        let deadline = Instant::now() + PATIENCE;
        while self.n_sent() < goal {
            if Instant::now() > deadline {
                bail!("the download stands still at {} bytes", self.n_sent());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Lets the download come to its regular end.
    pub fn finish(&self) {
        self.shared.finish.store(true, Ordering::Relaxed);
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.shared.give_up.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A server that panicked has already said so.
            thread.join().ok();
        }
    }
}

impl Shared {
    fn serve(&self, listener: &TcpListener) {
        while !self.give_up.load(Ordering::Relaxed) {
            match listener.accept() {
                // Errors end the connection, which the client notices.
                Ok((stream, _)) => {
                    self.answer(stream).ok();
                    return;
                }
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn answer(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_nonblocking(false)?;
        setsockopt(&stream, sockopt::SndBuf, &SEND_BUFFER_BYTES)?;
        stream.set_write_timeout(Some(Duration::from_millis(100)))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = Vec::new();
        let mut byte = [0; 1];
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            request.push(byte[0]);
        }
        self.write_all(
            &mut stream,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        )?;
        // With chunks the client knows whether the body is complete.
        let mut chunk = format!("{CHUNK_BYTES:x}\r\n").into_bytes();
        chunk.resize(chunk.len() + CHUNK_BYTES, b'.');
        chunk.extend_from_slice(b"\r\n");
        while !self.finish.load(Ordering::Relaxed) {
            self.write_all(&mut stream, &chunk)?;
            self.n_sent.fetch_add(CHUNK_BYTES as u64, Ordering::Relaxed);
            thread::sleep(PACE);
        }
        self.write_all(&mut stream, b"0\r\n\r\n")
    }

    /// As the standard library's, but it can be told to give up.
    fn write_all(&self, stream: &mut TcpStream, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            if self.give_up.load(Ordering::Relaxed) {
                bail!("nobody waits for this download any more");
            }
            match stream.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cannot write to the client"),
            }
        }
        Ok(())
    }
}
