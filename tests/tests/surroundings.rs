//! What the daemon tells the dataplane about its host, and what the dataplane tells back besides counters: own
//! addresses, VLANs, interfaces by name, targets of redirects, events.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use cordon::{
    dataplane::{Dataplane, Settings, interface_index},
    host::{EgressHook, ModeChoice, TableSizes},
};
use integration_tests::{
    frames::{FrameSocket, ethernet_frame, udp_frame, with_vlan_tags},
    images,
    lab::{EDGE_IFNAME, INTERNET_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
    test_run::{XDP_DROP, XDP_PASS, action_for},
};
use probe_common::{Action, Reason, Target, map_name};

const RU: &str = "81.0.7.7";
const NL: &str = "82.0.7.7";
const PATIENCE: Duration = Duration::from_millis(400);
const VLAN_TAG: u16 = 0x8100;
/// An ethertype from the range for private use.
const EXPERIMENTAL: u16 = 0x88b5;

fn open(settings: &Settings, policy: &str) -> Dataplane {
    let mut dataplane = Dataplane::open(settings).unwrap();
    publish(&mut dataplane, policy);
    dataplane
}

fn publish(dataplane: &mut Dataplane, policy: &str) -> cordon::dataplane::Published {
    let database = MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL");
    let image = images::image(policy, &images::location(&database).unwrap()).unwrap();
    dataplane.publish(&image, None).unwrap()
}

/// Sends frames with payloads of five bytes from the internet to the edge; whether each got through.
fn arrived(lab: &Lab, frames: &[Vec<u8>]) -> Vec<bool> {
    let receiver = FrameSocket::open(&lab.edge, EDGE_IFNAME).unwrap();
    send(lab, frames);
    let seen = receiver.receive(10_000, PATIENCE).unwrap();
    let payload = |frame: &[u8]| frame[frame.len() - 5..].to_vec();
    frames
        .iter()
        .map(|frame| seen.iter().any(|seen| seen.ends_with(&payload(frame))))
        .collect()
}

fn send(lab: &Lab, frames: &[Vec<u8>]) {
    let sender = FrameSocket::open(&lab.internet, INTERNET_IFNAME).unwrap();
    for frame in frames {
        sender.send(frame).unwrap();
    }
}

fn attached(lab: &Lab, settings: &Settings, policy: &str) -> Dataplane {
    lab.silence_internet().unwrap();
    lab.edge.run(|| {
        let mut dataplane = open(settings, policy);
        dataplane.attach(EDGE_IFNAME, ModeChoice::RequireNative).unwrap();
        dataplane
    })
}

#[test]
fn nobody_on_a_wire_has_this_hosts_own_address() {
    let mut dataplane = open(&Settings::default(), images::PASS_ALL);
    let own: Vec<_> = ["82.0.7.7", "82.1.200.7", "2a00:82::7"]
        .map(|text| text.parse().unwrap())
        .into();
    let action =
        |dataplane: &Dataplane, source| action_for(&dataplane.open_entry_program().unwrap(), source).unwrap();
    for address in &own {
        assert_eq!(
            action(&dataplane, *address),
            XDP_PASS,
            "{address} is nobody's yet"
        );
    }
    dataplane.set_own_addresses(&own).unwrap();
    for address in &own {
        assert_eq!(action(&dataplane, *address), XDP_DROP, "{address} is this host's");
    }
    let same_last_byte = "82.0.9.7".parse().unwrap();
    assert_eq!(action(&dataplane, same_last_byte), XDP_PASS);
    dataplane.set_own_addresses(&own[..1]).unwrap();
    assert_eq!(action(&dataplane, own[0]), XDP_DROP);
    assert_eq!(action(&dataplane, own[1]), XDP_PASS, "it was given up");
    assert_eq!(action(&dataplane, own[2]), XDP_PASS, "it was given up");
}

#[test]
fn only_the_vlans_that_are_named_are_judged() {
    let lab = Lab::new().unwrap();
    let settings = Settings {
        vlan_filter: true,
        ..Default::default()
    };
    let mut dataplane = attached(&lab, &settings, &images::drop_countries(&["RU"]));
    // The receiver gets the tag beside the frame, so the payload says which one it is.
    let frame = |payload: &[u8]| udp_frame(RU.parse().unwrap(), 9, payload);
    let frames = [
        with_vlan_tags(&frame(b"tag 5"), &[(VLAN_TAG, 5)]),
        with_vlan_tags(&frame(b"tag 6"), &[(VLAN_TAG, 6)]),
        frame(b"plain"),
    ];
    assert_eq!(arrived(&lab, &frames), [false; 3], "no list: all are judged");
    let ifindex = lab.edge.run(|| interface_index(EDGE_IFNAME)).unwrap();
    dataplane.set_vlans(&[(ifindex, 5)]).unwrap();
    assert_eq!(arrived(&lab, &frames), [false, true, true]);
    dataplane.set_vlans(&[(ifindex, 6)]).unwrap();
    assert_eq!(arrived(&lab, &frames), [true, false, true]);
    dataplane.set_vlans(&[]).unwrap();
    assert_eq!(arrived(&lab, &frames), [false; 3]);
}

#[test]
fn an_interface_that_is_not_there_is_skipped_by_the_verification_and_one_that_is_there_is_not() {
    let mut dataplane = open(&Settings::default(), images::PASS_ALL);
    let policy = images::drop_countries(&["RU"]).replace(
        "action = \"drop\"\n",
        "action = \"drop\"\nservices = [\"outside\"]\n",
    ) + "[[service]]\nname = \"outside\"\ninterfaces = [\"wan0\"]\n";
    let published = publish(&mut dataplane, &policy);
    assert!(published.n_skipped > 0, "{published:?}");
    dataplane.set_interfaces(&[(77, "wan0".to_owned())]).unwrap();
    let published = publish(&mut dataplane, &policy);
    assert_eq!(published.n_skipped, 0, "{published:?}");

    let heading = |interface: &str| cordon::compile::Heading {
        interface: Some(interface.to_owned()),
        ..Default::default()
    };
    let now = cordon::instant::Instant::now();
    let judge = |interface| {
        let judged = dataplane.judge_packet(RU.parse().unwrap(), &heading(interface), now);
        judged.unwrap().0.reason
    };
    assert_eq!(judge("wan0"), Reason::PolicyDrop);
    assert_eq!(judge("lan0"), Reason::PolicyPass);
}

#[test]
fn a_redirect_goes_to_its_target_while_there_is_one_and_what_is_lost_is_counted() {
    let lab = Lab::new().unwrap();
    lab.edge
        .ip_batch(&format!(
            "link add side0 type veth peer name side1 netns {}\nlink set side0 up\n",
            lab.internet.path()
        ))
        .unwrap();
    lab.internet.ip_batch("link set side1 arp off up\n").unwrap();
    let policy = images::drop_countries(&["RU"]).replace("action = \"drop\"\n", "action = \"scrub\"\n")
        + "[[tier]]\nname = \"scrub\"\naction = \"redirect\"\ninterface = \"side0\"\n";
    let mut dataplane = attached(&lab, &Settings::default(), &policy);
    let frame = udp_frame(RU.parse().unwrap(), 9, b"redirected");
    let packets = |dataplane: &Dataplane, reason: Reason| {
        let rows = dataplane.counters().unwrap();
        let of_reason = rows.iter().filter(|row| row.reason == reason.name());
        of_reason.map(|row| row.packets).sum::<u64>()
    };

    send(&lab, std::slice::from_ref(&frame));
    assert_eq!(
        packets(&dataplane, Reason::RedirectGone),
        1,
        "nobody said where it is"
    );
    let target = Target {
        ifindex: lab.edge.run(|| interface_index("side0")).unwrap(),
        max_len: 1_514,
        mac: [2, 0, 0, 0, 0, 9],
        reserved: [0; 2],
    };
    // The index is one of the edge's.
    lab.edge
        .run(|| dataplane.set_targets(&[("side0".to_owned(), Some(target))]))
        .unwrap();
    // Without NAPI, the other end of a veth pair takes nothing from XDP.
    send(&lab, std::slice::from_ref(&frame));
    assert_eq!(packets(&dataplane, Reason::PolicyRedirect), 1);
    assert!(
        dataplane.redirect_errors().unwrap() >= 1,
        "it was lost, and counted"
    );

    let mut ethtool = lab.internet.command("ethtool");
    let switched_on = ethtool.args(["-K", "side1", "gro", "on"]).status().unwrap();
    assert!(switched_on.success());
    let before = dataplane.redirect_errors().unwrap();
    let receiver = FrameSocket::open(&lab.internet, "side1").unwrap();
    send(&lab, std::slice::from_ref(&frame));
    let seen = receiver.receive(10_000, PATIENCE).unwrap();
    assert!(
        seen.iter().any(|seen| seen.ends_with(b"redirected")),
        "it arrived at the other end"
    );
    assert_eq!(dataplane.redirect_errors().unwrap(), before);

    dataplane.set_targets(&[("side0".to_owned(), None)]).unwrap();
    send(&lab, std::slice::from_ref(&frame));
    assert_eq!(packets(&dataplane, Reason::RedirectGone), 2);
}

#[test]
fn events_tell_what_was_dropped_and_no_more_than_the_policy_allows() {
    let lab = Lab::new().unwrap();
    let policy = images::drop_countries(&["RU"]) + "[events]\ndrops = 1\nper_second = 10\n";
    let dataplane = attached(&lab, &Settings::default(), &policy);
    let mut ring = dataplane.open_events().unwrap();
    let ifindex = lab.edge.run(|| interface_index(EDGE_IFNAME)).unwrap();
    let frame = udp_frame(RU.parse().unwrap(), 9, b"event");
    send(
        &lab,
        &[frame.clone(), udp_frame(NL.parse().unwrap(), 9, b"no event")],
    );
    let mut events = Vec::new();
    ring.drain(|event| events.push(*event));
    let [event] = events[..] else {
        panic!("one packet was dropped: {events:?}")
    };
    assert_eq!(event.ifindex, ifindex);
    assert_eq!(event.reason, Reason::PolicyDrop as u8);
    assert_eq!(event.action, Action::Drop as u8);
    assert_eq!((event.family, event.source_len), (4, 24));
    assert_eq!(
        event.source[..4],
        [81, 0, 7, 0],
        "the last byte is nobody's business"
    );
    assert_eq!((event.destination_port, event.protocol), (9, 17));
    assert_eq!(event.bytes as usize, frame.len());

    send(&lab, &vec![frame; 500]);
    let mut n_events = 1;
    ring.drain(|_| n_events += 1);
    let counters = dataplane.event_counters().unwrap();
    assert_eq!(counters.written, n_events);
    assert_eq!(
        counters.written + counters.capped + counters.lost,
        501,
        "{counters:?}"
    );
    assert!(counters.capped > 0, "{counters:?}");
}

#[test]
fn frames_that_are_not_ip_are_counted_by_type() {
    let lab = Lab::new().unwrap();
    let dataplane = attached(&lab, &Settings::default(), &images::drop_countries(&["RU"]));
    let frame = ethernet_frame(EXPERIMENTAL, &[0; 46]);
    send(&lab, &[frame.clone(), frame.clone()]);
    let ethertypes = dataplane.ethertypes().unwrap();
    let own = ethertypes
        .iter()
        .find(|(ethertype, _)| *ethertype == EXPERIMENTAL);
    let (_, counter) = own.expect("the type is counted");
    assert_eq!((counter.packets, counter.bytes), (2, 2 * frame.len() as u64));
}

#[test]
fn a_table_that_is_pinned_keeps_its_size() {
    let scratch = Scratch::new().unwrap();
    let settings = |flow_entries| Settings {
        pin_dir: Some(scratch.bpffs().join("cordon")),
        egress: EgressHook::Auto,
        sizes: TableSizes {
            flow_entries,
            ..TableSizes::default()
        },
        ..Default::default()
    };
    let size = || {
        let pin = scratch.bpffs().join("cordon/v1/FLOWS");
        aya::maps::MapInfo::from_pin(pin).unwrap().max_entries()
    };
    drop(Dataplane::open(&settings(2_048)).unwrap());
    assert_eq!(size(), 2_048);
    drop(Dataplane::open(&settings(4_096)).unwrap());
    assert_eq!(size(), 2_048, "what is noted in it would be lost");
}

#[test]
fn the_shared_tables_of_a_default_host_stay_below_16_mib() {
    const LIMIT: u64 = 16 << 20;
    let scratch = Scratch::new().unwrap();
    let settings = Settings {
        pin_dir: Some(scratch.bpffs().join("cordon")),
        ..Default::default()
    };
    let _dataplane = Dataplane::open(&settings).unwrap();
    let size = |name: &str| {
        let map = aya::maps::MapData::from_pin(scratch.bpffs().join("cordon/v1").join(name)).unwrap();
        let fd = map.fd().as_fd().as_raw_fd();
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let memlock = text.lines().find_map(|line| line.strip_prefix("memlock:"));
        memlock.unwrap().trim().parse::<u64>().unwrap()
    };
    let sizes: Vec<(&str, u64)> = map_name::SHARED.iter().map(|name| (*name, size(name))).collect();
    let sum: u64 = sizes.iter().map(|(_, size)| size).sum();
    println!("{sum} bytes: {sizes:?}");
    assert!(sum < LIMIT, "{sum} bytes: {sizes:?}");
}
