use std::fs;

use super::*;

fn follow(cordon: &Cordon<'_>, bytes: &[u8]) -> Value {
    push(cordon, &write(cordon, "duty.cordon", bytes))
}

#[test]
fn a_signed_halt_and_a_signed_resume_are_followed_once() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(9, &drops(&["RU"])));
    let until = Instant(Instant::now().0 + 3600);
    let halt = directive(1, &format!("verb = \"halt\"\nuntil = {until}"), &["one"]);
    let followed = follow(&cordon, &halt);
    assert_eq!(followed["outcome"], "accepted", "{followed:#}");
    let halted = status(&cordon)["halted"].clone();
    assert_eq!(halted["reason"], "drill");
    assert_eq!(judged(&cordon, NL), 10);

    let resume = directive(2, "verb = \"resume\"", &["one"]);
    assert_eq!(follow(&cordon, &resume)["outcome"], "accepted");
    assert_eq!(
        (judged(&cordon, NL), &status(&cordon)["halted"]),
        (0, &Value::Null)
    );
    // Who kept the halt cannot use it again, nor can the resume end a later halt.
    assert_eq!(follow(&cordon, &halt)["reason"], "older-revision");
    restart(&mut cordon);
    cordon.cordon_ok(&["halt", "--reason", "local"]).unwrap();
    assert_eq!(follow(&cordon, &resume)["outcome"], "idle");
    assert_eq!(judged(&cordon, NL), 10, "still halted");
    assert_eq!(
        status(&cordon)["bundle"]["revision"],
        9,
        "policies have marks of their own"
    );
}

#[test]
fn a_directive_takes_the_keys_and_the_number_of_them_that_its_verb_asks_for() {
    let edge = edge();
    let cordon = managed(&edge, &["one", "two"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let keys: Value = cordon
        .cordon_ok(&["key", "list", "-o", "json"])
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(keys["thresholds"]["lift-all"], 2, "{keys:#}");
    let halt = |signers: &[&str]| directive(1, "verb = \"halt\"", signers);
    cordon
        .cordon_ok(&["key", "trust", "--threshold", "halt=2"])
        .unwrap();
    assert_eq!(follow(&cordon, &halt(&["one"]))["reason"], "below-threshold");
    let file = cordon.dir().join("one.pub").to_str().unwrap().to_owned();
    cordon
        .cordon_ok(&["key", "trust", &file, "--verbs", "apply,exempt"])
        .unwrap();
    assert_eq!(
        follow(&cordon, &halt(&["one", "two"]))["reason"],
        "verb-not-allowed"
    );
    assert_eq!(status(&cordon)["halted"], Value::Null);
    cordon.cordon_ok(&["key", "trust", &file]).unwrap();
    assert_eq!(follow(&cordon, &halt(&["one", "two"]))["outcome"], "accepted");
    assert_eq!(judged(&cordon, NL), 10);
}

#[test]
fn a_directive_that_cannot_be_followed_is_not_marked_as_taken() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let service = directive(1, "verb = \"halt\"\nservice = \"no-such\"", &["one"]);
    assert_eq!(follow(&cordon, &service)["reason"], "cannot-follow");
    let over = directive(1, "verb = \"halt\"\nuntil = 2026-01-01T00:00:00Z", &["one"]);
    assert_eq!(follow(&cordon, &over)["reason"], "expired");
    let halt = directive(1, "verb = \"halt\"", &["one"]);
    assert_eq!(follow(&cordon, &halt)["outcome"], "accepted");
}

/// [`drops`], with a service besides.
fn with_service(countries: &[&str]) -> String {
    drops(countries).replacen(
        "[[order]]",
        "[[service]]\nname = \"web\"\nprotocols = [\"tcp\"]\nports = [80]\n\n[[order]]",
        1,
    )
}

/// Whom the key may not sign such a directive for any more, and then may.
fn takes_the_verb(cordon: &Cordon<'_>, verb: &str, bytes: &[u8]) -> Value {
    let file = cordon.dir().join("one.pub").to_str().unwrap().to_owned();
    cordon
        .cordon_ok(&["key", "trust", &file, "--verbs", "apply"])
        .unwrap();
    assert_eq!(follow(cordon, bytes)["reason"], "verb-not-allowed", "{verb}");
    let verbs = format!("apply,{verb}");
    cordon
        .cordon_ok(&["key", "trust", &file, "--verbs", &verbs])
        .unwrap();
    let followed = follow(cordon, bytes);
    assert_eq!(
        followed["outcome"],
        "accepted",
        "{verb}: {followed:#}\n{}",
        cordon.log()
    );
    followed
}

/// An end an hour from now.
fn until() -> String {
    format!("until = {}", Instant(Instant::now().0 + 3600))
}

#[test]
fn a_service_is_halted_and_resumed() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &with_service(&["RU"])));
    let halt = format!("verb = \"halt\"\nservice = \"web\"\n{}", until());
    takes_the_verb(&cordon, "halt", &directive(1, &halt, &["one"]));
    let halted = status(&cordon)["halted_services"].clone();
    assert_eq!(halted[0]["service"], "web", "{halted:#}");
    assert_eq!(judged(&cordon, NL), 0, "only the service");
    let resume = "verb = \"resume\"\nservice = \"web\"";
    takes_the_verb(&cordon, "halt", &directive(2, resume, &["one"]));
    assert_eq!(
        status(&cordon)["halted_services"].as_array().map(Vec::len),
        Some(0)
    );
}

#[test]
fn an_order_is_lifted_and_holds_again_and_all_of_them_take_two() {
    let edge = edge();
    let cordon = managed(&edge, &["one", "two"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let lift = format!("verb = \"lift\"\norder = \"test-1\"\n{}", until());
    takes_the_verb(&cordon, "lift", &directive(1, &lift, &["one"]));
    assert_eq!(judged(&cordon, RU), 0, "lifted");
    let unlift = "verb = \"unlift\"\norder = \"test-1\"";
    takes_the_verb(&cordon, "lift", &directive(2, unlift, &["one"]));
    assert_eq!(judged(&cordon, RU), 10, "it holds again");

    let all = format!("verb = \"lift\"\nall = true\n{}", until());
    let file = cordon.dir().join("one.pub").to_str().unwrap().to_owned();
    cordon.cordon_ok(&["key", "trust", &file]).unwrap();
    let one = follow(&cordon, &directive(3, &all, &["one"]));
    assert_eq!(one["reason"], "below-threshold", "{one:#}");
    assert_eq!(judged(&cordon, RU), 10);
    let both = follow(&cordon, &directive(3, &all, &["one", "two"]));
    assert_eq!(both["outcome"], "accepted", "{both:#}");
    assert_eq!(judged(&cordon, RU), 0);
    let unlift = follow(&cordon, &directive(4, "verb = \"unlift\"\nall = true", &["two"]));
    assert_eq!(unlift["outcome"], "accepted", "{unlift:#}");
    assert_eq!(judged(&cordon, RU), 10);
}

#[test]
fn exemptions_are_made_renewed_and_removed() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU", "NL"])));
    let exempt = |revision, change: &str, more: &str| {
        let text = format!(
            "verb = \"exempt\"\nchange = \"{change}\"\nreference = \"C-17\"\napprover = \"J. Doe\"\n{more}"
        );
        directive(revision, &text, &["one"])
    };
    let prefixes = "prefixes = [\"81.0.7.0/24\", \"82.0.7.0/24\"]";
    let add = exempt(1, "add", &format!("{prefixes}\n{}", until()));
    takes_the_verb(&cordon, "exempt", &add);
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (0, 0));
    let list = || -> Value {
        let listed = cordon.cordon_ok(&["exempt", "list", "--json"]).unwrap();
        listed.json().unwrap()["exemptions"].clone()
    };
    let before = list();
    assert_eq!(before.as_array().unwrap().len(), 2, "{before:#}");
    assert_eq!(before[0]["reason"], "drill");
    assert_ne!(before[0]["by"], "uid 0", "those who signed granted it");

    let later = Instant(Instant::now().0 + 7200);
    let renew = |prefixes: &str| exempt(2, "renew", &format!("{prefixes}\nuntil = {later}"));
    let unknown = follow(&cordon, &renew("prefixes = [\"81.0.7.0/24\", \"9.9.9.0/24\"]"));
    assert_eq!(unknown["reason"], "cannot-follow", "{unknown:#}");
    assert_eq!(list(), before, "all of them or none");
    takes_the_verb(&cordon, "exempt", &renew("prefixes = [\"81.0.7.0/24\"]"));
    let ends: Vec<bool> = list()
        .as_array()
        .unwrap()
        .iter()
        .map(|exemption| exemption["until"] == later.to_string())
        .collect();
    assert_eq!(ends, [true, false], "{:#}", list());

    takes_the_verb(
        &cordon,
        "exempt",
        &exempt(3, "remove", "prefixes = [\"81.0.7.0/24\"]"),
    );
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
    assert_eq!(follow(&cordon, &exempt(4, "remove", ""))["outcome"], "accepted");
    assert_eq!(judged(&cordon, NL), 10);
    assert_eq!(follow(&cordon, &add)["reason"], "older-revision");
}

#[test]
fn a_directive_that_changed_nothing_may_come_again() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let state = cordon.dir().join("state/state.json");
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    let lift = format!("verb = \"lift\"\norder = \"test-1\"\n{}", until());
    let lift = directive(1, &lift, &["one"]);
    let failed = follow(&cordon, &lift);
    assert!(failed.get("outcome").is_none(), "{failed:#}");
    assert_eq!(failed["reason"], Value::Null, "the host's fault: {failed:#}");
    assert_eq!(judged(&cordon, RU), 10, "nothing was done");
    fs::remove_dir(&state).unwrap();
    assert_eq!(follow(&cordon, &lift)["outcome"], "accepted");
    assert_eq!(judged(&cordon, RU), 0);
    assert_eq!(follow(&cordon, &lift)["outcome"], "idle");
}

/// Else it could be done again after the next restart, when somebody has closed since.
#[test]
fn what_opens_is_marked_first_and_what_closes_is_marked_as_soon_as_it_can_be() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let marks = cordon.dir().join("state/marks.json");
    let block = || {
        fs::remove_file(&marks).unwrap();
        fs::create_dir(&marks).unwrap();
    };
    let unblock = |cordon: &Cordon<'_>| {
        fs::remove_dir(&marks).unwrap();
        wait(cordon, "the marks are stored", |_| marks.is_file());
        assert_eq!(problems(cordon), "");
    };
    block();
    let halt = directive(4, "verb = \"halt\"", &["one"]);
    assert_eq!(follow(&cordon, &halt)["outcome"], "accepted", "it closes");
    assert!(
        problems(&cordon).contains("which revision"),
        "{}",
        problems(&cordon)
    );
    assert_eq!(follow(&cordon, &halt)["outcome"], "idle");
    assert!(
        problems(&cordon).contains("which revision"),
        "nothing was stored since"
    );
    unblock(&cordon);

    block();
    let resume = directive(5, "verb = \"resume\"", &["one"]);
    let refused = follow(&cordon, &resume);
    assert!(
        refused["error"].as_str().unwrap().contains("Nothing was done"),
        "{refused:#}"
    );
    assert_eq!(refused["reason"], Value::Null, "the host's fault");
    assert_eq!(judged(&cordon, NL), 10, "still halted");
    unblock(&cordon);
    assert_eq!(follow(&cordon, &resume)["outcome"], "accepted");
    assert_eq!(judged(&cordon, NL), 0);

    cordon.cordon_ok(&["halt", "--reason", "local"]).unwrap();
    restart(&mut cordon);
    assert_eq!(follow(&cordon, &resume)["outcome"], "idle");
    assert_eq!(judged(&cordon, NL), 10, "still halted");
}
