//! The host file (`cordon.toml`): interfaces, failsafe prefixes, database path. Local to a host, never part of
//! a policy. Pure: text in, [`Host`] out.

mod access;
mod choice;
mod endpoints;
mod failsafe;
mod frame;
mod identity;
mod metrics;
mod number;
mod probe;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use probe_common::limits::{BUCKET_ENTRIES, EVENT_RING_BYTES, FLOW_ENTRIES};
use toml::de::DeTable;

use self::{
    access::access,
    choice::{
        DROP_OR_PASS, EGRESS_HOOKS, EGRESS_SYNONYMS, ENGINE_SYNONYMS, ENGINES, FIELDS, MODE_SYNONYMS, MODES,
        PASS_OR_DROP, TAMPERING,
    },
    endpoints::{bundle_servers, time_servers},
    failsafe::{dhcp_servers, failsafe},
    frame::nat64_prefixes,
    metrics::metrics,
    number::{number, power_of_two, ssh_ports},
    probe::probes,
    source::sources,
};
pub use self::{
    access::{Access, Principal, Role},
    choice::{EgressHook, EngineChoice, FieldChoice, ModeChoice, Tampering},
    endpoints::BundleServer,
    metrics::Metrics,
    probe::Probe,
    source::{Source, SourceKind, SourceUrl},
};
use crate::{
    compile::FrameSettings,
    diagnostic::Diagnostic,
    policy::{
        Located,
        document::{Document, parse_tree},
        recovery::Readable,
        table::{Item, Key, Shape, Table},
        value::{choice, flag, possibly_empty_list, string, text},
    },
};

/// Sizes of the shared tables that a host may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSizes {
    /// `flow_entries`: connections of this host's own that are remembered, 1,024 to 4,194,304; about 128 bytes each.
    pub flow_entries: u32,
    /// `limiter_entries`: sources that limits tell apart, 1,024 to 4,194,304; about 128 bytes each.
    pub limiter_entries: u32,
    /// `event_ring_kib` in bytes: a power of two, 64 KiB to 64 MiB.
    pub event_ring_bytes: u32,
}

impl Default for TableSizes {
    fn default() -> Self {
        Self {
            flow_entries: FLOW_ENTRIES,
            limiter_entries: BUCKET_ENTRIES,
            event_ring_bytes: EVENT_RING_BYTES,
        }
    }
}

/// A host file.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The file as the user named it.
    pub file: String,
    /// `host_name`: what targets of bundles call this host; absent: its system's name.
    pub host_name: Option<Located<String>>,
    /// `labels`: what targets of bundles ask for besides.
    pub labels: BTreeMap<String, String>,
    /// `interfaces`: names, patterns with `*` and `?`, `all-physical`.
    pub interfaces: Vec<Located<String>>,
    /// `tampering`: what is done about what somebody else changes in the kernel.
    pub tampering: Tampering,
    /// `[[failsafe]]`: prefixes that no policy can block, each with the comment that says whose they are.
    pub failsafe: Vec<Failsafe>,
    /// `database`: path of a MaxMind DB file; absent: the usual places, then the embedded one.
    pub database: Option<Located<PathBuf>>,
    /// `country_field`: which country field of the database counts first.
    pub field: FieldChoice,
    /// `xdp_mode`.
    pub mode: ModeChoice,
    /// `icmp_error`, `inspect_inner`, `martians`, `nat64_prefixes`.
    pub frame: FrameSettings,
    /// `dhcp_servers`: failsafe besides the servers of current leases.
    pub dhcp_servers: Vec<Located<IpAddr>>,
    /// `ssh_ports`: local TCP ports by which people work on this host; see [`Self::ssh_ports`].
    pub ssh_ports: Option<Vec<u16>>,
    /// `time_servers`: their answers pass in a halt, besides those of the servers that the system names.
    pub time_servers: Vec<Located<IpAddr>>,
    /// `bundle_servers`: their answers pass in a halt.
    pub bundle_servers: Vec<Located<BundleServer>>,
    /// `egress`: how leaving packets are seen.
    pub egress: EgressHook,
    /// `engine`: how addresses are looked up.
    pub engine: EngineChoice,
    /// `flow_entries`, `limiter_entries`, `event_ring_kib`.
    pub sizes: TableSizes,
    /// `no_generation`: what the entry program does if no generation can be called.
    pub no_generation_pass: bool,
    /// `audit_segments`: how many segments of the audit log are kept; absent: all.
    pub audit_segments: Option<u32>,
    /// `confirm_unattended`: seconds within which the probes must confirm a policy that nobody waits for; absent: it needs no
    /// confirmation.
    pub confirm_unattended_s: Option<u32>,
    /// `metrics`, `metrics_textfile`: figures for Prometheus.
    pub metrics: Metrics,
    /// `pin_dir`, default `/sys/fs/bpf/cordon`.
    pub pin_dir: Option<Located<PathBuf>>,
    /// `state_dir`, default `/var/lib/cordon`.
    pub state_dir: Option<Located<PathBuf>>,
    /// `run_dir`, default `/run/cordon`.
    pub run_dir: Option<Located<PathBuf>>,
    /// `[[source]]`: where bundles are pulled from.
    pub sources: Vec<Source>,
    /// `[[probe]]`: what must hold before cordon confirms a policy by itself.
    pub probes: Vec<Probe>,
    /// `[[access]]`: who may do what over the control socket.
    pub access: Vec<Access>,
}

/// One `[[failsafe]]` entry.
#[derive(Clone, Debug)]
pub struct Failsafe {
    /// `prefix`.
    pub prefix: Located<IpNet>,
    /// `comment`.
    pub comment: String,
}

/// The port that SSH listens on unless somebody moves it.
const SSH_PORT: u16 = 22;

impl Host {
    /// Local TCP ports by which people work on this host.
    pub fn ssh_ports(&self) -> &[u16] {
        self.ssh_ports.as_deref().unwrap_or(&[SSH_PORT])
    }
}

const ROOT: Shape = Shape {
    label: "the host file",
    keys: &[
        Key::optional("host_name"),
        Key::optional("labels"),
        Key::optional("interfaces"),
        Key::optional("database"),
        Key::optional("country_field"),
        Key::optional("xdp_mode"),
        Key::optional("tampering"),
        Key::optional("no_generation"),
        Key::optional("icmp_error"),
        Key::optional("inspect_inner"),
        Key::optional("martians"),
        Key::optional("nat64_prefixes"),
        Key::optional("dhcp_servers"),
        Key::optional("time_servers"),
        Key::optional("bundle_servers"),
        Key::optional("ssh_ports"),
        Key::optional("egress"),
        Key::optional("engine"),
        Key::optional("flow_entries"),
        Key::optional("limiter_entries"),
        Key::optional("event_ring_kib"),
        Key::optional("audit_segments"),
        Key::optional("confirm_unattended"),
        Key::optional("metrics"),
        Key::optional("metrics_textfile"),
        Key::optional("pin_dir"),
        Key::optional("state_dir"),
        Key::optional("run_dir"),
        Key::optional("failsafe"),
        Key::optional("source"),
        Key::optional("probe"),
        Key::optional("access"),
    ],
    elsewhere: &[
        ("interface", "write `interfaces = [...]`"),
        ("name", "write `host_name`"),
        ("hostname", "write `host_name`"),
        ("label", "write `labels = { site = \"fra\" }`"),
        ("mode", "write `xdp_mode`"),
        ("nat64_prefix", "write `nat64_prefixes = [...]`"),
        ("dhcp_server", "write `dhcp_servers = [...]`"),
        ("ssh_port", "write `ssh_ports = [...]`"),
        ("time_server", "write `time_servers = [...]`"),
        ("bundle_server", "write `bundle_servers = [...]`"),
        (
            "events",
            "this belongs to a policy; here is only the size of the ring, `event_ring_kib`",
        ),
        ("replies", "this belongs to a policy"),
        (
            "version",
            "this belongs to a policy; the host file has no version",
        ),
        (
            "default",
            "this belongs to a policy; here it is `no_generation`, if that is meant",
        ),
        ("unknown", "this belongs to a policy"),
        ("order", "this belongs to a policy"),
        (
            "allow",
            "this belongs to a policy; prefixes that no policy can block are `[[failsafe]]`",
        ),
        ("deny", "this belongs to a policy"),
        ("exemption", "this belongs to a policy"),
    ],
};

/// Sizes of tables: from what is useful at all to half a GiB.
const TABLE_ENTRIES: RangeInclusive<u32> = 1024..=4_194_304;
/// Size of the event ring in KiB.
const EVENT_RING_KIB: RangeInclusive<u32> = 64..=65_536;

/// Segments of the audit log, of 8 MiB each: fewer would hardly hold a day.
const AUDIT_SEGMENTS: RangeInclusive<u32> = 2..=1_000_000;

/// Probes must hold for up to ten seconds; whoever waits for longer than an hour would have no other policy meanwhile.
const CONFIRM_UNATTENDED_S: RangeInclusive<u32> = 10..=3600;

/// Parses a host file. Gives all remarks in one pass; the host is `None` if any of them is an error.
pub fn parse(file: &str, text: &str) -> (Option<Host>, Vec<Diagnostic>) {
    let readable = Readable::new(text);
    let tree = parse_tree(&readable);
    let mut document = Document::new(file, text, &readable.errors);
    let host = read_host(&mut document, &tree);
    let (refused, remarks) = document.finish();
    ((!refused).then_some(host), remarks)
}

fn read_host<'a>(document: &mut Document<'a>, tree: &'a DeTable<'a>) -> Host {
    let root = Table::root(document, tree, &ROOT);
    Host {
        file: document.file().to_owned(),
        host_name: root.read(document, "host_name", identity::host_name),
        labels: root
            .read(document, "labels", identity::labels)
            .unwrap_or_default(),
        interfaces: root.read(document, "interfaces", interfaces).unwrap_or_default(),
        tampering: root
            .read(document, "tampering", |document, item| {
                choice(document, item, TAMPERING, &[])
            })
            .unwrap_or_default(),
        failsafe: failsafe(document, &root),
        database: root.read(document, "database", absolute_path),
        field: root
            .read(document, "country_field", |document, item| {
                choice(document, item, FIELDS, &[])
            })
            .unwrap_or_default(),
        mode: root
            .read(document, "xdp_mode", |document, item| {
                choice(document, item, MODES, MODE_SYNONYMS)
            })
            .unwrap_or_default(),
        frame: frame_settings(document, &root),
        dhcp_servers: root
            .read(document, "dhcp_servers", dhcp_servers)
            .unwrap_or_default(),
        time_servers: root
            .read(document, "time_servers", time_servers)
            .unwrap_or_default(),
        bundle_servers: root
            .read(document, "bundle_servers", bundle_servers)
            .unwrap_or_default(),
        ssh_ports: root.read(document, "ssh_ports", ssh_ports),
        egress: root
            .read(document, "egress", |document, item| {
                choice(document, item, EGRESS_HOOKS, EGRESS_SYNONYMS)
            })
            .unwrap_or_default(),
        engine: root
            .read(document, "engine", |document, item| {
                choice(document, item, ENGINES, ENGINE_SYNONYMS)
            })
            .unwrap_or_default(),
        sizes: table_sizes(document, &root),
        no_generation_pass: root
            .read(document, "no_generation", |document, item| {
                choice(document, item, DROP_OR_PASS, &[])
            })
            .unwrap_or_default(),
        audit_segments: root.read(document, "audit_segments", |document, item| {
            number(document, item, AUDIT_SEGMENTS)
        }),
        confirm_unattended_s: root.read(document, "confirm_unattended", |document, item| {
            number(document, item, CONFIRM_UNATTENDED_S)
        }),
        metrics: metrics(document, &root),
        pin_dir: root.read(document, "pin_dir", absolute_path),
        state_dir: root.read(document, "state_dir", absolute_path),
        run_dir: root.read(document, "run_dir", absolute_path),
        sources: sources(document, &root),
        probes: probes(document, &root),
        access: access(document, &root),
    }
}

fn frame_settings<'a>(document: &mut Document<'a>, root: &Table<'a>) -> FrameSettings {
    let mut settings = FrameSettings::default();
    let passes = |document: &mut Document<'a>, key, choices| {
        root.read(document, key, |document, item| {
            choice(document, item, choices, &[])
        })
    };
    if let Some(passes) = passes(document, "icmp_error", PASS_OR_DROP) {
        settings.icmp_error_pass = passes;
    }
    if let Some(passes) = passes(document, "martians", DROP_OR_PASS) {
        settings.martians_drop = !passes;
    }
    if let Some(inspect) = root.read(document, "inspect_inner", flag) {
        settings.inspect_inner = inspect;
    }
    if let Some(prefixes) = root.read(document, "nat64_prefixes", nat64_prefixes) {
        settings.nat64_prefixes = prefixes;
    }
    settings
}

fn table_sizes<'a>(document: &mut Document<'a>, root: &Table<'a>) -> TableSizes {
    let default = TableSizes::default();
    let entries = |document: &mut Document<'a>, key| {
        root.read(document, key, |document, item| {
            number(document, item, TABLE_ENTRIES)
        })
    };
    TableSizes {
        flow_entries: entries(document, "flow_entries").unwrap_or(default.flow_entries),
        limiter_entries: entries(document, "limiter_entries").unwrap_or(default.limiter_entries),
        event_ring_bytes: root
            .read(document, "event_ring_kib", |document, item| {
                power_of_two(document, item, EVENT_RING_KIB)
            })
            .map_or(default.event_ring_bytes, |kib| kib << 10),
    }
}

fn interfaces<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<Located<String>>> {
    let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
    let mut interfaces = Vec::new();
    for element in possibly_empty_list(document, item, "\"eth0\"")? {
        let Some(name) = string(document, element) else {
            continue;
        };
        if let Err(fix) = check_ifname(name) {
            document.error(element.node, "no interface can have this name", fix);
            continue;
        }
        if name == "lo" {
            document.warning(
                element.node,
                "this is the loopback interface: what comes by it comes from this host itself",
                "name the interface that leads to the network; `ip -br link` lists them",
            );
        }
        let place = document.place(element.node);
        if let Some(line) = lines.insert(name, place.line) {
            let message = format!("the interface is already in this list, in line {line}");
            document.error(element.node, message, "remove one of the two");
            continue;
        }
        interfaces.push(Located {
            value: name.to_owned(),
            place,
        });
    }
    Some(interfaces)
}

/// The kernel's rules for interface names (`dev_valid_name` in net/core/dev.c).
pub(crate) fn check_ifname(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 15 {
        Err("names have 1 to 15 bytes; `ip -br link` lists them")
    } else if name == "." || name == ".." {
        Err("`ip -br link` lists the names")
    } else if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
        Err("names hold no slash, colon or white space; `ip -br link` lists them")
    } else {
        Ok(())
    }
}

fn absolute_path(document: &mut Document<'_>, item: Item<'_>) -> Option<Located<PathBuf>> {
    let value = text(document, item)?;
    if !Path::new(&value).is_absolute() {
        document.error(
            item.node,
            format!(
                "`{}` is no absolute path, so it would depend on where the daemon is started",
                item.key
            ),
            "write the whole path, from `/` on",
        );
        return None;
    }
    Some(Located {
        value: PathBuf::from(value),
        place: document.place(item.node),
    })
}
