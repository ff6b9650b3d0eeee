//! Whose certificates are believed, and who is shown the token.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::*;

struct Authority {
    _dir: tempfile::TempDir,
    ca_file: PathBuf,
    acceptor: TlsAcceptor,
}

/// A CA of the test's own, and a server certificate by it for a name.
fn authority_for(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    fs::write(&ca_file, ca.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    Authority {
        _dir: dir,
        ca_file,
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

#[tokio::test]
async fn tls_is_believed_by_the_ca_file_only_and_only_for_the_name() {
    let authority = authority_for("127.0.0.1");
    let server = Server::start_with(vec![good("\"x\"", "bundle")], Some(authority.acceptor.clone())).await;
    let mut source = server.source("https");
    let error = format!("{:#}", look(&source, None, SMALL).await.unwrap_err());
    assert!(
        error.contains("no TLS") || error.contains("no CA certificates"),
        "{error}"
    );
    source.ca_file = Some(authority.ca_file.clone());
    assert!(matches!(
        look(&source, None, SMALL).await.unwrap(),
        Look::Changed { .. }
    ));

    source.ca_file = Some(authority_for("127.0.0.1").ca_file.clone());
    let error = format!("{:#}", look(&source, None, SMALL).await.unwrap_err());
    assert!(
        error.contains("ca_file"),
        "the directory of the other one is gone: {error}"
    );
    let other = authority_for("127.0.0.1");
    source.ca_file = Some(other.ca_file.clone());
    let error = format!("{:#}", look(&source, None, SMALL).await.unwrap_err());
    assert!(error.contains("no TLS"), "another CA: {error}");

    let elsewhere = authority_for("elsewhere.example");
    let server = Server::start_with(vec![good("\"x\"", "bundle")], Some(elsewhere.acceptor.clone())).await;
    let mut source = server.source("https");
    source.ca_file = Some(elsewhere.ca_file.clone());
    let error = format!("{:#}", look(&source, None, SMALL).await.unwrap_err());
    assert!(error.contains("no TLS"), "another name: {error}");
    fs::write(&elsewhere.ca_file, "no certificate").unwrap();
    let error = format!("{:#}", look(&source, None, SMALL).await.unwrap_err());
    assert!(error.contains("holds no certificate"), "{error}");
    assert!(
        server.requests().is_empty(),
        "nothing was asked of a server that is not believed"
    );
}

#[tokio::test]
async fn a_token_is_shown_to_the_server_and_a_wrong_file_is_named() {
    let authority = authority_for("127.0.0.1");
    let server = Server::start_with(vec![good("\"x\"", "bundle")], Some(authority.acceptor.clone())).await;
    let mut source = server.source("https");
    source.ca_file = Some(authority.ca_file.clone());
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    source.token_file = Some(token.clone());
    for (content, expected) in [
        (None, "token_file"),
        (Some(""), "holds no token"),
        (Some("a\nb"), "holds no token"),
    ] {
        if let Some(content) = content {
            fs::write(&token, content).unwrap();
        }
        let error = format!("{:#}", look(&source, None, SMALL).await.unwrap_err());
        assert!(error.contains(expected), "{content:?}: {error}");
    }
    fs::write(&token, "s3cret\n").unwrap();
    look(&source, None, SMALL).await.unwrap();
    assert!(
        server.requests()[0].contains("Bearer s3cret"),
        "{:?}",
        server.requests()
    );
}
