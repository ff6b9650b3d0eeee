use cordon::instant::Instant;
use integration_tests::cordon_process::Cordon;
use serde_json::Value;

use super::{DROP, PASS, POLICY, another, met, reboot, refused, restart, status, trust_a_key};
use crate::traffic::edge::{BY, Edge, NL, RU, sleep_past};

/// Of RU, and denied.
const DENIED: &str = "81.0.66.6";

fn lifted(cordon: &Cordon<'_>) -> Vec<String> {
    let status = status(cordon);
    let lifts = status["lifts"].as_array().unwrap().iter();
    lifts
        .map(|lift| lift["order"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn one_orders_rules_go_and_nothing_else() {
    let edge = Edge::new();
    let cordon = edge.start(POLICY);
    let both = format!(
        "{POLICY}[[order]]\nid = \"too\"\nauthority = \"Third\"\n[[order.rule]]\naction = \"drop\"\ncountries = [\"RU\"]\n\
         services = [\"web\"]\n"
    );
    cordon.apply(&both).unwrap();
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);
    let said = cordon
        .cordon_ok(&["lift", "--order", "embargo", "--reason", "court"])
        .unwrap()
        .stdout;
    assert_eq!(said, "order embargo lifted until `cordon unlift`\n");
    assert_eq!(met(&edge, RU[0]), [DROP, PASS, PASS], "the other order holds");
    assert_eq!(met(&edge, RU[1]), [DROP, PASS, PASS]);
    assert_eq!(met(&edge, DENIED), [DROP; 3], "the deny holds");
    assert_eq!(met(&edge, BY[0]), [PASS, DROP, PASS]);

    let shown = cordon.cordon_ok(&["status"]).unwrap().stdout;
    assert!(
        shown.contains("; order embargo lifted until it is ended"),
        "{shown}"
    );
    assert!(
        shown.contains("order embargo until it is ended: court"),
        "{shown}"
    );
    let explained = cordon.cordon_ok(&["explain", RU[0]]).unwrap().stdout;
    assert!(
        explained.contains("lifted: order embargo until it is ended: court"),
        "{explained}"
    );
    let explained = cordon.cordon_ok(&["explain", NL[0]]).unwrap().stdout;
    assert!(!explained.contains("lifted"), "not about this one: {explained}");

    let said = cordon
        .cordon_ok(&["unlift", "--order", "embargo"])
        .unwrap()
        .stdout;
    assert_eq!(said, "order embargo holds again; it was lifted for: court\n");
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);
    let text = refused(&cordon, &["unlift", "--order", "embargo"]);
    assert!(
        text.contains("\"embargo\" is not lifted; lifted are none"),
        "{text}"
    );
}

#[test]
fn a_lift_ends_by_itself_with_the_daemon_dead() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["lift", "--order", "embargo", "--for", "6s", "--reason", "court"])
        .unwrap();
    let until = status(&cordon)["lifts"][0]["until"].clone();
    let until = Instant::parse(until.as_str().unwrap()).unwrap();
    cordon.kill().unwrap();
    let before = met(&edge, RU[0]);
    if Instant::now() < until {
        assert_eq!(before, [PASS; 3]);
    }
    sleep_past(until);
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);
    cordon.run().unwrap();
    assert_eq!(lifted(&cordon), [""; 0]);
    let generation = status(&cordon)["generation"].clone();
    restart(&mut cordon);
    assert_eq!(
        status(&cordon)["generation"],
        generation,
        "what is over is still in the image, and recognised"
    );
}

#[test]
fn a_lift_survives_restarts_boots_and_versions_that_have_the_order() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["lift", "--order", "embargo", "--for", "1h", "--reason", "court"])
        .unwrap();
    let before = status(&cordon);
    restart(&mut cordon);
    assert_eq!(status(&cordon)["generation"], before["generation"]);
    reboot(&mut cordon);
    assert_eq!(status(&cordon)["lifts"], before["lifts"]);
    assert_eq!(met(&edge, RU[0]), [PASS; 3]);

    // Its tests are about the policy, and hold.
    let next = format!(
        "{}[[test]]\naddress = \"{}\"\nexpect = \"drop\"\n",
        another(),
        RU[0]
    );
    let said = cordon.apply(&next).unwrap().stdout;
    assert!(said.contains("order embargo stays lifted until "), "{said}");
    assert_eq!(met(&edge, RU[0]), [PASS; 3]);
    restart(&mut cordon);
    assert_eq!(met(&edge, RU[0]), [PASS; 3]);
    let again = cordon.apply(&next).unwrap().stdout;
    assert!(again.contains("already in force"), "{again}");

    let renamed = next.replace("\"embargo\"", "\"sanctions\"");
    let said = cordon.apply(&renamed).unwrap().stdout;
    assert!(
        said.contains("the lift of order embargo is dropped: the policy has no such order"),
        "{said}"
    );
    assert_eq!(lifted(&cordon), [""; 0]);
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);
    cordon.apply(&next).unwrap();
    assert_eq!(met(&edge, RU[0]), [DROP; 3], "it does not come back");
}

/// Dropped only when the policy without the order is there for good.
#[test]
fn a_lift_comes_back_with_the_policy_that_is_reverted_to() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["lift", "--order", "embargo", "--reason", "court"])
        .unwrap();
    let path = cordon
        .write_policy(&POLICY.replace("\"embargo\"", "\"sanctions\""))
        .unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "2s", &path]).unwrap();
    while status(&cordon)["reverted"] != true {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(met(&edge, RU[0]), [PASS; 3]);
    restart(&mut cordon);
    assert_eq!(lifted(&cordon), ["embargo"]);
    cordon.cordon_ok(&["apply", "--confirm", "1h", &path]).unwrap();
    cordon.cordon_ok(&["confirm"]).unwrap();
    assert_eq!(lifted(&cordon), [""; 0]);
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);
}

/// The kernel still holds the generation in which the order is lifted; the lift is over since.
#[test]
fn going_back_does_not_bring_back_a_lift_that_was_dropped() {
    let edge = Edge::new();
    let cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["lift", "--order", "embargo", "--reason", "court"])
        .unwrap();
    let without = POLICY.replace("\"embargo\"", "\"sanctions\"");
    cordon.apply(&without).unwrap();
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);
    cordon.cordon_ok(&["rollback"]).unwrap();
    assert_eq!(status(&cordon)["policy"]["name"], "two-services");
    assert_eq!(lifted(&cordon), [""; 0]);
    assert_eq!(met(&edge, RU[0]), [DROP; 3], "nothing is lifted");

    // A lift that goes on is no obstacle to going back at once.
    cordon
        .cordon_ok(&["lift", "--order", "embargo", "--reason", "court"])
        .unwrap();
    cordon.apply(&another()).unwrap();
    let back = cordon.cordon_ok(&["rollback", "-o", "json"]).unwrap();
    assert_eq!(back.json().unwrap()["was_loaded"], true, "{back:?}");
    assert_eq!(lifted(&cordon), ["embargo"]);
    assert_eq!(met(&edge, RU[0]), [PASS; 3]);
}

#[test]
fn nothing_is_lifted_while_something_is_halted_or_waits() {
    let edge = Edge::new();
    let cordon = edge.start(POLICY);
    let lift = |order: &'static str| ["lift", "--order", order, "--reason", "court"];
    let text = refused(&cordon, &lift("absent"));
    assert!(
        text.contains("no order \"absent\"; it has embargo, echo-only"),
        "{text}"
    );
    cordon.cordon_ok(&["halt", "--reason", "drill"]).unwrap();
    let text = refused(&cordon, &lift("embargo"));
    assert!(text.contains("the host is halted"), "{text}");
    cordon.cordon_ok(&["resume"]).unwrap();

    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "drill"])
        .unwrap();
    let text = refused(&cordon, &lift("embargo"));
    assert!(text.contains("cordon resume --service web"), "{text}");
    cordon.cordon_ok(&lift("echo-only")).unwrap();
    assert_eq!(met(&edge, BY[0]), [DROP, PASS, PASS], "about another service");
    cordon.cordon_ok(&["resume"]).unwrap();

    let path = cordon.write_policy(&another()).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "1h", &path]).unwrap();
    let text = refused(&cordon, &lift("embargo"));
    assert!(text.contains("cordon confirm"), "{text}");
    // What closes is done at once, under both policies.
    cordon.cordon_ok(&["unlift", "--all"]).unwrap();
    assert_eq!(met(&edge, BY[0]), [PASS, DROP, PASS]);
}

#[test]
fn a_lift_closes_nothing() {
    let edge = Edge::new();
    let allow_list = r#"
version = 1
default = "drop"
unknown = "drop"
[[order]]
id = "only-belarus"
authority = "Test Authority"
[[order.rule]]
action = "pass"
countries = ["BY"]
"#;
    let cordon = edge.start(allow_list);
    let text = refused(&cordon, &["lift", "--order", "only-belarus", "--reason", "court"]);
    assert!(
        text.contains("stricter with BY, and a lift closes nothing"),
        "{text}"
    );
    assert_eq!(met(&edge, BY[0]), [PASS; 3]);
}

#[test]
fn all_orders_take_root_alone_or_more_than_one_key() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["lift", "--all", "--for", "1h", "--reason", "court"])
        .unwrap();
    assert_eq!(lifted(&cordon), ["embargo", "echo-only"]);
    assert_eq!(met(&edge, RU[0]), [PASS; 3]);
    assert_eq!(met(&edge, BY[0]), [PASS; 3]);
    assert_eq!(met(&edge, DENIED), [DROP; 3], "the deny holds");
    let said = cordon.cordon_ok(&["unlift", "--all", "-o", "json"]).unwrap();
    assert_eq!(
        said.json().unwrap()["ended"].as_array().map(Vec::len),
        Some(2),
        "{said:?}"
    );
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);

    trust_a_key(&cordon);
    let text = refused(&cordon, &["lift", "--all", "--reason", "court"]);
    assert!(text.contains("takes 2 signatures"), "{text}");
    assert_eq!(status(&cordon)["lifts"], Value::Array(Vec::new()));
    cordon
        .cordon_ok(&["lift", "--order", "embargo", "--reason", "court"])
        .unwrap();
    assert_eq!(met(&edge, RU[0]), [PASS; 3]);

    // Without keys the host is managed still, also without its state file.
    let state = cordon.dir().join("state");
    std::fs::remove_dir_all(state.join("keys")).unwrap();
    let text = refused(&cordon, &["lift", "--all", "--reason", "court"]);
    assert!(text.contains("takes 2 signatures"), "{text}");
    cordon.cordon_ok(&["unlift", "--all"]).unwrap();
    cordon.kill().unwrap();
    for name in ["state.json", "state.copy.json"] {
        std::fs::write(state.join(name), "{").unwrap();
    }
    cordon.run().unwrap();
    assert_eq!(status(&cordon)["managed"], true);
    let text = refused(&cordon, &["lift", "--all", "--reason", "court"]);
    assert!(text.contains("takes 2 signatures"), "{text}");
}

/// Each cell has room for so many changes ahead.
#[test]
fn a_lift_for_which_the_kernel_has_no_room_is_refused() {
    let edge = Edge::new();
    let mut policy = POLICY.replace("countries = [\"RU\"]", "countries = [\"RU\"]\nphases = [ENDS]");
    let now = Instant::now().0;
    let phases: Vec<String> = ["count", "drain", "reject", "count"]
        .iter()
        .enumerate()
        .map(|(idx, action)| {
            let until = Instant(now + 86_400 * (idx as u32 + 1));
            format!("{{ until = {until}, action = \"{action}\" }}")
        })
        .collect();
    policy = policy.replace("ENDS", &phases.join(", "));
    let cordon = edge.start(&policy);
    let text = refused(
        &cordon,
        &["lift", "--order", "embargo", "--for", "1h", "--reason", "court"],
    );
    assert!(
        text.contains("nothing was changed") && text.contains("4 changes ahead") && text.contains("--for"),
        "{text}"
    );
    assert_eq!(lifted(&cordon), [""; 0]);
    cordon
        .cordon_ok(&["lift", "--order", "embargo", "--reason", "court"])
        .unwrap();
    assert_eq!(met(&edge, RU[0]), [PASS; 3]);
}
