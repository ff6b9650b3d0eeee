//! The database that ships inside the binary.

use std::io::Read;

use super::GeoError;

/// Its name in the status.
pub const EMBEDDED_NAME: &str = "embedded";
/// The credit that its licence (CC BY 4.0) asks for.
pub const EMBEDDED_ATTRIBUTION: &str = "IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0";

/// The file, packed; `policies/data/README.md` says how to renew it.
const PACKED: &[u8] = include_bytes!("../../../policies/data/dbip-country-lite-2026-06-01.mmdb.zst");

/// Most bytes that it may unpack to: a bound on memory if the binary is damaged.
const MAX_BYTES: u64 = 64 << 20;

/// Unpacks it.
pub fn embedded_database() -> Result<Vec<u8>, GeoError> {
    let failed = |error| GeoError::Read {
        path: EMBEDDED_NAME.to_owned(),
        error,
    };
    let decoder = zstd::Decoder::new(PACKED).map_err(failed)?;
    let mut bytes = Vec::new();
    let n_bytes = decoder
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if n_bytes as u64 > MAX_BYTES {
        return Err(GeoError::Content {
            path: EMBEDDED_NAME.to_owned(),
            reason: format!("it unpacks to more than {MAX_BYTES} bytes"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// What is compiled in, packed and unpacked, is what `SHA256SUMS` names.
    #[test]
    fn embedded_database_is_the_one_in_the_sums() {
        let sums = include_str!("../../../policies/data/SHA256SUMS");
        let sum_of = |bytes: &[u8]| {
            let digest = Sha256::digest(bytes);
            digest
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let name = "dbip-country-lite-2026-06-01.mmdb";
        let unpacked = embedded_database().unwrap();
        assert!(sums.contains(&format!("{}  {name}\n", sum_of(&unpacked))));
        assert!(sums.contains(&format!("{}  {name}.zst\n", sum_of(PACKED))));
    }
}
