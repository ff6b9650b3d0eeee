//! A veth pair that carries nothing but the frames of the corpus: no addresses, no ARP, no IPv6 of its own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cordon::host::ModeChoice;

use super::world::{Counts, Ground, World, difference};
use crate::{
    frames::FrameSocket,
    lab::{EDGE_IFNAME, INTERNET_IFNAME},
    netns::Netns,
};

/// How long a frame may take from one end to the other before the test is called broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pair, with its sockets.
#[derive(Debug)]
pub struct Wire {
    _outside: Netns,
    sender: FrameSocket,
    receiver: FrameSocket,
}

impl Wire {
    /// Puts the interface that judges into the ground's namespace, and the other end into one of its own.
    pub fn new(ground: &Ground) -> anyhow::Result<Self> {
        let outside = Netns::new()?;
        for netns in [&ground.netns, &outside] {
            netns.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        }
        ground.netns.ip_batch(&format!(
            "link add {EDGE_IFNAME} mtu 9100 type veth peer name {INTERNET_IFNAME} mtu 9100 netns {}\n\
             link set {EDGE_IFNAME} arp off up\n",
            outside.path()
        ))?;
        outside.ip_batch(&format!("link set {INTERNET_IFNAME} arp off up\n"))?;
        Ok(Self {
            sender: FrameSocket::open(&outside, INTERNET_IFNAME)?,
            receiver: FrameSocket::open(&ground.netns, EDGE_IFNAME)?,
            _outside: outside,
        })
    }

    /// Lets a world judge what comes in.
    pub fn attach(&self, world: &mut World, mode: ModeChoice) -> anyhow::Result<()> {
        world.dataplane.attach(EDGE_IFNAME, mode)?;
        Ok(())
    }

    /// Undoes [`Self::attach`].
    pub fn detach(&self, world: &mut World) -> anyhow::Result<()> {
        world.dataplane.detach(EDGE_IFNAME)?;
        Ok(())
    }

    /// Sends a frame and waits until it was counted; gives what was counted, and the frames that came through.
    pub fn send(&self, world: &World, frame: &[u8]) -> anyhow::Result<(Counts, Vec<Vec<u8>>)> {
        let before = world.counts()?;
        self.sender
            .send(frame)
            .with_context(|| format!("with {} bytes", frame.len()))?;
        let deadline = Instant::now() + PATIENCE;
        let counted = loop {
            let counted = difference(&world.counts()?, &before);
            if !counted.is_empty() {
                break counted;
            }
            if Instant::now() > deadline {
                bail!("a frame of {} bytes was sent and never counted", frame.len());
            }
        };
        Ok((counted, self.receiver.receive(usize::MAX, Duration::ZERO)?))
    }

    /// Waits for a frame that passed; for one that should have come already, this returns at once.
    pub fn wait_for_one(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        self.receiver.receive(1, PATIENCE)
    }
}
