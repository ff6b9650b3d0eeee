use std::{
    process::Command,
    time::{Duration, Instant},
};

use aya::{
    maps::{HashMap, Map, MapData},
    programs::{SchedClassifier, TcAttachType},
};
use cordon::{
    dataplane::{Dataplane, Settings, detach_all},
    host::{EgressHook, ModeChoice},
};
use integration_tests::{
    images,
    lab::{EDGE_IFNAME, Lab},
    scratch::Scratch,
};
use probe_common::{
    Flow, FlowKey,
    map_name::{self, program},
};

use super::{Host, block_ru};

/// How long the kernel may take to let go of a link whose last pin is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets time pass for every connection that is noted.
pub fn age_flows(host: &Host, by_ns: u64) {
    let pin = host.scratch.bpffs().join("cordon/v1").join(map_name::FLOWS);
    let map = Map::LruHashMap(MapData::from_pin(pin).unwrap());
    let mut flows: HashMap<_, FlowKey, Flow> = map.try_into().unwrap();
    let keys: Vec<FlowKey> = flows.keys().collect::<Result<_, _>>().unwrap();
    assert!(!keys.is_empty(), "a connection is noted");
    for key in keys {
        let seen_ns = flows.get(&key, 0).unwrap().seen_ns;
        let aged = Flow {
            seen_ns: seen_ns.saturating_sub(by_ns),
        };
        flows.insert(key, aged, 0).unwrap();
    }
}

/// What `tc` says is attached to the edge's egress.
fn filters(lab: &Lab) -> String {
    let mut tc = lab.edge.command("tc");
    tc.args(["filter", "show", "dev", EDGE_IFNAME, "egress"]);
    output(tc)
}

/// How many of cordon's programs see packets leave the edge by tcx.
fn n_tcx(lab: &Lab) -> usize {
    let query = || SchedClassifier::query_tcx(EDGE_IFNAME, TcAttachType::Egress);
    let (_, programs) = lab.edge.run(query).unwrap();
    let own = programs
        .iter()
        .filter(|program| program.name_as_str() == Some(program::EGRESS));
    own.count()
}

fn output(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn n_own(filters: &str) -> usize {
    filters.matches("handle 0x636f7264").count()
}

fn open(lab: &Lab, scratch: &Scratch, egress: EgressHook) -> Dataplane {
    let settings = Settings {
        pin_dir: Some(scratch.bpffs().join("cordon")),
        egress,
        ..Default::default()
    };
    lab.edge.run(|| Dataplane::open(&settings)).unwrap()
}

fn publish(lab: &Lab, dataplane: &mut Dataplane, policy: &str) {
    let database = integration_tests::mmdb_writer::MmdbWriter::new().country("81.0.0.0/16", "RU");
    let image = images::image(policy, &images::location(&database).unwrap()).unwrap();
    lab.edge.run(|| dataplane.publish(&image, None)).unwrap();
}

fn attach(lab: &Lab, dataplane: &mut Dataplane) {
    lab.edge
        .run(|| dataplane.attach(EDGE_IFNAME, ModeChoice::AllowSkb))
        .unwrap();
}

fn tidy(lab: &Lab, dataplane: &mut Dataplane) {
    lab.edge.run(|| dataplane.tidy()).unwrap();
}

/// Runs `tc` on the edge.
fn tc(lab: &Lab, line: &str) {
    let mut tc = lab.edge.command("tc");
    tc.args(line.split(' '));
    output(tc);
}

#[test]
fn a_filter_on_clsact_is_taken_up_and_removed_and_no_other_is_touched() {
    let lab = Lab::new().unwrap();
    let scratch = Scratch::new().unwrap();
    // Somebody else's filters: one of another kind at the first priority, one behind it.
    tc(&lab, &format!("qdisc add dev {EDGE_IFNAME} clsact"));
    tc(
        &lab,
        &format!(
            "filter add dev {EDGE_IFNAME} egress prio 1 protocol ip u32 match ip dst 192.0.2.1/32 flowid 1:1"
        ),
    );
    tc(
        &lab,
        &format!("filter add dev {EDGE_IFNAME} egress prio 9 protocol ip u32 match u32 0 0 flowid 1:1"),
    );
    let foreign = filters(&lab);
    assert!(foreign.contains("u32"), "the control: {foreign}");

    let mut dataplane = open(&lab, &scratch, EgressHook::Clsact);
    publish(&lab, &mut dataplane, &block_ru());
    assert_eq!(filters(&lab), foreign, "nothing is attached yet");
    attach(&lab, &mut dataplane);
    let first = filters(&lab);
    assert_eq!(n_own(&first), 1, "{first}");
    drop(dataplane);
    assert_eq!(filters(&lab), first, "it outlives the process");

    let mut dataplane = open(&lab, &scratch, EgressHook::Clsact);
    let second = filters(&lab);
    assert_eq!(n_own(&second), 1, "a new process replaces it: {second}");
    assert_ne!(second, first, "by its own program");
    lab.edge.run(|| dataplane.detach(EDGE_IFNAME)).unwrap();
    assert_eq!(filters(&lab), foreign, "what others attached is as it was");
    attach(&lab, &mut dataplane);
    drop(dataplane);

    lab.edge
        .run(|| detach_all(&scratch.bpffs().join("cordon")))
        .unwrap();
    assert_eq!(filters(&lab), foreign, "without a daemon too");
}

#[test]
fn a_filter_that_somebody_deleted_is_back_with_the_next_publish() {
    let lab = Lab::new().unwrap();
    let scratch = Scratch::new().unwrap();
    let mut dataplane = open(&lab, &scratch, EgressHook::Clsact);
    publish(&lab, &mut dataplane, &block_ru());
    attach(&lab, &mut dataplane);
    tc(&lab, &format!("qdisc del dev {EDGE_IFNAME} clsact"));
    assert_eq!(n_own(&filters(&lab)), 0);
    publish(&lab, &mut dataplane, &block_ru());
    assert_eq!(n_own(&filters(&lab)), 1);
}

#[test]
fn a_filter_moves_on_when_its_priority_is_taken() {
    let lab = Lab::new().unwrap();
    let scratch = Scratch::new().unwrap();
    let mut dataplane = open(&lab, &scratch, EgressHook::Clsact);
    publish(&lab, &mut dataplane, &block_ru());
    attach(&lab, &mut dataplane);
    tc(&lab, &format!("qdisc del dev {EDGE_IFNAME} clsact"));
    tc(&lab, &format!("qdisc add dev {EDGE_IFNAME} clsact"));
    tc(
        &lab,
        &format!("filter add dev {EDGE_IFNAME} egress prio 1 protocol ip u32 match u32 0 0 flowid 1:1"),
    );
    let foreign = filters(&lab);
    publish(&lab, &mut dataplane, &block_ru());
    assert_eq!(n_own(&filters(&lab)), 1);
    drop(dataplane);
    let dataplane = open(&lab, &scratch, EgressHook::Clsact);
    assert_eq!(n_own(&filters(&lab)), 1);
    drop(dataplane);
    lab.edge
        .run(|| detach_all(&scratch.bpffs().join("cordon")))
        .unwrap();
    assert_eq!(filters(&lab), foreign);
}

#[test]
fn a_filter_whose_pin_directory_was_lost_is_replaced_and_not_doubled() {
    let lab = Lab::new().unwrap();
    let scratch = Scratch::new().unwrap();
    let mut dataplane = open(&lab, &scratch, EgressHook::Clsact);
    publish(&lab, &mut dataplane, &block_ru());
    attach(&lab, &mut dataplane);
    drop(dataplane);
    // With its last pin the XDP link goes; the filter stays.
    drop(scratch);
    let scratch = Scratch::new().unwrap();
    let mut dataplane = open(&lab, &scratch, EgressHook::Clsact);
    publish(&lab, &mut dataplane, &block_ru());
    let before = filters(&lab);
    assert_eq!(n_own(&before), 1, "the control: it is still there");
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = lab
        .edge
        .run(|| dataplane.attach(EDGE_IFNAME, ModeChoice::AllowSkb))
    {
        assert!(
            Instant::now() < deadline,
            "the kernel lets go of the link: {error}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let after = filters(&lab);
    assert_eq!(n_own(&after), 1, "{after}");
    assert_ne!(after, before);
}

#[test]
fn a_tcx_link_is_taken_up_and_removed() {
    let lab = Lab::new().unwrap();
    let scratch = Scratch::new().unwrap();
    let mut dataplane = open(&lab, &scratch, EgressHook::Tcx);
    publish(&lab, &mut dataplane, &block_ru());
    attach(&lab, &mut dataplane);
    assert_eq!(n_tcx(&lab), 1);
    drop(dataplane);
    assert_eq!(n_tcx(&lab), 1, "it outlives the process");
    let dataplane = open(&lab, &scratch, EgressHook::Tcx);
    assert_eq!(n_tcx(&lab), 1, "a new process takes it up");
    assert_eq!(dataplane.interfaces().unwrap().len(), 1);
    drop(dataplane);
    lab.edge
        .run(|| detach_all(&scratch.bpffs().join("cordon")))
        .unwrap();
    assert_eq!(n_tcx(&lab), 0);
}

#[test]
fn the_program_is_there_only_while_a_policy_that_can_come_into_force_needs_it() {
    let lab = Lab::new().unwrap();
    let scratch = Scratch::new().unwrap();
    let mut dataplane = open(&lab, &scratch, EgressHook::Auto);
    let without = block_ru().replace("version = 1\n", "version = 1\nreplies = false\n");
    publish(&lab, &mut dataplane, &without);
    attach(&lab, &mut dataplane);
    assert_eq!(n_tcx(&lab), 0, "no answers are wanted");
    publish(&lab, &mut dataplane, &block_ru());
    assert_eq!(n_tcx(&lab), 1, "now they are");
    publish(&lab, &mut dataplane, &without);
    tidy(&lab, &mut dataplane);
    assert_eq!(n_tcx(&lab), 1, "a rollback would want them again");
    publish(&lab, &mut dataplane, &without);
    tidy(&lab, &mut dataplane);
    assert_eq!(n_tcx(&lab), 0, "nothing that can come into force wants them");
}

#[test]
fn a_process_with_pins_of_its_own_leaves_no_filter_behind() {
    let lab = Lab::new().unwrap();
    let settings = Settings {
        egress: EgressHook::Clsact,
        ..Default::default()
    };
    let mut dataplane = lab.edge.run(|| Dataplane::open(&settings)).unwrap();
    publish(&lab, &mut dataplane, &block_ru());
    attach(&lab, &mut dataplane);
    assert_eq!(n_own(&filters(&lab)), 1);
    lab.edge.run(|| drop(dataplane));
    assert_eq!(n_own(&filters(&lab)), 0);
}
