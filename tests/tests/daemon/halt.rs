//! Halts and whom they cut off; sources that no policy is asked about.

use std::process::Output;

use integration_tests::cordon_process::{Cordon, binary};
use serde_json::Value;

use super::{BLOCK_LIST, Edge, NL, edge, judged, status};

/// Halts as somebody whose session comes from an address.
fn halt_from(edge: &Edge, cordon: &Cordon<'_>, peer: &str, args: &[&str]) -> Output {
    edge.lab
        .edge
        .command(binary().unwrap())
        .env("SSH_CONNECTION", format!("{peer} 50522 192.0.2.1 22"))
        .arg("-c")
        .arg(cordon.dir().join("cordon.toml"))
        .args(["halt", "--reason", "drill"])
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn a_halt_that_would_cut_off_the_ssh_peer_is_refused() {
    let mut edge = edge();
    edge.host.failsafe = vec!["82.0.9.0/24".to_owned()];
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_LIST).unwrap();

    // A private address passes the policy, but not a halt.
    for peer in [NL, "192.168.7.7"] {
        let refused = halt_from(&edge, &cordon, peer, &[]);
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{stderr}");
        for expected in [peer, "[[failsafe]]", "--override-lockout"] {
            assert!(stderr.contains(expected), "`{expected}` is missing: {stderr}");
        }
    }
    assert_eq!(status(&cordon)["halted"], Value::Null);
    assert_eq!(judged(&cordon, NL), 0);

    let failsafe = halt_from(&edge, &cordon, "82.0.9.9", &[]);
    assert_eq!(failsafe.status.code(), Some(0), "{failsafe:?}");
    cordon.cordon_ok(&["resume"]).unwrap();
    let link_local = halt_from(&edge, &cordon, "fe80::1%edge0", &[]);
    assert_eq!(link_local.status.code(), Some(0), "{link_local:?}");
    cordon.cordon_ok(&["resume"]).unwrap();

    let forced = halt_from(&edge, &cordon, NL, &["--override-lockout"]);
    let stdout = String::from_utf8_lossy(&forced.stdout);
    assert_eq!(forced.status.code(), Some(0), "{forced:?}");
    assert!(stdout.contains(&format!("warning: {NL}")), "{stdout}");
    assert_eq!(judged(&cordon, NL), 10);
}

#[test]
fn link_local_sources_are_explained_as_the_kernel_judges_them() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon
        .apply("version = 1\ndefault = \"drop\"\nunknown = \"drop\"\nlan = \"drop\"\n")
        .unwrap();
    for address in ["169.254.7.7", "fe80::7"] {
        let answer = cordon.cordon_ok(&["explain", address]).unwrap();
        assert!(
            answer.stdout.contains("pass (link_local)")
                && answer.stdout.contains("always passes: link-local"),
            "{answer:?}"
        );
        assert_eq!(judged(&cordon, address), 0);
    }
    let answer = cordon.cordon_ok(&["explain", "::ffff:192.0.2.1"]).unwrap();
    assert!(answer.stdout.contains("drop (malformed)"), "{answer:?}");
    cordon.cordon_ok(&["halt", "--reason", "drill"]).unwrap();
    assert_eq!(judged(&cordon, "fe80::7"), 0, "in a halt too");
}
