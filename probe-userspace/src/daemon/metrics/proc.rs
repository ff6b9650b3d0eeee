//! What `/proc` says, for the metrics.

use std::fs;

/// What the kernel counts for an interface on receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceTotals {
    /// Its name.
    pub ifname: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Dropped.
    pub drops: u64,
}

/// This process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Open descriptors.
    pub n_fds: Option<u64>,
}

/// The interfaces of this network namespace.
pub fn interfaces() -> Vec<InterfaceTotals> {
    parse_interfaces(&fs::read_to_string("/proc/net/dev").unwrap_or_default())
}

/// Two lines of headings; then a name, a colon, and figures: bytes, packets, errors, drops, ...
fn parse_interfaces(text: &str) -> Vec<InterfaceTotals> {
    let line = |line: &str| {
        let (ifname, figures) = line.rsplit_once(':')?;
        let mut figures = figures.split_whitespace().map(str::parse::<u64>);
        let mut next = || figures.next()?.ok();
        let (bytes, packets, _errors, drops) = (next()?, next()?, next()?, next()?);
        Some(InterfaceTotals {
            ifname: ifname.trim().to_owned(),
            packets,
            bytes,
            drops,
        })
    };
    text.lines().skip(2).filter_map(line).collect()
}

impl Process {
    /// Reads it.
    pub fn read() -> Self {
        let resident = || {
            let text = fs::read_to_string("/proc/self/status").ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        Self {
            resident_bytes: resident(),
            n_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let text = "Inter-|   Receive   |  Transmit\n face |bytes    packets errs drop fifo\n    lo:  100       2    0    0    0     0\n  eth0.7: 5000 40 1 3 0 0 0 0 9 9\n broken: x\n";
        let found = parse_interfaces(text);
        let names: Vec<&str> = found.iter().map(|totals| totals.ifname.as_str()).collect();
        assert_eq!(names, ["lo", "eth0.7"]);
        assert_eq!((found[1].bytes, found[1].packets, found[1].drops), (5000, 40, 3));
        assert!(interfaces().iter().any(|totals| totals.ifname == "lo"));
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let process = Process::read();
        assert!(
            process.resident_bytes > Some(1 << 20) && process.n_fds > Some(2),
            "{process:?}"
        );
    }
}
