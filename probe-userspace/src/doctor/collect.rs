//! Gathers the facts. What cannot be found out is said, and keeps nothing else from being found out.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use probe_common::ABI_VERSION;

use super::{Facts, HostFacts, Nic, Pins, peers};
use crate::{
    bundle::trust::TrustDirectory,
    daemon::{
        Refusal,
        api::Status,
        settings::{DEFAULT_PIN_DIR, DEFAULT_STATE_DIR, Settings},
        surroundings::{listening_ports, parse_tcp},
    },
    dataplane,
    instant::Instant,
    link,
};

/// Everything about this host. `settings`: the host file, or why it cannot be gone by.
pub fn collect(settings: &Result<Settings, Refusal>, daemon: Result<Status, String>) -> Facts {
    let good = settings.as_ref().ok();
    let pin_dir = good.map_or_else(
        || PathBuf::from(DEFAULT_PIN_DIR),
        |settings| settings.pin_dir.clone(),
    );
    let keys_dir = good.map_or_else(|| Path::new(DEFAULT_STATE_DIR).join("keys"), Settings::keys_dir);
    let links = link::snapshot().unwrap_or_default();
    Facts {
        kernel: read("/proc/sys/kernel/osrelease"),
        support: dataplane::kernel_support(),
        capabilities: capabilities(),
        pins: pins(&pin_dir),
        host_file: match settings {
            Ok(settings) => settings.warnings.clone(),
            Err(refusal) => refusal.diagnostics.clone(),
        },
        host_file_refused: settings.as_ref().err().map(|refusal| refusal.error.clone()),
        host: good
            .map(|settings| HostFacts::new(&settings.host))
            .unwrap_or_default(),
        links: links.into_iter().map(nic).collect(),
        is_clock_kept: dataplane::is_clock_kept(),
        now_s: u64::from(Instant::now().0),
        daemon: daemon.map(Box::new),
        keys: TrustDirectory::new(&keys_dir)
            .read()
            .map(|trust| trust.keys().len())
            .map_err(|refusal| match refusal.diagnostics.first() {
                Some(first) => format!("{refusal}: {first}"),
                None => refusal.to_string(),
            }),
        peers: connections(),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn nic(link: link::Link) -> Nic {
    let device = fs::read_link(format!("/sys/class/net/{}/device/driver", link.name));
    Nic {
        features: link::features(&link.name).unwrap_or_default(),
        driver: device
            .ok()
            .and_then(|path| Some(path.file_name()?.to_str()?.to_owned())),
        link,
    }
}

fn pins(dir: &Path) -> Pins {
    let mut pins = Pins {
        dir: dir.display().to_string(),
        is_bpffs: Some(dataplane::is_on_bpffs(dir).map_err(|error| error.to_string())),
        ..Pins::default()
    };
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let own = format!("v{ABI_VERSION}");
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let number = name.strip_prefix('v').map(str::parse::<u32>);
        match number {
            Some(Ok(_)) if name == own => {}
            Some(Ok(_)) => pins.other_versions.push(name),
            _ => pins.foreign.push(name),
        }
    }
    pins.attached = dataplane::attached_to(dir);
    pins
}

fn connections() -> super::Peers {
    let texts = ["/proc/net/tcp", "/proc/net/tcp6"].map(read);
    let ports: BTreeSet<u16> = texts.iter().flat_map(|text| listening_ports(text)).collect();
    let ports: Vec<u16> = ports.into_iter().collect();
    peers(texts.iter().flat_map(|text| parse_tcp(text, &ports)))
}
