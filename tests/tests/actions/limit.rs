//! `limit`: the wire gets the rate. The measured figures are printed: `--nocapture` shows them.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use integration_tests::{
    cordon_process::Cordon,
    counters::Counters,
    frames::FrameSocket,
    lab::{EDGE_IFNAME, INTERNET_IFNAME},
    ledger::Ledger,
    pacer::{Sent, Sink, run_on, send_at_rate},
    segments::udp_frame_of,
    test_run::run_frame,
};
use probe_common::map_name::program;

use super::stage::{
    PATIENCE, balance, open_books, send_all, silent_edge, start_with, tier, treat_ru, wait_until,
};
use crate::traffic::edge::{Edge, NL, RU, address};

/// Where the senders send to.
const PORT: u16 = 9;
/// How long they do.
const DURATION: Duration = Duration::from_secs(3);
/// What the issue allows: the wire within a quarter of rate * time + burst.
const TOLERANCE: f64 = 0.25;
/// Sources of one country that do not share a bucket: another address, and another /64.
const RU_TOO: [&str; 2] = ["81.0.8.8", "2a01:100:0:8::8"];

/// A tenth of a second's worth may come at once: the default.
const fn burst(rate: u64) -> u64 {
    rate / 10
}

/// Idle for longer than this, a bucket loses what it cannot save up: the default burst is a tenth of a second's worth.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// Measures until the sender got to send all the while: what a paused sender could not use says nothing about a limit.
fn measured(mut measure: impl FnMut() -> (Sent, u64)) -> (Sent, u64) {
    for _ in 0..10 {
        let (sent, passed) = measure();
        if sent.longest_pause <= MAX_PAUSE {
            return (sent, passed);
        }
        println!(
            "measured again: the sender was paused for {:?}",
            sent.longest_pause
        );
    }
    panic!("this machine pauses a process for more than {MAX_PAUSE:?} again and again");
}

/// Offers a stage this many frames a second and says what passed. The books must balance, to the packet.
fn offer(edge: &Edge, cordon: &Cordon<'_>, frames: &[Vec<u8>], per_s: u64) -> (Sent, u64) {
    let sink = Sink::listen(&edge.lab.edge, PORT).unwrap();
    let sender = FrameSocket::open(&edge.lab.internet, INTERNET_IFNAME).unwrap();
    let mut n_received = 0;
    measured(|| {
        let books = open_books(&edge.lab, cordon);
        let sent = send_at_rate(&sender, frames, per_s, DURATION, None).unwrap();
        let counted = balance(&edge.lab, cordon, &books);
        let passed = counted.packets("within_limit");
        expect_counted(&counted, sent, passed);
        n_received += passed;
        assert_eq!(sink.received(n_received), n_received, "what passed arrives");
        (sent, passed)
    })
}

/// Asserts that what passed is the rate, and prints it. `n_buckets` have `rate` each, in units of which a frame is
/// `frame_units`.
fn expect_rate(what: &str, sent: Sent, passed: u64, rate: u64, frame_units: u64, n_buckets: u64) {
    let seconds = sent.elapsed.as_secs_f64();
    let units = (rate as f64).mul_add(seconds, burst(rate) as f64) * n_buckets as f64;
    let expected = units / frame_units as f64;
    let error = passed as f64 / expected - 1.0;
    println!(
        "{what}: offered {} in {seconds:.2} s, passed {passed}, rate * time + burst = {expected:.0}: {:+.1} %",
        sent.n_frames,
        error * 100.0
    );
    assert!(
        sent.n_frames as f64 > 1.5 * expected,
        "{what}: too little was offered to see the limit"
    );
    assert!(
        error.abs() <= TOLERANCE,
        "{what}: passed {passed}, not {expected:.0}"
    );
}

/// What was counted must be what the sender offered, to the packet.
fn expect_counted(counted: &Counters, sent: Sent, passed: u64) {
    assert_eq!(counted.received_packets(), sent.n_frames, "{counted}");
    assert_eq!(counted.packets("over_limit"), sent.n_frames - passed, "{counted}");
}

#[test]
fn packets_a_second_at_three_rates() {
    for rate in [100, 2_000, 20_000] {
        let edge = silent_edge();
        let cordon = edge.start(&treat_ru(
            "slow",
            &tier("slow", "limit", &format!("packets_per_s = {rate}")),
        ));
        let frame = udp_frame_of(address(RU[0]), PORT, 100);
        let (sent, passed) = offer(&edge, &cordon, &[frame], rate * 5 / 2);
        expect_rate(&format!("{rate} packets/s"), sent, passed, rate, 1, 1);
    }
}

#[test]
fn bytes_a_second_at_three_rates() {
    let frame_bytes = 1_000;
    for rate in [100_000, 2_000_000, 16_000_000] {
        let edge = silent_edge();
        let cordon = edge.start(&treat_ru(
            "slow",
            &tier("slow", "limit", &format!("bytes_per_s = {rate}")),
        ));
        let frame = udp_frame_of(address(RU[1]), PORT, frame_bytes);
        let (sent, passed) = offer(&edge, &cordon, &[frame], rate / frame_bytes as u64 * 5 / 2);
        let what = format!("{rate} bytes/s");
        expect_rate(&what, sent, passed, rate, frame_bytes as u64, 1);
    }
}

#[test]
fn each_source_has_its_own_rate() {
    let rate = 1_000;
    let edge = silent_edge();
    let limit = format!("packets_per_s = {rate}\nper = \"source\"");
    let cordon = edge.start(&treat_ru("slow", &tier("slow", "limit", &limit)));
    let sources = [RU, RU_TOO].concat();
    let frames: Vec<Vec<u8>> = sources
        .iter()
        .map(|source| udp_frame_of(address(source), PORT, 100))
        .collect();
    let (sent, passed) = offer(&edge, &cordon, &frames, rate * 5 / 2 * sources.len() as u64);
    expect_rate("four sources", sent, passed, rate, 1, sources.len() as u64);
}

#[test]
fn addresses_of_one_64_are_one_source() {
    let rate = 1_000;
    let edge = silent_edge();
    let cordon = edge.start(&treat_ru(
        "slow",
        &tier("slow", "limit", &format!("packets_per_s = {rate}")),
    ));
    let frames: Vec<Vec<u8>> = (1..=50)
        .map(|host| udp_frame_of(address(&format!("2a01:100::{host:x}")), PORT, 100))
        .collect();
    let (sent, passed) = offer(&edge, &cordon, &frames, rate * 5 / 2);
    expect_rate("fifty addresses of one /64", sent, passed, rate, 1, 1);
}

#[test]
fn a_class_shares_one_rate() {
    let rate = 1_000;
    let edge = silent_edge();
    let limit = format!("packets_per_s = {rate}\nper = \"class\"");
    let cordon = edge.start(&treat_ru("slow", &tier("slow", "limit", &limit)));
    let frames: Vec<Vec<u8>> = (1..=200)
        .map(|host| udp_frame_of(IpAddr::from([81, 0, 9, host]), PORT, 100))
        .collect();
    let (sent, passed) = offer(&edge, &cordon, &frames, rate * 5 / 2);
    expect_rate("a class of 200 sources", sent, passed, rate, 1, 1);
}

#[test]
fn two_cpus_do_not_overshoot_one_bucket() {
    // Each interface's frames are judged on the CPU that sends them.
    let (second_edge, second_internet) = ("edge1", "inet1");
    let rate = 5_000;
    let edge = silent_edge();
    edge.lab
        .edge
        .ip_batch(&format!(
            "link add {second_edge} type veth peer name {second_internet} netns {}\n\
             link set {second_edge} up\n",
            edge.lab.internet.path()
        ))
        .unwrap();
    let conf = format!("ipv6/conf/{second_internet}/disable_ipv6");
    edge.lab.internet.sysctl(&conf, "1").unwrap();
    edge.lab
        .internet
        .ip_batch(&format!("link set {second_internet} arp off up\n"))
        .unwrap();
    let mut host_file = edge.host_file();
    host_file.interfaces.push(second_edge.to_owned());
    let limit = format!("packets_per_s = {rate}\nper = \"class\"");
    let cordon = start_with(
        &edge,
        &host_file,
        &treat_ru("slow", &tier("slow", "limit", &limit)),
    );
    wait_until("both interfaces are judged", || {
        let status = cordon.status().unwrap();
        status["interfaces"]
            .as_array()
            .is_some_and(|interfaces| interfaces.len() == 2)
    });
    let ifnames = [EDGE_IFNAME, second_edge];
    let frames = [udp_frame_of(address(RU[0]), PORT, 100)];
    let (both, passed) = measured(|| {
        let books = Ledger::open(&edge.lab.edge, &cordon, &ifnames).unwrap();
        let both = send_from_two_cpus(&edge, [INTERNET_IFNAME, second_internet], &frames, rate * 2);
        let counted = books.balance(&edge.lab.edge, &cordon).unwrap();
        let passed = counted.packets_of("within_limit", "RU");
        expect_counted(&counted, both, passed);
        (both, passed)
    });
    expect_rate("one bucket, two CPUs", both, passed, rate, 1, 1);
}

/// Sends out of each interface from a CPU of its own, so many frames a second each.
fn send_from_two_cpus(edge: &Edge, ifnames: [&str; 2], frames: &[Vec<u8>], per_s: u64) -> Sent {
    let sent: Vec<Sent> = thread::scope(|scope| {
        let senders: Vec<_> = (0..)
            .zip(ifnames)
            .map(|(cpu, ifname)| {
                scope.spawn(move || {
                    let socket = FrameSocket::open(&edge.lab.internet, ifname).unwrap();
                    send_at_rate(&socket, frames, per_s, DURATION, Some(cpu)).unwrap()
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let longest = |of: fn(&Sent) -> Duration| sent.iter().map(of).max().unwrap_or_default();
    Sent {
        n_frames: sent.iter().map(|sent| sent.n_frames).sum(),
        elapsed: longest(|sent| sent.elapsed),
        longest_pause: longest(|sent| sent.longest_pause),
    }
}

#[test]
fn two_cpus_at_full_speed_take_no_more_than_the_rate() {
    // The wire leaves the two CPUs time between packets. Here the program in force runs as fast as it can on both, so
    // that they often want the same share at the same time.
    let rate = 1_000_000;
    let edge = silent_edge();
    let limit = format!("packets_per_s = {rate}\nper = \"class\"");
    let cordon = edge.start(&treat_ru("slow", &tier("slow", "limit", &limit)));
    let pins = cordon.pins().unwrap();
    let pin = pins
        .iter()
        .filter(|pin| pin.ends_with(program::GENERATION))
        .max()
        .expect("the generation in force is pinned");
    let frame = udp_frame_of(address(RU[0]), PORT, 100);
    let before = cordon.counters().unwrap();
    let started = Instant::now();
    thread::scope(|scope| {
        for cpu in 0..2 {
            let frame = &frame;
            scope.spawn(move || {
                run_on(cpu).unwrap();
                let judge = Xdp::from_pin(pin, XdpAttachType::Interface).unwrap();
                while started.elapsed() < DURATION {
                    run_frame(&judge, frame, 100_000).unwrap();
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let counted = cordon.counters().unwrap().since(&before);
    let passed = counted.packets_of("within_limit", "RU");
    let most = (rate as f64).mul_add(seconds, burst(rate) as f64);
    println!("two CPUs at full speed: {counted}; rate * time + burst = {most:.0}");
    assert!(counted.packets_of("over_limit", "RU") > passed, "{counted}");
    // A share is taken once: not one more than there were.
    assert!(passed as f64 <= most, "{passed} passed, {most:.0} are allowed");
}

#[test]
fn a_limit_touches_nobody_else_and_lets_its_burst_pass() {
    let edge = silent_edge();
    let limit = "packets_per_s = 1\nburst_packets = 5";
    let cordon = edge.start(&treat_ru("slow", &tier("slow", "limit", limit)));
    let books = open_books(&edge.lab, &cordon);
    let receiver = FrameSocket::open(&edge.lab.edge, EDGE_IFNAME).unwrap();
    let from = |source: &str| vec![udp_frame_of(address(source), PORT, 100); 40];
    send_all(&edge.lab, &[from(RU[0]), from(NL[0])].concat());
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(counted.packets_of("policy_pass", "NL"), 40, "{counted}");
    let within = counted.packets_of("within_limit", "RU");
    assert!((5..40).contains(&within), "{counted}");
    assert_eq!(within + counted.packets_of("over_limit", "RU"), 40, "{counted}");
    let n_passing = (within + 40) as usize;
    assert_eq!(receiver.receive(n_passing, PATIENCE).unwrap().len(), n_passing);
}
