//! The database that ships inside the binary.

use super::GeoError;

/// Its name in the status.
pub const EMBEDDED_NAME: &str = "embedded";
/// The credit that its licence (CC BY 4.0) asks for.
pub const EMBEDDED_ATTRIBUTION: &str = "IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0";

/// Unpacks it.
pub fn embedded_database() -> Result<Vec<u8>, GeoError> {
    Err(GeoError::Content {
        path: EMBEDDED_NAME.to_owned(),
        reason: "not written yet".to_owned(),
    })
}
