//! Options that say where a packet goes.

use std::net::IpAddr;

use crate::{compile::Heading, policy::service::protocol_by_name};

/// Where the packet goes; what is not given is nothing that a service asks for
#[derive(Debug, Default, clap::Args)]
pub(super) struct HeadingArgs {
    /// Destination address
    #[arg(long, value_name = "ADDRESS")]
    to: Option<IpAddr>,

    /// IP protocol, by name (tcp, udp, icmp, gre) or number
    #[arg(long, value_name = "PROTOCOL", value_parser = parse_protocol)]
    protocol: Option<u8>,

    /// Destination port [default with tcp and udp: cannot be read, as in a later fragment]
    #[arg(long, value_name = "PORT", requires = "protocol")]
    port: Option<u16>,

    /// Interface it comes in by
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,

    /// Outermost VLAN, 0: untagged
    #[arg(long, value_name = "VLAN")]
    vlan: Option<u16>,

    /// It opens a connection: TCP SYN, QUIC Initial
    #[arg(long, requires = "port")]
    opens: bool,
}

impl HeadingArgs {
    /// The heading of a packet from a source.
    pub(super) fn heading(&self, source: IpAddr) -> anyhow::Result<Heading> {
        let heading = Heading {
            destination: self.to,
            protocol: self.protocol,
            port: self.port,
            interface: self.interface.clone(),
            vlan: self.vlan.filter(|vlan| *vlan != 0),
            opens: self.opens,
        };
        match heading.contradiction(source) {
            Some(contradiction) => anyhow::bail!("{contradiction}"),
            None => Ok(heading),
        }
    }
}

/// A heading as part of a URL's query, `&` first.
pub(super) fn url_query(heading: &Heading) -> String {
    let mut query = String::new();
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            query.push_str(&format!("&{key}={}", escaped(&value)));
        }
    };
    add("to", heading.destination.map(|to| to.to_string()));
    add("protocol", heading.protocol.map(|protocol| protocol.to_string()));
    add("port", heading.port.map(|port| port.to_string()));
    add("interface", heading.interface.clone());
    add("vlan", heading.vlan.map(|vlan| vlan.to_string()));
    add("opens", heading.opens.then(|| "true".to_owned()));
    query
}

/// RFC 3986 section 2.1. Names of interfaces may hold nearly anything.
pub(super) fn escaped(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn parse_protocol(written: &str) -> Result<u8, String> {
    protocol_by_name(written)
        .or_else(|| written.parse().ok())
        .ok_or_else(|| "not a protocol: write tcp, udp, icmp or a number from 0 to 255".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_becomes_a_query() {
        let args = HeadingArgs {
            to: Some("2001:db8::1".parse().unwrap()),
            protocol: Some(parse_protocol("TCP").unwrap()),
            port: Some(443),
            interface: Some("a&b=%".to_owned()),
            vlan: Some(0),
            opens: true,
        };
        let heading = args.heading("2001:db8::2".parse().unwrap()).unwrap();
        assert_eq!(
            url_query(&heading),
            "&to=2001%3Adb8%3A%3A1&protocol=6&port=443&interface=a%26b%3D%25&opens=true"
        );
        assert!(args.heading("192.0.2.1".parse().unwrap()).is_err());
        assert_eq!(parse_protocol("47"), Ok(47));
        assert!(parse_protocol("http").is_err());
        assert_eq!(url_query(&Heading::default()), "");
    }
}
