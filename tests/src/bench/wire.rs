//! A veth pair between two namespaces, and packets over it at full rate.
//!
//! The generator is an XDP program run by BPF_PROG_TEST_RUN with live frames: it writes the next source into a frame
//! and sends it (XDP_TX) to the other end, where the contestant waits. Both ends run on the CPU that generates.

use std::{net::IpAddr, time::Instant as Stopwatch};

use anyhow::{Context as _, bail, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::Array,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use cordon::dataplane::{PEERS, interface_index};
use serde_json::Value;

use super::list::N_SOURCES;
use crate::{
    frames::udp_frame,
    lab::{EDGE_MAC, mac_text},
    netns::Netns,
    nft,
};

/// Frames that the kernel hands over at once; its own default.
const LIVE_BATCH: u32 = 64;
const GENERATOR: &str = "gen0";
/// The contestant's interface.
pub const RECEIVER: &str = "edge0";
/// Where packets from listed sources go, so that they can be told from the others.
pub const LISTED_PORT: u16 = 9;
/// Where the others go.
pub const OTHER_PORT: u16 = 10;

/// Behind every peer's hook (raw is -300): what arrives here has passed.
const AUDIT: &str = "table inet audit {
    counter listed { }
    counter other { }
    chain passed {
        type filter hook prerouting priority 200
        udp dport 9 counter name listed drop
        udp dport 10 counter name other drop
    }
}
";

/// A veth pair, a contestant's own.
pub struct Wire {
    internet: Netns,
    /// Where the contestant is.
    pub edge: Netns,
    ifindex: u32,
    _napi: Ebpf,
}

/// Packets that passed, by port.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// To [`LISTED_PORT`].
    pub listed: u64,
    /// To [`OTHER_PORT`].
    pub other: u64,
}

impl Wire {
    /// Makes it.
    pub fn new() -> anyhow::Result<Self> {
        let (internet, edge) = (Netns::new()?, Netns::new()?);
        for conf in ["all", "default"] {
            // Nothing but generated packets: no discovery of neighbours, no reports of multicast listeners.
            internet.sysctl(&format!("ipv6/conf/{conf}/disable_ipv6"), "1")?;
            edge.sysctl(&format!("ipv6/conf/{conf}/accept_dad"), "0")?;
            edge.sysctl(&format!("ipv6/conf/{conf}/router_solicitations"), "0")?;
        }
        // One queue each, as a veth pair has by default. The frames' destination, or the stack would not look at them.
        edge.ip_batch(&format!(
            "link add {RECEIVER} address {} type veth peer name {GENERATOR} netns {}\n",
            mac_text(EDGE_MAC),
            internet.path(),
        ))?;
        // Without a program of its own, an end takes frames of another's program only with NAPI, which comes with GRO.
        let gro = edge
            .command("ethtool")
            .args(["-K", RECEIVER, "gro", "on"])
            .output()
            .context("cannot run `ethtool` (package ethtool)")?;
        ensure!(gro.status.success(), "ethtool cannot switch on GRO: {gro:?}");
        edge.ip_batch(&format!("link set {RECEIVER} up\n"))?;
        internet.ip_batch(&format!("link set {GENERATOR} up\n"))?;
        let ifindex = internet
            .run(|| interface_index(GENERATOR))
            .context("the veth pair was just made")?;
        // An XDP program on the generator's own end registers the queue that the live frames claim to come from.
        let mut napi = Ebpf::load(PEERS).context("cannot load the peers")?;
        let pass = load(&mut napi, "pass_only")?;
        internet
            .run(|| pass.attach(GENERATOR, XdpMode::Driver))
            .context("cannot attach to the generator's end")?;
        Ok(Self {
            internet,
            edge,
            ifindex,
            _napi: napi,
        })
    }

    /// Sends packets; nanoseconds per packet, receiver included. Fails if the receiver's end did not see them all.
    pub fn run(&self, generator: &mut Generator, n_packets: u32) -> anyhow::Result<f64> {
        let before = self.received()?;
        let ns = self.send(generator, n_packets)?;
        let n_received = self.received()? - before;
        ensure!(
            n_received == u64::from(n_packets),
            "{n_received} of {n_packets} packets arrived at the receiver's end"
        );
        Ok(ns)
    }

    /// As [`Self::run`], whatever arrives.
    pub fn send(&self, generator: &mut Generator, n_packets: u32) -> anyhow::Result<f64> {
        let Generator { ebpf, frame } = generator;
        let program: &Xdp = ebpf
            .program("generate")
            .context("there is no generate")?
            .try_into()?;
        let context = context(frame.len() as u32, self.ifindex);
        self.internet.run(|| {
            let started = Stopwatch::now();
            program
                .test_run(TestRunOptions {
                    data_in: Some(frame),
                    ctx_in: Some(&context),
                    repeat: n_packets,
                    attrs: TestRunAttrs::new().xdp_live_frames(LIVE_BATCH),
                    ..TestRunOptions::new()
                })
                .context("cannot send live frames")?;
            Ok(started.elapsed().as_nanos() as f64 / f64::from(n_packets))
        })
    }

    /// Packets that the receiver's end has seen, before any program or rule.
    pub fn received(&self) -> anyhow::Result<u64> {
        let text = self
            .edge
            .run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))
            .context("cannot read the counters of the receiver's end")?;
        text.lines()
            .find_map(|line| line.trim_start().strip_prefix(RECEIVER)?.strip_prefix(':'))
            .and_then(|counters| counters.split_whitespace().nth(1)?.parse().ok())
            .with_context(|| format!("{RECEIVER} has no counters in:\n{text}"))
    }

    /// From now on what passes is counted, and dropped behind.
    pub fn start_audit(&self) -> anyhow::Result<()> {
        nft::load(&self.edge, AUDIT)
    }

    /// What passed since [`Self::start_audit`].
    pub fn passed(&self) -> anyhow::Result<Passed> {
        let output = self
            .edge
            .command("nft")
            .args(["-j", "list", "counters", "table", "inet", "audit"])
            .output()
            .context("cannot run `nft` (package nftables)")?;
        let answer: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("nft does not list the counters: {output:?}"))?;
        let packets = |name: &str| {
            answer["nftables"]
                .as_array()?
                .iter()
                .map(|object| &object["counter"])
                .find(|counter| counter["name"] == name)?["packets"]
                .as_u64()
        };
        match (packets("listed"), packets("other")) {
            (Some(listed), Some(other)) => Ok(Passed { listed, other }),
            _ => bail!("nft lists no counters: {answer}"),
        }
    }

    /// What passes is no longer counted.
    pub fn end_audit(&self) -> anyhow::Result<()> {
        nft::load(&self.edge, "delete table inet audit\n")
    }
}

/// The generating program and its frame.
pub struct Generator {
    ebpf: Ebpf,
    frame: Vec<u8>,
}

impl Generator {
    /// Sends from these sources in turn, all of one family, to these ports.
    pub fn new(sources: &[(IpAddr, u16)]) -> anyhow::Result<Self> {
        Self::with(sources, true)
    }

    /// Makes the same frames and sends none of them.
    pub fn idle(sources: &[(IpAddr, u16)]) -> anyhow::Result<Self> {
        Self::with(sources, false)
    }

    fn with(sources: &[(IpAddr, u16)], sends: bool) -> anyhow::Result<Self> {
        let (first, _) = *sources.first().context("there is no source to send from")?;
        let (family, sends) = (if first.is_ipv4() { 4_u32 } else { 6 }, u32::from(sends));
        let mut ebpf = EbpfLoader::new()
            .override_global("FAMILY", &family, true)
            .override_global("SENDS", &sends, true)
            .load(PEERS)
            .context("cannot load the peers")?;
        let mut map: Array<_, [u8; 20]> = ebpf
            .map_mut("SOURCES")
            .context("there is no SOURCES")?
            .try_into()?;
        for (idx, (source, port)) in (0..).zip(sources.iter().cycle().take(N_SOURCES)) {
            map.set(idx, sender(*source, *port), 0)?;
        }
        load(&mut ebpf, "generate")?;
        let mut frame = udp_frame(first, LISTED_PORT, &[0; 18]);
        if first.is_ipv4() {
            // Sources and ports change: no checksum is better than a wrong one.
            frame[14 + 20 + 6..][..2].fill(0);
        }
        Ok(Self { ebpf, frame })
    }
}

/// A value of `SOURCES`.
fn sender(source: IpAddr, port: u16) -> [u8; 20] {
    let mut bytes = [0; 20];
    match source {
        IpAddr::V4(address) => {
            bytes[..4].copy_from_slice(&address.octets());
            // Netfilter never sees a packet whose IPv4 header has a wrong checksum.
            bytes[16..18].copy_from_slice(&udp_frame(source, port, &[0; 18])[14 + 10..][..2]);
        }
        IpAddr::V6(address) => bytes[..16].copy_from_slice(&address.octets()),
    }
    bytes[18..].copy_from_slice(&port.to_be_bytes());
    bytes
}

/// Loads a program of the peers.
pub fn load<'a>(peers: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut Xdp> {
    let program: &mut Xdp = peers
        .program_mut(name)
        .with_context(|| format!("there is no {name}"))?
        .try_into()?;
    program.load().with_context(|| format!("cannot load {name}"))?;
    Ok(program)
}

/// `struct xdp_md` of the live frames: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn context(frame_len: u32, ifindex: u32) -> Vec<u8> {
    [0, frame_len, 0, ifindex, 0, 0]
        .iter()
        .flat_map(|word: &u32| word.to_ne_bytes())
        .collect()
}
