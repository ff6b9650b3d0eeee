//! The image against a naive reading of the policy.

use probe_common::scope::{
    FIRST_UDP_PORT, MAY, MAY_BE_ANY, PORT_UNKNOWN, PROTOCOL_UNKNOWN, UNTAGGED, dimension,
};
use proptest::prelude::*;

use super::{
    naive::{DESTINATIONS, Entry, naive_decision, naive_verdict},
    random::{ADDRESSES, any_heading, any_policy, any_probes, any_service},
    *,
};
use crate::compile::Scopes;

/// The set of services of a heading by the kernel's tables, as [`probe_common::scope`] says that they are read. `None`
/// for the protocol: it cannot be read.
fn set_by_tables(scopes: &Scopes, heading: &Heading, protocol: Option<u8>, unspecified: IpAddr) -> u64 {
    let mut set = !(MAY | MAY_BE_ANY);
    if scopes.dimensions & dimension::INTERFACE != 0 {
        let named = heading.interface.as_ref();
        let of_name = named.and_then(|name| scopes.interfaces.iter().find(|(known, _)| known == name));
        set &= of_name.map_or(scopes.any_interface, |(_, set)| *set);
    }
    if scopes.dimensions & dimension::VLAN != 0 {
        set &= scopes.vlans[heading.vlan.map_or(UNTAGGED as usize, usize::from)];
    }
    if scopes.dimensions & dimension::DESTINATION != 0 {
        let destination = heading.destination.unwrap_or(unspecified);
        let covering = scopes
            .destinations
            .iter()
            .filter(|(prefix, _)| prefix.contains(&destination));
        let longest = covering.max_by_key(|(prefix, _)| prefix.prefix_len());
        set &= longest.map_or(scopes.any_destination, |(_, set)| *set);
    }
    if scopes.dimensions & dimension::PROTOCOL != 0 {
        let first_port = match protocol {
            Some(6) => Some(0),
            Some(17) => Some(FIRST_UDP_PORT),
            _ => None,
        };
        let (of_transport, may) = match (protocol, first_port, heading.port) {
            (None, ..) => (scopes.protocols[PROTOCOL_UNKNOWN as usize], MAY | MAY_BE_ANY),
            (Some(_), Some(first), Some(port)) => (scopes.ports[first as usize + usize::from(port)], 0),
            (Some(protocol), Some(_), None) => (
                scopes.protocols[PORT_UNKNOWN as usize + usize::from(protocol)],
                MAY,
            ),
            (Some(protocol), None, _) => (scopes.protocols[usize::from(protocol)], 0),
        };
        set = set & of_transport | may;
    }
    set
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Random policies, instants and packets: the image says what the policy says, from `now` on. It is refused
    /// only where a cell has more changes ahead, or a nest more ends, than the kernel can be told.
    #[test]
    fn image_means_what_the_policy_says(policy in any_policy(), now in 0..60u32, probes in any_probes()) {
        let location = location();
        let (image, remarks) = compile(&policy, "text", &location, Instant(now), &FrameSettings::default());
        let Some(image) = image else {
            let is_limit = |remark: &Diagnostic| remark.message.contains("changes ahead") || remark.message.contains("nested prefixes");
            prop_assert!(remarks.iter().any(is_limit), "{:?}", remarks);
            return Ok(());
        };
        let failsafe: IpNet = "21.0.0.0/26".parse().unwrap();
        for (address, mut heading, after, has_failsafe) in probes {
            let (address, judged) = ADDRESSES[address];
            let address: IpAddr = address.parse().unwrap();
            let judged = judged.map_or(address, |judged| judged.parse().unwrap());
            if let (IpAddr::V6(_), Some(v4)) = (address, heading.destination) {
                let idx = DESTINATIONS[0].iter().position(|known| known.parse() == Ok(v4)).unwrap();
                heading.destination = Some(DESTINATIONS[1][idx].parse().unwrap());
            }
            let failsafe = &[failsafe][..usize::from(has_failsafe)];
            let query = Query { heading, address, now: Instant(now + after), failsafe, runtime: &[] };
            prop_assert_eq!(
                image.decide(&query),
                naive_verdict(&policy, &location, &query, judged),
                "{:?}", query
            );
        }
    }

    /// The cells themselves, with their directions, which verdicts do not tell.
    #[test]
    fn cells_mean_what_the_policy_says(policy in any_policy(), now in 0..60u32, after in 0..75u32) {
        let location = location();
        let (image, _) = compile(&policy, "text", &location, Instant(now), &FrameSettings::default());
        let Some(image) = image else { return Ok(()) };
        let at = Instant(now + after);
        let lift_all = Some(Entry::Lift { orders: None, phases: &[] });
        let n_exact = image.scopes.row_names.len() - image.scopes.strictest_of.len();
        let of_no_service = [(0, 0)];
        let rows = if policy.services.is_empty() { &of_no_service[..] } else { &image.scopes.rows[..n_exact] };
        for (set, row) in rows {
            for class in 0..location.classes.len() as u16 {
                let code = location.classes.name(class);
                let cell = |profile| {
                    let cell = image.matrix.cell(*row, profile, class).unwrap();
                    cell.stages_idx().map_or(cell.fixed_decision(), |idx| image.stages[idx as usize].decision_at(at.0))
                };
                let naive = |entry| naive_decision(&policy, code, entry, &[*set], at);
                prop_assert_eq!(cell(profile::ALL_ORDERS), naive(None));
                prop_assert_eq!(cell(profile::LIFT_ALL), naive(lift_all));
                prop_assert_eq!(cell(profile::DENY), Decision::DROP);
                for exemption in &policy.exemptions {
                    let entry = image.overrides.iter().find(|entry| entry.prefix == exemption.prefixes[0].value);
                    // Nothing is said of an exemption that is over.
                    let Some(entry) = entry.filter(|_| at < exemption.until.value) else { continue };
                    let lift = Entry::Lift { orders: exemption.orders.as_deref(), phases: &exemption.phases };
                    prop_assert_eq!(cell(entry.value.profile), naive(Some(lift)));
                }
            }
        }
    }

    /// The kernel's tables lead to the row that the services themselves lead to, and every set that they can give
    /// has a row.
    #[test]
    fn tables_lead_to_the_rows_of_the_services(
        services in prop::collection::vec(any_service(), 1..4),
        headings in prop::collection::vec(any_heading(), 50),
    ) {
        let policy = Policy { services, ..policy() };
        let (image, _) = compile(&policy, "text", &location(), Instant(70), &FrameSettings::default());
        let image = image.unwrap();
        let scopes = &image.scopes;
        let source: IpAddr = "20.1.1.1".parse().unwrap();
        let unspecified = "0.0.0.0".parse().unwrap();
        for mut heading in headings {
            heading.vlan = heading.vlan.filter(|vlan| *vlan != 0);
            let protocol = Some(heading.protocol.unwrap_or(253));
            let set = set_by_tables(scopes, &heading, protocol, unspecified);
            let row = scopes.rows.binary_search_by_key(&set, |(set, _)| *set).ok().map(|idx| scopes.rows[idx].1);
            prop_assert!(row.is_some(), "{set:#x} of {heading:?} has no row");
            prop_assert_eq!(row, scopes.row_of(&heading, source), "{:?}", heading);
            let hidden = set_by_tables(scopes, &heading, None, unspecified);
            prop_assert!(scopes.rows.binary_search_by_key(&hidden, |(set, _)| *set).is_ok());
        }
        for (set, examples) in &scopes.examples {
            let row = scopes.rows[scopes.rows.binary_search_by_key(set, |(set, _)| *set).unwrap()].1;
            for (example, source) in [(&examples.v4, "20.1.1.1"), (&examples.v6, "2001:db8::1")] {
                if let Some(example) = example {
                    prop_assert_eq!(scopes.row_of(example, source.parse().unwrap()), Some(row), "{:?}", example);
                }
            }
        }
    }
}
