//! With `-o json`, standard output is one JSON value, whatever the verb and whatever becomes of it.

use cordon::policy::limits::MAX_FILE_BYTES;
use integration_tests::{
    cordon_process::{Cordon, HostFile},
    images::BLOCK_RU,
    lab::{EDGE_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};
use serde_json::Value;

const VERBS: [&str; 23] = [
    "init", "observe", "run", "check", "apply", "confirm", "history", "rollback", "status", "explain",
    "halt", "resume", "lift", "unlift", "exempt", "watch", "detach", "bundle", "key", "audit", "import",
    "doctor", "support",
];

fn lab_and_database() -> (Lab, HostFile, Scratch) {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .write(&database)
        .unwrap();
    let host = HostFile {
        database: Some(database),
        ..HostFile::default()
    };
    (Lab::new().unwrap(), host, scratch)
}

/// Runs a verb with `-o json`; `key` is what the answer must have, `error` for errors.
fn expect(cordon: &Cordon<'_>, args: &[&str], status: i32, key: &str) -> Value {
    let mut with_json = args.to_vec();
    with_json.extend(["-o", "json"]);
    let answer = cordon.cordon(&with_json).unwrap();
    assert_eq!(answer.status, status, "cordon {with_json:?}: {answer:?}");
    let value = answer.json().unwrap();
    assert!(
        value.get(key).is_some(),
        "cordon {with_json:?} should have `{key}`: {value:#}"
    );
    if key == "error" {
        assert!(
            value["error"].is_string() && value["diagnostics"].is_array(),
            "{value:#}"
        );
    }
    value
}

#[test]
fn every_verb_answers_in_json_without_a_daemon() {
    let (lab, host, _scratch) = lab_and_database();
    let cordon = Cordon::new(&lab, &host).unwrap();
    let policy = cordon.write_policy(BLOCK_RU).unwrap();

    let shown = expect(&cordon, &["init", "--stdout"], 0, "failsafe");
    let (found, remarks) = cordon::host::parse("cordon.toml", shown["text"].as_str().unwrap());
    let found = found.unwrap_or_else(|| panic!("{remarks:?}"));
    let names: Vec<&str> = found.interfaces.iter().map(|name| name.value.as_str()).collect();
    assert_eq!(
        shown["interfaces"],
        serde_json::json!(names),
        "what was found is what the text says: {shown:#}"
    );
    expect(&cordon, &["init"], 1, "error");
    expect(&cordon, &["observe", "lo", "--for", "1s"], 0, "places");
    expect(&cordon, &["observe", "absent0"], 1, "error");
    expect(&cordon, &["check", &policy], 0, "classes_dropped");
    for args in [
        &["apply", &policy][..],
        &["confirm"],
        &["status"],
        &["history"],
        &["history", "--json"],
        &["rollback"],
        &["bundle", "push", &policy],
        &["key", "unmanage", "--reason", "sold"],
        &["explain", "81.0.7.7"],
        &["halt", "--reason", "drill"],
        &["resume"],
        &["lift", "--all", "--reason", "drill"],
        &["unlift", "--all"],
        &["watch"],
        &["watch", "--json"],
        &["exempt", "list"],
        &["exempt", "remove", "--reference", "C-1"],
    ] {
        expect(&cordon, args, 1, "error");
    }
    expect(&cordon, &["status", "--check"], 3, "error");
    expect(
        &cordon,
        &["explain", "81.0.7.7", "--policy", &policy],
        0,
        "action",
    );
    expect(&cordon, &["detach", "--yes"], 0, "interfaces");
    expect(&cordon, &["audit", "show"], 1, "error");
    expect(&cordon, &["audit", "verify"], 2, "error");
    expect(&cordon, &["audit", "anchor"], 1, "error");
    expect(&cordon, &["audit", "key"], 1, "error");
}

#[test]
fn every_verb_answers_in_json_beside_a_daemon() {
    let (lab, host, _scratch) = lab_and_database();
    let cordon = Cordon::start(&lab, &host).unwrap();
    let policy = cordon.write_policy(BLOCK_RU).unwrap();

    expect(&cordon, &["apply", "--confirm", "1h", &policy], 0, "generation");
    cordon.wait_attached().unwrap();
    expect(&cordon, &["confirm"], 0, "policy");
    expect(&cordon, &["confirm"], 1, "error");
    expect(&cordon, &["status"], 0, "state");
    expect(&cordon, &["status", "--check"], 0, "state");
    expect(&cordon, &["explain", "81.0.7.7"], 0, "live");
    expect(&cordon, &["check", &policy], 0, "classes_dropped");
    expect(&cordon, &["history"], 0, "entries");
    expect(&cordon, &["history", "--json"], 0, "entries");
    expect(&cordon, &["rollback"], 1, "error");
    expect(&cordon, &["bundle", "push", &policy], 1, "reason");
    expect(&cordon, &["key", "unmanage", "--reason", "sold"], 0, "since");
    expect(&cordon, &["halt", "--reason", "drill"], 0, "halted");
    expect(&cordon, &["resume"], 0, "problems");
    expect(&cordon, &["audit", "show", "--json"], 0, "records");
    expect(&cordon, &["audit", "verify"], 0, "verdict");
    expect(&cordon, &["audit", "anchor"], 0, "hash");
    expect(&cordon, &["audit", "key"], 0, "public_key");
    expect(
        &cordon,
        &["halt", "--service", "web", "--reason", "drill"],
        1,
        "error",
    );
    expect(&cordon, &["lift", "--all", "--reason", "drill"], 0, "lifted");
    expect(&cordon, &["unlift", "--all"], 0, "ended");
    let added = [
        "exempt",
        "add",
        "81.0.7.0/24",
        "--reference",
        "C-1",
        "--reason",
        "r",
        "--approver",
        "a",
    ];
    expect(&cordon, &[&added[..], &["--for", "1h"]].concat(), 0, "exemptions");
    expect(&cordon, &[&added[..], &["--for", "2h"]].concat(), 1, "error");
    expect(&cordon, &["exempt", "list"], 0, "exemptions");
    expect(
        &cordon,
        &["exempt", "renew", "--reference", "C-1", "--for", "2h"],
        0,
        "exemptions",
    );
    expect(
        &cordon,
        &["exempt", "remove", "--reference", "C-1"],
        0,
        "exemptions",
    );
    let list = cordon.dir().join("list.jsonl");
    std::fs::write(&list, "").unwrap();
    expect(&cordon, &["exempt", "sync", &list.to_string_lossy()], 0, "added");
    expect(&cordon, &["detach", "--yes"], 1, "error");
    expect(&cordon, &["observe", EDGE_IFNAME], 1, "error");
    expect(&cordon, &["run"], 1, "error");
    expect(&cordon, &["init", "--stdout"], 0, "text");
    let broken = cordon
        .write_policy(&BLOCK_RU.replace("default = \"pass\"", "default = \"maybe\""))
        .unwrap();
    let refused = expect(&cordon, &["apply", &broken], 1, "error");
    assert_eq!(refused["diagnostics"][0]["line"], 4, "{refused:#}");
}

#[test]
fn a_wrong_command_line_is_json_too_and_help_is_not() {
    let (lab, host, _scratch) = lab_and_database();
    let cordon = Cordon::new(&lab, &host).unwrap();
    for verb in VERBS {
        for args in [
            &[verb, "--frobnicate", "-o", "json"][..],
            &["--output=json", verb, "--frobnicate"],
            &[verb, "-ojson", "--frobnicate"],
        ] {
            let answer = cordon.cordon(args).unwrap();
            assert_eq!(
                (answer.status, answer.stderr.as_str()),
                (2, ""),
                "cordon {args:?}: {answer:?}"
            );
            let value = answer.json().unwrap();
            assert!(
                value["error"]
                    .as_str()
                    .is_some_and(|text| text.contains("--frobnicate")),
                "{value:#}"
            );
            assert_eq!(value["diagnostics"], serde_json::json!([]), "{value:#}");
        }
        let help = cordon.cordon(&[verb, "--help", "-o", "json"]).unwrap();
        assert_eq!(help.status, 0, "{help:?}");
        assert!(help.stdout.contains("Usage: cordon"), "{help:?}");
    }
    let none = cordon.cordon(&["-o", "json"]).unwrap();
    assert_eq!(none.status, 2, "{none:?}");
    assert!(none.json().unwrap()["error"].is_string(), "{none:?}");
}

#[test]
fn the_largest_policy_fits_into_a_request_although_json_escapes_it() {
    let (lab, host, _scratch) = lab_and_database();
    let cordon = Cordon::start(&lab, &host).unwrap();
    let mut policy = format!("{BLOCK_RU}# ");
    policy.push_str(&"\"".repeat(MAX_FILE_BYTES - policy.len()));
    let policy = cordon.write_policy(&policy).unwrap();
    expect(&cordon, &["apply", "--no-confirm", &policy], 0, "generation");
}
