use std::{thread, time::Duration};

use cordon::instant::Instant;
use integration_tests::cordon_process::{Cordon, HostFile};
use serde_json::Value;

use super::{DROP, PASS, POLICY, another, met, reboot, refused, restart, status};
use crate::traffic::edge::{Edge, FAILSAFE, LAN, NL, RU, in_an_hour, sleep_past};

/// Neither of POLICY's services is in it.
const NO_SERVICES: &str = r#"
version = 1
name = "no-services"
default = "pass"
unknown = "pass"
"#;

fn halted_services(cordon: &Cordon<'_>) -> Vec<(String, Value)> {
    let status = status(cordon);
    let halts = status["halted_services"].as_array().unwrap().iter();
    let named = halts.map(|halt| {
        (
            halt["service"].as_str().unwrap().to_owned(),
            halt["until"].clone(),
        )
    });
    named.collect()
}

fn end_of(halts: &[(String, Value)]) -> Instant {
    Instant::parse(halts[0].1.as_str().unwrap()).unwrap()
}

fn wait_reverted(cordon: &Cordon<'_>) {
    while status(cordon)["reverted"] != true {
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn everything_for_the_service_drops_and_the_rest_goes_on() {
    let edge = Edge::new();
    let exempt = format!(
        "{POLICY}[[exemption]]\nprefixes = [\"82.0.7.0/24\"]\nreference = \"C-1\"\nreason = \"customer\"\nuntil = {}\n",
        in_an_hour()
    );
    let cordon = edge.start(&exempt);
    let halted = cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "attack on web"])
        .unwrap();
    assert!(
        halted
            .stdout
            .contains("service web halted until `cordon resume --service web`"),
        "{halted:?}"
    );
    // Exempt or not, of a country or of the LAN; what is failsafe passes.
    for source in [NL[0], NL[1], LAN[0], LAN[1], "82.0.8.8"] {
        assert_eq!(met(&edge, source), [DROP, PASS, PASS], "{source}");
    }
    for source in FAILSAFE {
        assert_eq!(met(&edge, source), [PASS; 3], "{source}");
    }
    assert_eq!(met(&edge, RU[0]), [DROP; 3], "the orders hold");

    assert_eq!(halted_services(&cordon), [("web".to_owned(), Value::Null)]);
    let shown = cordon.cordon_ok(&["status"]).unwrap().stdout;
    assert!(shown.contains("; service web halted until resumed"), "{shown}");
    assert!(
        shown.contains("service web until resumed: attack on web"),
        "{shown}"
    );
    assert!(!shown.contains("halt of web"), "not an order: {shown}");
    let explained = cordon
        .cordon_ok(&["explain", NL[0], "--protocol", "tcp", "--port", "80"])
        .unwrap()
        .stdout;
    assert!(
        explained.contains("halted: service web (attack on web): drop"),
        "{explained}"
    );

    cordon
        .cordon_ok(&["halt", "--service", "echo", "--reason", "and on echo"])
        .unwrap();
    assert_eq!(met(&edge, NL[0]), [DROP, DROP, PASS]);
    let resumed = cordon.cordon_ok(&["resume", "--service", "web"]).unwrap().stdout;
    assert_eq!(resumed, "service web resumed; the halt was for: attack on web\n");
    assert_eq!(met(&edge, NL[0]), [PASS, DROP, PASS]);

    // From any state: the host and what is left of the services.
    cordon.cordon_ok(&["halt", "--reason", "all of it"]).unwrap();
    assert_eq!(met(&edge, NL[0]), [DROP; 3]);
    let resumed = cordon.cordon_ok(&["resume"]).unwrap().stdout;
    assert_eq!(
        resumed,
        "resumed; the halt was for: all of it\nservice echo resumed; the halt was for: and on echo\n"
    );
    assert_eq!(met(&edge, NL[0]), [PASS; 3]);
    let again = cordon.cordon_ok(&["resume"]).unwrap().stdout;
    assert_eq!(again, "was not halted; the policy holds\n");
}

#[test]
fn unknown_services_are_refused_with_those_that_there_are() {
    let edge = Edge::new();
    let cordon = edge.start(POLICY);
    let text = refused(&cordon, &["halt", "--service", "mail", "--reason", "drill"]);
    assert!(text.contains("no service \"mail\"; it has web, echo"), "{text}");
    let text = refused(&cordon, &["resume", "--service", "web"]);
    assert!(text.contains("\"web\" is not halted; halted are none"), "{text}");
    cordon.apply(NO_SERVICES).unwrap();
    let text = refused(&cordon, &["halt", "--service", "web", "--reason", "drill"]);
    assert!(text.contains("it has none"), "{text}");
}

#[test]
fn a_halt_that_would_cut_off_the_ssh_peer_is_refused() {
    let edge = Edge::new();
    let policy = format!("{POLICY}[[service]]\nname = \"ssh\"\nprotocols = [\"tcp\"]\nports = [22]\n");
    let cordon = edge.start(&policy);
    let halt = |service: &str, more: &[&str]| {
        let args = [&["halt", "--reason", "drill", "--service", service], more].concat();
        let mut command = cordon.command(&args).unwrap();
        command.env("SSH_CONNECTION", format!("{} 50522 192.0.2.1 22", NL[0]));
        command.output().unwrap()
    };
    let refused = halt("ssh", &[]);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    for expected in [
        NL[0],
        "the halt of service ssh",
        "[[failsafe]]",
        "--override-lockout",
    ] {
        assert!(text.contains(expected), "`{expected}` is missing: {text}");
    }
    assert_eq!(halted_services(&cordon), []);
    assert_eq!(halt("web", &[]).status.code(), Some(0), "nobody works by it");
    let forced = halt("ssh", &["--override-lockout"]);
    assert_eq!(forced.status.code(), Some(0), "{forced:?}");
    assert!(String::from_utf8_lossy(&forced.stdout).contains("warning: "));
    // It was said once; the next version of the policy is not refused for it.
    let path = cordon
        .write_policy(&format!(
            "{policy}# next\n[[deny]]\nprefixes = [\"81.0.9.0/24\"]\nreason = \"x\"\n"
        ))
        .unwrap();
    let mut apply = cordon.command(&["apply", "--no-confirm", &path]).unwrap();
    apply.env("SSH_CONNECTION", format!("{} 50522 192.0.2.1 22", NL[0]));
    let applied = apply.output().unwrap();
    let text = String::from_utf8_lossy(&applied.stdout);
    assert_eq!(applied.status.code(), Some(0), "{applied:?}");
    assert!(text.contains("service ssh stays halted"), "{text}");
}

#[test]
fn a_halt_ends_by_itself_with_the_daemon_dead() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["halt", "--service", "web", "--for", "6s", "--reason", "drill"])
        .unwrap();
    let until = end_of(&halted_services(&cordon));
    cordon.kill().unwrap();
    let before = met(&edge, NL[0]);
    if Instant::now() < until {
        assert_eq!(before, [DROP, PASS, PASS]);
    }
    sleep_past(until);
    assert_eq!(met(&edge, NL[0]), [PASS; 3]);
    cordon.run().unwrap();
    assert_eq!(halted_services(&cordon), []);
    assert_eq!(status(&cordon)["state"], "ok");
}

#[test]
fn a_halt_survives_restarts_and_boots() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["halt", "--service", "web", "--for", "1h", "--reason", "drill"])
        .unwrap();
    let halted = halted_services(&cordon);
    let generation = status(&cordon)["generation"].clone();
    restart(&mut cordon);
    assert_eq!(
        status(&cordon)["generation"],
        generation,
        "adopted, nothing rebuilt"
    );
    assert_eq!(halted_services(&cordon), halted);
    reboot(&mut cordon);
    assert_eq!(halted_services(&cordon), halted);
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    let state = status(&cordon);
    assert_eq!(state["state"], "ok", "{state:#}");
    assert_eq!(
        state["generation"]["image_digest"], generation["image_digest"],
        "the same image"
    );
}

/// The service is halted under the policy that waits, and under the one that comes back, whatever that knows of it.
#[test]
fn a_halt_while_a_policy_waits_holds_after_the_revert() {
    for fallback in [POLICY, NO_SERVICES] {
        let edge = Edge::new();
        let mut cordon = edge.start(fallback);
        let path = cordon.write_policy(&another()).unwrap();
        cordon.cordon_ok(&["apply", "--confirm", "15s", &path]).unwrap();
        let left_s = |status: &Value| status["confirm_left_s"].as_u64().unwrap();
        let at_first = left_s(&status(&cordon));
        thread::sleep(Duration::from_secs(2));
        cordon
            .cordon_ok(&["halt", "--service", "web", "--reason", "attack"])
            .unwrap();
        let waiting = status(&cordon);
        assert_eq!(waiting["policy"]["name"], "another");
        let left_s = left_s(&waiting);
        assert!(left_s < at_first, "the deadline is the one that it was: {left_s}");
        assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
        // The kernel alone reverts, and finds the halt there.
        cordon.kill().unwrap();
        thread::sleep(Duration::from_secs(left_s + 2));
        assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
        assert_eq!(met(&edge, LAN[0]), [DROP, PASS, PASS]);

        cordon.run().unwrap();
        let reverted = status(&cordon);
        assert_eq!(reverted["reverted"], true, "{reverted:#}");
        assert_ne!(reverted["policy"]["name"], "another");
        let generation = reverted["generation"].clone();
        restart(&mut cordon);
        assert_eq!(
            status(&cordon)["generation"],
            generation,
            "adopted, nothing rebuilt"
        );
        assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
        cordon.cordon_ok(&["resume"]).unwrap();
        assert_eq!(met(&edge, NL[0]), [PASS; 3]);
    }
}

#[test]
fn a_halt_while_a_policy_waits_holds_after_the_confirmation() {
    let edge = Edge::new();
    let mut cordon = edge.start(NO_SERVICES);
    let path = cordon.write_policy(POLICY).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "1h", &path]).unwrap();
    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "attack"])
        .unwrap();
    restart(&mut cordon);
    assert!(status(&cordon)["confirm_left_s"].is_number());
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    cordon.cordon_ok(&["confirm"]).unwrap();
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    let generation = status(&cordon)["generation"].clone();
    restart(&mut cordon);
    assert_eq!(status(&cordon)["generation"], generation);
    // Resumed while another one waits: under both.
    let path = cordon.write_policy(&another()).unwrap();
    let applied = cordon.cordon_ok(&["apply", "--confirm", "3s", &path]).unwrap();
    assert!(
        applied.stdout.contains("service web stays halted: attack"),
        "{applied:?}"
    );
    cordon.cordon_ok(&["resume"]).unwrap();
    assert_eq!(met(&edge, NL[0]), [PASS; 3]);
    wait_reverted(&cordon);
    assert_eq!(met(&edge, NL[0]), [PASS; 3]);
    assert_eq!(status(&cordon)["policy"]["name"], "two-services");
}

/// The first policy of all is reverted: there is nothing but the halt, and that holds after a boot too.
#[test]
fn a_halt_outlives_the_only_policy() {
    let edge = Edge::new();
    let host_file: HostFile = edge.host_file();
    let mut cordon = Cordon::start(&edge.lab, &host_file).unwrap();
    let path = cordon.write_policy(POLICY).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "5s", &path]).unwrap();
    cordon.wait_attached().unwrap();
    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "attack"])
        .unwrap();
    wait_reverted(&cordon);
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    assert_eq!(status(&cordon)["policy"], Value::Null);
    reboot(&mut cordon);
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    cordon.cordon_ok(&["resume"]).unwrap();
    assert_eq!(met(&edge, NL[0]), [PASS; 3]);
}

#[test]
fn a_halt_holds_although_the_stored_policy_is_broken() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "attack"])
        .unwrap();
    std::fs::write(cordon.dir().join("state/policy.toml"), "version = ").unwrap();
    reboot(&mut cordon);
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    assert_eq!(met(&edge, RU[0]), [DROP, PASS, PASS], "the orders are gone");
    let status = status(&cordon);
    assert_eq!(status["state"], "not_enforcing", "{status:#}");
    let problems = status["problems"].to_string();
    assert!(problems.contains("policy.toml"), "{problems}");
}

#[test]
fn a_halt_whose_record_is_unreadable_stays_in_force() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "attack"])
        .unwrap();
    cordon.kill().unwrap();
    for name in ["state.json", "state.copy.json"] {
        std::fs::write(cordon.dir().join("state").join(name), "{").unwrap();
    }
    cordon.run().unwrap();
    let after = status(&cordon);
    let problems = after["problems"].to_string();
    assert!(
        problems.contains("state.json") && problems.contains("what is lifted or halted is not known"),
        "{problems}"
    );
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    let text = refused(&cordon, &["halt", "--service", "echo", "--reason", "drill"]);
    assert!(text.contains("cordon halt"), "{text}");
    // The daemon has stored a state of its own since: a second start must not take it for the whole truth.
    cordon.kill().unwrap();
    cordon.run().unwrap();
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    let state = cordon.dir().join("state");
    assert_eq!(std::fs::read(state.join("state.json.unreadable")).unwrap(), b"{");
    cordon.apply(POLICY).unwrap();
    assert_eq!(met(&edge, NL[0]), [PASS; 3]);
    assert_eq!(status(&cordon)["state"], "ok");
    assert_eq!(std::fs::read(state.join("state.json.replaced")).unwrap(), b"{");
}

#[test]
fn a_halt_is_known_from_the_copy_of_its_record_after_a_boot() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "attack"])
        .unwrap();
    cordon.kill().unwrap();
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
    std::fs::write(cordon.dir().join("state/state.json"), "{").unwrap();
    cordon.run().unwrap();
    cordon.wait_attached().unwrap();
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    assert_eq!(halted_services(&cordon).len(), 1);
    assert!(cordon.log().contains("known from its copy only"));
}

#[test]
fn a_later_policy_does_not_open_what_is_halted() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "attack"])
        .unwrap();
    let applied = cordon.apply(NO_SERVICES).unwrap();
    assert!(
        applied.stdout.contains("service web stays halted: attack"),
        "{applied:?}"
    );
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    reboot(&mut cordon);
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
    cordon.cordon_ok(&["resume", "--service", "web"]).unwrap();
    assert_eq!(met(&edge, NL[0]), [PASS; 3]);
}
