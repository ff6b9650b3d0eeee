//! Whether the host has the memory that a publish needs. What can be said before is said before: a kernel that runs out of
//! memory in between kills whom it likes.

use std::{fs, path::Path};

use super::Refusal;

const MEMINFO: &str = "/proc/meminfo";
const MIB: u64 = 1 << 20;

/// Bytes that this host can give without swapping; `None`: it does not say.
pub fn available() -> Option<u64> {
    available_in(Path::new(MEMINFO))
}

fn available_in(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Refuses what the host has no room for. The generation in force is there already and goes only after the new one has
/// taken its place: a host needs room for two.
pub fn check(needed: u64, available: Option<u64>) -> Result<(), Refusal> {
    match available {
        Some(available) if available < needed => Err(Refusal::with_status(
            507,
            format!(
                "not enough memory: the new generation takes up to {} MiB beside the one in force, and this host has {} MiB \
                 ({MEMINFO}, MemAvailable). Nothing was published: give it more memory, or a policy or database with fewer \
                 prefixes",
                needed.div_ceil(MIB),
                available / MIB
            ),
        )),
        _ => Ok(()),
    }
}

/// Refuses a bundle that the host has not even the room to read.
pub fn check_reading(needed: u64, available: Option<u64>) -> Result<(), Refusal> {
    match available {
        Some(available) if available < needed => Err(Refusal::with_status(
            507,
            format!(
                "not enough memory: to read the lists of this bundle takes up to {} MiB, and this host has {} MiB ({MEMINFO}, \
                 MemAvailable). Nothing was changed: give it more memory, or a policy with fewer prefixes",
                needed.div_ceil(MIB),
                available / MIB
            ),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_less_than_is_needed_refuses_and_names_both() {
        assert!(check(100 * MIB, Some(100 * MIB)).is_ok());
        assert!(
            check(100 * MIB, None).is_ok(),
            "who does not know does not stop anybody"
        );
        let refusal = check(100 * MIB, Some(100 * MIB - 1)).unwrap_err();
        assert_eq!(refusal.status, 507);
        assert!(
            refusal.error.contains("up to 100 MiB") && refusal.error.contains("has 99 MiB"),
            "{refusal}"
        );
    }

    #[test]
    fn a_host_without_the_room_to_read_a_bundle_says_so() {
        assert!(check_reading(0, Some(0)).is_ok(), "a directive has no lists");
        assert!(check_reading(MIB, None).is_ok());
        let refusal = check_reading(3 * MIB, Some(2 * MIB)).unwrap_err();
        assert_eq!((refusal.status, &refusal.reason), (507, &None));
        assert!(
            refusal.error.contains("up to 3 MiB") && refusal.error.contains("has 2 MiB"),
            "{refusal}"
        );
    }

    #[test]
    fn the_kernels_figure_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meminfo");
        assert_eq!(available_in(&path), None);
        fs::write(
            &path,
            "MemTotal:  9 kB\nMemFree:    1 kB\nMemAvailable:    2048 kB\nBuffers: 7 kB\n",
        )
        .unwrap();
        assert_eq!(available_in(&path), Some(2 * MIB));
        fs::write(&path, "MemAvailable: much\n").unwrap();
        assert_eq!(available_in(&path), None);
    }
}
