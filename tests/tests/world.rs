//! The whole world database in the kernel, against `prefix-trie` built straight from the database.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use cordon::{
    compile::Image,
    dataplane::{Dataplane, Settings},
    geo::{self, Location},
    host::EngineChoice,
    instant::Instant,
};
use integration_tests::{bench::memory::charged, images, scratch::Scratch};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use maxminddb::{Reader, WithinOptions, path};
use prefix_trie::PrefixMap;
use probe_common::Action;

mod freeing;
mod random;

/// Private, shared and unique-local prefixes (RFC 1918, RFC 6598, RFC 4193): no places, whatever a database says.
const LAN: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
];

struct Oracle {
    v4: PrefixMap<Ipv4Net, String>,
    v6: PrefixMap<Ipv6Net, String>,
    networks: Vec<IpNet>,
}

impl Oracle {
    fn of_database(bytes: Vec<u8>) -> Self {
        let reader = Reader::from_source(bytes).unwrap();
        let mut oracle = Self {
            v4: PrefixMap::new(),
            v6: PrefixMap::new(),
            networks: Vec::new(),
        };
        for item in reader.networks(WithinOptions::default()).unwrap() {
            let item = item.unwrap();
            let network = item.network().unwrap();
            let code: Option<String> = item.decode_path(&path!["country_code"]).unwrap();
            let prefix = IpNet::new(network.ip(), network.prefix()).unwrap();
            oracle.insert(prefix, &code.unwrap_or_else(|| "unknown".to_owned()));
            oracle.networks.push(prefix);
        }
        oracle
    }

    fn insert(&mut self, prefix: IpNet, name: &str) {
        match prefix {
            IpNet::V4(prefix) => self.v4.insert(prefix, name.to_owned()),
            IpNet::V6(prefix) => self.v6.insert(prefix, name.to_owned()),
        };
    }

    fn class(&self, address: IpAddr) -> &str {
        let lan = LAN
            .iter()
            .any(|prefix| prefix.parse::<IpNet>().unwrap().contains(&address));
        let found = match address {
            IpAddr::V4(address) => self.v4.get_lpm(&address.into()).map(|(_, name)| name),
            IpAddr::V6(address) => self.v6.get_lpm(&address.into()).map(|(_, name)| name),
        };
        if lan {
            "lan"
        } else {
            found.map_or("unknown", String::as_str)
        }
    }
}

/// First, last, and the neighbours outside. Wraps at the ends of the address space.
fn edges(prefix: IpNet) -> [IpAddr; 4] {
    match prefix {
        IpNet::V4(prefix) => {
            let (first, last) = (u32::from(prefix.network()), u32::from(prefix.broadcast()));
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|address| Ipv4Addr::from(address).into())
        }
        IpNet::V6(prefix) => {
            let (first, last) = (u128::from(prefix.network()), u128::from(prefix.broadcast()));
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|address| Ipv6Addr::from(address).into())
        }
    }
}

/// Whether a source is judged by its own place: not so link-local and loopback addresses, and IPv6 addresses that hold
/// an IPv4 one (6to4, Teredo, NAT64).
fn has_class(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local() && !address.is_loopback(),
        IpAddr::V6(address) => {
            let holds_ipv4 = matches!(
                address.segments(),
                [0x2002, ..] | [0x2001, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..]
            );
            !address.is_unicast_link_local() && !address.is_loopback() && !holds_ipv4
        }
    }
}

#[test]
fn kernel_agrees_with_the_database_at_every_edge() {
    let oracle = Oracle::of_database(geo::embedded_database().unwrap());
    let world = images::world().unwrap();
    let dropped = ["CN", "RU", "IR", "KP", "SY", "CU", "BY"];
    let image = images::image(&images::drop_countries(&dropped), &world).unwrap();
    for engine in [EngineChoice::Auto, EngineChoice::Lpm] {
        kernel_agrees(&oracle, &world, &image, &dropped, engine);
    }
}

fn kernel_agrees(
    oracle: &Oracle,
    world: &Location,
    image: &Arc<Image>,
    dropped: &[&str],
    engine: EngineChoice,
) {
    let mut dataplane = Dataplane::open(&Settings {
        engine,
        ..Default::default()
    })
    .unwrap();
    dataplane.publish(image, None).unwrap();
    let active = dataplane.state().unwrap().active.unwrap();
    let (name, n_in_tries) = match engine {
        EngineChoice::Lpm => ("lpm", world.prefixes_v4.len() + world.prefixes_v6.len()),
        EngineChoice::Auto | EngineChoice::Index => ("index", 0),
    };
    assert_eq!((active.engines, active.lpm_prefixes), ([name; 2], n_in_tries));

    let now = Instant::now();
    let (mut n_asked, mut wrong) = (0u64, Vec::new());
    for address in oracle
        .networks
        .iter()
        .flat_map(|prefix| edges(*prefix))
        .filter(|address| has_class(*address))
    {
        let verdict = dataplane.judge(address, now).unwrap();
        let expected = oracle.class(address);
        let got = world.classes.name(verdict.class);
        let action = if dropped.contains(&expected) {
            Action::Drop
        } else {
            Action::Pass
        };
        n_asked += 1;
        if got != expected || verdict.action != action {
            wrong.push(format!(
                "{address}: expected {expected} {action:?}, got {got} {verdict:?}"
            ));
        }
    }
    println!(
        "{engine:?}: {n_asked} addresses at the edges of {} networks, {} differences",
        oracle.networks.len(),
        wrong.len()
    );
    assert!(
        n_asked > 5_000_000,
        "the database has over a million networks, but only {n_asked} addresses were asked"
    );
    assert!(
        wrong.is_empty(),
        "{} differences, first {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
}

/// A host is refused a publish by an estimate: it must not be below what the kernel then charges.
#[test]
fn the_memory_that_a_generation_takes_is_not_underestimated() {
    let world = images::world().unwrap();
    let image = images::image(&images::drop_countries(&["RU"]), &world).unwrap();
    let scratch = Scratch::new().unwrap();
    let pin_dir = scratch.bpffs().join("cordon");
    let mut dataplane = Dataplane::open(&Settings {
        pin_dir: Some(pin_dir.clone()),
        no_generation_pass: false,
        ..Default::default()
    })
    .unwrap();
    let estimate = dataplane.bytes_needed(&image).unwrap();
    dataplane.publish(&image, None).unwrap();
    let (generation, location) = charged(&pin_dir.join("v1/gen-1")).unwrap();
    println!("estimate {estimate}, charged {generation}, of these location {location}");
    assert!(estimate >= generation, "{estimate} < {generation}");
    assert!(
        estimate <= 8 * generation,
        "{estimate} is far more than {generation}"
    );
    let another = dataplane.bytes_needed(&image).unwrap();
    assert!(another >= generation - location, "{another}");
    assert!(
        another < estimate / 4,
        "the location tables are shared: {another}"
    );
}
