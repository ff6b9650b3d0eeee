//! Publishing under packets: no packet is judged by a mixture of two generations, and both families flip at
//! once. A control scheme that replaces two maps one after the other must be caught by the same observer.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf,
    maps::{
        ArrayOfMaps, MapData,
        lpm_trie::{Key, LpmTrie},
    },
    programs::Xdp,
};
use cordon::{
    compile::Image,
    dataplane::{Dataplane, PEERS, Settings},
    geo,
    host::FieldChoice,
};
use integration_tests::{
    frames::udp_frame,
    images,
    mmdb_writer::MmdbWriter,
    test_run::{XDP_DROP, XDP_PASS, run_frame},
};

/// An IPv4 and an IPv6 source of each kind: always blocked, always passed, alternating.
type Sources = [[IpAddr; 2]; 3];

const PREFIXES_PER_FAMILY: u32 = 2_500;
/// Packets of each kind in one call of the kernel, where many packets are wanted.
const BATCH: u32 = 150_000;
/// The same where the comparisons of the families matter: they must take most of the observer's time. With long
/// calls in between, the kernel's grace periods, and so the publishes of the control scheme, fall into step with
/// the calls, and what happens between the two maps is never looked at.
const SHORT_BATCH: u32 = 1_000;
/// Packets that are judged for each publish at least, of small generations.
const PACKETS_PER_PUBLISH: u64 = 100_000;
/// Comparisons of the families after each round of batches.
const COMPARISONS: u32 = 1_000;

/// What the observers saw.
#[derive(Debug, Default)]
struct Seen {
    /// Packets offered: always blocked, always passed, alternating.
    offered: [AtomicU64; 3],
    /// Single packets whose verdict was wrong under every generation.
    wrong: AtomicU64,
    /// Times the two families were seen in different generations within less than one publish.
    torn: AtomicU64,
    /// Times both families were compared.
    compared: AtomicU64,
}

impl Seen {
    fn n_offered(&self) -> u64 {
        self.offered
            .iter()
            .map(|offered| offered.load(Ordering::Relaxed))
            .sum()
    }
}

/// When to stop: after so many publishes, or later if fewer packets than this were judged until then.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    n_publishes: u64,
    n_packets: u64,
    /// Packets of each kind in one call of the kernel.
    batch: u32,
}

/// Sends all three kinds of packets, in both families, until told to stop. `begun` counts publishes that have
/// begun: when it did not move around three packets IPv4, IPv6, IPv4, at most one flip lies between them, so
/// two equal IPv4 verdicts around a different IPv6 verdict are a mixture.
fn observe(
    program: &Xdp,
    sources: &Sources,
    wanted: Wanted,
    begun: &AtomicU64,
    stop: &AtomicBool,
    seen: &Seen,
) -> anyhow::Result<()> {
    let kinds = sources.map(|pair| pair.map(|source| udp_frame(source, 443, b"swap")));
    let expected = [Some(XDP_DROP), Some(XDP_PASS), None];
    while !stop.load(Ordering::Relaxed) {
        for ((frames, expected), offered) in kinds.iter().zip(expected).zip(&seen.offered) {
            for frame in frames {
                let (action, _) = run_frame(program, frame, wanted.batch)?;
                offered.fetch_add(u64::from(wanted.batch), Ordering::Relaxed);
                if expected.is_some_and(|expected| expected != action) {
                    seen.wrong.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let [v4, v6] = &kinds[2];
        for _ in 0..COMPARISONS {
            let before = begun.load(Ordering::SeqCst);
            let first = run_frame(program, v4, 1)?.0;
            let middle = run_frame(program, v6, 1)?.0;
            let last = run_frame(program, v4, 1)?.0;
            let is_settled = begun.load(Ordering::SeqCst) == before;
            seen.offered[2].fetch_add(3, Ordering::Relaxed);
            seen.compared.fetch_add(1, Ordering::Relaxed);
            if is_settled && first == last && first != middle {
                seen.torn.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

/// Runs `swap` with the number of each publish while packets flow through `program`.
fn under_packets(
    program: &Xdp,
    sources: &Sources,
    wanted: Wanted,
    mut swap: impl FnMut(u64, &AtomicU64) -> anyhow::Result<()>,
) -> anyhow::Result<(Seen, u64)> {
    let seen = Seen::default();
    let begun = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let observer = scope.spawn(|| observe(program, sources, wanted, &begun, &stop, &seen));
        let mut number = 0;
        let mut swapped = Ok(());
        while swapped.is_ok() && (number < wanted.n_publishes || seen.n_offered() < wanted.n_packets) {
            number += 1;
            swapped = swap(number, &begun);
        }
        stop.store(true, Ordering::Relaxed);
        observer.join().expect("the observer does not panic")?;
        swapped.map(|()| number)
    })
    .map(|n_publishes| (seen, n_publishes))
}

/// A database of a few thousand prefixes. The alternating sources lie in `country`; `shift` adds a country that
/// moves the number of every class behind it, so that a table of one generation read with another's matrix gives
/// wrong verdicts.
fn database(country: &str, shift: Option<&str>) -> MmdbWriter {
    let mut database = MmdbWriter::new()
        .country("11.0.0.0/16", "RU")
        .country("2a00:11::/32", "RU")
        .country("12.0.0.0/16", "US")
        .country("2a00:12::/32", "US")
        .country("13.0.0.0/16", country)
        .country("2a00:13::/32", country);
    if let Some(code) = shift {
        database = database.country("14.0.0.0/16", code);
    }
    // Neighbours alternate between countries, so that nothing can be merged away.
    for idx in 0..PREFIXES_PER_FAMILY {
        let code = ["CN", "FR", "JP"][idx as usize % 3];
        database = database.country(&format!("20.{}.{}.0/24", idx / 256, idx % 256), code);
        database = database.country(&format!("2a01:{idx:x}::/32"), code);
    }
    database
}

/// Publishes the two images in turn under packets. RU is blocked and US passed in both; the alternating sources
/// are blocked as BY in the first and passed as DE in the second.
fn swap_generations(images: &[Arc<Image>; 2], sources: &Sources, wanted: Wanted) -> anyhow::Result<()> {
    let mut dataplane = Dataplane::open(&Settings {
        pin_dir: None,
        no_generation_pass: false,
        ..Default::default()
    })?;
    dataplane.publish(&images[0], None)?;
    let program = dataplane.open_entry_program()?;
    let (seen, n_publishes) = under_packets(&program, sources, wanted, |number, begun| {
        let staged = dataplane.stage(&images[number as usize % 2])?;
        let staged = dataplane.verify(staged)?;
        begun.fetch_add(1, Ordering::SeqCst);
        dataplane.commit(staged, None)?;
        Ok(())
    })?;

    let [blocked, passed, alternating] = seen.offered.map(AtomicU64::into_inner);
    let total = blocked + passed + alternating;
    let (compared, wrong, torn) = (
        seen.compared.into_inner(),
        seen.wrong.into_inner(),
        seen.torn.into_inner(),
    );
    println!("{n_publishes} publishes, {total} packets, {compared} comparisons: {wrong} wrong, {torn} torn");
    ensure!(
        wrong == 0,
        "packets that every generation blocks or passes got the other verdict"
    );
    ensure!(torn == 0, "the families flipped at different times");

    // The counters of a generation carry its own class names: a mixture would put packets into the wrong row.
    let rows = dataplane.counters()?;
    let packets = |reason: &str, class: &str| {
        rows.iter()
            .filter(|row| row.reason == reason && row.class.as_deref() == Some(class))
            .map(|row| row.packets)
            .sum::<u64>()
    };
    ensure!(
        packets("policy_drop", "RU") == blocked,
        "every packet from RU was dropped as RU: {rows:?}"
    );
    ensure!(
        packets("policy_pass", "US") == passed,
        "every packet from US passed as US: {rows:?}"
    );
    let (dropped_by, passed_de) = (packets("policy_drop", "BY"), packets("policy_pass", "DE"));
    ensure!(
        dropped_by + passed_de == alternating,
        "the others were dropped as BY or passed as DE: {rows:?}"
    );
    ensure!(
        dropped_by > 0 && passed_de > 0,
        "both generations judged packets: {rows:?}"
    );
    ensure!(
        rows.iter().map(|row| row.packets).sum::<u64>() == total,
        "nothing else was counted: {rows:?}"
    );
    ensure!(
        n_publishes >= wanted.n_publishes && total >= wanted.n_packets,
        "too little was tried"
    );
    Ok(())
}

fn n_publishes() -> u64 {
    match std::env::var("CORDON_SWAPS") {
        Ok(number) => number.parse().expect("CORDON_SWAPS is a number"),
        Err(_) if std::env::var_os("CORDON_TEST_FULL").is_some() => 10_000,
        Err(_) => 1_000,
    }
}

#[test]
fn no_packet_sees_a_mixture_of_small_generations() {
    let text = images::drop_countries(&["RU", "BY"]);
    let pair = [database("BY", None), database("DE", Some("AD"))]
        .map(|database| images::image(&text, &images::location(&database).unwrap()).unwrap());
    let sources = [
        ["11.0.0.1", "2a00:11::1"],
        ["12.0.0.1", "2a00:12::1"],
        ["13.0.0.1", "2a00:13::1"],
    ]
    .map(|pair| pair.map(|source| source.parse().unwrap()));
    let n_publishes = n_publishes();
    let n_packets = n_publishes * PACKETS_PER_PUBLISH;
    swap_generations(
        &pair,
        &sources,
        Wanted {
            n_publishes,
            n_packets,
            batch: BATCH,
        },
    )
    .unwrap();
}

#[test]
fn no_packet_sees_a_mixture_of_world_generations() {
    let bytes = geo::embedded_database().unwrap();
    let read =
        |bytes: Vec<u8>| Arc::new(geo::read_database("world.mmdb", bytes, FieldChoice::default()).unwrap());
    let world = read(bytes.clone());
    let sources = ["RU", "US", "BY"].map(|code| {
        let class = world.classes.class_of(code).unwrap();
        let v4 = world
            .ranges_v4
            .iter()
            .find(|(_, its_class)| *its_class == class)
            .unwrap()
            .0;
        // Not from 2001::/32: Teredo addresses are judged by the IPv4 address inside.
        let v6 = world
            .ranges_v6
            .iter()
            .find(|(first, its_class)| *its_class == class && first >> 96 != 0x2001_0000)
            .unwrap()
            .0;
        [IpAddr::from(v4.to_be_bytes()), IpAddr::from(v6.to_be_bytes())]
    });
    // The other database says DE where this one says BY; with one class less, the number of every class moves.
    let other = read(rename_country(bytes, b"BY", b"DE"));
    let text = images::drop_countries(&["RU", "BY"]);
    let pair = [world, other].map(|location| images::image(&text, &location).unwrap());
    swap_generations(
        &pair,
        &sources,
        Wanted {
            n_publishes: 20,
            n_packets: 0,
            batch: BATCH,
        },
    )
    .unwrap();
}

/// Renames a country in the data section of a MaxMind DB, where a two-letter string starts with byte 0x42.
fn rename_country(mut bytes: Vec<u8>, from: &[u8; 2], to: &[u8; 2]) -> Vec<u8> {
    /// The data section of the shipped database and its metadata, with room to spare; the rest is its tree.
    const DATA_LEN: usize = 16 << 10;
    let start = bytes.len() - DATA_LEN;
    let found = bytes[start..]
        .windows(3)
        .position(|window| window == [0x42, from[0], from[1]]);
    let offset = start + found.expect("the database has the country");
    bytes[offset + 1..offset + 3].copy_from_slice(to);
    bytes
}

#[test]
fn two_maps_replaced_one_after_the_other_are_caught() {
    let sources: Sources = [
        ["11.0.0.1", "2a00:11::1"],
        ["12.0.0.1", "2a00:12::1"],
        ["13.0.0.1", "2a00:13::1"],
    ]
    .map(|pair| pair.map(|source| source.parse().unwrap()));
    let [blocked, _, alternating] = sources;
    let blocked_v4 =
        [vec![blocked[0], alternating[0]], vec![blocked[0]]].map(|list| blocklist::<4>(&list).unwrap());
    let blocked_v6 =
        [vec![blocked[1], alternating[1]], vec![blocked[1]]].map(|list| blocklist::<16>(&list).unwrap());

    let mut ebpf = Ebpf::load(PEERS).unwrap();
    let mut outer_v4: ArrayOfMaps<MapData, LpmTrie<MapData, [u8; 4], u32>> =
        ebpf.take_map("OUTER_V4").unwrap().try_into().unwrap();
    let mut outer_v6: ArrayOfMaps<MapData, LpmTrie<MapData, [u8; 16], u32>> =
        ebpf.take_map("OUTER_V6").unwrap().try_into().unwrap();
    outer_v4.set(0, &blocked_v4[0], 0).unwrap();
    outer_v6.set(0, &blocked_v6[0], 0).unwrap();
    let program: &mut Xdp = ebpf.program_mut("two_maps").unwrap().try_into().unwrap();
    program.load().unwrap();

    // Calls of another length in each round, so that no machine keeps publishes and calls in step.
    let is_caught = (1..=10).any(|round| {
        let wanted = Wanted {
            n_publishes: 300,
            n_packets: 0,
            batch: round * SHORT_BATCH,
        };
        let (seen, _) = under_packets(program, &sources, wanted, |number, begun| {
            let idx = number as usize % 2;
            begun.fetch_add(1, Ordering::SeqCst);
            outer_v4.set(0, &blocked_v4[idx], 0)?;
            outer_v6.set(0, &blocked_v6[idx], 0)?;
            Ok(())
        })
        .unwrap();
        let (torn, compared) = (seen.torn.into_inner(), seen.compared.into_inner());
        println!("control scheme: {torn} of {compared} comparisons torn");
        assert_eq!(
            seen.wrong.into_inner(),
            0,
            "the control scheme is right outside its swaps"
        );
        torn > 0
    });
    assert!(is_caught, "the observer must see what a scheme of two maps does");
}

/// A blocklist as the control scheme holds it.
fn blocklist<const N: usize>(sources: &[IpAddr]) -> anyhow::Result<LpmTrie<MapData, [u8; N], u32>>
where
    [u8; N]: aya::Pod,
{
    const BPF_F_NO_PREALLOC: u32 = 1;
    let mut trie = LpmTrie::create(64, BPF_F_NO_PREALLOC)?;
    for source in sources {
        let bytes = match source {
            IpAddr::V4(source) => source.octets().to_vec(),
            IpAddr::V6(source) => source.octets().to_vec(),
        };
        let bytes: [u8; N] = bytes
            .try_into()
            .ok()
            .context("the family has another address size")?;
        trie.insert(&Key::new(N as u32 * 8, bytes), 1, 0)?;
    }
    Ok(trie)
}
