use std::{fs, process::Command};

use aya::maps::{
    Map, MapData,
    lpm_trie::{Key, LpmTrie},
};
use integration_tests::cordon_process::Cordon;
use probe_common::{RuntimeValue, limits::RUNTIME_ENTRIES, map_name};
use serde_json::{Value, json};

use super::{POLICY, RU, add, add_ok, edge, list, passes, references, restart};

#[test]
fn what_is_wrong_is_refused_with_its_fix_and_changes_nothing() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    add_ok(&cordon, "81.0.7.0/24", "C-1", &["--orders", "embargo"]);
    let before = list(&cordon);
    for (prefix, reference, more, expected) in [
        ("81.0.0.0/16", "C-2", &[][..], "--wide"),
        ("2a00:81::/47", "C-2", &[], "--wide"),
        ("81.0.7.7/24", "C-2", &[], "81.0.7.0/24"),
        ("81.0.8.0", "C-2", &[], "81.0.8.0/32"),
        ("81.0.8.0/24", " ", &[], "reference is empty"),
        (
            "81.0.8.0/24",
            "C-2",
            &["--orders", "embargp"],
            "name one of embargo, court, war",
        ),
        ("81.0.8.0/24", "C-2", &["--services", "mail"], "name one of web"),
        (
            "81.0.8.0/24",
            "C-2",
            &["--until", "2020-01-01T00:00:00Z"],
            "over already",
        ),
        (
            "81.0.8.0/24",
            "C-2",
            &["--until", "tomorrow"],
            "2027-01-31T00:00:00Z",
        ),
        ("81.0.7.0/24", "C-1", &[], "renew that one"),
    ] {
        let answer = add(&cordon, prefix, reference, more);
        assert!(
            answer.status == 1 && answer.stderr.contains(expected),
            "{prefix} {reference} {more:?}: {expected}: {answer:?}"
        );
    }
    let several = ["81.0.8.0/24", "81.0.9.1/24"];
    let refused = add(&cordon, several[0], "C-2", &[several[1]]);
    assert!(
        refused.status == 1 && refused.stderr.contains("exemptions[1].prefix"),
        "all or none: {refused:?}"
    );
    for args in [
        &["exempt", "renew", "--reference", "C-9", "--for", "1h"][..],
        &[
            "exempt",
            "renew",
            "81.0.8.0/24",
            "--reference",
            "C-1",
            "--for",
            "1h",
        ],
        &[
            "exempt",
            "renew",
            "--reference",
            "C-1",
            "--until",
            "2020-01-01T00:00:00Z",
        ],
        &["exempt", "remove", "--reference", "C-9"],
        &["exempt", "remove", "81.0.8.0/24"],
    ] {
        let answer = cordon.cordon(args).unwrap();
        assert_eq!(answer.status, 1, "{args:?}: {answer:?}");
    }
    for args in [
        &["exempt", "remove"][..],
        &[
            "exempt",
            "add",
            "81.0.8.0/24",
            "--reference",
            "C",
            "--reason",
            "r",
            "--approver",
            "a",
        ],
    ] {
        assert_eq!(cordon.cordon(args).unwrap().status, 2, "{args:?}");
    }
    assert_eq!(list(&cordon), before);
}

#[test]
fn exemptions_are_told_renewed_and_explained() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    add_ok(
        &cordon,
        "81.0.7.0/24",
        "C-1",
        &["--orders", "embargo", "--for", "2d"],
    );
    add_ok(
        &cordon,
        "81.0.7.0/24",
        "C-1",
        &[
            "--orders",
            "embargo",
            "--until",
            list(&cordon)[0]["until"].as_str().unwrap(),
        ],
    );
    add_ok(
        &cordon,
        "81.0.7.7/32",
        "C-2",
        &["--until", "2099-01-01T00:00:00Z"],
    );
    let told = cordon.cordon_ok(&["explain", RU]).unwrap().stdout;
    for expected in [
        "pass (exempt)",
        "reference C-1 (contract)",
        "lifts embargo",
        "reference C-2",
        "2099-01-01T00:00:00Z",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let text = cordon.cordon_ok(&["exempt", "list"]).unwrap().stdout;
    assert!(
        text.contains("embargo") && text.contains("J. Doe") && text.contains("2 exemptions"),
        "{text}"
    );
    let listed = |args: &[&str]| {
        let mut all = vec!["exempt", "list", "--json"];
        all.extend(args);
        let answer = cordon.cordon_ok(&all).unwrap().json().unwrap();
        answer["exemptions"].as_array().unwrap().len()
    };
    assert_eq!(
        [
            listed(&["--expiring", "7d"]),
            listed(&["--expiring", "1d"]),
            listed(&["--reference", "C-2"])
        ],
        [1, 0, 1]
    );
    assert_eq!(
        [listed(&["--address", RU]), listed(&["--address", "81.0.7.8"])],
        [2, 1]
    );
    assert_eq!(cordon.status().unwrap()["n_exemptions_expiring"], 1);

    cordon
        .cordon_ok(&["exempt", "renew", "--reference", "C-1", "--for", "30d"])
        .unwrap();
    assert_eq!(listed(&["--expiring", "7d"]), 0);
    cordon.cordon_ok(&["exempt", "remove", "81.0.7.0/24"]).unwrap();
    assert_eq!(references(&cordon), ["C-2"]);
    assert!(passes(&cordon, RU) && !passes(&cordon, "81.0.7.8"));
}

#[test]
fn a_file_takes_the_place_of_the_list_or_is_refused_line_by_line() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    add_ok(&cordon, "81.0.7.0/24", "C-1", &["--orders", "embargo"]);
    add_ok(&cordon, "81.0.8.0/24", "C-1", &[]);
    let lines = cordon.cordon_ok(&["exempt", "list", "--lines"]).unwrap().stdout;
    let path = cordon.dir().join("list.jsonl");
    let sync = |text: &str, more: &[&str]| {
        fs::write(&path, text).unwrap();
        let path = path.to_string_lossy().into_owned();
        let mut args = vec!["exempt", "sync", path.as_str()];
        args.extend(more);
        cordon.cordon(&args).unwrap()
    };
    let same = sync(&lines, &[]);
    assert!(
        same.stdout
            .contains("2 exemptions: 0 added, 0 changed, 0 removed"),
        "{same:?}"
    );

    let refused = sync(
        &format!("{lines}\n{}", lines.replace("81.0.7.0/24", "81.0.7.1/24")),
        &[],
    );
    for expected in [
        "list.jsonl:4:",
        "81.0.7.1/24",
        "fix: write `81.0.7.0/24`",
        "list.jsonl:5:",
        "in line 2 already",
    ] {
        assert!(
            refused.status == 1 && refused.stderr.contains(expected),
            "{expected}: {refused:?}"
        );
    }
    let emptied = sync("# nothing\n", &[]);
    assert!(
        emptied.status == 1 && emptied.stderr.contains("--allow-empty"),
        "{emptied:?}"
    );
    assert!(
        passes(&cordon, RU) && passes(&cordon, "81.0.8.1"),
        "nothing changed"
    );

    let changed = lines
        .replace("81.0.8.0/24", "81.0.9.0/24")
        .replace("\"embargo\"", "\"embargo\",\"later\"");
    let synced = sync(&changed, &[]);
    assert!(
        synced.status == 0
            && synced
                .stdout
                .contains("2 exemptions: 1 added, 1 changed, 1 removed")
            && synced.stderr.contains("list.jsonl:1:")
            && synced.stderr.contains("later"),
        "an order that no policy has yet is a warning: {synced:?}"
    );
    assert!(passes(&cordon, RU) && !passes(&cordon, "81.0.8.1") && passes(&cordon, "81.0.9.1"));
    assert_eq!(sync("", &["--allow-empty"]).status, 0);
    assert!(list(&cordon).is_empty() && !passes(&cordon, RU));
}

/// What a verification portal does: HTTP on the control socket.
#[test]
fn a_portal_grants_renews_and_takes_away_over_the_control_api() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    let socket = cordon.dir().join("run/control.sock");
    let ask = |method: &str, path: &str, body: &str| -> (u16, Value) {
        let output = Command::new("curl")
            .args(["--silent", "--unix-socket"])
            .arg(&socket)
            .args(["-X", method, "--data-binary", body, "-w", "\n%{http_code}"])
            .arg(format!("http://cordon/v1/exemptions{path}"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), serde_json::from_str(body).unwrap())
    };
    let grant = json!({"exemptions": [{
        "prefix": "81.0.7.0/24", "reference": "C 1&2", "reason": "verified", "approver": "portal", "for_s": 3600,
        "orders": ["embargo"],
    }]});
    let (status, granted) = ask("POST", "", &grant.to_string());
    assert_eq!((status, granted["n_all"].as_u64()), (200, Some(1)), "{granted:#}");
    assert_eq!(granted["exemptions"][0]["by"], "user 0");
    assert!(passes(&cordon, RU));
    let renewal = json!({"reference": "C 1&2", "until": "2099-01-01T00:00:00Z"});
    let (status, renewed) = ask("POST", "/renew", &renewal.to_string());
    assert_eq!(
        (status, &renewed["exemptions"][0]["until"]),
        (200, &json!("2099-01-01T00:00:00Z"))
    );
    let (status, told) = ask("GET", "?address=81.0.7.7", "");
    assert_eq!(
        (status, told["exemptions"].as_array().map(Vec::len)),
        (200, Some(1))
    );
    let (status, removed) = ask("DELETE", "?reference=C%201%262", "");
    assert_eq!((status, removed["n_all"].as_u64()), (200, Some(0)), "{removed:#}");
    assert!(!passes(&cordon, RU));

    let line = &grant["exemptions"][0];
    let (status, refused) = ask("PUT", "?file=portal", &line.to_string());
    assert_eq!(
        (status, &refused["diagnostics"][0]["file"]),
        (422, &json!("portal")),
        "{refused:#}"
    );
    let line = line
        .to_string()
        .replace("\"for_s\":3600", "\"until\":\"2099-01-01T00:00:00Z\"");
    let (status, synced) = ask("PUT", "", &line);
    assert_eq!((status, synced["added"].as_u64()), (200, Some(1)), "{synced:#}");
    assert!(passes(&cordon, RU));
    for (method, path, body, expected) in [
        ("DELETE", "", "", 422),
        ("DELETE", "?reference=none", "", 404),
        ("DELETE", "?refrence=none", "", 400),
        ("POST", "", "{\"exemption\":[]}", 400),
        ("PATCH", "", "", 405),
        ("PUT", "", "", 422),
    ] {
        let (status, answer) = ask(method, path, body);
        assert!(
            status == expected && answer["error"].is_string(),
            "{method} {path}: {status} {answer:#}"
        );
    }
}

/// The tries are full: the kernel refuses, and file, list and kernel stay as they were.
#[test]
fn what_the_kernel_does_not_take_is_nowhere() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    add_ok(&cordon, "81.0.7.0/24", "C-1", &[]);
    let stored = || fs::read_to_string(cordon.dir().join("state/exemptions.jsonl")).unwrap();
    let before = stored();
    let pin = cordon.dir().join("bpf/cordon/v1").join(map_name::RUNTIME_V4);
    let mut trie: LpmTrie<_, [u8; 4], RuntimeValue> =
        Map::LpmTrie(MapData::from_pin(pin).unwrap()).try_into().unwrap();
    for n in 0..RUNTIME_ENTRIES - 2 {
        let [_, b, c, d] = n.to_be_bytes();
        trie.insert(&Key::new(32, [10, b, c, d]), RuntimeValue::default(), 0)
            .unwrap();
    }
    let refused = add(&cordon, "81.0.8.0/24", "C-2", &["81.0.9.0/24"]);
    assert!(
        refused.status == 1
            && refused.stderr.contains("81.0.9.0/24")
            && refused.stderr.contains("No space left"),
        "{refused:?}"
    );
    assert!(passes(&cordon, RU) && !passes(&cordon, "81.0.8.1") && !passes(&cordon, "81.0.9.1"));
    assert_eq!((stored(), references(&cordon)), (before, vec!["C-1".to_owned()]));
    restart(&mut cordon);
    add_ok(&cordon, "81.0.8.0/24", "C-2", &["81.0.9.0/24"]);
    assert!(
        passes(&cordon, "81.0.9.1"),
        "a start takes out what is not in the list"
    );
}

/// A full disk, as far as a test can have one: nothing can be written where the state is.
#[test]
fn what_cannot_be_stored_is_not_granted_and_what_is_removed_is_gone_all_the_same() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    add_ok(&cordon, "81.0.7.0/24", "C-1", &[]);
    // No file takes the place of a directory.
    let stored = cordon.dir().join("state/exemptions.jsonl");
    fs::remove_file(&stored).unwrap();
    fs::create_dir(&stored).unwrap();
    let refused = add(&cordon, "81.0.8.0/24", "C-2", &[]);
    assert!(
        refused.status == 1 && refused.stderr.contains("exemptions.jsonl"),
        "{refused:?}"
    );
    assert!(!passes(&cordon, "81.0.8.1") && passes(&cordon, RU));

    cordon
        .cordon_ok(&["exempt", "remove", "--reference", "C-1"])
        .unwrap();
    assert!(!passes(&cordon, RU));
    assert!(
        cordon.status().unwrap()["problems"]
            .to_string()
            .contains("cannot store the exemptions")
    );
    fs::remove_dir(&stored).unwrap();
    for _ in 0..200 {
        let text = fs::read_to_string(&stored).unwrap_or_default();
        if !text.is_empty() && !text.contains("81.0.7") {
            assert_eq!(cordon.status().unwrap()["state"], "ok");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the removal is never stored:\n{}", cordon.log());
}
