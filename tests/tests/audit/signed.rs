//! What else a host can live through: lifts, exemptions, another database, signatures, broken glass.

use std::{fs, path::Path};

use cordon::audit::{Record, log};
use integration_tests::{
    bundle_writer::Signer,
    cordon_process::{Cordon, HostFile},
    lab::Lab,
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};
use serde_json::{Value, json};

use super::{read, records, verify};
use crate::push::{Issue, directive, drops};

/// What happened, who did it, what the record says.
type Line = (String, Value, Value);

/// The records from here on, without those of the log itself and of what other tests are about.
fn since(cordon: &Cordon<'_>, from: usize) -> (Vec<Line>, usize) {
    const OTHERS: [&str; 5] = ["segment", "checkpoint", "counters", "attach", "start"];
    let all = records(&log::dir(&cordon.dir().join("state")));
    let n = all.len();
    let lines = all.into_iter().skip(from);
    let told = lines.filter(|record| !OTHERS.contains(&record.event_name()));
    let told = told.map(|record: Record| {
        let name = record.event_name().to_owned();
        (name, record.actor, record.what)
    });
    (told.collect(), n)
}

fn root() -> Value {
    json!({ "by": "local", "uid": 0 })
}

fn replace_database(path: &Path, a: &str, b: &str) {
    let new = path.with_extension("new");
    MmdbWriter::new()
        .country("81.0.0.0/16", a)
        .country("82.0.0.0/16", b)
        .write(&new)
        .unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn lifts_exemptions_databases_and_signatures_are_recorded_with_who_and_why() {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    replace_database(&database, "RU", "NL");
    let lab = Lab::new().unwrap();
    let host = HostFile {
        database: Some(database.clone()),
        ..HostFile::default()
    };
    let cordon = Cordon::start(&lab, &host).unwrap();
    cordon.apply(&drops(&["RU"])).unwrap();
    let (_, mark) = since(&cordon, 0);

    // Another text, the same tables.
    cordon.apply(&format!("# again\n{}", drops(&["RU"]))).unwrap();
    let (told, mark) = since(&cordon, mark);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((told[0].0.as_str(), &told[0].1), ("accept", &root()));
    assert_eq!(
        (&told[0].2["policy"], &told[0].2["generation"]),
        (&json!("drops-ru"), &json!(1))
    );

    let order = ["--order", "test-1"];
    cordon
        .cordon_ok(&[&["lift", "--for", "1h", "--reason", "court"][..], &order].concat())
        .unwrap();
    cordon.cordon_ok(&[&["unlift"][..], &order].concat()).unwrap();
    let (told, mark) = since(&cordon, mark);
    let lift = told.iter().find(|(name, ..)| name == "lift").unwrap();
    assert_eq!(lift.1, root());
    assert_eq!(
        (&lift.2["order"], &lift.2["reason"]),
        (&json!("test-1"), &json!("court"))
    );
    assert!(lift.2["until"].is_string(), "{lift:?}");
    let unlift = told.iter().find(|(name, ..)| name == "unlift").unwrap();
    assert_eq!(
        (&unlift.1, &unlift.2),
        (
            &root(),
            &json!({ "event": "unlift", "order": "test-1", "ended": false })
        )
    );

    let case = ["81.0.7.0/24", "--reference", "C-7"];
    cordon
        .cordon_ok(
            &[
                &[
                    "exempt",
                    "add",
                    "--reason",
                    "contract",
                    "--approver",
                    "Ada",
                    "--for",
                    "1h",
                ][..],
                &case,
            ]
            .concat(),
        )
        .unwrap();
    cordon
        .cordon_ok(&["exempt", "renew", "--reference", "C-7", "--for", "2h"])
        .unwrap();
    cordon
        .cordon_ok(&["exempt", "remove", "--reference", "C-7"])
        .unwrap();
    let (told, mark) = since(&cordon, mark);
    let changes: Vec<&Value> = told.iter().map(|(_, _, what)| &what["change"]).collect();
    assert_eq!(
        changes,
        [&json!("add"), &json!("renew"), &json!("remove")],
        "{told:#?}"
    );
    for (name, actor, what) in &told {
        assert_eq!((name.as_str(), actor), ("exempt", &root()));
        assert_eq!(
            (&what["reference"], &what["prefix"], &what["n"]),
            (&json!("C-7"), &json!("81.0.7.0/24"), &json!(1)),
            "{what:#}"
        );
        assert_eq!(
            (&what["reason"], &what["approver"]),
            (&json!("contract"), &json!("Ada"))
        );
    }

    let before = cordon.generation().unwrap();
    replace_database(&database, "NL", "RU");
    for _ in 0..400 {
        if cordon.generation().unwrap() != before {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (told, mark) = since(&cordon, mark);
    let taken = told.iter().find(|(name, ..)| name == "database").unwrap();
    assert_eq!(taken.1, json!({ "by": "daemon" }));
    let origin = taken.2["origin"].as_str().unwrap();
    assert!(origin.ends_with("countries.mmdb"), "{taken:?}");
    assert_eq!(taken.2["sha256"].as_str().unwrap().len(), 64);

    signatures(&cordon, mark);
    let dir = log::dir(&cordon.dir().join("state"));
    assert_eq!(verify(&read(&dir), None).findings, []);
}

/// From the first trusted key on.
fn signatures(cordon: &Cordon<'_>, mark: usize) {
    let key = cordon.dir().join("one.pub");
    fs::write(&key, Signer::public("one")).unwrap();
    cordon
        .cordon_ok(&["key", "trust", key.to_str().unwrap()])
        .unwrap();
    let push = |bytes: Vec<u8>| {
        let file = cordon.dir().join("pushed.cordon");
        fs::write(&file, bytes).unwrap();
        cordon
            .cordon(&["bundle", "push", file.to_str().unwrap()])
            .unwrap()
    };
    let issue = Issue::new(3, &drops(&["NL"]));
    assert_eq!(push(issue.bytes(&["one"])).status, 0);
    assert_eq!(push(Issue::new(4, &drops(&["RU"])).bytes(&["two"])).status, 1);
    assert_eq!(push(directive(1, "verb = \"halt\"", &["one"])).status, 0);
    assert_eq!(push(directive(2, "verb = \"resume\"", &["one"])).status, 0);
    let lift = "verb = \"lift\"\norder = \"test-1\"";
    assert_eq!(push(directive(3, lift, &["one"])).status, 0);
    let unlift = "verb = \"unlift\"\norder = \"test-1\"";
    assert_eq!(push(directive(4, unlift, &["one"])).status, 0);
    let path = cordon.write_policy(&drops(&["RU"])).unwrap();
    cordon
        .cordon_ok(&[
            "apply",
            "--break-glass",
            "--reason",
            "on fire",
            "--override-lockout",
            &path,
        ])
        .unwrap();

    let (told, _) = since(cordon, mark);
    let id = {
        let keys = cordon.cordon_ok(&["key", "list", "-o", "json"]).unwrap();
        keys.json().unwrap()["keys"][0]["id"].clone()
    };
    let is_signed = |actor: &Value| {
        actor["by"] == "signed"
            && actor["keys"] == json!([id])
            && actor["bundle"].as_str().unwrap().len() == 64
    };
    let find = |name: &str, is_it: &dyn Fn(&Value) -> bool| {
        let found = told.iter().find(|(its, _, what)| its == name && is_it(what));
        found.unwrap_or_else(|| panic!("no {name}: {told:#?}"))
    };
    let published = find("publish", &|what| what["revision"] == 3);
    assert!(is_signed(&published.1), "{published:?}");
    let rejected = find("reject", &|what| what["reason"] == "unknown-key");
    assert_eq!(rejected.1, root(), "who pushed it: nobody signed it");
    for (name, field, text) in [
        ("halt", "reason", json!("drill")),
        ("resume", "ended", json!(false)),
        ("lift", "order", json!("test-1")),
        ("unlift", "ended", json!(false)),
    ] {
        let (_, actor, what) = find(name, &|_| true);
        assert!(is_signed(actor), "{name}: {actor}");
        assert_eq!(what[field], text, "{name}: {what}");
    }
    let broken = find("publish", &|what| what["break_glass"].is_string());
    assert_eq!(
        (&broken.1, &broken.2["break_glass"]),
        (&root(), &json!("on fire"))
    );
    assert_eq!(broken.2["policy"], "drops-ru");
}
