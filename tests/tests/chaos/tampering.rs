//! What somebody else changes in the kernel is put back, or only told, as the host file has it.

use std::fs;

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, ProgramArray},
    programs::Xdp,
};
use cordon::dataplane;
use integration_tests::{cordon_process::Cordon, images::BLOCK_RU, lab::EDGE_IFNAME};
use probe_common::{State, map_name};
use serde_json::Value;

use super::{Edge, NL, RU, edge, ids, is_judged, wait_for};

fn start(edge: &Edge) -> Cordon<'_> {
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    cordon.wait_attached().unwrap();
    assert_eq!(judged(&cordon), [10, 0]);
    cordon
}

/// 0 pass, 10 drop, by the live program.
fn judged(cordon: &Cordon<'_>) -> [i32; 2] {
    [RU, NL].map(|address| cordon.cordon(&["explain", address, "--quiet"]).unwrap().status)
}

fn has_problem(status: &Value, text: &str) -> bool {
    let problems = status["problems"].as_array().unwrap();
    problems.iter().any(|it| it.as_str().unwrap().contains(text))
}

fn link_pin(cordon: &Cordon<'_>) -> std::path::PathBuf {
    let mut pins = cordon.pins().unwrap().into_iter();
    pins.find(|path| path.to_string_lossy().contains("/links/"))
        .unwrap()
}

#[test]
fn what_somebody_changes_is_put_back_and_recorded() {
    let edge = edge(&[EDGE_IFNAME]);
    let cordon = start(&edge);
    let before = ids(&cordon);
    let root = cordon.dir().join("bpf/cordon/v1");

    for path in [
        root.join(map_name::STATE),
        root.join(map_name::FAILSAFE_V4),
        link_pin(&cordon),
    ] {
        fs::remove_file(&path).unwrap();
        let text = format!("{} was removed (put back", path.display());
        wait_for(&cordon, |status| has_problem(status, &text));
        assert_eq!(ids(&cordon), before, "the same objects are pinned again");
    }

    let mut peers = Ebpf::load(dataplane::PEERS).unwrap();
    let other: &mut Xdp = peers.program_mut("pass_only").unwrap().try_into().unwrap();
    other.load().unwrap();
    let state = MapData::from_pin(root.join(map_name::STATE)).unwrap();
    let mut state: Array<_, State> = Map::Array(state).try_into().unwrap();
    let left = state.get(&0, 0).unwrap();
    let slots = MapData::from_pin(root.join(map_name::SLOTS)).unwrap();
    let mut slots: ProgramArray<_> = Map::ProgramArray(slots).try_into().unwrap();
    let slot = cordon.status().unwrap()["generation"]["slot"].as_u64().unwrap() as u32;
    slots.set(slot, other.fd().unwrap(), 0).unwrap();
    wait_for(&cordon, |status| has_problem(status, "does not hold generation"));
    state
        .set(
            0,
            State {
                word: !left.word,
                ..left
            },
            0,
        )
        .unwrap();
    let status = wait_for(&cordon, |status| {
        has_problem(status, "the state word of the state page was changed (put")
    });
    assert_eq!(state.get(&0, 0).unwrap().word, left.word);
    assert_eq!(status["state"], "degraded", "shown for a while: {status:#}");

    let link = link_pin(&cordon);
    dataplane::remove_link(&link).unwrap();
    wait_for(&cordon, |status| {
        has_problem(status, "was detached (put back") && is_judged(status, EDGE_IFNAME)
    });
    assert_eq!(judged(&cordon), [10, 0]);
    let audit = cordon.cordon_ok(&["audit", "show", "-o", "json"]).unwrap().stdout;
    assert_eq!(audit.matches("tampered").count(), 6, "{audit}");
}

#[test]
fn what_somebody_changes_is_only_reported_if_the_host_file_says_so() {
    let mut edge = edge(&[EDGE_IFNAME]);
    edge.host.settings = "tampering = \"report\"\n".to_owned();
    let cordon = start(&edge);
    let state = cordon.dir().join("bpf/cordon/v1").join(map_name::STATE);
    fs::remove_file(&state).unwrap();
    wait_for(&cordon, |status| has_problem(status, "STATE was removed"));
    assert!(!state.exists());
    dataplane::remove_link(&link_pin(&cordon)).unwrap();
    wait_for(&cordon, |status| has_problem(status, "was detached by somebody"));
    assert!(!is_judged(&cordon.status().unwrap(), EDGE_IFNAME));
}
