//! Nanoseconds per packet on a veth pair with native XDP, as ratios to a program that looks at nothing.
//!
//! The generator is an XDP program run by BPF_PROG_TEST_RUN with live frames: it writes the next of 16,384 source
//! addresses into a frame and sends it (XDP_TX) to the peer, where the measured program runs.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Instant as Stopwatch,
};

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::Array,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use cordon::{
    compile::Image,
    dataplane::{Dataplane, PEERS, Settings, interface_index},
    geo::Location,
    host::ModeChoice,
};
use serde::Serialize;

use super::{SEVEN, spread};
use crate::{frames::udp_frame, images, netns::Netns, rng::Rng};

const N_SOURCES: usize = 1 << 14;
/// Frames that the kernel hands over at once; its own default.
const LIVE_BATCH: u32 = 64;
const GENERATOR: &str = "gen0";
const RECEIVER: &str = "edge0";

/// One comparison with the floor.
#[derive(Debug, Serialize)]
pub struct PacketRow {
    /// What ran.
    pub name: String,
    /// What it is compared with.
    pub floor: &'static str,
    /// Nanoseconds per packet, generator included: minimum, median, maximum.
    pub ns: [f64; 3],
    /// The same of the floor in the same rounds.
    pub floor_ns: [f64; 3],
    /// Time per packet divided by the floor's in the same round: minimum, median, maximum.
    pub ratio: [f64; 3],
}

struct Case {
    name: String,
    image: Arc<Image>,
    sources: Vec<IpAddr>,
    floor: &'static str,
    reason: &'static str,
}

/// Measures cordon with the world table, dropping and passing, in both families.
pub fn measure(world: &Arc<Location>, rounds: usize, n_packets: u32) -> anyhow::Result<Vec<PacketRow>> {
    let wire = Wire::new()?;
    let mut rng = Rng::new(20_260_601);
    let seven = images::image(&images::drop_countries(&SEVEN), world)?;
    let pass_all = images::image(images::PASS_ALL, world)?;
    let mut rows = Vec::new();
    for family in [4, 6] {
        let blocked = draw(world, family, &mut rng, |code| SEVEN.contains(&code));
        let anywhere = draw(world, family, &mut rng, |_| true);
        let cases = [
            Case {
                name: format!("IPv{family}: 7 countries dropped, sources from their prefixes"),
                image: Arc::clone(&seven),
                sources: blocked,
                floor: "drop_only",
                reason: "policy_drop",
            },
            Case {
                name: format!("IPv{family}: all passed, sources from all prefixes"),
                image: Arc::clone(&pass_all),
                sources: anywhere,
                floor: "pass_only",
                reason: "policy_pass",
            },
        ];
        for case in cases {
            rows.push(compare(&wire, &case, rounds, n_packets)?);
        }
    }
    Ok(rows)
}

/// Alternates the floor and cordon on the same interface.
fn compare(wire: &Wire, case: &Case, rounds: usize, n_packets: u32) -> anyhow::Result<PacketRow> {
    let mut generator = Generator::new(&case.sources)?;
    let mut dataplane = Dataplane::open(&Settings {
        pin_dir: None,
        no_generation_pass: false,
        ..Default::default()
    })?;
    dataplane.publish(&case.image, None)?;
    let mut peers = Ebpf::load(PEERS).context("cannot load the peers")?;
    let floor = load(&mut peers, case.floor)?;

    let (mut ns, mut floor_ns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let floor_link = wire
            .edge
            .run(|| floor.attach(RECEIVER, XdpMode::Driver))
            .context("cannot attach")?;
        let of_floor = wire.run(&mut generator, n_packets)?;
        floor.detach(floor_link)?;

        wire.edge
            .run(|| dataplane.attach(RECEIVER, ModeChoice::RequireNative))?;
        let before = counted(&dataplane, case.reason)?;
        let of_cordon = wire.run(&mut generator, n_packets)?;
        let n_judged = counted(&dataplane, case.reason)? - before;
        wire.edge.run(|| dataplane.detach(RECEIVER))?;
        ensure!(
            n_judged == u64::from(n_packets),
            "{}: {n_judged} of {n_packets} packets were counted as {}",
            case.name,
            case.reason
        );
        floor_ns.push(of_floor);
        ns.push(of_cordon);
        ratios.push(of_cordon / of_floor);
    }
    let (ns, floor_ns, ratio) = (spread(ns), spread(floor_ns), spread(ratios));
    Ok(PacketRow {
        name: case.name.clone(),
        floor: case.floor,
        ns,
        floor_ns,
        ratio,
    })
}

fn counted(dataplane: &Dataplane, reason: &str) -> anyhow::Result<u64> {
    let rows = dataplane.counters()?;
    Ok(rows
        .iter()
        .filter(|row| row.reason == reason)
        .map(|row| row.packets)
        .sum())
}

fn load<'a>(peers: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut Xdp> {
    let program: &mut Xdp = peers
        .program_mut(name)
        .with_context(|| format!("there is no {name}"))?
        .try_into()?;
    program.load().with_context(|| format!("cannot load {name}"))?;
    Ok(program)
}

/// A veth pair between two namespaces.
struct Wire {
    internet: Netns,
    edge: Netns,
    ifindex: u32,
    _napi: Ebpf,
}

impl Wire {
    fn new() -> anyhow::Result<Self> {
        let (internet, edge) = (Netns::new()?, Netns::new()?);
        // One queue each, as a veth pair has by default.
        internet.ip_batch(&format!(
            "link add {GENERATOR} type veth peer name {RECEIVER} netns {}\nlink set {GENERATOR} up\n",
            edge.path()
        ))?;
        edge.ip_batch(&format!("link set {RECEIVER} up\n"))?;
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

    /// Sends packets; nanoseconds per packet, receiver included.
    fn run(&self, generator: &mut Generator, n_packets: u32) -> anyhow::Result<f64> {
        let frame = generator.frame.clone();
        let program = load_once(&mut generator.ebpf)?;
        let context = context(frame.len() as u32, self.ifindex);
        self.internet.run(|| {
            // The first packets warm the caches; they are few enough not to be timed.
            let started = Stopwatch::now();
            program
                .test_run(TestRunOptions {
                    data_in: Some(&frame),
                    ctx_in: Some(&context),
                    repeat: n_packets,
                    attrs: TestRunAttrs::new().xdp_live_frames(LIVE_BATCH),
                    ..TestRunOptions::new()
                })
                .context("cannot send live frames")?;
            Ok(started.elapsed().as_nanos() as f64 / f64::from(n_packets))
        })
    }
}

/// The generating program and its frame.
struct Generator {
    ebpf: Ebpf,
    frame: Vec<u8>,
}

impl Generator {
    fn new(sources: &[IpAddr]) -> anyhow::Result<Self> {
        let first = *sources.first().context("there is no source to send from")?;
        let family: u32 = if first.is_ipv4() { 4 } else { 6 };
        let mut ebpf = EbpfLoader::new()
            .override_global("FAMILY", &family, true)
            .load(PEERS)?;
        let mut map: Array<_, [u8; 16]> = ebpf
            .map_mut("SOURCES")
            .context("there is no SOURCES")?
            .try_into()?;
        for (idx, source) in (0..).zip(sources.iter().cycle().take(N_SOURCES)) {
            let mut bytes = [0; 16];
            match source {
                IpAddr::V4(source) => bytes[..4].copy_from_slice(&source.octets()),
                IpAddr::V6(source) => bytes = source.octets(),
            }
            map.set(idx, bytes, 0)?;
        }
        load(&mut ebpf, "generate")?;
        Ok(Self {
            ebpf,
            frame: udp_frame(first, 443, &[0; 18]),
        })
    }
}

fn load_once(ebpf: &mut Ebpf) -> anyhow::Result<&mut Xdp> {
    Ok(ebpf
        .program_mut("generate")
        .context("there is no generate")?
        .try_into()?)
}

/// `struct xdp_md` of the live frames: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn context(frame_len: u32, ifindex: u32) -> Vec<u8> {
    [0, frame_len, 0, ifindex, 0, 0]
        .iter()
        .flat_map(|word: &u32| word.to_ne_bytes())
        .collect()
}

/// Addresses drawn from random runs of the countries that `is_wanted` takes.
fn draw(world: &Location, family: u8, rng: &mut Rng, is_wanted: impl Fn(&str) -> bool) -> Vec<IpAddr> {
    let wanted = |class: u16| class >= 2 && is_wanted(world.classes.name(class));
    let mut runs: Vec<(u128, u128)> = Vec::new();
    if family == 4 {
        for idx in 0..world.ranges_v4.len() {
            if let Some((first, last, class)) = world.ranges_v4.run(idx)
                && wanted(class)
            {
                runs.push((first.into(), last.into()));
            }
        }
    } else {
        for idx in 0..world.ranges_v6.len() {
            if let Some((first, last, class)) = world.ranges_v6.run(idx)
                && wanted(class)
            {
                runs.push((first, last));
            }
        }
    }
    (0..N_SOURCES)
        .map(|_| {
            let (first, last) = runs[rng.below(runs.len())];
            let offset = rng.next_u128() % (last - first).saturating_add(1);
            match family {
                4 => IpAddr::V4(Ipv4Addr::from((first + offset) as u32)),
                _ => IpAddr::V6(Ipv6Addr::from(first + offset)),
            }
        })
        .collect()
}
