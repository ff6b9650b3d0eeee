//! Rows 21, 36-38, 44 and 45: what depends on more than one frame. Here stand the single frames of these rows; the
//! rest are tests of their own.

use probe_common::{
    Fate,
    Reason::{
        IcmpError, PolicyDrop, PolicyPass, PolicyRedirect, RedirectGone, RedirectLoop, RedirectTooLong,
    },
};

use super::{ALLOWED, BLOCKED, case, drops, passes, plain, row};
use crate::corpus::{
    Target,
    build::{ACK, SYN, icmp, ip_frame, number, tcp, udp, v6},
    data::Row,
    places::B6,
};

pub(super) fn add(rows: &mut Vec<Row>) {
    let flood = v6(B6, number::ICMPV6).frame(&icmp(2, 0, &[0, 0, 5, 0]));
    let cases = vec![passes("packet too big from B, one of a flood", flood, IcmpError).off_wire()];
    row(rows, 21, "PTB flood from B: the cap holds, the rest drops", cases);

    let unsolicited = |what: &str| {
        let mut cases = Vec::new();
        for (who, source) in BLOCKED {
            let echo_reply = if source.is_ipv4() {
                (number::ICMP, 0)
            } else {
                (number::ICMPV6, 129)
            };
            for (name, protocol, payload) in [
                ("SYN-ACK", number::TCP, tcp(443, 40_000, SYN | ACK, b"")),
                ("ACK", number::TCP, tcp(443, 40_000, ACK, b"corpus")),
                ("RST", number::TCP, tcp(443, 40_000, 4, b"")),
                ("answer from UDP port 53", number::UDP, udp(53, 40_000, b"corpus")),
                (
                    "answer from UDP port 123",
                    number::UDP,
                    udp(123, 40_000, b"corpus"),
                ),
                (
                    "answer from UDP port 443",
                    number::UDP,
                    udp(443, 40_000, b"corpus"),
                ),
                ("echo reply", echo_reply.0, icmp(echo_reply.1, 0, &[0, 1, 0, 1])),
            ] {
                let frame = ip_frame(source, protocol, &payload);
                cases.push(drops(format!("{what} {name}, {who}"), frame, PolicyDrop));
            }
        }
        cases
    };
    let says = "SYN-ACK and UDP replies from B to our own connections: pass while the flow is known; these belong to none";
    row(rows, 36, says, unsolicited("without a flow:"));
    row(
        rows,
        37,
        "forged SYN-ACK or ACK from B, port 53 from B unsolicited: drop",
        unsolicited("forged"),
    );

    let established = |(who, source)| {
        let frame = ip_frame(source, number::TCP, &tcp(40_000, 443, ACK, b"corpus"));
        drops(format!("established inbound flow, {who}"), frame, PolicyDrop)
    };
    row(
        rows,
        38,
        "established inbound flow from B when a new policy lands: drop at the next packet",
        BLOCKED.map(established).into(),
    );

    let mut cases = Vec::new();
    for policy in ["redirect", "redirect-next-hop"] {
        let told = |name: &str| format!("{policy}: {name}");
        for (who, source) in BLOCKED {
            let gone = drops(told(&format!("no target, {who}")), plain(source), RedirectGone);
            cases.push(gone.policy(policy).target(Target::Absent));
            let sent = case(
                told(&format!("to another interface, {who}")),
                plain(source),
                Fate::Redirected,
                PolicyRedirect,
            );
            cases.push(sent.policy(policy).target(Target::Other));
            for (len, reason, fate) in [
                (1514, PolicyRedirect, Fate::Redirected),
                (1515, RedirectTooLong, Fate::Dropped),
            ] {
                let long = case(
                    told(&format!("{len} bytes to an MTU of 1500, {who}")),
                    plain(source),
                    fate,
                    reason,
                );
                cases.push(long.lengths(len..=len).policy(policy).target(Target::Other));
            }
            let (reason, fate) = match policy {
                "redirect" => (RedirectLoop, Fate::Dropped),
                _ => (PolicyRedirect, Fate::Redirected),
            };
            let back = case(
                told(&format!("back where it came from, {who}")),
                plain(source),
                fate,
                reason,
            );
            cases.push(back.policy(policy).target(Target::Ingress));
        }
        for (who, source) in ALLOWED {
            let other = passes(
                told(&format!("nothing to redirect, {who}")),
                plain(source),
                PolicyPass,
            );
            cases.push(other.policy(policy).target(Target::Absent));
        }
    }
    row(
        rows,
        44,
        "REDIRECT: target absent, MTU smaller, back out of the same interface with unchanged MACs: drop with a reason",
        cases,
    );
    row(
        rows,
        45,
        "generic mode: the whole corpus has the same verdicts (a test of its own)",
        Vec::new(),
    );
}
