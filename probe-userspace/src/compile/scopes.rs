//! Services to the kernel's tables: for each dimension, the services that a value does not rule out.

use std::collections::BTreeMap;

use ipnet::IpNet;
use probe_common::{
    limits::MAX_ROWS,
    scope::{
        FIRST_UDP_PORT, MAY, N_SCOPE_PORTS, N_SCOPE_PROTOCOLS, N_SCOPE_VLANS, PORT_UNKNOWN, PROTOCOL_UNKNOWN,
        UNTAGGED, dimension,
    },
};

use super::{
    Scopes,
    rows::{Examples, Rows, TooMany},
    services::{ServiceBox, TCP, Transport, UDP, set_of},
};
use crate::{diagnostic::Diagnostic, policy::Policy};

/// The rows of a policy. More than the matrix may have is an error, and then the policy is read as if it had no
/// services.
pub(super) fn rows(policy: &Policy, boxes: &[ServiceBox], remarks: &mut Vec<Diagnostic>) -> Rows {
    let sets = match Rows::new(boxes) {
        Ok(rows) if rows.len() <= MAX_ROWS + 1 => return rows,
        Ok(rows) => rows.sets.into_iter().collect(),
        Err(TooMany(sets)) => sets,
    };
    let mut overlaps: Vec<(usize, &str)> = policy
        .services
        .iter()
        .enumerate()
        .map(|(idx, service)| {
            let shared = sets
                .iter()
                .filter(|set| **set & 1 << idx != 0 && set.count_ones() > 1);
            (shared.count(), service.name.value.as_str())
        })
        .collect();
    overlaps.sort_by_key(|(n_shared, _)| std::cmp::Reverse(*n_shared));
    const MAX_NAMED: usize = 5;
    let names: Vec<&str> = overlaps.iter().take(MAX_NAMED).map(|(_, name)| *name).collect();
    let place = policy
        .services
        .iter()
        .find(|service| names.first() == Some(&service.name.value.as_str()))
        .map_or_else(
            || crate::diagnostic::Place::file(&policy.file),
            |service| service.name.place.clone(),
        );
    remarks.push(Diagnostic::error(
        place,
        names.join(", "),
        format!(
            "the services overlap in more ways than the {MAX_ROWS} rows that the matrix has for them; these overlap \
             most"
        ),
        "join services, or make fewer of them share destinations and ports",
    ));
    Rows::single()
}

/// The kernel's tables for the services of a policy.
pub(super) fn scopes(policy: &Policy, boxes: Vec<ServiceBox>, rows: &Rows) -> Scopes {
    if boxes.is_empty() {
        return Scopes::default();
    }
    let names: Vec<String> = policy
        .services
        .iter()
        .map(|service| service.name.value.clone())
        .collect();
    let used = |is_used: fn(&ServiceBox) -> bool, bit: u32| {
        if boxes.iter().any(is_used) { bit } else { 0 }
    };
    let dimensions = used(|service| !service.interfaces.is_empty(), dimension::INTERFACE)
        | used(|service| !service.vlans.is_empty(), dimension::VLAN)
        | used(|service| !service.destinations.is_empty(), dimension::DESTINATION)
        | used(
            |service| !service.protocols.is_empty() || !service.ports.is_empty(),
            dimension::PROTOCOL,
        );
    let only = |bit: u32, table: fn(&[ServiceBox]) -> Vec<u64>| {
        if dimensions & bit == 0 {
            Vec::new()
        } else {
            table(&boxes)
        }
    };
    Scopes {
        dimensions,
        any_interface: set_of(&boxes, |service| service.interfaces.is_empty()),
        any_destination: set_of(&boxes, |service| service.destinations.is_empty()),
        interfaces: interfaces(&boxes),
        vlans: only(dimension::VLAN, vlans),
        destinations: destinations(&boxes),
        protocols: only(dimension::PROTOCOL, protocols),
        ports: only(dimension::PROTOCOL, ports),
        rows: rows
            .row_of
            .iter()
            // Without ports in any service no packet is vague.
            .filter(|(set, _)| dimensions & dimension::PROTOCOL != 0 || *set & MAY == 0)
            .map(|(set, row)| (*set, *row))
            .collect(),
        row_names: row_names(&names, rows),
        strictest_of: rows.strictest_of.clone(),
        examples: rows
            .examples
            .iter()
            .filter(|(set, _)| dimensions & dimension::PROTOCOL != 0 || *set & MAY == 0)
            .map(|(set, examples): (&u64, &Examples)| (*set, examples.clone()))
            .collect(),
        services: names,
        boxes,
    }
}

fn row_names(names: &[String], rows: &Rows) -> Vec<String> {
    let of_set = |set: u64| {
        let services: Vec<&str> = (0..names.len())
            .filter(|idx| set & 1 << idx != 0)
            .map(|idx| names[idx].as_str())
            .collect();
        match services.as_slice() {
            [] => "no service".to_owned(),
            services => services.join(", "),
        }
    };
    let exact: Vec<String> = rows.sets.iter().map(|set| of_set(*set)).collect();
    let vague = rows.strictest_of.iter().map(|candidates| {
        let names: Vec<&str> = candidates
            .iter()
            .map(|row| exact[*row as usize].as_str())
            .collect();
        format!("{}, as its ports cannot be read", names.join(" or "))
    });
    let vague: Vec<String> = vague.collect();
    exact.into_iter().chain(vague).collect()
}

fn interfaces(boxes: &[ServiceBox]) -> Vec<(String, u64)> {
    let mut names: Vec<&String> = boxes.iter().flat_map(|service| &service.interfaces).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let set = set_of(boxes, |service| {
                service.interfaces.is_empty() || service.interfaces.contains(name)
            });
            (name.clone(), set)
        })
        .collect()
}

/// A tag with VLAN 0 carries a priority only: as untagged.
fn vlans(boxes: &[ServiceBox]) -> Vec<u64> {
    let any = set_of(boxes, |service| service.vlans.is_empty());
    let mut sets = vec![any; N_SCOPE_VLANS as usize];
    for (idx, service) in boxes.iter().enumerate() {
        for vlan in &service.vlans {
            sets[usize::from(*vlan)] |= 1 << idx;
            if *vlan == 0 {
                sets[UNTAGGED as usize] |= 1 << idx;
            }
        }
    }
    sets
}

/// A longest match hides the prefixes around it, so it holds their services too.
fn destinations(boxes: &[ServiceBox]) -> Vec<(IpNet, u64)> {
    let any = set_of(boxes, |service| service.destinations.is_empty());
    let mut own: BTreeMap<IpNet, u64> = BTreeMap::new();
    for (idx, service) in boxes.iter().enumerate() {
        for prefix in &service.destinations {
            *own.entry(prefix.trunc()).or_insert(0) |= 1 << idx;
        }
    }
    // Sorted by address and then by length: what is around a prefix comes before it.
    let mut around: Vec<(IpNet, u64)> = Vec::new();
    let mut sets = Vec::with_capacity(own.len());
    for (prefix, set) in own {
        while around.pop_if(|(outer, _)| !outer.contains(&prefix)).is_some() {}
        let inherited = around.last().map_or(any, |(_, outer)| *outer);
        around.push((prefix, inherited | set));
        sets.push((prefix, inherited | set));
    }
    sets
}

fn protocols(boxes: &[ServiceBox]) -> Vec<u64> {
    let mut sets = vec![0; N_SCOPE_PROTOCOLS as usize];
    for (idx, service) in boxes.iter().enumerate() {
        for protocol in 0..=255_u8 {
            let has_it = service.protocols.is_empty() || service.protocols.contains(&protocol);
            if has_it {
                sets[PORT_UNKNOWN as usize + usize::from(protocol)] |= 1 << idx;
            }
            if has_it && service.ports.is_empty() {
                sets[usize::from(protocol)] |= 1 << idx;
            }
        }
        sets[PROTOCOL_UNKNOWN as usize] |= 1 << idx;
    }
    sets
}

/// Every service that a port does not rule out, those that ask for no port too.
fn ports(boxes: &[ServiceBox]) -> Vec<u64> {
    let mut sets = vec![0; N_SCOPE_PORTS as usize];
    for (idx, service) in boxes.iter().enumerate() {
        for (protocol, base) in [(TCP, 0), (UDP, FIRST_UDP_PORT)] {
            if !service.has_transport(Transport::PortUnknown(protocol)) {
                continue;
            }
            let of_protocol = &mut sets[base as usize..][..1 << 16];
            if service.ports.is_empty() {
                of_protocol.iter_mut().for_each(|set| *set |= 1 << idx);
            }
            for range in merged(service) {
                of_protocol[range].iter_mut().for_each(|set| *set |= 1 << idx);
            }
        }
    }
    sets
}

/// The ranges of a service without overlaps, so that a hostile list costs no more than all ports.
fn merged(service: &ServiceBox) -> Vec<std::ops::RangeInclusive<usize>> {
    let mut ranges: Vec<(usize, usize)> = service
        .ports
        .iter()
        .map(|range| (usize::from(*range.start()), usize::from(*range.end())))
        .collect();
    ranges.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= *end + 1 => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged.into_iter().map(|(first, last)| first..=last).collect()
}
