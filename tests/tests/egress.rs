//! A host that blocks a country still reaches servers there, and nobody there reaches the host by pretending to
//! answer.

/// Programs on interfaces: attached when a policy needs them, taken up, replaced, and gone.
mod hooks;
/// Small real servers and clients, TCP, UDP and ping.
mod sockets;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use cordon::{
    compile::Image,
    dataplane::{Dataplane, Settings},
    host::{EgressHook, ModeChoice},
};
use integration_tests::{
    frames::FrameSocket,
    images,
    lab::{EDGE_IFNAME, EDGE_V4, INTERNET_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    probes::Outcome,
    scratch::Scratch,
    servers::{HTTP_PORT, Servers},
};

use probe_common::map_name::program;

use self::sockets::{Answerer, forged};

const RU: &str = "81.0.7.7";
const RU_V6: &str = "2a00:81::7";
const RU_OTHER: &str = "81.0.9.9";
const NTP_PORT: u16 = 123;

/// An edge whose policy is enforced by a dataplane of its own.
struct Host {
    dataplane: Dataplane,
    lab: Lab,
    scratch: Scratch,
}

impl Host {
    fn new(egress: EgressHook) -> Self {
        let lab = Lab::new().unwrap();
        lab.edge.sysctl("ipv4/ping_group_range", "0 2147483647").unwrap();
        let scratch = Scratch::new().unwrap();
        let settings = Settings {
            pin_dir: Some(scratch.bpffs().join("cordon")),
            egress,
            ..Default::default()
        };
        let dataplane = lab.edge.run(|| Dataplane::open(&settings)).unwrap();
        Self {
            dataplane,
            lab,
            scratch,
        }
    }

    /// Enforces a policy on the edge.
    fn enforce(&mut self, policy: &str) {
        let image = image(policy);
        let Self { dataplane, lab, .. } = self;
        lab.edge.run(|| {
            dataplane.publish(&image, None).unwrap();
            dataplane.attach(EDGE_IFNAME, ModeChoice::RequireNative).unwrap();
        });
    }

    /// Packets counted for a reason.
    fn packets(&self, reason: &str) -> u64 {
        let rows = self.dataplane.counters().unwrap();
        let of_reason = rows.iter().filter(|row| row.reason == reason);
        of_reason.map(|row| row.packets).sum()
    }

    /// Whether anything from a source gets to the edge's servers.
    fn is_blocked(&self, source: &str) -> bool {
        self.lab.reach_from(address(source)).unwrap().uniform() == Some(Outcome::Blocked)
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn socket_address(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address(text), port)
}

fn block_ru() -> String {
    images::drop_countries(&["RU"])
}

fn both_ways() -> String {
    let one_way = "action = \"drop\"\n";
    block_ru().replace(one_way, &format!("{one_way}direction = \"both\"\n"))
}

fn image(policy: &str) -> Arc<Image> {
    let database = MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("2a00:81::/32", "RU");
    images::image(policy, &images::location(&database).unwrap()).unwrap()
}

fn fetches_from_servers_there(hook: EgressHook, name: &str) {
    let mut host = Host::new(hook);
    let _http = Servers::start(&host.lab.internet).unwrap();
    let _ntp = [RU, RU_V6].map(|there| Answerer::start(&host.lab.internet, socket_address(there, NTP_PORT)));
    host.enforce(&block_ru());
    assert_eq!(host.dataplane.interfaces().unwrap()[0].egress, Some(name));

    for there in [RU, RU_V6] {
        assert!(host.is_blocked(there), "{there} is blocked");
        let before = host.packets("reply");
        host.lab.edge.run(|| {
            sockets::fetch(socket_address(there, HTTP_PORT)).unwrap();
            sockets::ask_connected(socket_address(there, NTP_PORT)).unwrap();
            sockets::ask_unconnected(socket_address(there, NTP_PORT)).unwrap();
            sockets::ping(address(there)).unwrap();
        });
        assert!(
            host.packets("reply") >= before + 4,
            "each answer from {there} passed as a reply"
        );
        assert!(host.is_blocked(there), "{there} is blocked afterwards too");
    }
}

#[test]
fn a_host_that_blocks_a_country_fetches_from_servers_there_with_tcx() {
    fetches_from_servers_there(EgressHook::Tcx, "tcx");
}

#[test]
fn a_host_that_blocks_a_country_fetches_from_servers_there_with_clsact() {
    fetches_from_servers_there(EgressHook::Clsact, "clsact");
}

#[test]
fn without_replies_answers_are_dropped() {
    let mut host = Host::new(EgressHook::Auto);
    let _ntp = Answerer::start(&host.lab.internet, socket_address(RU, NTP_PORT));
    host.enforce(&block_ru().replace("version = 1\n", "version = 1\nreplies = false\n"));
    assert_eq!(host.dataplane.interfaces().unwrap()[0].egress, None);
    let asked = host
        .lab
        .edge
        .run(|| sockets::ask_connected(socket_address(RU, NTP_PORT)));
    asked.expect_err("the answer comes from a blocked country");
}

#[test]
fn what_only_looks_like_an_answer_is_dropped() {
    let mut host = Host::new(EgressHook::Auto);
    let _http = Servers::start(&host.lab.internet).unwrap();
    host.enforce(&block_ru());
    // A connection to this very address, and one from this very port of the edge: neither opens a way for others.
    let client = host
        .lab
        .edge
        .run(|| sockets::connect(socket_address(RU, HTTP_PORT)).unwrap());
    let port = client.local_addr().unwrap().port();
    let edge = SocketAddr::new(EDGE_V4.into(), port);

    let arrived = forged::arrived(
        &host.lab,
        &[
            forged::syn_ack(socket_address(RU, 443), edge),
            forged::syn_ack(socket_address(RU_OTHER, HTTP_PORT), edge),
            forged::syn_ack(
                socket_address(RU, HTTP_PORT),
                SocketAddr::new(EDGE_V4.into(), port ^ 1),
            ),
            forged::udp(socket_address(RU, 53), edge),
            forged::udp(socket_address(RU, 443), edge),
            forged::udp(socket_address(RU, HTTP_PORT), edge),
        ],
    );
    assert_eq!(arrived, [false; 6], "none of these answers anything");
    let genuine = forged::syn_ack(socket_address(RU, HTTP_PORT), edge);
    assert_eq!(
        forged::arrived(&host.lab, &[genuine]),
        [true],
        "the control: a packet of the connection arrives"
    );
}

#[test]
fn a_servers_answers_open_no_way_back() {
    let mut host = Host::new(EgressHook::Auto);
    host.enforce(images::PASS_ALL);
    // One server on a well-known port, one on a port from the range that the kernel gives to clients.
    let in_range = 40_404;
    let servers = [NTP_PORT, in_range].map(|port| {
        let its = SocketAddr::new(EDGE_V4.into(), port);
        (its, Answerer::start(&host.lab.edge, its))
    });
    for (server, _) in &servers {
        let client = sockets::client(&host.lab.internet, socket_address(RU, 5_555), *server);
        sockets::exchange(&client).unwrap();
    }
    host.enforce(&block_ru());
    for (server, _) in &servers {
        let client = sockets::client(&host.lab.internet, socket_address(RU, 5_555), *server);
        sockets::exchange(&client)
            .expect_err("a client that was active before the policy is blocked at once");
    }
    assert!(host.packets("policy_drop") >= 2);
    assert_eq!(host.packets("reply"), 0);
}

#[test]
fn an_idle_connection_is_over() {
    let mut host = Host::new(EgressHook::Auto);
    let _ntp = Answerer::start(&host.lab.internet, socket_address(RU, NTP_PORT));
    host.enforce(&block_ru());
    let client = host
        .lab
        .edge
        .run(|| sockets::open_connected(socket_address(RU, NTP_PORT)).unwrap());
    sockets::exchange(&client).unwrap();
    let edge = client.local_addr().unwrap();

    let late = forged::udp(socket_address(RU, NTP_PORT), edge);
    assert_eq!(forged::arrived(&host.lab, std::slice::from_ref(&late)), [true]);
    client.recv(&mut [0; 512]).unwrap();
    hooks::age_flows(&host, probe_common::IDLE_OTHER_NS);
    assert_eq!(
        forged::arrived(&host.lab, &[late]),
        [false],
        "a minute without a packet ends it"
    );
    sockets::exchange(&client).expect("the next question opens it again");
}

#[test]
fn what_leaves_for_a_place_that_is_blocked_both_ways_is_dropped() {
    let mut host = Host::new(EgressHook::Auto);
    let _http = Servers::start(&host.lab.internet).unwrap();
    let _ntp = [RU, RU_V6].map(|there| Answerer::start(&host.lab.internet, socket_address(there, NTP_PORT)));
    let both = block_ru().replace("action = \"drop\"\n", "action = \"drop\"\ndirection = \"both\"\n");
    host.enforce(&both);
    let sniffer = integration_tests::frames::FrameSocket::open(&host.lab.internet, INTERNET_IFNAME).unwrap();
    for there in [RU, RU_V6] {
        host.lab.edge.run(|| {
            sockets::connect(socket_address(there, HTTP_PORT)).expect_err("no connection");
            sockets::ask_connected(socket_address(there, NTP_PORT)).expect_err("no answer");
        });
    }
    assert!(
        host.packets("egress_drop") >= 4,
        "what leaves is dropped and counted"
    );
    let left = sniffer.receive(1_000, Duration::from_millis(200)).unwrap();
    let to_there = |frame: &&Vec<u8>| frame.get(30..34) == Some(&[81, 0, 7, 7][..]);
    assert_eq!(left.iter().filter(to_there).count(), 0, "none got onto the wire");
    let out: Vec<_> = host
        .dataplane
        .counters()
        .unwrap()
        .into_iter()
        .filter(|row| row.direction == "out")
        .collect();
    assert!(out.iter().all(|row| row.reason == "egress_drop"), "{out:?}");
    assert_eq!(host.packets("reply"), 0, "replies are off for such a place");
    let programs = host.dataplane.programs().unwrap();
    for name in [program::EGRESS, program::EGRESS_GENERATION] {
        let size = programs.iter().find(|size| size.name == name).unwrap();
        println!("{size:?}");
        assert!(size.verified_instructions.unwrap() < 250_000, "{size:?}");
    }
}

#[test]
fn an_unconfirmed_policy_stops_dropping_what_leaves_at_its_deadline() {
    let mut host = Host::new(EgressHook::Auto);
    let _http = Servers::start(&host.lab.internet).unwrap();
    host.enforce(images::PASS_ALL);
    let connect = |host: &Host| {
        host.lab
            .edge
            .run(|| sockets::connect(socket_address(RU, HTTP_PORT)).map(drop))
    };
    connect(&host).expect("the control: everything passes");
    let image = image(&both_ways());
    let Host { dataplane, lab, .. } = &mut host;
    lab.edge
        .run(|| dataplane.publish(&image, Some(Duration::from_secs(3))))
        .unwrap();
    connect(&host).expect_err("in force until the deadline");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !host.dataplane.state().unwrap().reverted {
        assert!(Instant::now() < deadline, "the deadline never came");
        std::thread::sleep(Duration::from_millis(20));
    }
    connect(&host).expect("the kernel has reverted, with nobody's help");
}

#[test]
fn what_leaves_in_a_pppoe_session_is_seen() {
    for hook in [EgressHook::Tcx, EgressHook::Clsact] {
        let mut host = Host::new(hook);
        host.enforce(&block_ru());
        let here = SocketAddr::from((EDGE_V4, 40_000));
        let there = socket_address(RU, 443);
        let leave = |host: &Host| {
            let edge = FrameSocket::open(&host.lab.edge, EDGE_IFNAME).unwrap();
            let internet = FrameSocket::open(&host.lab.internet, INTERNET_IFNAME).unwrap();
            let request = forged::in_session(&forged::syn(here, there));
            let has_left = edge.offer(&request).unwrap();
            let seen = internet.receive(10_000, Duration::from_millis(400)).unwrap();
            assert_eq!(seen.contains(&request), has_left);
            has_left
        };
        let answer = forged::in_session(&forged::syn_ack(there, here));
        let answers = std::slice::from_ref(&answer);
        assert_eq!(forged::arrived(&host.lab, answers), [false], "nobody asked");
        assert!(leave(&host));
        assert_eq!(forged::arrived(&host.lab, answers), [true], "an own connection");

        host.enforce(&both_ways());
        assert!(!leave(&host), "closed both ways");
    }
}
