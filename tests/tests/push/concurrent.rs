use std::{path::Path, sync::Barrier, thread};

use cordon::daemon::{
    Refusal,
    api::{PushOutcome, Pushed},
    client::Client,
};

use super::*;

const N_CLIENTS: usize = 64;
const N_ROUNDS: u64 = 6;

/// What a client was told: accepted, idle, or a reason.
fn push_over(socket: &Path, bytes: Vec<u8>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer: anyhow::Result<Pushed> =
        runtime.block_on(Client::new(socket).send_bytes("/v1/bundles?file=x.cordon", bytes));
    match answer {
        Ok(pushed) if pushed.outcome == PushOutcome::Accepted => "accepted".to_owned(),
        Ok(_) => "idle".to_owned(),
        Err(error) => match error.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.reason.clone().unwrap_or_else(|| refusal.to_string()),
            None => format!("{error:#}"),
        },
    }
}

/// All of them at the same moment; the answers in the order of the bundles.
fn push_all(cordon: &Cordon<'_>, bundles: &[Vec<u8>]) -> Vec<String> {
    let socket = cordon.dir().join("run/control.sock");
    let start = Barrier::new(bundles.len());
    thread::scope(|scope| {
        let clients: Vec<_> = bundles
            .iter()
            .map(|bytes| {
                let (socket, start) = (&socket, &start);
                scope.spawn(move || {
                    start.wait();
                    push_over(socket, bytes.clone())
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// Two of one variant have the same payload; their signatures are made by chance.
fn variant(dates: &Issue, revision: u64, variant: usize) -> Vec<u8> {
    let country = if variant.is_multiple_of(2) { "RU" } else { "NL" };
    let issue = Issue {
        revision,
        policy: format!("{}# variant {variant}\n", drops(&[country])),
        ..dates.clone()
    };
    issue.bytes(&["one"])
}

/// Which variant a client of a round pushes; twice each, so that the winner's twin is idle.
fn variant_of(n: usize) -> Option<usize> {
    (n % 8 < 4).then(|| n / 8 * 2 + n % 2)
}

/// Exactly one winner for each revision, however many push, and whatever is pushed besides.
#[test]
fn of_many_clients_exactly_one_wins_each_revision() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    let dates = Issue::new(1, "");
    for revision in 1..=N_ROUNDS {
        let bundles: Vec<Vec<u8>> = (0..N_CLIENTS)
            .map(|n| match (variant_of(n), n % 8) {
                (Some(number), _) => variant(&dates, revision, number),
                (None, 4) => variant(&dates, revision.saturating_sub(1).max(1), 1000 + n),
                (None, 5) => Issue::new(revision + 100, &drops(&["RU"])).bytes(&["three"]),
                (None, 6) => b"<!DOCTYPE html>".to_vec(),
                _ => {
                    let mut bytes = variant(&dates, revision + 200, n);
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    bytes
                }
            })
            .collect();
        let answers = push_all(&cordon, &bundles);
        let winners: Vec<usize> = (0..N_CLIENTS).filter(|n| answers[*n] == "accepted").collect();
        // In the first round the older revision is the same one.
        assert_eq!(winners.len(), 1, "revision {revision}: {answers:?}");
        let won = variant_of(winners[0]);
        for (n, answer) in answers.iter().enumerate() {
            let expected: &[&str] = match n % 8 {
                _ if n == winners[0] => &["accepted"],
                _ if won.is_some() && variant_of(n) == won => &["idle"],
                0..4 => &["same-revision-other-content"],
                4 if revision == 1 => &["same-revision-other-content"],
                // Which of them came first decides.
                4 => &["older-revision", "same-revision-other-content"],
                5 => &["unknown-key"],
                6 => &["not-a-bundle"],
                _ => &["bad-signature"],
            };
            assert!(expected.contains(&answer.as_str()), "client {n}: {answer}");
        }
        let after = status(&cordon);
        assert_eq!(after["bundle"]["revision"], revision, "{after:#}");
        assert_eq!(after["state"], "ok", "{after:#}");
    }
    let history: Value = cordon.cordon_ok(&["history", "--json"]).unwrap().json().unwrap();
    let revisions: Vec<u64> = history["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["revision"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = (1..=N_ROUNDS).rev().collect();
    assert_eq!(revisions, expected, "one order");
}

/// All revisions at once: whatever the order, it only rises, and the highest is in force at the end.
#[test]
fn many_revisions_at_once_come_into_one_order() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    let dates = Issue::new(1, "");
    let bundles: Vec<Vec<u8>> = (0..N_CLIENTS)
        .map(|n| variant(&dates, 1 + n as u64 % 8, n))
        .collect();
    let answers = push_all(&cordon, &bundles);
    let n_accepted = answers.iter().filter(|answer| *answer == "accepted").count();
    for answer in &answers {
        assert!(
            ["accepted", "older-revision", "same-revision-other-content"].contains(&answer.as_str()),
            "{answers:?}"
        );
    }
    let after = status(&cordon);
    assert_eq!(after["bundle"]["revision"], 8, "{after:#}");
    let history: Value = cordon.cordon_ok(&["history", "--json"]).unwrap().json().unwrap();
    let revisions: Vec<u64> = history["entries"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|entry| entry["revision"].as_u64().unwrap())
        .collect();
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    assert_eq!(revisions.len(), n_accepted, "{revisions:?}: {answers:?}");
}
