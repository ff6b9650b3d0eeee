//! An end of a veth pair that takes what XDP sends or redirects to it.

use anyhow::Context as _;
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use cordon::dataplane::PEERS;

use crate::netns::Netns;

/// A program that passes everything, on one end of a veth pair. Only an end with a program of its own polls for the
/// frames that XDP sends out of the other one (`veth_xdp_flush` in drivers/net/veth.c): without it they arrive late or
/// never. Dropping it detaches.
#[derive(Debug)]
pub struct Taker {
    _program: Ebpf,
}

impl Taker {
    /// Attaches the program.
    pub fn attach(netns: &Netns, ifname: &str) -> anyhow::Result<Self> {
        let mut ebpf = Ebpf::load(PEERS).context("cannot load the peers")?;
        let program: &mut Xdp = ebpf
            .program_mut("pass_only")
            .context("there is no pass_only")?
            .try_into()?;
        program.load().context("cannot load pass_only")?;
        netns
            .run(|| program.attach(ifname, XdpMode::Driver))
            .with_context(|| format!("cannot attach to {ifname}"))?;
        Ok(Self { _program: ebpf })
    }
}
