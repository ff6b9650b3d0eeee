//! An event in words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use probe_common::{Action, Event, Fate, Reason, Verdict};

use super::Naming;
use crate::daemon::api::EventRow;

/// "Not known" in [`Event::protocol`].
const UNKNOWN_PROTOCOL: u8 = 255;

/// Names an event's numbers. `boot_to_unix_ns`: Unix time minus boot time.
pub fn row(event: &Event, naming: &Naming, boot_to_unix_ns: u64) -> EventRow {
    let reason = Reason::from_code(event.reason);
    let action = Action::from_code(event.action);
    let port = |port: u16| (port != 0).then_some(port);
    EventRow {
        time: time(event.boot_ns.wrapping_add(boot_to_unix_ns)),
        interface: naming.interface(event.ifindex),
        ifindex: event.ifindex,
        vlan: (event.vlan != 0).then_some(event.vlan),
        source: source(event),
        country: reason
            .is_none_or(Reason::has_class)
            .then(|| naming.class(event.generation, event.class)),
        protocol: (event.family != 0 && event.protocol != UNKNOWN_PROTOCOL).then(|| protocol(event.protocol)),
        source_port: port(event.source_port),
        destination_port: port(event.destination_port),
        bytes: event.bytes,
        action: action.map_or_else(|| event.action.to_string(), |action| action.name().to_owned()),
        reason: reason.map_or_else(|| event.reason.to_string(), |reason| reason.name().to_owned()),
        fate: fate(action, reason).to_owned(),
        generation: event.generation,
    }
}

fn time(unix_ns: u64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    format!("{time:.3}")
}

fn source(event: &Event) -> Option<String> {
    if event.source_len == 0 {
        return None;
    }
    let [a, b, c, d, ..] = event.source;
    let (address, whole) = match event.family {
        4 => (IpAddr::from(Ipv4Addr::new(a, b, c, d)), 32),
        6 => (IpAddr::from(Ipv6Addr::from(event.source)), 128),
        _ => return None,
    };
    Some(match event.source_len {
        len if len >= whole => address.to_string(),
        len => format!("{address}/{len}"),
    })
}

fn protocol(number: u8) -> String {
    let name = match number {
        1 => "icmp",
        2 => "igmp",
        4 => "ipip",
        6 => "tcp",
        17 => "udp",
        41 => "6in4",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmpv6",
        132 => "sctp",
        number => return number.to_string(),
    };
    name.to_owned()
}

fn fate(action: Option<Action>, reason: Option<Reason>) -> &'static str {
    let (Some(action), Some(reason)) = (action, reason) else {
        return "unknown";
    };
    match Verdict::without_class(action, reason).fate() {
        Fate::Passed => "passed",
        Fate::Dropped => "dropped",
        Fate::Answered => "answered",
        Fate::Redirected => "redirected",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::GenerationNames, *};

    fn naming() -> Naming {
        let mut naming = Naming::default();
        naming.interfaces.insert(2, "eth0".to_owned());
        let classes = ["unknown", "lan", "RU"].map(str::to_owned).to_vec();
        naming.add(7, Arc::new(GenerationNames { classes }));
        naming
    }

    fn event() -> Event {
        let mut source = [0; 16];
        source[..3].copy_from_slice(&[81, 0, 7]);
        Event {
            boot_ns: 5_000_000_000,
            generation: 7,
            ifindex: 2,
            bytes: 60,
            source,
            source_port: 4000,
            destination_port: 443,
            class: 2,
            vlan: 0,
            action: Action::Drop as u8,
            reason: Reason::PolicyDrop as u8,
            family: 4,
            source_len: 24,
            protocol: 6,
            reserved: [0; 15],
        }
    }

    #[test]
    fn numbers_become_names() {
        let found = row(&event(), &naming(), 1_780_000_000_123_000_000);
        assert_eq!(
            found,
            EventRow {
                time: "2026-05-28T20:26:45.123Z".to_owned(),
                interface: "eth0".to_owned(),
                ifindex: 2,
                vlan: None,
                source: Some("81.0.7.0/24".to_owned()),
                country: Some("RU".to_owned()),
                protocol: Some("tcp".to_owned()),
                source_port: Some(4000),
                destination_port: Some(443),
                bytes: 60,
                action: "drop".to_owned(),
                reason: "policy_drop".to_owned(),
                fate: "dropped".to_owned(),
                generation: 7,
            }
        );
    }

    #[test]
    fn what_is_not_known_or_not_told_is_left_out() {
        let event = Event {
            generation: 6,
            ifindex: 9,
            source_len: 0,
            source_port: 0,
            protocol: UNKNOWN_PROTOCOL,
            vlan: 5,
            ..event()
        };
        let found = row(&event, &naming(), 0);
        assert_eq!(found.interface, "if9");
        assert_eq!(found.country.as_deref(), Some("class-2"));
        assert_eq!(
            (found.source, found.protocol, found.source_port),
            (None, None, None)
        );
        assert_eq!(found.vlan, Some(5));
        let event = Event {
            reason: Reason::Martian as u8,
            source_len: 32,
            ..event
        };
        let found = row(&event, &naming(), 0);
        assert_eq!(found.country, None, "nobody looked it up");
        assert_eq!(found.source.as_deref(), Some("81.0.7.0"));
    }
}
