//! Prints what the programs say through aya-log. Only with the feature `log`: it costs time on every packet.

use std::{path::PathBuf, thread, time::Duration};

use aya::Ebpf;
use aya_log::EbpfLogger;

/// How often the records are fetched.
const INTERVAL: Duration = Duration::from_millis(100);

/// Forwards a generation's records to the `log` crate, and so to the daemon's own log, while the generation is
/// pinned at `dir`.
pub fn forward(ebpf: &mut Ebpf, dir: PathBuf) {
    let mut logger = match EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        Err(error) => return tracing::warn!("cannot read what the programs log: {error}"),
    };
    let forwarded = thread::Builder::new()
        .name("kernel-log".to_owned())
        .spawn(move || {
            while dir.exists() {
                logger.flush();
                thread::sleep(INTERVAL);
            }
        });
    if let Err(error) = forwarded {
        tracing::warn!("cannot read what the programs log: {error}");
    }
}
