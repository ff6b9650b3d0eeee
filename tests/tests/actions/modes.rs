//! Every action in both XDP modes, on an upload: what a sender's kernel hands over at once is longer than a page, so that
//! it arrives as a frame of several buffers.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use integration_tests::{cordon_process::Cordon, lab::edge_address};

use super::stage::{PATIENCE, connect_from, pass_all, take_answers, tier, treat_ru};
use crate::traffic::edge::{Edge, RU, address};

const PORT: u16 = 8099;
const N_BYTES: usize = 4 << 20;

/// An open connection from a source to the edge: client's and server's end.
fn connection(edge: &Edge, source: IpAddr) -> [TcpStream; 2] {
    let to = SocketAddr::new(edge_address(source), PORT);
    let listener = edge.lab.edge.run(|| TcpListener::bind(to)).unwrap();
    let client = edge.lab.internet.run(|| connect_from(source, to)).unwrap();
    let (server, _) = listener.accept().unwrap();
    for end in [&client, &server] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    [client, server]
}

/// Bytes that no shift or loss leaves as they are.
fn body() -> Vec<u8> {
    (0..N_BYTES).map(|idx| (idx * 31 / 7) as u8).collect()
}

fn expect_uploaded(cordon: &Cordon<'_>, what: &str, reason: &str, [client, server]: &mut [TcpStream; 2]) {
    let before = cordon.counters().unwrap();
    let body = body();
    thread::scope(|scope| {
        scope.spawn(|| client.write_all(&body).unwrap());
        let mut received = vec![0; N_BYTES];
        server.read_exact(&mut received).unwrap();
        assert!(received == body, "{what}: what was sent arrived, byte by byte");
    });
    let counted = cordon.counters().unwrap().since(&before);
    assert!(counted.packets_of(reason, "RU") > 0, "{what}: {counted}");
    assert!(counted.total_bytes() > N_BYTES as u64, "{what}: {counted}");
}

#[test]
fn an_open_connection_passes_every_action_that_lets_it_in_either_mode() {
    for (mode, obtained) in [("require-native", "native"), ("skb", "skb")] {
        let edge = Edge::new();
        let cordon = edge.start_in_mode(mode, &pass_all());
        assert_eq!(cordon.wait_attached().unwrap(), obtained);
        let tiers = [
            tier("marked", "mark", "dscp = \"ef\""),
            tier("wide", "limit", "bytes_per_s = 10000000000"),
        ];
        for source in RU.map(address) {
            let mut ends = connection(&edge, source);
            for (action, reason) in [
                ("pass", "policy_pass"),
                ("count", "policy_count"),
                ("drain", "drain_pass"),
                ("marked", "policy_mark"),
                ("wide", "within_limit"),
            ] {
                cordon.apply(&treat_ru(action, &tiers.concat())).unwrap();
                let what = format!("{action} in {obtained} mode from {source}");
                expect_uploaded(&cordon, &what, reason, &mut ends);
            }
        }
    }
}

#[test]
fn an_upload_is_reset_in_either_mode() {
    for mode in ["require-native", "skb"] {
        let edge = Edge::new();
        let _taker = take_answers(&edge);
        let cordon = edge.start_in_mode(mode, &pass_all());
        for source in RU.map(address) {
            cordon.apply(&pass_all()).unwrap();
            let [mut client, server] = connection(&edge, source);
            cordon.apply(&treat_ru("reject", "")).unwrap();
            // As much as the buffers take: the first answer breaks it off.
            let broken = loop {
                if let Err(error) = client.write_all(&body()) {
                    break error;
                }
            };
            assert!(
                matches!(broken.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE)),
                "{mode}, {source}: {broken}"
            );
            drop(server);
        }
        let counted = cordon.counters().unwrap();
        assert!(counted.packets_of("policy_reject", "RU") > 0, "{mode}: {counted}");
    }
}
