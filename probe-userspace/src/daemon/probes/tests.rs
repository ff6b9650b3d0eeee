//! Checks against real sockets on loopback.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, UdpSocket},
};

use super::*;

fn host(text: &str) -> Host {
    let (host, remarks) = crate::host::parse("cordon.toml", text);
    host.unwrap_or_else(|| panic!("{remarks:?}"))
}

/// A root with a gateway and two resolvers.
fn root() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        (
            "proc/net/route",
            "head\neth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
        ),
        (
            "etc/resolv.conf",
            "nameserver 192.0.2.53\nnameserver 192.0.2.54\n",
        ),
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn names(checks: &[Check]) -> Vec<String> {
    checks.iter().map(ToString::to_string).collect()
}

#[test]
fn gateways_and_resolvers_are_probed_unless_the_host_file_says_otherwise() {
    let root = root();
    let (found, share) = checks(&host(""), root.path());
    assert_eq!(
        names(&found),
        ["gateway 192.0.2.1", "resolver 192.0.2.53", "resolver 192.0.2.54"]
    );
    assert_eq!(share, None);
    let (found, share) = checks(
        &host(
            "[[source]]\nurl = \"https://a.example/x\"\nkind = \"geo\"\n\
             [[source]]\nurl = \"file:///x\"\nkind = \"geo\"\n\
             [[probe]]\nbundle_server = true\n[[probe]]\ntcp = \"[::1]:443\"\n[[probe]]\ntcp = \"[::1]:443\"\n\
             [[probe]]\nhttp = \"http://127.0.0.1:81/h\"\nstatus = 204\n[[probe]]\nmax_drop_share = 0.25\n",
        ),
        root.path(),
    );
    assert_eq!(
        names(&found),
        [
            "bundle server a.example port 443",
            "tcp [::1]:443",
            "http://127.0.0.1:81/h"
        ]
    );
    assert_eq!(share, Some(0.25));
}

fn result(check: Check) -> Result<(), String> {
    run(vec![check]).remove(0).result
}

#[test]
fn tcp_holds_while_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(result(Check::Tcp(address)), Ok(()));
    let server = Check::BundleServer {
        host: "127.0.0.1".to_owned(),
        port: address.port(),
    };
    assert_eq!(result(server.clone()), Ok(()));
    drop(listener);
    assert!(result(Check::Tcp(address)).unwrap_err().contains("no connection"));
    assert!(result(server).is_err());
}

#[test]
fn http_holds_with_the_expected_status_only() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().take(3) {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let answer = match head.split(' ').nth(1).unwrap() {
                "/ok" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/broken" => "HTTP/1.1 500 Oh\r\n\r\n",
                _ => "hello\r\n",
            };
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let get = |target: &str| {
        result(Check::Http {
            address,
            target: target.to_owned(),
            status: 204,
        })
    };
    assert_eq!(get("/ok"), Ok(()));
    assert!(get("/broken").unwrap_err().contains("500, not 204"));
    assert!(get("/odd").unwrap_err().contains("no HTTP"));
}

#[test]
fn a_resolver_holds_if_it_answers_the_question() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        for code in [0, 2, 2] {
            let (n, peer) = socket.recv_from(&mut buffer).unwrap();
            let mut stray = buffer[..n].to_vec();
            stray[0] ^= 0xff;
            stray[2] |= 0x80;
            socket.send_to(&stray, peer).unwrap();
            let mut answer = buffer[..n].to_vec();
            answer[2] |= 0x80;
            answer[3] |= code;
            socket.send_to(&answer, peer).unwrap();
        }
    });
    assert_eq!(result(Check::Resolver(address)), Ok(()));
    assert!(result(Check::Resolver(address)).unwrap_err().contains("SERVFAIL"));
    assert!(result(Check::Resolver(address)).is_err(), "nobody answers");
}

#[test]
fn a_gateway_is_pinged_and_else_looked_up_among_the_neighbours() {
    let gateway = |address: &str| Check::Gateway {
        address: address.parse().unwrap(),
        answers_ping: true,
    };
    let outcomes = before(vec![gateway("127.0.0.1"), gateway("240.0.0.1")]);
    assert_eq!(outcomes[0].result, Ok(()));
    assert_eq!(
        outcomes[0].check,
        gateway("127.0.0.1"),
        "it is to answer pings from now on"
    );
    assert!(outcomes[1].result.is_err(), "{outcomes:?}");
}

#[test]
fn rounds_go_on_until_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = rounds(vec![Check::Tcp(listener.local_addr().unwrap())]).unwrap();
    for _ in 0..2 {
        assert_eq!(receiver.recv().unwrap().outcomes[0].result, Ok(()));
    }
    // Nobody looks for a while: the rounds go on, and each says when it was made.
    thread::sleep(3 * PAUSE);
    let looked = Instant::now();
    let missed: Vec<Round> = receiver.try_iter().collect();
    assert!(missed.len() >= 2, "{missed:?}");
    assert!(
        missed
            .iter()
            .all(|round| round.began <= round.ended && round.ended <= looked)
    );
    assert!(missed.windows(2).all(|two| two[1].began >= two[0].ended + PAUSE));
}
