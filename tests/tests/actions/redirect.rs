//! `redirect`: out of another interface, to whoever scrubs there; and what happens when that interface fails.

use etherparse::Ipv4Header;
use std::time::Duration;

use integration_tests::{
    cordon_process::Cordon,
    counters::Counters,
    frames::FrameSocket,
    lab::{EDGE_IFNAME, EDGE_MAC, INTERNET_IFNAME, INTERNET_MAC, mac_text},
    ledger::Ledger,
    netns::Netns,
    segments::udp_frame_of,
    taker::Taker,
};

use super::stage::{
    PATIENCE, balance, open_books, send_all, silent_edge, take_answers, tier, treat_ru, wait_until,
};
use crate::traffic::edge::{Edge, NL, RU, address};

/// The edge's interface towards the scrubber.
const SCRUB_IFNAME: &str = "scrub0";
const SCRUB_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x11];
/// The scrubber's own.
const SCRUBBER_IFNAME: &str = "scrub1";
const SCRUBBER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x12];

/// The edge and, behind another interface of it, a namespace that packets are redirected to.
struct Scrubbed {
    edge: Edge,
    scrubber: Netns,
    _taker: Option<Taker>,
}

impl Scrubbed {
    fn new() -> Self {
        let mut scrubbed = Self {
            edge: silent_edge(),
            scrubber: Netns::new().unwrap(),
            _taker: None,
        };
        scrubbed._taker = Some(scrubbed.add_pair());
        scrubbed
    }

    /// The taker ends with the pair.
    fn add_pair(&self) -> Taker {
        for netns in [&self.edge.lab.edge, &self.scrubber] {
            netns.sysctl("ipv6/conf/default/disable_ipv6", "1").unwrap();
        }
        self.edge
            .lab
            .edge
            .ip_batch(&format!(
                "link add {SCRUB_IFNAME} address {} type veth peer name {SCRUBBER_IFNAME} address {} netns {}\n\
                 link set {SCRUB_IFNAME} arp off up\n",
                mac_text(SCRUB_MAC),
                mac_text(SCRUBBER_MAC),
                self.scrubber.path()
            ))
            .unwrap();
        self.scrubber
            .ip_batch(&format!("link set {SCRUBBER_IFNAME} arp off up\n"))
            .unwrap();
        Taker::attach(&self.scrubber, SCRUBBER_IFNAME).unwrap()
    }

    fn start(&self) -> Cordon<'_> {
        let cordon = self
            .edge
            .start(&policy(&format!("next_hop = \"{}\"", mac_text(SCRUBBER_MAC))));
        self.wait_until_redirected(&cordon);
        cordon
    }

    /// Changes the edge's end of the pair to the scrubber.
    fn link(&self, change: &str) {
        self.edge.lab.edge.ip_batch(&format!("link {change}\n")).unwrap();
    }

    /// Sends frames of this length from Russia and gives what was counted; the books must balance.
    fn send(&self, cordon: &Cordon<'_>, n: usize, frame_bytes: usize) -> Counters {
        let books = open_books(&self.edge.lab, cordon);
        send_all(
            &self.edge.lab,
            &vec![udp_frame_of(address(RU[0]), 9, frame_bytes); n],
        );
        let counted = balance(&self.edge.lab, cordon, &books);
        assert_eq!(counted.received_packets(), n as u64, "{counted}");
        counted
    }

    /// Sends single frames until one is counted under this reason: the daemon has heard of the change.
    fn wait_for(&self, cordon: &Cordon<'_>, reason: &str, frame_bytes: usize) {
        wait_until(reason, || self.send(cordon, 1, frame_bytes).packets(reason) == 1);
    }

    fn wait_until_redirected(&self, cordon: &Cordon<'_>) {
        self.wait_for(cordon, "policy_redirect", 100);
    }

    /// Sends frames that must all arrive at the scrubber.
    fn expect_redirected(&self, cordon: &Cordon<'_>, frame_bytes: usize) {
        let scrubber = FrameSocket::open(&self.scrubber, SCRUBBER_IFNAME).unwrap();
        let counted = self.send(cordon, 50, frame_bytes);
        assert_eq!(counted.packets_of("policy_redirect", "RU"), 50, "{counted}");
        let arrived = scrubber.receive(50, PATIENCE).unwrap();
        assert_eq!(arrived.len(), 50, "all arrive at the scrubber: {counted}");
    }
}

fn policy(target: &str) -> String {
    let more = format!("interface = \"{SCRUB_IFNAME}\"\n{target}");
    treat_ru("scrub", &tier("scrub", "redirect", &more))
}

/// The frame as a router sends it on: with one less to live.
fn forwarded(frame: &[u8]) -> Vec<u8> {
    let (ethernet, packet) = frame.split_at(14);
    let mut sent = ethernet.to_vec();
    if packet[0] >> 4 == 6 {
        sent.extend(packet);
        sent[14 + 7] -= 1;
        return sent;
    }
    let (mut header, payload) = Ipv4Header::from_slice(packet).unwrap();
    header.time_to_live -= 1;
    header.header_checksum = header.calc_header_checksum();
    header.write(&mut sent).unwrap();
    sent.extend(payload);
    sent
}

#[test]
fn what_has_no_hop_left_is_not_sent_on() {
    let scrubbed = Scrubbed::new();
    let cordon = scrubbed.start();
    let lab = &scrubbed.edge.lab;
    let scrubber = FrameSocket::open(&scrubbed.scrubber, SCRUBBER_IFNAME).unwrap();
    let books = open_books(lab, &cordon);
    // One hop: the scrubber must not get it with none.
    let [mut v4, mut v6] = RU.map(|source| udp_frame_of(address(source), 9, 100));
    v4[22] = 1;
    let (header, _) = Ipv4Header::from_slice(&v4[14..]).unwrap();
    v4[24..26].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
    v6[21] = 1;
    send_all(lab, &[v4, v6]);
    let counted = balance(lab, &cordon, &books);
    assert_eq!(counted.packets_of("redirect_loop", "RU"), 2, "{counted}");
    let arrived = scrubber.receive(1, Duration::from_millis(100)).unwrap();
    assert!(arrived.is_empty(), "{arrived:?}");
}

#[test]
fn packets_arrive_at_the_scrubber_with_its_addresses() {
    for (mode, obtained) in [("require-native", "native"), ("skb", "skb")] {
        arrive_with_its_addresses(mode, obtained);
    }
}

fn arrive_with_its_addresses(mode: &str, obtained: &str) {
    let scrubbed = Scrubbed::new();
    let to_scrubber = policy(&format!("next_hop = \"{}\"", mac_text(SCRUBBER_MAC)));
    let cordon = scrubbed.edge.start_in_mode(mode, &to_scrubber);
    assert_eq!(cordon.wait_attached().unwrap(), obtained);
    scrubbed.wait_until_redirected(&cordon);
    let lab = &scrubbed.edge.lab;
    let scrubber = FrameSocket::open(&scrubbed.scrubber, SCRUBBER_IFNAME).unwrap();
    let edge = FrameSocket::open(&lab.edge, EDGE_IFNAME).unwrap();
    let sender = FrameSocket::open(&lab.internet, INTERNET_IFNAME).unwrap();
    let books = open_books(lab, &cordon);
    for source in RU {
        let frame = udp_frame_of(address(source), 9, 200);
        sender.send(&frame).unwrap();
        let expected = [SCRUBBER_MAC.as_slice(), &SCRUB_MAC, &forwarded(&frame)[12..]].concat();
        assert_eq!(
            scrubber.receive(1, PATIENCE).unwrap(),
            [expected],
            "from {source} in {obtained} mode"
        );
    }
    let frame = udp_frame_of(address(NL[0]), 9, 200);
    sender.send(&frame).unwrap();
    assert_eq!(
        edge.receive(2, Duration::from_millis(500)).unwrap(),
        [frame],
        "others stay"
    );
    let counted = balance(lab, &cordon, &books);
    assert_eq!(counted.packets_of("policy_redirect", "RU"), 2, "{counted}");
    assert_eq!(counted.received_packets(), 3, "{counted}");
}

#[test]
fn without_a_next_hop_the_frame_stays_as_it_is() {
    let scrubbed = Scrubbed::new();
    let cordon = scrubbed.edge.start(&policy(""));
    scrubbed.wait_until_redirected(&cordon);
    let scrubber = FrameSocket::open(&scrubbed.scrubber, SCRUBBER_IFNAME).unwrap();
    let frame = udp_frame_of(address(RU[0]), 9, 200);
    send_all(&scrubbed.edge.lab, std::slice::from_ref(&frame));
    assert_eq!(scrubber.receive(1, PATIENCE).unwrap(), [frame]);
}

#[test]
fn a_deleted_target_drops_with_a_reason_and_works_again_when_it_is_back() {
    let scrubbed = Scrubbed::new();
    let cordon = scrubbed.start();
    scrubbed.expect_redirected(&cordon, 100);
    let edge = FrameSocket::open(&scrubbed.edge.lab.edge, EDGE_IFNAME).unwrap();

    scrubbed.link(&format!("delete {SCRUB_IFNAME}"));
    // The kernel has taken it out of the map by now, whatever the daemon knows.
    let counted = scrubbed.send(&cordon, 50, 100);
    assert_eq!(counted.packets_of("redirect_gone", "RU"), 50, "{counted}");
    assert!(
        edge.receive(1, Duration::from_millis(100)).unwrap().is_empty(),
        "nothing of it passes to the edge"
    );

    let _taker = scrubbed.add_pair();
    scrubbed.wait_until_redirected(&cordon);
    scrubbed.expect_redirected(&cordon, 100);
}

#[test]
fn a_target_that_is_down_is_taken_out_and_comes_back() {
    let scrubbed = Scrubbed::new();
    let cordon = scrubbed.start();
    scrubbed.link(&format!("set {SCRUB_IFNAME} down"));
    scrubbed.wait_for(&cordon, "redirect_gone", 100);
    let counted = scrubbed.send(&cordon, 50, 100);
    assert_eq!(counted.packets_of("redirect_gone", "RU"), 50, "{counted}");
    scrubbed.link(&format!("set {SCRUB_IFNAME} up"));
    scrubbed.wait_until_redirected(&cordon);
    scrubbed.expect_redirected(&cordon, 100);
}

#[test]
fn frames_longer_than_the_target_takes_are_dropped_with_a_reason() {
    let scrubbed = Scrubbed::new();
    let cordon = scrubbed.start();
    scrubbed.link(&format!("set {SCRUB_IFNAME} mtu 1000"));
    scrubbed.wait_for(&cordon, "redirect_too_long", 1400);
    let counted = scrubbed.send(&cordon, 50, 1019);
    assert_eq!(
        counted.packets_of("redirect_too_long", "RU"),
        50,
        "one byte more than the MTU, an Ethernet header and a tag: {counted}"
    );
    scrubbed.expect_redirected(&cordon, 1018);
    scrubbed.link(&format!("set {SCRUB_IFNAME} mtu 1500"));
    scrubbed.wait_for(&cordon, "policy_redirect", 1400);
    scrubbed.expect_redirected(&cordon, 1400);
}

#[test]
fn back_out_of_the_same_interface_is_refused_only_where_it_would_loop() {
    let back = |target: &str| {
        let more = format!("interface = \"{EDGE_IFNAME}\"\n{target}");
        treat_ru("back", &tier("back", "redirect", &more))
    };
    let edge = silent_edge();
    let _taker = take_answers(&edge);
    let cordon = edge.start(&back(""));
    let lab = &edge.lab;
    let frames = vec![udp_frame_of(address(RU[0]), 9, 100); 20];
    let internet = FrameSocket::open(&lab.internet, INTERNET_IFNAME).unwrap();
    wait_until("the target is known", || {
        let before = cordon.counters().unwrap();
        send_all(lab, &frames[..1]);
        wait_until("the frame is counted", || cordon.counters().unwrap() != before);
        cordon.counters().unwrap().since(&before).packets("redirect_loop") == 1
    });
    let books = open_books(lab, &cordon);
    send_all(lab, &frames);
    let counted = balance(lab, &cordon, &books);
    assert_eq!(counted.packets_of("redirect_loop", "RU"), 20, "{counted}");
    let arrived = internet.receive(20, Duration::from_millis(200)).unwrap();
    // The edge sends things of its own, too.
    let n_back = arrived
        .iter()
        .filter(|frame| frame[14..] == frames[0][14..])
        .count();
    assert_eq!(n_back, 0);

    // To another neighbour on the same link: a hairpin, no loop.
    cordon
        .apply(&back(&format!("next_hop = \"{}\"", mac_text(INTERNET_MAC))))
        .unwrap();
    let books = Ledger::open(&lab.edge, &cordon, &[EDGE_IFNAME]).unwrap();
    send_all(lab, &frames);
    let expected = [INTERNET_MAC.as_slice(), &EDGE_MAC, &forwarded(&frames[0])[12..]].concat();
    let mut n_arrived = 0;
    wait_until("all are back", || {
        let arrived = internet.receive(20, Duration::from_millis(100)).unwrap();
        n_arrived += arrived.iter().filter(|frame| **frame == expected).count();
        n_arrived == frames.len()
    });
    let counted = balance(lab, &cordon, &books);
    assert_eq!(counted.packets_of("policy_redirect", "RU"), 20, "{counted}");
}
