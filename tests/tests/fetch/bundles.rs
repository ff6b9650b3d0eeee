use std::{net::IpAddr, path::Path};

use integration_tests::probes::{Outcome, Probe, Protocol};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::{
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::*;
use crate::push::{Issue, directive, drops};

const PASSED: Outcome = Outcome::Passed;
const BLOCKED: Outcome = Outcome::Blocked;

/// A daemon with a source, on a host that trusts one key and has taken a policy that drops Russia.
fn managed<'lab>(lab: &'lab Lab, scratch: &Scratch, source: &str) -> Cordon<'lab> {
    let database = scratch.path().join("countries.mmdb");
    fs::write(&database, countries("RU", "NL")).unwrap();
    let host = HostFile {
        database: Some(database),
        settings: format!("[[source]]\ninterval = \"5s\"\n{source}"),
        ..HostFile::default()
    };
    let mut cordon = Cordon::new(lab, &host).unwrap();
    let keys = cordon.dir().join("state/keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("one.pub"), Signer::public("one")).unwrap();
    cordon.run().unwrap();
    let first = Issue::new(1, &drops(&["RU"])).write(&cordon);
    cordon.cordon_ok(&["bundle", "push", &first]).unwrap();
    cordon.wait_attached().unwrap();
    cordon
}

/// What the two countries meet, on the wire.
fn met(lab: &Lab) -> [Outcome; 2] {
    let probes = [A, B].map(|source| Probe {
        source: source.parse::<IpAddr>().unwrap(),
        protocol: Protocol::Udp,
    });
    lab.probe(&probes).unwrap().try_into().unwrap()
}

/// The one way to the server leads through the interface that cordon is attached to.
#[test]
fn what_lifts_a_halt_or_an_order_is_pulled_while_it_holds() {
    let lab = Lab::new().unwrap();
    let scratch = Scratch::new().unwrap();
    let server = Server::start(&lab, directive(1, "verb = \"resume\"", &["one"]));
    let source = format!("url = \"http://{INTERNET_V4}:8081/duty.cordon\"\nkind = \"directive\"\n");
    let cordon = managed(&lab, &scratch, &source);
    wait(&cordon, "the first one is pulled", |status| {
        status["sources"][0]["age_s"].is_number()
    });
    assert_eq!(met(&lab), [BLOCKED, PASSED], "by the policy");

    cordon.cordon_ok(&["halt", "--reason", "drill"]).unwrap();
    assert_eq!(met(&lab), [BLOCKED, BLOCKED], "halted");
    server.give(directive(2, "verb = \"resume\"", &["one"]));
    let resumed = wait(&cordon, "the resume is pulled", |status| {
        status["halted"].is_null()
    });
    assert_eq!(met(&lab), [BLOCKED, PASSED], "resumed: {resumed:#}");

    let lift = "verb = \"lift\"\norder = \"test-1\"";
    server.give(directive(3, lift, &["one"]));
    wait(&cordon, "the lift is pulled", |status| {
        status["lifts"].as_array().is_some_and(|lifts| lifts.len() == 1)
    });
    assert_eq!(met(&lab), [PASSED, PASSED], "lifted");
    server.give(directive(4, "verb = \"unlift\"\norder = \"test-1\"", &["one"]));
    wait(&cordon, "the unlift is pulled", |status| {
        status["lifts"].as_array().is_some_and(Vec::is_empty)
    });
    assert_eq!(met(&lab), [BLOCKED, PASSED], "unlifted");

    server.give(directive(3, lift, &["one"]));
    wait(&cordon, "who kept the lift", |status| {
        has_problem(status, "older-revision")
    });
    server.give(directive(5, lift, &["two"]));
    wait(&cordon, "a key of nobody", |status| {
        has_problem(status, "unknown-key")
    });
    assert_eq!(met(&lab), [BLOCKED, PASSED], "refused");
}

/// A policy is pulled with `source`, and what is there is changed by `give`.
fn policies_are_pulled(lab: &Lab, scratch: &Scratch, source: &str, give: &dyn Fn(Vec<u8>)) {
    let (first, second) = (drops(&["RU"]), drops(&["NL"]));
    let taken = Issue::new(5, &second);
    // What is pushed there, so that it does not matter which comes first.
    give(Issue::new(1, &first).bytes(&["one"]));
    let mut cordon = managed(lab, scratch, &format!("{source}kind = \"policy\"\n"));
    give(taken.bytes(&["one"]));
    let at = |revision: u64| move |status: &Value| status["bundle"]["revision"] == revision;
    let good = wait(&cordon, "taken", at(5));
    assert_eq!(met(lab), [PASSED, BLOCKED], "{source}");
    assert_eq!(good["sources"][0]["kind"], "policy", "{good:#}");

    // The same payload, one signature more.
    give(taken.bytes(&["one", "two"]));
    let deadline = Instant::now() + PATIENCE;
    while !cordon.log().contains("Idle") {
        assert!(Instant::now() < deadline, "{source}: {}", cordon.log());
        thread::sleep(Duration::from_millis(100));
    }
    let mut cut = Issue::new(6, &first).bytes(&["one"]);
    cut.truncate(cut.len() - 7);
    let mut altered = Issue::new(6, &first).bytes(&["one"]);
    *altered.last_mut().unwrap() ^= 1;
    let broken = Issue::new(6, "version = 1\n").bytes(&["one"]);
    for (reason, bytes) in [
        ("older-revision", Issue::new(4, &first).bytes(&["one"])),
        ("truncated", cut),
        ("bad-signature", altered),
        ("malformed-policy", broken),
    ] {
        give(bytes);
        let status = wait(&cordon, reason, |status| has_problem(status, reason));
        assert_eq!(status["generation"], good["generation"], "{reason}: {status:#}");
        assert_eq!(status["bundle"], good["bundle"], "{reason}");
        assert_eq!(met(lab), [PASSED, BLOCKED], "{reason}");
        // A restart looks at once, instead of after the back-off, and takes up what was in force.
        cordon.kill().unwrap();
        cordon.run().unwrap();
    }
    give(Issue::new(6, &first).bytes(&["one"]));
    wait(&cordon, "a good one again", |status| {
        status["state"] == "ok" && at(6)(status)
    });
    assert_eq!(met(lab), [BLOCKED, PASSED], "{source}");
}

#[test]
fn a_policy_is_pulled_over_http() {
    let (lab, scratch) = (Lab::new().unwrap(), Scratch::new().unwrap());
    let server = Server::start(&lab, Vec::new());
    let source = format!("url = \"http://{INTERNET_V4}:8081/edge.cordon\"\n");
    policies_are_pulled(&lab, &scratch, &source, &|bytes| server.give(bytes));
}

#[test]
fn a_policy_is_pulled_over_https() {
    let (lab, scratch) = (Lab::new().unwrap(), Scratch::new().unwrap());
    let ca_file = scratch.path().join("ca.pem");
    let server = Server::start_with(&lab, Vec::new(), Some(certified(&ca_file)));
    let source = format!("url = \"https://{INTERNET_V4}:8081/edge.cordon\"\nca_file = {ca_file:?}\n");
    policies_are_pulled(&lab, &scratch, &source, &|bytes| server.give(bytes));
}

#[test]
fn a_policy_is_pulled_from_a_file() {
    let (lab, scratch) = (Lab::new().unwrap(), Scratch::new().unwrap());
    let path = scratch.path().join("edge.cordon");
    let source = format!("url = \"file://{}\"\n", path.display());
    policies_are_pulled(&lab, &scratch, &source, &|bytes| {
        let new = scratch.path().join("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(&new, &path).unwrap();
    });
}

/// A certificate for the server by a CA of the test's own, which is written to a file.
fn certified(ca_file: &Path) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![INTERNET_V4.to_string()])
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    fs::write(ca_file, ca.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    Arc::new(config)
}
