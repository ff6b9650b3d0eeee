//! Who is measured: each on a wire of its own, set up once, with the same list.

use std::{any::Any, fs, path::PathBuf, process::Command, sync::Arc};

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{
        Map, MapData, PerCpuHashMap, PerCpuValues,
        lpm_trie::{Key, LpmTrie},
    },
    programs::XdpMode,
};
use cordon::{
    compile::Image,
    dataplane::{Dataplane, PEERS, Settings},
    host::ModeChoice,
};

use super::{
    list::List,
    wire::{RECEIVER, Wire, load},
};
use crate::{nft, scratch::Scratch};

/// The names of contestants, as rows show them.
pub mod name {
    /// The program itself, with the world table.
    pub const CORDON: &str = "cordon";
    /// The floor of everything that drops.
    pub const DROP_ONLY: &str = "XDP that only drops";
    /// The floor of everything that passes.
    pub const PASS_ONLY: &str = "XDP that only passes";
    /// The list as an LPM trie.
    pub const LPM: &str = "XDP with an LPM trie";
    /// An interval set.
    pub const NFT_RAW: &str = "nftables, prerouting raw";
    /// The same, earlier.
    pub const NFT_INGRESS: &str = "nftables, netdev ingress";
    /// hash:net.
    pub const IPSET: &str = "ipset, iptables raw";
    /// Exact addresses.
    pub const XDP_FILTER: &str = "xdp-filter, exact addresses";
}

/// One that is set up, until it is dropped.
pub struct Contestant {
    /// As rows show it.
    pub name: String,
    // Programs and rules go before the namespaces that they are in.
    _keep: Box<dyn Any>,
    /// Its own veth pair.
    pub wire: Wire,
}

impl Contestant {
    fn new(name: &str, wire: Wire, keep: impl Any) -> Self {
        Self {
            name: name.to_owned(),
            _keep: Box::new(keep),
            wire,
        }
    }

    /// cordon with an image published.
    pub fn cordon(name: &str, image: &Arc<Image>) -> anyhow::Result<Self> {
        let wire = Wire::new()?;
        let dataplane = cordon_on(&wire, image)?;
        Ok(Self::new(name, wire, dataplane))
    }

    /// [`name::DROP_ONLY`].
    pub fn drop_only() -> anyhow::Result<Self> {
        Self::floor(name::DROP_ONLY, "drop_only")
    }

    /// [`name::PASS_ONLY`].
    pub fn pass_only() -> anyhow::Result<Self> {
        Self::floor(name::PASS_ONLY, "pass_only")
    }

    fn floor(name: &str, program: &str) -> anyhow::Result<Self> {
        let wire = Wire::new()?;
        let mut peers = Ebpf::load(PEERS).context("cannot load the peers")?;
        attach(&wire, &mut peers, program)?;
        Ok(Self::new(name, wire, peers))
    }

    /// [`name::LPM`]; counts by class if asked.
    pub fn lpm(list: &List, counts: bool) -> anyhow::Result<Self> {
        let wire = Wire::new()?;
        let mut peers = lpm_of(list, counts)?;
        attach(&wire, &mut peers, "listed")?;
        Ok(Self::new(name::LPM, wire, peers))
    }

    /// [`name::NFT_RAW`].
    pub fn nft_raw(list: &List) -> anyhow::Result<Self> {
        let wire = Wire::new()?;
        nft::load(&wire.edge, &nft_ruleset(list, Hook::PreroutingRaw))?;
        Ok(Self::new(name::NFT_RAW, wire, ()))
    }

    /// [`name::NFT_INGRESS`].
    pub fn nft_ingress(list: &List) -> anyhow::Result<Self> {
        let wire = Wire::new()?;
        nft::load(&wire.edge, &nft_ruleset(list, Hook::Ingress))?;
        Ok(Self::new(name::NFT_INGRESS, wire, ()))
    }

    /// [`name::IPSET`].
    pub fn ipset(list: &List) -> anyhow::Result<Self> {
        let wire = Wire::new()?;
        ipset_on(&wire, list)?;
        Ok(Self::new(name::IPSET, wire, ()))
    }

    /// [`name::XDP_FILTER`]; the addresses are IPv4.
    pub fn xdp_filter(addresses: &[[u8; 4]]) -> anyhow::Result<Self> {
        let wire = Wire::new()?;
        let scratch = Scratch::new()?;
        xdp_filter(
            &wire,
            &scratch,
            &["load", "--mode", "native", "-f", "ipv4", "-p", "allow", RECEIVER],
        )?;
        let first = addresses.first().context("there is no address to filter")?;
        let text = std::net::Ipv4Addr::from(*first).to_string();
        xdp_filter(&wire, &scratch, &["ip", "-m", "src", &text])?;
        // A process for each address would take minutes; what the tool wrote for the first is right for all.
        let pinned = MapData::from_pin(scratch.bpffs().join("xdp-filter/filter_ipv4"))
            .context("xdp-filter has pinned no list")?;
        let mut list: PerCpuHashMap<_, [u8; 4], u64> = Map::from_map_data(pinned)?.try_into()?;
        let value: PerCpuValues<u64> = list.get(first, 0).context("xdp-filter has not listed it")?;
        for address in &addresses[1..] {
            list.insert(address, PerCpuValues::try_from(value.to_vec())?, 0)
                .context("cannot fill xdp-filter's list")?;
        }
        Ok(Self::new(name::XDP_FILTER, wire, scratch))
    }
}

/// cordon on a wire, with an image published and attached in native mode.
pub fn cordon_on(wire: &Wire, image: &Arc<Image>) -> anyhow::Result<Dataplane> {
    let mut dataplane = Dataplane::open(&Settings {
        pin_dir: None,
        no_generation_pass: false,
        ..Default::default()
    })?;
    dataplane.publish(image, None)?;
    wire.edge
        .run(|| dataplane.attach(RECEIVER, ModeChoice::RequireNative))?;
    Ok(dataplane)
}

fn attach(wire: &Wire, peers: &mut Ebpf, program: &str) -> anyhow::Result<()> {
    let program = load(peers, program)?;
    wire.edge
        .run(|| program.attach(RECEIVER, XdpMode::Driver))
        .context("cannot attach a peer")?;
    Ok(())
}

/// The peers' object with a list in its tries.
pub fn lpm_of(list: &List, counts: bool) -> anyhow::Result<Ebpf> {
    let counts = u32::from(counts);
    let mut peers = EbpfLoader::new()
        .override_global("COUNTS", &counts, true)
        .map_max_entries("LISTED_V4", list.v4.len().max(1) as u32)
        .map_max_entries("LISTED_V6", list.v6.len().max(1) as u32)
        .load(PEERS)
        .context("cannot load the peers")?;
    let map = peers.map_mut("LISTED_V4").context("there is no LISTED_V4")?;
    let mut trie: LpmTrie<_, [u8; 4], u32> = map.try_into()?;
    for (prefix, class) in &list.v4 {
        let key = Key::new(prefix.prefix_len().into(), prefix.network().octets());
        trie.insert(&key, u32::from(*class), 0)?;
    }
    let map = peers.map_mut("LISTED_V6").context("there is no LISTED_V6")?;
    let mut trie: LpmTrie<_, [u8; 16], u32> = map.try_into()?;
    for (prefix, class) in &list.v6 {
        let key = Key::new(prefix.prefix_len().into(), prefix.network().octets());
        trie.insert(&key, u32::from(*class), 0)?;
    }
    Ok(peers)
}

/// Where nftables looks.
#[derive(Debug, Clone, Copy)]
pub enum Hook {
    /// In the stack, before connections are tracked.
    PreroutingRaw,
    /// Before the stack.
    Ingress,
}

/// A table with an interval set for each family that the list has.
pub fn nft_ruleset(list: &List, hook: Hook) -> String {
    let (family, hook) = match hook {
        Hook::PreroutingRaw => ("inet", "prerouting priority raw".to_owned()),
        Hook::Ingress => ("netdev", format!("ingress device \"{RECEIVER}\" priority 0")),
    };
    let mut text = format!("table {family} geo {{\n");
    let mut rules = String::new();
    for (version, kind, field) in [(4, "ipv4_addr", "ip"), (6, "ipv6_addr", "ip6")] {
        if list.has(version) {
            let elements = list.text(version, "", ",\n");
            text.push_str(&format!(
                "set listed_v{version} {{\ntype {kind}\nflags interval\nelements = {{\n{elements}}}\n}}\n"
            ));
            rules.push_str(&format!("{field} saddr @listed_v{version} drop\n"));
        }
    }
    text.push_str(&format!(
        "chain judge {{\ntype filter hook {hook}\npolicy accept\n{rules}}}\n}}\n"
    ));
    text
}

/// Another list in the sets of [`nft_ruleset`], in one transaction.
pub fn nft_reload(list: &List) -> String {
    let mut text = String::new();
    for version in [4, 6] {
        if list.has(version) {
            let elements = list.text(version, "", ",\n");
            text.push_str(&format!(
                "flush set inet geo listed_v{version}\nadd element inet geo listed_v{version} {{\n{elements}}}\n"
            ));
        }
    }
    text
}

/// The sets that [`ipset_on`] asks.
pub fn ipset_restore(list: &List) -> String {
    let mut text = String::new();
    for (version, family) in [(4, "inet"), (6, "inet6")] {
        if list.has(version) {
            text.push_str(&ipset_create(list, version, family, "listed"));
        }
    }
    text
}

/// Another list into a second set, which then takes the place of the first.
pub fn ipset_swap(list: &List) -> String {
    let mut text = String::new();
    for (version, family) in [(4, "inet"), (6, "inet6")] {
        if list.has(version) {
            text.push_str(&ipset_create(list, version, family, "next"));
            text.push_str(&format!(
                "swap next_v{version} listed_v{version}\ndestroy next_v{version}\n"
            ));
        }
    }
    text
}

/// Another list into the set that is asked, emptied first.
pub fn ipset_in_place(list: &List) -> String {
    let mut text = String::new();
    for version in [4, 6] {
        if list.has(version) {
            text.push_str(&format!("flush listed_v{version}\n"));
            text.push_str(&list.text(version, &format!("add listed_v{version} "), "\n"));
        }
    }
    text
}

fn ipset_create(list: &List, version: u8, family: &str, name: &str) -> String {
    let n_prefixes = if version == 4 {
        list.v4.len()
    } else {
        list.v6.len()
    };
    // A table that need not grow: ipset's best case.
    let hash_size = n_prefixes.next_power_of_two().max(1024);
    let adds = list.text(version, &format!("add {name}_v{version} "), "\n");
    format!(
        "create {name}_v{version} hash:net family {family} hashsize {hash_size} maxelem {}\n{adds}",
        n_prefixes.max(1024)
    )
}

/// Sets and the rules that ask them.
pub fn ipset_on(wire: &Wire, list: &List) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("sets");
    fs::write(&file, ipset_restore(list))?;
    run(ipset_command(wire, file))?;
    for (version, program) in [(4, "iptables"), (6, "ip6tables")] {
        if list.has(version) {
            let mut command = wire.edge.command(program);
            command
                .args(["-t", "raw", "-A", "PREROUTING", "-m", "set", "--match-set"])
                .arg(format!("listed_v{version}"))
                .args(["src", "-j", "DROP"]);
            run(command)?;
        }
    }
    Ok(())
}

/// `ipset restore` of a file, on a wire.
pub fn ipset_command(wire: &Wire, file: PathBuf) -> Command {
    let mut command = wire.edge.command("ipset");
    command.args(["-exist", "restore", "-file"]).arg(file);
    command
}

/// `nft -f` of a file, on a wire.
pub fn nft_command(wire: &Wire, file: PathBuf) -> Command {
    let mut command = wire.edge.command("nft");
    command.arg("-f").arg(file);
    command
}

/// Runs a peer's tool; fails as it does.
pub fn run(mut command: Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run `{program}` (packages nftables, ipset, iptables, xdp-tools)"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// xdp-filter pins in `/sys/fs/bpf`: it gets a bpffs of its own there, in a mount namespace of its own.
fn xdp_filter(wire: &Wire, scratch: &Scratch, args: &[&str]) -> anyhow::Result<()> {
    let mut command = wire.edge.command("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" /sys/fs/bpf && exec xdp-filter \"$@\"")
        .arg(scratch.bpffs())
        .args(args);
    run(command)
}
