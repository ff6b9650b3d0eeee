//! Mutants that no corpus can notice, because they judge every frame as the parser does.

/// (file, what the mutant is, why no frame is judged otherwise).
pub const EQUIVALENT: [(&str, &str, &str); 5] = [
    (
        "probe-ebpf/src/parse/ethernet.rs",
        "never: if let Some(is_v6) = is_ipv6_ethertype(ethertype)",
        "a frame without tags is only read faster here: without it the first round of the loop over tags reads it",
    ),
    (
        "probe-ebpf/src/parse/ethernet.rs",
        "never: if ethertype == ETHERTYPE_VLAN && let Some([tci_high, tci_low, type_high, type_low]) = read(ctx, offset) && let Some(is_v6) = is_ipv6_ethertype(u16::from_be_bytes([type_high, type_low]))",
        "one tag is only read faster here: without it the loop over tags reads it",
    ),
    (
        "probe-ebpf/src/parse/ipv4.rs",
        "without the condition: header_len > HEADER_LEN as u16",
        "saves reading the last byte of a header without options: it was read before",
    ),
    (
        "probe-ebpf/src/tunnel.rs",
        "without the condition: extension(protocol).is_some()",
        "saves the walk: what is no extension header is found to be itself",
    ),
    (
        "probe-ebpf/src/l4.rs",
        "without the condition: !matches!(l4.protocol, PROTO_TCP | PROTO_UDP)",
        "only events tell ports of other protocols and of unknown ones: services ask for those of TCP and UDP",
    ),
];

#[cfg(test)]
mod tests {
    use super::{super::mutants::mutants, EQUIVALENT};
    use crate::process::workspace_root;

    #[test]
    fn each_is_still_one_mutant_of_its_file() {
        for (file, what, _) in EQUIVALENT {
            let text = std::fs::read_to_string(workspace_root().join(file)).unwrap();
            let n = mutants(&text).iter().filter(|mutant| mutant.what == what).count();
            assert_eq!(n, 1, "{file}: {what}");
        }
    }
}
