//! What becomes of every kind of frame: tables of description, frame, action and reason, by test runs of the entry
//! program with a generation behind it. The reason is the one that was counted.

/// The frames.
mod build;
/// What stands behind the IP header.
mod headers;

use cordon::dataplane::{Dataplane, Settings};
use integration_tests::{
    frames::{ethernet_frame, udp_frame, with_vlan_tags},
    images,
    mmdb_writer::MmdbWriter,
    test_run::{XDP_DROP, XDP_PASS, run_frame},
};
use probe_common::Reason;

use build::{
    ETHERNET_LEN, IPV4_LEN, IPV6_LEN, behind_fragment_header, neighbour_discovery, udp_v4, with_options,
};

const BLOCKED: &str = "11.0.0.1";
const BLOCKED_V6: &str = "2a00:11::1";
const ALLOWED: &str = "12.0.0.1";
const ALLOWED_V6: &str = "2a00:12::1";

const DROP_ALL: &str = "version = 1\ndefault = \"drop\"\nunknown = \"drop\"\nlan = \"drop\"\n";

/// Tag protocols: 802.1Q, 802.1ad and what came before it.
const TAG_PROTOCOLS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// One row of a table.
struct Case {
    description: String,
    frame: Vec<u8>,
    action: u32,
    reason: Reason,
}

fn case(description: impl Into<String>, frame: Vec<u8>, action: u32, reason: Reason) -> Case {
    Case {
        description: description.into(),
        frame,
        action,
        reason,
    }
}

fn dataplane(no_generation_pass: bool) -> Dataplane {
    Dataplane::open(&Settings {
        pin_dir: None,
        no_generation_pass,
        ..Default::default()
    })
    .unwrap()
}

fn with_policy(policy: &str) -> Dataplane {
    let database = MmdbWriter::new()
        .country("11.0.0.0/16", "RU")
        .country("2a00:11::/32", "RU")
        .country("12.0.0.0/16", "US")
        .country("2a00:12::/32", "US");
    let location = images::location(&database).unwrap();
    let mut dataplane = dataplane(false);
    dataplane
        .publish(&images::image(policy, &location).unwrap(), None)
        .unwrap();
    dataplane
}

fn blocking_ru() -> Dataplane {
    with_policy(&images::drop_countries(&["RU"]))
}

/// Packets by reason.
fn counts(dataplane: &Dataplane) -> Vec<(&'static str, u64)> {
    let rows = dataplane.counters().unwrap();
    Reason::ALL
        .iter()
        .map(|reason| {
            let of_reason = rows.iter().filter(|row| row.reason == reason.name());
            (reason.name(), of_reason.map(|row| row.packets).sum())
        })
        .collect()
}

/// Runs every frame, and says for all at once where action or reason are not as expected.
fn check(dataplane: &Dataplane, cases: &[Case]) {
    let entry = dataplane.open_entry_program().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let before = counts(dataplane);
        let (action, _) = run_frame(&entry, &case.frame, 1).unwrap();
        let counted: Vec<(&str, u64)> = counts(dataplane)
            .into_iter()
            .zip(before)
            .map(|((reason, after), (_, before))| (reason, after - before))
            .filter(|(_, n_packets)| *n_packets > 0)
            .collect();
        if action != case.action || counted != [(case.reason.name(), 1)] {
            wrong.push(format!(
                "{}: action {action}, counted {counted:?}; expected action {} and {}",
                case.description,
                case.action,
                case.reason.name()
            ));
        }
    }
    assert!(!cases.is_empty(), "a table has rows");
    assert!(
        wrong.is_empty(),
        "{} of {} frames:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

fn udp(source: &str) -> Vec<u8> {
    udp_frame(source.parse().unwrap(), 443, b"test")
}

#[test]
fn up_to_four_vlan_tags_hide_no_source_and_a_fifth_drops() {
    let mut cases = Vec::new();
    let rows = [
        (BLOCKED, XDP_DROP, Reason::PolicyDrop),
        (BLOCKED_V6, XDP_DROP, Reason::PolicyDrop),
        (ALLOWED, XDP_PASS, Reason::PolicyPass),
        (ALLOWED_V6, XDP_PASS, Reason::PolicyPass),
    ];
    let all_the_same = TAG_PROTOCOLS.map(|tag_protocol| [tag_protocol; 5]);
    let mixed = [
        [0x88a8, 0x8100, 0x8100, 0x8100, 0x8100],
        [0x9100, 0x88a8, 0x8100, 0x9100, 0x88a8],
    ];
    for protocols in all_the_same.iter().chain(&mixed) {
        let tags = protocols.map(|tag_protocol| (tag_protocol, 42));
        for (source, action, reason) in rows {
            for n_tags in 0..=5 {
                let (action, reason) = match n_tags {
                    5 => (XDP_DROP, Reason::DeepVlan),
                    _ => (action, reason),
                };
                cases.push(case(
                    format!("{source} behind {n_tags} tags of {protocols:04x?}"),
                    with_vlan_tags(&udp(source), &tags[..n_tags]),
                    action,
                    reason,
                ));
            }
        }
    }
    for tag_protocol in TAG_PROTOCOLS {
        for len in [14, 15, 16, 17] {
            cases.push(case(
                format!("a tag of {tag_protocol:04x} that ends after {len} bytes"),
                with_vlan_tags(&udp(ALLOWED), &[(tag_protocol, 42)])[..len].to_vec(),
                XDP_DROP,
                Reason::Truncated,
            ));
        }
    }
    check(&blocking_ru(), &cases);
}

#[test]
fn what_a_link_needs_passes_although_everything_is_dropped() {
    let broadcast = [255; 4];
    let edge = [198, 18, 0, 1];
    let mut later_fragment = udp_v4([0; 4], broadcast, 68, 67);
    later_fragment[ETHERNET_LEN + 7] = 1;
    let mut options_like_a_port = with_options(&udp_v4([0; 4], broadcast, 68, 9), 6);
    options_like_a_port[ETHERNET_LEN + IPV4_LEN..][..4].copy_from_slice(&[1, 1, 0, 67]);
    let cases = [
        case("UDP", udp(ALLOWED), XDP_DROP, Reason::PolicyDrop),
        case("UDP over IPv6", udp(ALLOWED_V6), XDP_DROP, Reason::PolicyDrop),
        case("private source", udp("10.0.0.1"), XDP_DROP, Reason::PolicyDrop),
        case("IPv4 link-local", udp("169.254.1.1"), XDP_PASS, Reason::LinkLocal),
        case(
            "below IPv4 link-local",
            udp("169.253.255.255"),
            XDP_DROP,
            Reason::PolicyDrop,
        ),
        case(
            "above IPv4 link-local",
            udp("169.255.0.0"),
            XDP_DROP,
            Reason::PolicyDrop,
        ),
        case("IPv6 link-local", udp("fe80::1"), XDP_PASS, Reason::LinkLocal),
        case(
            "end of IPv6 link-local",
            udp("febf:ffff::1"),
            XDP_PASS,
            Reason::LinkLocal,
        ),
        case(
            "above IPv6 link-local",
            udp("fec0::1"),
            XDP_DROP,
            Reason::PolicyDrop,
        ),
        case(
            "DHCP request",
            udp_v4([0; 4], broadcast, 68, 67),
            XDP_PASS,
            Reason::Dhcp,
        ),
        case(
            "0.0.0.0 to another port",
            udp_v4([0; 4], broadcast, 68, 68),
            XDP_DROP,
            Reason::PolicyDrop,
        ),
        case(
            "0.0.0.0 to another address",
            udp_v4([0; 4], edge, 68, 67),
            XDP_DROP,
            Reason::PolicyDrop,
        ),
        case(
            "DHCP request from an address",
            udp_v4([12, 0, 0, 1], broadcast, 68, 67),
            XDP_DROP,
            Reason::PolicyDrop,
        ),
        case(
            "a later fragment that looks like a DHCP request",
            later_fragment,
            XDP_DROP,
            Reason::PolicyDrop,
        ),
        case(
            "0.0.0.0 to another port, with IP options that look like the port of DHCP",
            options_like_a_port,
            XDP_DROP,
            Reason::PolicyDrop,
        ),
        case("ARP", ethernet_frame(0x0806, &[0; 28]), XDP_PASS, Reason::Arp),
        case("RARP", ethernet_frame(0x8035, &[0; 28]), XDP_PASS, Reason::Arp),
        case(
            "ARP in a VLAN",
            with_vlan_tags(&ethernet_frame(0x0806, &[0; 28]), &[(0x8100, 42)]),
            XDP_PASS,
            Reason::Arp,
        ),
        case("LLDP", ethernet_frame(0x88cc, &[0; 46]), XDP_PASS, Reason::NotIp),
        case(
            "an LLC frame",
            ethernet_frame(46, &[0x42; 46]),
            XDP_PASS,
            Reason::Llc,
        ),
    ];
    check(&with_policy(DROP_ALL), &cases);
}

#[test]
fn neighbour_discovery_passes_from_this_link_only() {
    let mut cases = Vec::new();
    for (icmp_type, name) in [
        (133, "router solicitation"),
        (134, "router advertisement"),
        (135, "neighbour solicitation"),
        (136, "neighbour advertisement"),
        (137, "redirect"),
    ] {
        let frame = |hop_limit| neighbour_discovery(BLOCKED_V6, icmp_type, hop_limit);
        cases.push(case(
            format!("{name} with hop limit 255"),
            frame(255),
            XDP_PASS,
            Reason::NeighbourDiscovery,
        ));
        for (what, frame) in [
            ("with hop limit 254", frame(254)),
            ("with hop limit 0", frame(0)),
            ("behind a fragment header", behind_fragment_header(&frame(255))),
            ("without its type", frame(255)[..ETHERNET_LEN + IPV6_LEN].to_vec()),
        ] {
            cases.push(case(
                format!("{name} {what}"),
                frame,
                XDP_DROP,
                Reason::PolicyDrop,
            ));
        }
    }
    for icmp_type in [128, 132, 138] {
        cases.push(case(
            format!("ICMPv6 type {icmp_type} with hop limit 255"),
            neighbour_discovery(BLOCKED_V6, icmp_type, 255),
            XDP_DROP,
            Reason::PolicyDrop,
        ));
    }
    check(&blocking_ru(), &cases);
}

#[test]
fn ip_options_hide_no_source() {
    let mut cases = Vec::new();
    for n_words in 6..=15 {
        for (source, action, reason) in [
            (BLOCKED, XDP_DROP, Reason::PolicyDrop),
            (ALLOWED, XDP_PASS, Reason::PolicyPass),
        ] {
            cases.push(case(
                format!("{source} with a header of {n_words} words"),
                with_options(&udp(source), n_words),
                action,
                reason,
            ));
        }
    }
    check(&blocking_ru(), &cases);
}

#[test]
fn headers_that_contradict_themselves_drop() {
    let v4 = |at: usize, bytes: &[u8]| {
        let mut frame = udp(ALLOWED);
        frame[ETHERNET_LEN + at..][..bytes.len()].copy_from_slice(bytes);
        frame
    };
    let mut cases = Vec::new();
    for n_words in 0..5 {
        cases.push(case(
            format!("a header of {n_words} words"),
            v4(0, &[0x40 | n_words]),
            XDP_DROP,
            Reason::Malformed,
        ));
    }
    for version in (0..16).filter(|version| *version != 4) {
        cases.push(case(
            format!("IPv4 says it is version {version}"),
            v4(0, &[version << 4 | 5]),
            XDP_DROP,
            Reason::Malformed,
        ));
    }
    for version in (0..16).filter(|version| *version != 6) {
        let mut frame = udp(ALLOWED_V6);
        frame[ETHERNET_LEN] = version << 4;
        cases.push(case(
            format!("IPv6 says it is version {version}"),
            frame,
            XDP_DROP,
            Reason::Malformed,
        ));
    }
    for total_len in 0..20_u16 {
        cases.push(case(
            format!("a total length of {total_len}"),
            v4(2, &total_len.to_be_bytes()),
            XDP_DROP,
            Reason::Malformed,
        ));
    }
    let mut shorter_than_options = with_options(&udp(ALLOWED), 8);
    shorter_than_options[ETHERNET_LEN + 2..][..2].copy_from_slice(&31_u16.to_be_bytes());
    cases.push(case(
        "a total length that ends within the options",
        shorter_than_options,
        XDP_DROP,
        Reason::Malformed,
    ));
    cases.push(case(
        "a total length of 20: a header and nothing else",
        v4(2, &20_u16.to_be_bytes()),
        XDP_PASS,
        Reason::PolicyPass,
    ));
    check(&blocking_ru(), &cases);
}

#[test]
fn frames_that_end_before_their_fixed_header_does_drop() {
    let mut cases = Vec::new();
    for (source, header_len) in [
        (ALLOWED, IPV4_LEN),
        (ALLOWED_V6, IPV6_LEN),
        ("169.254.1.1", IPV4_LEN),
        ("fe80::1", IPV6_LEN),
    ] {
        for n_tags in [0, 2, 4] {
            let whole = with_vlan_tags(&udp(source), &[(0x8100, 42); 4][..n_tags]);
            let start = ETHERNET_LEN + 4 * n_tags;
            for len in start..start + header_len {
                cases.push(case(
                    format!("{len} bytes from {source} with {n_tags} tags"),
                    whole[..len].to_vec(),
                    XDP_DROP,
                    Reason::Truncated,
                ));
            }
        }
    }
    for (source, len) in [
        (ALLOWED, ETHERNET_LEN + IPV4_LEN),
        (ALLOWED_V6, ETHERNET_LEN + IPV6_LEN),
    ] {
        cases.push(case(
            format!("{len} bytes from {source}: the fixed header is whole"),
            udp(source)[..len].to_vec(),
            XDP_PASS,
            Reason::PolicyPass,
        ));
    }
    check(&blocking_ru(), &cases);
}

#[test]
fn without_a_generation_the_host_file_decides() {
    for (no_generation_pass, action) in [(true, XDP_PASS), (false, XDP_DROP)] {
        let cases = [
            case("IPv4", udp(BLOCKED), action, Reason::NoGeneration),
            case("IPv6", udp(BLOCKED_V6), action, Reason::NoGeneration),
            case("ARP", ethernet_frame(0x0806, &[0; 28]), XDP_PASS, Reason::Arp),
            case(
                "half a header",
                udp(ALLOWED)[..20].to_vec(),
                XDP_DROP,
                Reason::Truncated,
            ),
        ];
        check(&dataplane(no_generation_pass), &cases);
    }
}
