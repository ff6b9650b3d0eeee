use std::{fmt::Write as _, fs, time::Instant};

use cordon::exemption::limits::MAX_EXEMPTIONS;
use integration_tests::cordon_process::Cordon;

use super::{POLICY, RU, add, edge, passes, restart};

fn lines(n: usize) -> String {
    let mut text = String::new();
    for idx in 0..n {
        let prefix = match idx % 3 {
            0 => format!("81.0.{}.{}/32", idx >> 8 & 255, idx & 255),
            1 => format!("2a00:81:{:x}:{:x}::/64", idx >> 8, idx & 255),
            _ => format!("82.0.{}.{}/32", idx >> 8 & 255, idx & 255),
        };
        let orders = [
            "",
            ",\"orders\":[\"embargo\"]",
            ",\"orders\":[\"court\",\"embargo\"]",
        ][idx % 7 % 3];
        writeln!(
            text,
            "{{\"prefix\":\"{prefix}\",\"reference\":\"customer {idx}\",\"reason\":\"verified by the portal, file {idx}\",\
             \"approver\":\"verification portal\",\"until\":\"2099-01-01T00:00:00Z\"{orders}}}"
        )
        .unwrap();
    }
    text
}

/// Prints what it takes; how long that may be is not a matter for a test on a shared machine.
#[test]
fn fifty_thousand_are_synced_kept_and_replaced() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    let path = cordon.dir().join("list.jsonl");
    let path_text = path.to_string_lossy().into_owned();
    let text = lines(MAX_EXEMPTIONS);
    fs::write(&path, &text).unwrap();
    let timed = |what: &str, run: &mut dyn FnMut()| {
        let started = Instant::now();
        run();
        println!("{what}: {:?}", started.elapsed());
    };
    timed("sync of 50,000", &mut || {
        let synced = cordon.cordon_ok(&["exempt", "sync", &path_text]).unwrap();
        assert!(
            synced.stdout.contains("50000 exemptions: 50000 added"),
            "{synced:?}"
        );
    });
    assert!(passes(&cordon, "81.0.0.0") && passes(&cordon, "2a00:81:0:1::5") && !passes(&cordon, "81.0.0.1"));
    let full = add(&cordon, "81.0.250.0/24", "one too many", &[]);
    assert!(
        full.status == 1 && full.stderr.contains("at most 50000"),
        "{full:?}"
    );

    timed("start", &mut || restart(&mut cordon));
    assert_eq!(cordon.status().unwrap()["n_exemptions"], MAX_EXEMPTIONS);
    assert!(passes(&cordon, "81.0.0.0") && passes(&cordon, "2a00:81:0:1::5"));

    // Every prefix is another one: both lists are in the kernel for a moment.
    fs::write(
        &path,
        text.replace("\"81.0.", "\"81.1.")
            .replace("\"82.0.", "\"82.1.")
            .replace("2a00:81:", "2a00:82:"),
    )
    .unwrap();
    timed("sync of 50,000 others", &mut || {
        let synced = cordon.cordon_ok(&["exempt", "sync", &path_text]).unwrap();
        assert!(
            synced.stdout.contains("50000 added, 0 changed, 50000 removed"),
            "{synced:?}"
        );
    });
    assert!(!passes(&cordon, "81.0.0.0"));
    timed("remove of one", &mut || {
        cordon
            .cordon_ok(&["exempt", "remove", "--reference", "customer 0"])
            .unwrap();
    });
    timed("add of one", &mut || {
        assert_eq!(add(&cordon, "81.0.7.7/32", "C", &[]).status, 0);
    });
    assert!(passes(&cordon, RU));
    timed("list", &mut || {
        let told = cordon.cordon_ok(&["exempt", "list", "--lines"]).unwrap().stdout;
        assert_eq!(told.lines().count(), MAX_EXEMPTIONS);
    });
}
