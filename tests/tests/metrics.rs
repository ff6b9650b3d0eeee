//! Metrics of a real daemon under real packets, judged by the stock `promtool`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    net::IpAddr,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    cordon_process::{Cordon, HostFile},
    curl,
    images::BLOCK_RU,
    lab::Lab,
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};

const RU: &str = "81.0.7.7";
const NL: &str = "82.0.7.7";
const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../probe-userspace/packaging");

struct Edge {
    lab: Lab,
    host: HostFile,
    scratch: Scratch,
}

fn edge(settings: &str) -> Edge {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    Edge {
        lab: Lab::new().unwrap(),
        host: HostFile {
            database: Some(database),
            failsafe: vec!["198.51.100.7/32".to_owned()],
            settings: settings.to_owned(),
            ..HostFile::default()
        },
        scratch,
    }
}

/// A page as its series: name with labels, and value.
#[derive(Debug)]
struct Page {
    text: String,
    series: BTreeMap<String, f64>,
}

impl Page {
    fn new(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .collect();
        Self { text, series }
    }

    /// The sum over series of a name whose labels have all of these.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = |series: &str| series == name || series.starts_with(&format!("{name}{{"));
        let series = self.series.iter();
        series
            .filter(|(series, _)| of_name(series) && labels.iter().all(|label| series.contains(label)))
            .map(|(_, value)| value)
            .sum()
    }
}

/// Scrapes until the page says what it should: it may be a second old, and the engine tells each second.
fn scrape_until(lab: &Lab, what: impl Fn(&Page) -> bool) -> Page {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = curl::get(
            &lab.edge,
            LOCALHOST,
            "127.0.0.1:9469".parse().unwrap(),
            "/metrics",
        )
        .unwrap();
        let page = (answer.status == 0).then(|| Page::new(answer.body.clone()));
        if let Some(page) = page.filter(|page| what(page)) {
            return page;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        thread::sleep(Duration::from_millis(300));
    }
}

fn promtool(args: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("package prometheus, which `cargo xtask setup` installs");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Every word of the text that is an IP address or a prefix.
fn addresses(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || ".:/".contains(c)));
    words
        .filter(|word| {
            word.contains('.') && word.split('/').next().unwrap().parse::<IpAddr>().is_ok()
                || word.contains("::")
        })
        .collect()
}

#[test]
fn a_scrape_says_what_was_judged_and_how_the_host_stands() {
    let edge = edge("");
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let page = scrape_until(&edge.lab, |page| {
        page.sum("cordon_state", &["not_enforcing"]) == 1.0
    });
    assert_eq!(page.sum("cordon_interface_attached", &[]), 0.0, "{}", page.text);
    assert_eq!(page.sum("cordon_interfaces_configured", &[]), 1.0);

    cordon.apply(BLOCK_RU).unwrap();
    cordon.wait_attached().unwrap();
    let sources = [RU, NL].map(|source| source.parse().unwrap());
    edge.lab.reach(&sources).unwrap();
    let dropped = [
        "country=\"RU\"",
        "fate=\"dropped\"",
        "action=\"drop\"",
        "direction=\"in\"",
    ];
    let page = scrape_until(&edge.lab, |page| page.sum("cordon_packets_total", &dropped) > 0.0);
    let counters = cordon.status().unwrap();
    let row = |reason: &str, class: &str, what: &str| {
        let rows = counters["counters"].as_array().unwrap();
        let found = rows
            .iter()
            .find(|row| row["reason"] == reason && row["class"] == class);
        found.and_then(|row| row[what].as_f64()).unwrap()
    };
    assert_eq!(
        page.sum("cordon_packets_total", &dropped),
        row("policy_drop", "RU", "packets")
    );
    assert_eq!(
        page.sum("cordon_bytes_total", &dropped),
        row("policy_drop", "RU", "bytes")
    );
    assert!(page.sum("cordon_packets_total", &["country=\"NL\"", "fate=\"passed\""]) > 0.0);
    assert!(page.sum("cordon_interface_received_packets_total", &["edge0"]) > 0.0);
    assert_eq!(page.sum("cordon_publish_duration_seconds_count", &["total"]), 1.0);
    assert_eq!(
        page.sum("cordon_generation", &[]),
        counters["generation"]["number"].as_f64().unwrap()
    );
    assert_eq!(
        page.sum("cordon_map_entries", &["FAILSAFE_V4"]),
        1.0,
        "{}",
        page.text
    );
    assert!(page.sum("cordon_map_entries", &["LOCATION_V4"]) >= 2.0);
    assert_eq!(page.sum("cordon_map_capacity", &["FLOWS"]), 32_768.0);

    let exempt = "exempt add 81.0.9.0/24 --reference case-1 --reason drill --approver me --for 2h";
    cordon.cordon_ok(&exempt.split(' ').collect::<Vec<_>>()).unwrap();
    cordon
        .cordon_ok(&["lift", "--order", "test-1", "--for", "1h", "--reason", "drill"])
        .unwrap();
    let page = scrape_until(&edge.lab, |page| page.sum("cordon_lifted_orders", &[]) == 1.0);
    assert_eq!(page.sum("cordon_exemptions", &[]), 1.0);
    let left = page.sum("cordon_expiry_seconds", &["what=\"lift\""]);
    assert!(left > 0.0 && left <= 3600.0, "{left}");
    assert!(page.sum("cordon_expiry_seconds", &["what=\"exemption\""]) > 0.0);

    cordon
        .cordon_ok(&["halt", "--for", "10m", "--reason", "drill", "--override-lockout"])
        .unwrap();
    let page = scrape_until(&edge.lab, |page| page.sum("cordon_halted", &[]) == 1.0);
    assert!(page.sum("cordon_expiry_seconds", &["what=\"halt\""]) > 0.0);
    assert_eq!(addresses(&page.text), [""; 0], "no label has an address");
    let (good, said) = promtool(&["check", "metrics"], &page.text);
    assert!(good && said.trim().is_empty(), "promtool: {said}\n{}", page.text);
    assert!(
        !promtool(&["check", "metrics"], "cordon total 1\n").0,
        "promtool does judge"
    );
}

#[test]
fn the_socket_and_the_file_have_the_same_page() {
    let scratch = Scratch::new().unwrap();
    let file = scratch.path().join("cordon.prom");
    let edge = edge(&format!("metrics = \"\"\nmetrics_textfile = {file:?}\n"));
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let refused = curl::get(
        &edge.lab.edge,
        LOCALHOST,
        "127.0.0.1:9469".parse().unwrap(),
        "/metrics",
    )
    .unwrap();
    assert_eq!(refused.status, curl::REFUSED, "nobody listens: {refused:?}");

    let names = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        lines.map(str::to_owned).collect()
    };
    let output = edge
        .lab
        .edge
        .command("curl")
        .args(["--silent", "--fail", "--unix-socket"])
        .arg(cordon.dir().join("run/control.sock"))
        .arg("http://cordon/v1/metrics")
        .output()
        .unwrap();
    let over_socket = names(&String::from_utf8(output.stdout).unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    let text = loop {
        match fs::read_to_string(&file) {
            Ok(text) => break text,
            Err(error) => assert!(Instant::now() < deadline, "{error}\n{}", cordon.log()),
        }
        thread::sleep(Duration::from_millis(100));
    };
    assert!(over_socket.len() > 30, "{over_socket:?}");
    assert_eq!(names(&text), over_socket);
    let (good, said) = promtool(&["check", "metrics"], &text);
    assert!(good && said.trim().is_empty(), "promtool: {said}");
}

#[test]
fn a_port_that_is_taken_is_a_problem_and_hinders_nothing() {
    let edge = edge("metrics = \"127.0.0.1:9470\"\n");
    let squatter = edge
        .lab
        .edge
        .run(|| std::net::TcpListener::bind("127.0.0.1:9470").unwrap());
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    let problem = |cordon: &Cordon<'_>| {
        let status = cordon.status().unwrap();
        let problems = status["problems"].as_array().unwrap().clone();
        problems
            .iter()
            .any(|text| text.as_str().unwrap().contains("no metrics on 127.0.0.1:9470"))
    };
    let wait = |wanted: bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while problem(&cordon) != wanted {
            assert!(Instant::now() < deadline, "{:#}", cordon.status().unwrap());
            thread::sleep(Duration::from_millis(100));
        }
    };
    wait(true);
    assert_eq!(
        cordon.cordon(&["explain", RU, "--quiet"]).unwrap().status,
        10,
        "it enforces"
    );
    drop(squatter);
    wait(false);
}

/// Names of metrics in an expression or a page, with the suffixes of histograms taken off.
fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| word.starts_with("cordon_") || word.starts_with("process_"));
    let base = |name: &str| {
        let ends = ["_sum", "_count", "_bucket"];
        ends.iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name)
            .to_owned()
    };
    names.map(base).collect()
}

fn strings<'a>(value: &'a serde_json::Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => strings(value, key, found),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| strings(value, key, found)),
        _ => {}
    }
}

#[test]
fn dashboard_and_alert_rules_name_metrics_that_there_are() {
    let edge = edge("");
    let _cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let page = scrape_until(&edge.lab, |page| page.sum("cordon_build_info", &[]) == 1.0);
    let types = page.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let known: BTreeSet<String> = types
        .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
        .collect();

    let rules = format!("{PACKAGING}/prometheus/cordon.rules.yml");
    let (good, said) = promtool(&["check", "rules", &rules], "");
    assert!(good, "promtool: {said}");
    let rules_text = fs::read_to_string(&rules).unwrap();
    let named = metric_names(&rules_text);
    assert!(named.len() > 12, "{named:?}");
    assert_eq!(
        named.difference(&known).collect::<Vec<_>>(),
        [""; 0],
        "in the rules"
    );

    let dashboard = fs::read_to_string(format!("{PACKAGING}/grafana/cordon.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let mut exprs = Vec::new();
    strings(&dashboard, "expr", &mut exprs);
    assert!(exprs.len() > 20, "{exprs:?}");
    let named = metric_names(&exprs.join("\n"));
    assert_eq!(
        named.difference(&known).collect::<Vec<_>>(),
        [""; 0],
        "in the dashboard"
    );

    // promtool parses expressions only within rules.
    let mut as_rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    for (idx, expr) in exprs.iter().enumerate() {
        let expr = expr.replace("$__rate_interval", "5m").replace("$instance", ".*");
        as_rules.push_str(&format!(
            "      - record: panel:expression:{idx}\n        expr: {}\n",
            serde_json::json!(expr)
        ));
    }
    let path = edge.scratch.path().join("dashboard.yml");
    fs::write(&path, &as_rules).unwrap();
    let (good, said) = promtool(&["check", "rules", &path.to_string_lossy()], "");
    assert!(good, "promtool: {said}\n{as_rules}");
}
