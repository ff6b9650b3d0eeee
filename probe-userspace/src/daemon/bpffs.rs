//! Is there a bpffs to pin on?

use std::path::Path;

use anyhow::bail;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

/// Refuses a pin directory that does not lie on a bpffs: pins would be impossible, and enforcement would end
/// with the process.
pub fn check(pin_dir: &Path) -> anyhow::Result<()> {
    let Some(existing) = pin_dir.ancestors().find(|dir| dir.exists()) else {
        bail!("the pin directory {} must be an absolute path", pin_dir.display());
    };
    match statfs(existing) {
        Ok(stat) if stat.filesystem_type() == BPF_FS_MAGIC => Ok(()),
        Ok(_) => bail!(
            "the pin directory {} is not on a bpffs ({} is another file system): mount one with `mount -t bpf bpf {}`",
            pin_dir.display(),
            existing.display(),
            mount_point(pin_dir)
        ),
        Err(error) => bail!("cannot look at {}: {error}", existing.display()),
    }
}

fn mount_point(pin_dir: &Path) -> String {
    match pin_dir.starts_with("/sys/fs/bpf") {
        true => "/sys/fs/bpf".to_owned(),
        false => pin_dir.parent().unwrap_or(pin_dir).display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_directory_is_refused_with_the_fix() {
        let dir = tempfile::tempdir().unwrap();
        let error = check(&dir.path().join("pins")).unwrap_err().to_string();
        assert!(error.contains("mount -t bpf bpf"), "{error}");
    }

    #[test]
    fn the_usual_place_is_the_one_to_mount() {
        assert_eq!(mount_point(Path::new("/sys/fs/bpf/cordon")), "/sys/fs/bpf");
        assert_eq!(mount_point(Path::new("/run/cordon/bpf/pins")), "/run/cordon/bpf");
    }
}
