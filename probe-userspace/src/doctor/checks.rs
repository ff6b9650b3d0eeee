//! From facts to findings.

use probe_common::ABI_VERSION;

use super::{Facts, Finding, Grade, Nic};
use crate::{
    daemon::api::{Health, Status},
    host::ModeChoice,
    link::{self, Kind, Obstacle},
};

/// `CAP_NET_ADMIN`, `CAP_PERFMON`, `CAP_BPF` (include/uapi/linux/capability.h).
const CAPABILITIES: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
/// `CAP_SYS_ADMIN` stands for the last two.
const SYS_ADMIN: u32 = 21;
/// Drivers that set up their rings anew when native XDP is attached: the link is down for up to some seconds.
const RESETTING: [&str; 9] = [
    "bnxt_en",
    "ena",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "mlx4_en",
    "mlx5_core",
];
/// A database that is older names wrong countries for many addresses.
const OLD_DAYS: u64 = 45;
/// Days before its end at which a bundle is told.
const ENDING_S: u64 = 7 * 86_400;
/// Fewer connections say nothing about who stands in front.
const MIN_CONNECTIONS: usize = 30;
/// Per cent of the connections that the top three sources have behind a proxy.
const PROXY_PERCENT: usize = 80;

/// All findings, the worst first.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    kernel(facts, &mut found);
    pins(facts, &mut found);
    host_file(facts, &mut found);
    interfaces(facts, &mut found);
    clock(facts, &mut found);
    keys(facts, &mut found);
    daemon(facts, &mut found);
    front(facts, &mut found);
    found.0.sort_by_key(|finding| finding.grade);
    found.0
}

struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, grade: Grade, topic: &'static str, what: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding {
            grade,
            topic,
            what: what.into(),
            fix: fix.into(),
        });
    }

    fn problem(&mut self, topic: &'static str, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Grade::Problem, topic, what, fix);
    }

    fn warning(&mut self, topic: &'static str, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Grade::Warning, topic, what, fix);
    }

    fn note(&mut self, topic: &'static str, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Grade::Note, topic, what, fix);
    }
}

fn kernel(facts: &Facts, found: &mut Found) {
    let support = &facts.support;
    let has = |bit: u32| {
        facts
            .capabilities
            .is_none_or(|capabilities| capabilities >> bit & 1 == 1)
    };
    let missing: Vec<&str> = CAPABILITIES
        .iter()
        .filter(|(bit, _)| !has(*bit) && (*bit == 12 || !has(SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect();
    if !missing.is_empty() {
        found.problem(
            "capabilities",
            format!(
                "this process lacks {}, so the kernel was not asked everything",
                missing.join(", ")
            ),
            "run `cordon doctor` as root; the daemon needs the same three capabilities",
        );
    }
    if !support.has_btf {
        found.problem(
            "btf",
            "the kernel has no type information (/sys/kernel/btf/vmlinux)",
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y; all that Debian and Ubuntu ship have it",
        );
    }
    for lacking in &support.lacking {
        found.problem(
            "kernel",
            format!("the kernel has no {lacking}"),
            "use a kernel of 6.1 or later with CONFIG_BPF_SYSCALL=y and CONFIG_XDP_SOCKETS=y",
        );
    }
    if let Some(error) = &support.load_error {
        // Without the privilege, this says nothing about the kernel.
        if missing.is_empty() {
            found.problem(
                "kernel",
                format!("the kernel does not take cordon's programs: {error}"),
                "see the kernel's log (`dmesg`); report it with `cordon support dump`",
            );
        }
    }
    if support.has_btf && !support.has_tcx {
        found.note(
            "egress",
            "the kernel has no tcx (Linux 6.6): leaving packets are seen by a filter on clsact instead",
            "nothing to do; other tools that delete the clsact qdisc would take cordon's filter with it",
        );
    }
}

fn pins(facts: &Facts, found: &mut Found) {
    let pins = &facts.pins;
    match &pins.is_bpffs {
        Some(Ok(false)) => found.problem(
            "bpffs",
            format!("{} is not on a BPF file system, so nothing would outlive the daemon", pins.dir),
            "`mount -t bpf bpf /sys/fs/bpf` (systemd does so by itself), or another `pin_dir` in the host file",
        ),
        Some(Err(error)) => found.warning(
            "bpffs",
            format!("cannot look into {}: {error}", pins.dir),
            "run `cordon doctor` as root",
        ),
        Some(Ok(true)) | None => {}
    }
    if !pins.other_versions.is_empty() {
        found.warning(
            "pins",
            format!(
                "{} holds pins of another version of cordon ({}), beside this one's v{ABI_VERSION}",
                pins.dir,
                pins.other_versions.join(", ")
            ),
            "if they still enforce, start the new daemon, which takes over their links; else remove them with that \
             version's `cordon detach`",
        );
    }
    if !pins.foreign.is_empty() {
        found.warning(
            "pins",
            format!(
                "{} holds what cordon did not put there: {}",
                pins.dir,
                pins.foreign.join(", ")
            ),
            "remove it, or name a directory of cordon's own as `pin_dir` in the host file",
        );
    }
}

fn host_file(facts: &Facts, found: &mut Found) {
    if let Some(refused) = &facts.host_file_refused {
        let fix = match facts.host_file.is_empty() {
            true => "write one with `cordon init`, and read it",
            false => "correct it as the remarks say; a daemon that runs keeps what it read at its start",
        };
        found.problem("host file", refused, fix);
    }
    for remark in &facts.host_file {
        let what = format!("{}: {} ({})", remark.place, remark.message, remark.value);
        match remark.severity {
            crate::diagnostic::Severity::Error => found.problem("host file", what, &remark.fix),
            crate::diagnostic::Severity::Warning => found.warning("host file", what, &remark.fix),
        }
    }
    if facts.host_file_refused.is_some() {
        return;
    }
    if facts.host.interfaces.is_empty() {
        found.problem(
            "host file",
            "it names no interface, so no packet is judged",
            "add `interfaces = [\"eth0\"]`; `ip -br link` lists them",
        );
    }
    if facts.host.n_failsafe == 0 {
        found.warning(
            "host file",
            "it names no failsafe prefix: nothing keeps a policy or a halt from locking you out",
            "add a `[[failsafe]]` with where you log in from",
        );
    }
}

fn interface(facts: &Facts, nic: &Nic, found: &mut Found) {
    let (link, features) = (&nic.link, &nic.features);
    let ifname = &link.name;
    let is_ours = facts.pins.attached.contains(&link.ifindex);
    if let Some(id) = link.xdp.filter(|_| !is_ours) {
        let ifname = ifname.clone();
        let program = format!(" (id {id})");
        told(
            found,
            "xdp",
            Grade::Problem,
            &Obstacle::Foreign { ifname, program },
        );
    }
    if !link.is_up {
        found.warning(
            "interface",
            format!("{ifname} is down or has no carrier"),
            format!("`ip link set {ifname} up`; see cable and switch"),
        );
    }
    let is_hardware = matches!(link.kind, Kind::Hardware | Kind::Veth | Kind::Bond(_));
    let wants_native = facts.host.mode != ModeChoice::Skb;
    let grade = match facts.host.mode {
        ModeChoice::RequireNative => Grade::Problem,
        _ => Grade::Warning,
    };
    if wants_native && !native_now(facts, ifname) {
        let all: Vec<link::Link> = facts.links.iter().map(|nic| nic.link.clone()).collect();
        match link::why_skb(link, &all, features) {
            // The driver may have it: only attaching tells.
            Obstacle::NoNative { .. } | Obstacle::Other(_) if is_hardware => {}
            obstacle => told(found, "native", grade, &obstacle),
        }
    }
    match nic.driver.as_deref() {
        Some("ena") => ena(nic, found),
        Some("virtio_net") => found.note(
            "driver",
            format!(
                "{ifname} is a virtio device: native XDP needs a pair of queues for each CPU, and no receive offloads \
                 (guest_tso4, guest_tso6, guest_ecn, guest_ufo)"
            ),
            "if it runs in skb mode, give the machine queues and switch these off at the hypervisor",
        ),
        _ => {}
    }
    if let Some(driver) = nic.driver.as_deref().filter(|driver| RESETTING.contains(driver))
        && wants_native
        && !is_ours
    {
        found.note(
            "driver",
            format!("attaching native XDP to {ifname} (driver {driver}) resets the link, for up to some seconds"),
            "attach for the first time when that does not matter; later policies and restarts do not reset it",
        );
    }
}

/// Whether the daemon says that it runs there in native mode.
fn native_now(facts: &Facts, ifname: &str) -> bool {
    facts.daemon.as_ref().is_ok_and(|status| {
        let mut interfaces = status.interfaces.iter();
        interfaces.any(|interface| interface.ifname == ifname && interface.mode == "native")
    })
}

fn ena(nic: &Nic, found: &mut Found) {
    let ifname = &nic.link.name;
    if let Some((in_use, most)) = nic.features.channels
        && most > 1
        && in_use > most / 2
    {
        found.warning(
            "driver",
            format!(
                "{ifname} (ENA) uses {in_use} of {most} channels: native XDP needs half of them for itself"
            ),
            format!("`ethtool -L {ifname} combined {}`", most / 2),
        );
    }
}

/// An obstacle's sentence ends with its fix, behind a colon.
fn told(found: &mut Found, topic: &'static str, grade: Grade, obstacle: &Obstacle) {
    let text = obstacle.to_string();
    match text.split_once(": ") {
        Some((what, fix)) => found.add(grade, topic, what, fix),
        None => found.add(
            grade,
            topic,
            text,
            "`xdp_mode = \"allow-skb\"` in the host file accepts the slower skb mode",
        ),
    }
}

/// An interface is looked at where it is judged: a VLAN device on the one below it.
fn interfaces(facts: &Facts, found: &mut Found) {
    let links: Vec<link::Link> = facts.links.iter().map(|nic| nic.link.clone()).collect();
    let placement = link::place(facts.host.interfaces.iter().map(String::as_str), &links);
    for (_, obstacle) in &placement.obstacles {
        told(found, "interface", Grade::Problem, obstacle);
    }
    let vlans = placement.vlans();
    for nic in &facts.links {
        if !placement
            .places
            .iter()
            .any(|place| place.ifindex == nic.link.ifindex)
        {
            continue;
        }
        interface(facts, nic, found);
        let has_vlans = vlans.iter().any(|(ifindex, _)| *ifindex == nic.link.ifindex);
        if let Some(obstacle) = link::check(&nic.link, &nic.features, has_vlans) {
            told(found, "vlan", Grade::Problem, &obstacle);
        }
    }
}

fn clock(facts: &Facts, found: &mut Found) {
    if facts.is_clock_kept == Some(false) {
        found.warning(
            "clock",
            "nothing keeps the system's clock right, and exemptions, phases and bundles end by it",
            "run an NTP client: `timedatectl set-ntp true`, or chrony",
        );
    }
    let built = facts
        .daemon
        .as_ref()
        .ok()
        .and_then(|status| status.database.as_ref());
    let built_s = built.and_then(|database| crate::instant::Instant::parse(&database.built).ok());
    if built_s.is_some_and(|built| u64::from(built.0) > facts.now_s) {
        found.problem(
            "clock",
            "the system's clock is before the day on which the database was built",
            "set the clock: `timedatectl set-ntp true`",
        );
    }
}

fn keys(facts: &Facts, found: &mut Found) {
    let is_managed = facts.daemon.as_ref().is_ok_and(|status| status.managed);
    match &facts.keys {
        Err(why) => found.problem(
            "keys",
            why,
            "correct the file that is named; until then no bundle is taken",
        ),
        Ok(0) if is_managed => found.problem(
            "keys",
            "this host takes signed policies only, and trusts no key: it takes none",
            "`cordon key trust FILE`, or `cordon key unmanage` to take plain files again",
        ),
        Ok(_) => {}
    }
}

fn daemon(facts: &Facts, found: &mut Found) {
    match &facts.daemon {
        Ok(status) => with_daemon(facts, status, found),
        Err(why) if facts.pins.attached.is_empty() => found.warning(
            "daemon",
            format!("no daemon answers, and nothing is enforced: {why}"),
            "`systemctl start cordon`, or `cordon run` in the foreground",
        ),
        Err(why) => found.problem(
            "daemon",
            format!("no daemon answers: what is pinned stays enforced, but nobody looks after it: {why}"),
            "`systemctl start cordon`; if it does not start, `journalctl -u cordon` says why",
        ),
    }
}

fn with_daemon(facts: &Facts, status: &Status, found: &mut Found) {
    match status.state {
        Health::NotEnforcing | Health::Unknown => {
            found.problem(
                "daemon",
                &status.sentence,
                "`cordon status` has the details; `cordon apply FILE` publishes",
            );
        }
        Health::Ok | Health::Degraded => {}
    }
    for problem in &status.problems {
        found.problem(
            "daemon",
            problem,
            "as the sentence says; it goes by itself once its cause is gone",
        );
    }
    for interface in status
        .interfaces
        .iter()
        .filter(|interface| interface.mode == "skb")
    {
        if facts.host.mode == ModeChoice::AllowSkb {
            found.note(
                "native",
                format!("{} is judged in skb mode, which costs several times as much per packet", interface.ifname),
                "see the finding about its driver, if there is one; `xdp_mode = \"skb\"` says that it is meant",
            );
        }
    }
    if let Some(database) = status
        .database
        .as_ref()
        .filter(|database| database.age_days > OLD_DAYS)
    {
        found.warning(
            "database",
            format!(
                "the GeoIP database is {} days old: many addresses have moved since",
                database.age_days
            ),
            "put a new one where `database` in the host file points; it is taken up by itself",
        );
    }
    if let Some(bundle) = &status.bundle {
        let left_s = u64::from(bundle.expires.0).saturating_sub(facts.now_s);
        if left_s < ENDING_S {
            found.warning(
                "bundle",
                format!(
                    "revision {} of {} ends on {}",
                    bundle.revision, bundle.name, bundle.expires
                ),
                "push a new revision before; after its end it stays in force, and the host is degraded",
            );
        }
    }
    if status.halted.is_some() || !status.halted_services.is_empty() || !status.lifts.is_empty() {
        found.warning(
            "daemon",
            "the policy is not in force as it was written: a halt or a lift is",
            "`cordon status` says until when and why; `cordon resume`, `cordon unlift` end it",
        );
    }
}

fn front(facts: &Facts, found: &mut Found) {
    let peers = facts.peers;
    if peers.n_connections < MIN_CONNECTIONS || peers.n_of_top * 100 < peers.n_connections * PROXY_PERCENT {
        return;
    }
    found.warning(
        "front",
        format!(
            "3 of {} sources hold {} of the {} TCP connections to this host's servers: a proxy, a load balancer or a CDN \
             seems to stand before it, and cordon judges its addresses, not those of whoever is behind it (counted just \
             now, TCP only: a few busy clients look the same)",
            peers.n_sources, peers.n_of_top, peers.n_connections
        ),
        "block countries at the proxy, or ask `GET /v1/locate?ip=` with the address that the proxy names; make the \
         proxy's addresses failsafe",
    );
}
