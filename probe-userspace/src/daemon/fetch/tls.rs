//! Whose certificates are believed.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

/// A connector that believes the certificates of a file, or those of the system. They are read for each look, so that
/// new ones count without a restart.
pub(super) fn connector(ca_file: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let name = || format!("ca_file {}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(name)? {
                roots.add(certificate.with_context(name)?).with_context(name)?;
            }
            if roots.is_empty() {
                bail!("{} holds no certificate: name a PEM file", name());
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            // Odd ones among those of the system are left aside: the others still serve.
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                bail!(
                    "this system has no CA certificates: install the package `ca-certificates`, or name a `ca_file`"
                );
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
