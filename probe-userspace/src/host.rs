//! The host file (`cordon.toml`): interfaces, failsafe prefixes, database path. Local to a host, never part of
//! a policy. Pure: text in, [`Host`] out.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use probe_common::limits::{BUCKET_ENTRIES, EVENT_RING_BYTES, FLOW_ENTRIES, MAX_FAILSAFE};
use toml::de::DeTable;

use crate::{
    compile::FrameSettings,
    diagnostic::Diagnostic,
    policy::{
        Located,
        document::{Document, parse_tree},
        prefix::{is_whole_family, prefix},
        recovery::Readable,
        table::{Item, Key, Shape, Table},
        value::{choice, possibly_empty_list, string, text},
    },
};

/// What to do if an interface's driver has no native XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModeChoice {
    /// Native if the driver has it, else skb; the state says which.
    #[default]
    AllowSkb,
    /// Refuse to attach.
    RequireNative,
    /// Always skb.
    Skb,
}

/// The kernel's hook for leaving packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EgressHook {
    /// tcx where the kernel has it (Linux 6.6), else clsact.
    #[default]
    Auto,
    /// A tcx link: pinned like XDP links.
    Tcx,
    /// A classifier on the clsact qdisc.
    Clsact,
}

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
    /// `interfaces`: names.
    pub interfaces: Vec<Located<String>>,
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
    /// `egress`: how leaving packets are seen.
    pub egress: EgressHook,
    /// `flow_entries`, `limiter_entries`, `event_ring_kib`.
    pub sizes: TableSizes,
    /// `no_generation`: what the entry program does if no generation can be called.
    pub no_generation_pass: bool,
    /// `pin_dir`, default `/sys/fs/bpf/cordon`.
    pub pin_dir: Option<Located<PathBuf>>,
    /// `state_dir`, default `/var/lib/cordon`.
    pub state_dir: Option<Located<PathBuf>>,
    /// `run_dir`, default `/run/cordon`.
    pub run_dir: Option<Located<PathBuf>>,
}

/// One `[[failsafe]]` entry.
#[derive(Clone, Debug)]
pub struct Failsafe {
    /// `prefix`.
    pub prefix: Located<IpNet>,
    /// `comment`.
    pub comment: String,
}

/// Order of the country fields of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldChoice {
    /// `country`, then `registered_country`: where the address is used.
    #[default]
    CountryFirst,
    /// `registered_country`, then `country`: where its holder is registered.
    RegisteredFirst,
}

const ROOT: Shape = Shape {
    label: "the host file",
    keys: &[
        Key::optional("interfaces"),
        Key::optional("database"),
        Key::optional("country_field"),
        Key::optional("xdp_mode"),
        Key::optional("no_generation"),
        Key::optional("pin_dir"),
        Key::optional("state_dir"),
        Key::optional("run_dir"),
        Key::optional("failsafe"),
    ],
    elsewhere: &[
        ("interface", "write `interfaces = [...]`"),
        ("mode", "write `xdp_mode`"),
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

const FAILSAFE: Shape = Shape {
    label: "[[failsafe]]",
    keys: &[
        Key::mandatory(
            "prefix",
            "it says which sources no policy can block",
            "add `prefix = \"192.0.2.1/32\"`",
        ),
        Key::mandatory(
            "comment",
            "whoever reads the file later must know whose prefix it is",
            "add `comment = \"...\"`",
        ),
    ],
    elsewhere: &[
        ("prefixes", "write one `[[failsafe]]` with `prefix` for each"),
        ("reason", "write `comment`"),
        ("interfaces", "move it above the first `[[failsafe]]`"),
        ("database", "move it above the first `[[failsafe]]`"),
        ("country_field", "move it above the first `[[failsafe]]`"),
        ("xdp_mode", "move it above the first `[[failsafe]]`"),
        ("no_generation", "move it above the first `[[failsafe]]`"),
        ("pin_dir", "move it above the first `[[failsafe]]`"),
        ("state_dir", "move it above the first `[[failsafe]]`"),
        ("run_dir", "move it above the first `[[failsafe]]`"),
    ],
};

const FIELDS: &[(&str, FieldChoice)] = &[
    ("country", FieldChoice::CountryFirst),
    ("registered_country", FieldChoice::RegisteredFirst),
];

const MODES: &[(&str, ModeChoice)] = &[
    ("allow-skb", ModeChoice::AllowSkb),
    ("require-native", ModeChoice::RequireNative),
    ("skb", ModeChoice::Skb),
];

const MODE_SYNONYMS: &[(&str, &str)] = &[
    ("generic", "skb"),
    ("native", "require-native"),
    ("drv", "require-native"),
    ("driver", "require-native"),
    ("auto", "allow-skb"),
];

const NO_GENERATION: &[(&str, bool)] = &[("drop", false), ("pass", true)];

/// Failsafe prefixes wider than this are remarked on: IPv4.
const WIDE_V4: u8 = 8;
/// Failsafe prefixes wider than this are remarked on: IPv6.
const WIDE_V6: u8 = 16;

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
        interfaces: root.read(document, "interfaces", interfaces).unwrap_or_default(),
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
        frame: FrameSettings::default(),
        dhcp_servers: Vec::new(),
        egress: EgressHook::default(),
        sizes: TableSizes::default(),
        no_generation_pass: root
            .read(document, "no_generation", |document, item| {
                choice(document, item, NO_GENERATION, &[])
            })
            .unwrap_or_default(),
        pin_dir: root.read(document, "pin_dir", absolute_path),
        state_dir: root.read(document, "state_dir", absolute_path),
        run_dir: root.read(document, "run_dir", absolute_path),
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

fn failsafe<'a>(document: &mut Document<'a>, root: &Table<'a>) -> Vec<Failsafe> {
    let mut lines: HashMap<IpNet, u32> = HashMap::new();
    let mut failsafe = Vec::new();
    let max = 2 * MAX_FAILSAFE as usize;
    for item in root.tables(document, "failsafe", "[[failsafe]]", max) {
        let Some(table) = Table::open(document, item, &FAILSAFE) else {
            continue;
        };
        let prefix = table.read(document, "prefix", |document, item| {
            let prefix = prefix(document, item)?;
            if !check_width(document, item, &prefix.value) {
                return None;
            }
            if let Some(line) = lines.insert(prefix.value, prefix.place.line) {
                let message = format!("the prefix is already failsafe, in line {line}");
                document.warning(item.node, message, "remove one of the two");
                return None;
            }
            let n_family = lines
                .keys()
                .filter(|net| net.addr().is_ipv4() == prefix.value.addr().is_ipv4());
            if n_family.count() > MAX_FAILSAFE as usize {
                let message = format!("more than {MAX_FAILSAFE} failsafe prefixes of one family");
                document.error(item.node, message, "aggregate adjacent prefixes");
                return None;
            }
            Some(prefix)
        });
        let comment = table.read(document, "comment", text);
        if let (Some(prefix), Some(comment)) = (prefix, comment) {
            failsafe.push(Failsafe { prefix, comment });
        }
    }
    failsafe
}

fn check_width(document: &mut Document<'_>, item: Item<'_>, prefix: &IpNet) -> bool {
    if is_whole_family(prefix) {
        document.error(
            item.node,
            "a failsafe prefix of all addresses would switch cordon off",
            "name the addresses that you manage this host from",
        );
        return false;
    }
    let wide = if prefix.addr().is_ipv4() { WIDE_V4 } else { WIDE_V6 };
    if prefix.prefix_len() < wide {
        document.warning(
            item.node,
            format!("the failsafe prefix is wider than /{wide}: no policy can block any of it"),
            "name the addresses that you manage this host from",
        );
    }
    true
}
