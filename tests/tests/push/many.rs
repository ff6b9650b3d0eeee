use std::fmt::Write as _;

use super::*;

/// More than a list of a sane policy has.
const N_PREFIXES: u32 = 600_000;
/// What a family may have.
const N_PREFIXES_FULL: u32 = 4_000_000;

/// Every other address from 1.0.0.0 on.
fn address(idx: u32) -> std::net::Ipv4Addr {
    (0x0100_0000 + 2 * idx).into()
}

/// Prints what it takes.
#[test]
fn a_list_of_as_many_prefixes_as_a_family_may_have_is_enforced() {
    let n_prefixes = match std::env::var_os("CORDON_TEST_FULL") {
        Some(_) => N_PREFIXES_FULL,
        None => N_PREFIXES,
    };
    let mut list = String::new();
    for idx in 0..n_prefixes {
        writeln!(list, "{}/32", address(idx)).unwrap();
    }
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    let policy = format!("{}[[deny]]\nlist = \"many\"\nreason = \"test\"\n", drops(&["RU"]));
    let issue = Issue {
        lists: vec![("many", list)],
        ..Issue::new(1, &policy)
    };
    let file = issue.write(&cordon);
    drop(issue);
    let started = std::time::Instant::now();
    let pushed = push(&cordon, &file);
    assert_eq!(pushed["outcome"], "accepted", "{pushed:#}");
    let proc = fs::read_to_string(format!("/proc/{}/status", cordon.pid().unwrap())).unwrap();
    let peak = proc.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!("{n_prefixes} prefixes: {:?}, {peak}", started.elapsed());
    for idx in [0, 1, n_prefixes / 2, n_prefixes - 1] {
        let within = address(idx);
        let beside = std::net::Ipv4Addr::from(u32::from(within) + 1);
        assert_eq!(judged(&cordon, &within.to_string()), 10, "{within}");
        assert_eq!(judged(&cordon, &beside.to_string()), 0, "{beside}");
    }
    assert_eq!(problems(&cordon), "");
}
