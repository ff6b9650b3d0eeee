//! The host file, resolved: every path with its default.

use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::{Refusal, accepted_geo::GeoStore};
use crate::{
    bundle::HostIdentity,
    diagnostic::{Diagnostic, Severity},
    geo::GeoChoice,
    host::{self, Host},
    input,
};

/// Default place of the host file.
pub const DEFAULT_HOST_FILE: &str = "/etc/cordon/cordon.toml";
/// Default pin directory.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/cordon";
/// Default state directory.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/cordon";
/// Default runtime directory.
pub const DEFAULT_RUN_DIR: &str = "/run/cordon";

/// A host file with its defaults filled in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the file says.
    pub host: Host,
    /// Warnings about it.
    pub warnings: Vec<Diagnostic>,
    /// Directory on a bpffs.
    pub pin_dir: PathBuf,
    /// Directory of the stored policy.
    pub state_dir: PathBuf,
    /// Directory of the control socket.
    pub run_dir: PathBuf,
}

/// What to do if there is no host file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// It is needed: say how to get one.
    Refuse,
    /// The defaults will do.
    UseDefaults,
}

impl Settings {
    /// Reads and resolves a host file.
    pub fn read(path: &Path, if_missing: IfMissing) -> Result<Self, Refusal> {
        let file = path.display().to_string();
        let text = match input::read_text(path) {
            Ok(text) => text,
            Err(error) if error.is_missing && if_missing == IfMissing::UseDefaults => {
                return Ok(Self::resolve(
                    Host {
                        file,
                        ..Host::default()
                    },
                    Vec::new(),
                ));
            }
            Err(error) if error.is_missing => {
                return Err(Refusal::input(
                    format!(
                        "there is no host file {file}: write one with `cordon init`, or name another with `--config`"
                    ),
                    Vec::new(),
                ));
            }
            Err(error) => return Err(error.refusal("the host file")),
        };
        let (host, diagnostics) = host::parse(&file, &text);
        match host {
            Some(host) => Ok(Self::resolve(host, diagnostics)),
            None => Err(Refusal::input(
                format!(
                    "the host file {file} has {}",
                    count(n_errors(&diagnostics), "error")
                ),
                diagnostics,
            )),
        }
    }

    fn resolve(host: Host, warnings: Vec<Diagnostic>) -> Self {
        let or = |place: &Option<crate::policy::Located<PathBuf>>, default: &str| {
            place
                .as_ref()
                .map_or_else(|| PathBuf::from(default), |path| path.value.clone())
        };
        Self {
            pin_dir: or(&host.pin_dir, DEFAULT_PIN_DIR),
            state_dir: or(&host.state_dir, DEFAULT_STATE_DIR),
            run_dir: or(&host.run_dir, DEFAULT_RUN_DIR),
            host,
            warnings,
        }
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("control.sock")
    }

    /// Directory of trusted keys.
    pub fn keys_dir(&self) -> PathBuf {
        self.state_dir.join("keys")
    }

    /// What targets of bundles call this host.
    pub fn identity(&self) -> HostIdentity {
        let name = self.host.host_name.as_ref().map(|name| name.value.clone());
        let system = || nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        HostIdentity {
            // A host without a name matches no pattern but `*`.
            name: name.unwrap_or_else(|| system().unwrap_or_default()),
            labels: self.host.labels.clone(),
        }
    }

    /// The database to use: the host file's, else that of a signed bundle, else the first that is found.
    pub fn geo_choice(&self) -> Result<GeoChoice, Refusal> {
        if let Some(path) = &self.host.database {
            return Ok(GeoChoice::File(path.value.clone()));
        }
        let store = GeoStore::new(&self.state_dir);
        match store.accepted() {
            Ok(Some(accepted)) => Ok(GeoChoice::File(store.path(&accepted))),
            Ok(None) => Ok(GeoChoice::Auto),
            // A user who checks a policy may not look into the state directory.
            Err(error) if is_forbidden(&error) => Ok(GeoChoice::Auto),
            Err(error) => Err(Refusal::failed(error)),
        }
    }

    /// The failsafe prefixes, without their comments, and the DHCP servers that the host file names.
    pub fn failsafe_prefixes(&self) -> Vec<IpNet> {
        let prefixes = self.host.failsafe.iter().map(|entry| entry.prefix.value);
        let mut prefixes: Vec<IpNet> = prefixes.collect();
        for server in &self.host.dhcp_servers {
            if !prefixes.iter().any(|prefix| prefix.contains(&server.value)) {
                prefixes.push(IpNet::from(server.value));
            }
        }
        prefixes
    }
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Number of remarks that refuse the input.
pub fn n_errors(diagnostics: &[Diagnostic]) -> usize {
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .count()
}

/// `1 error`, `2 errors`.
pub fn count(n: usize, noun: &str) -> String {
    match n {
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_host_file_is_refused_only_where_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent.toml");
        let refusal = Settings::read(&path, IfMissing::Refuse).unwrap_err();
        assert!(
            refusal.error.contains("absent.toml") && refusal.error.contains("cordon init"),
            "{refusal}"
        );

        let settings = Settings::read(&path, IfMissing::UseDefaults).unwrap();
        assert_eq!(settings.socket(), Path::new("/run/cordon/control.sock"));
        assert_eq!(settings.geo_choice(), Ok(GeoChoice::Auto));
    }

    #[test]
    fn dhcp_servers_of_the_host_file_are_failsafe_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cordon.toml");
        let text = "dhcp_servers = [\"192.0.2.2\", \"198.51.100.1\"]\n\
                    [[failsafe]]\nprefix = \"192.0.2.0/30\"\ncomment = \"gateway and DHCP\"\n";
        std::fs::write(&path, text).unwrap();
        let settings = Settings::read(&path, IfMissing::Refuse).unwrap();
        let prefixes: Vec<String> = settings
            .failsafe_prefixes()
            .iter()
            .map(IpNet::to_string)
            .collect();
        assert_eq!(prefixes, ["192.0.2.0/30", "198.51.100.1/32"]);
    }

    #[test]
    fn a_directory_is_not_a_missing_host_file() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = Settings::read(dir.path(), IfMissing::UseDefaults).unwrap_err();
        assert!(refusal.error.contains("cannot read"), "{refusal}");
    }
}
