//! What a host file means, and what holds without one.

use super::*;

fn host(text: &str) -> Host {
    let (host, remarks) = parse("cordon.toml", text);
    assert!(remarks.is_empty(), "{remarks:?}");
    host.unwrap()
}

#[test]
fn an_empty_file_is_the_defaults() {
    let host = host("");
    assert_eq!(host.frame, FrameSettings::default());
    assert_eq!(host.egress, EgressHook::Auto);
    assert_eq!(host.sizes, TableSizes::default());
    assert_eq!(host.dhcp_servers, []);
    assert_eq!(host.ssh_ports(), [22]);
    assert_eq!(host.confirm_unattended_s, None);
    assert!(host.frame.icmp_error_pass && host.frame.martians_drop && !host.frame.inspect_inner);
}

#[test]
fn every_key_reaches_its_setting() {
    let host = host(
        "icmp_error = \"drop\"\ninspect_inner = true\nmartians = \"pass\"\n\
         nat64_prefixes = [\"2001:db8::/32\", \"2001:67c:64::/96\"]\n\
         dhcp_servers = [\"192.0.2.2\", \"2001:db8::2\"]\nssh_ports = [22, 2222]\negress = \"clsact\"\nengine = \"lpm\"\n\
         flow_entries = 1024\nlimiter_entries = 4_194_304\nevent_ring_kib = 64\nconfirm_unattended = 120\n",
    );
    assert!(!host.frame.icmp_error_pass && !host.frame.martians_drop && host.frame.inspect_inner);
    let prefixes: Vec<String> = host
        .frame
        .nat64_prefixes
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(prefixes, ["2001:db8::/32", "2001:67c:64::/96"]);
    let servers: Vec<String> = host
        .dhcp_servers
        .iter()
        .map(|server| server.value.to_string())
        .collect();
    assert_eq!(servers, ["192.0.2.2", "2001:db8::2"]);
    assert_eq!(host.ssh_ports(), [22, 2222]);
    assert_eq!(host.confirm_unattended_s, Some(120));
    assert_eq!(host.egress, EgressHook::Clsact);
    assert_eq!(host.engine, EngineChoice::Lpm);
    assert_eq!(
        host.sizes,
        TableSizes {
            flow_entries: 1024,
            limiter_entries: 4_194_304,
            event_ring_bytes: 65_536,
        }
    );
}

#[test]
fn a_host_has_a_name_and_labels_for_the_targets_of_bundles() {
    let found = host("host_name = \"edge-1.fra\"\nlabels = { site = \"fra1\", tier = \"2\" }\n");
    assert_eq!(found.host_name.unwrap().value, "edge-1.fra");
    assert_eq!((found.labels["site"].as_str(), found.labels.len()), ("fra1", 2));
    for (text, expected) in [
        ("host_name = \"edge-*\"", "letters, digits"),
        ("host_name = \"\"", "1 to 253"),
        ("labels = { Site = \"fra1\" }", "a label is"),
        ("labels = { site = \"a b\" }", "letters, digits"),
        ("labels = [\"fra1\"]", "a table"),
        ("name = \"edge-1\"", "unknown key"),
    ] {
        let (_, remarks) = parse("cordon.toml", text);
        let remark = remarks[0].to_string();
        assert!(remark.contains(expected), "{text}: {remark}");
    }
}

#[test]
fn what_is_only_odd_is_a_warning() {
    let (host, remarks) = parse(
        "cordon.toml",
        "interfaces = [\"lo\"]\nnat64_prefixes = [\"64:ff9b::/96\"]\ndhcp_servers = [\"192.0.2.2\", \"192.0.2.2\"]\n",
    );
    let host = host.unwrap();
    assert_eq!(host.interfaces.len(), 1);
    assert_eq!(host.frame.nat64_prefixes, []);
    assert_eq!(host.dhcp_servers.len(), 1);
    let lines: Vec<u32> = remarks.iter().map(|remark| remark.place.line).collect();
    assert_eq!(lines, [1, 2, 3], "{remarks:?}");
}
