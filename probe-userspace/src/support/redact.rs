//! Takes addresses and secrets out of a text. When in doubt, it takes out too much.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What is named like this has a secret for its value.
const SECRET_NAMES: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "api_key",
    "credential",
    "cookie",
];
/// From this length on, a word of letters and digits of all kinds is a key. Digests are longer, but of hexadecimal digits
/// only.
const KEY_LEN: usize = 32;
/// The longest text form of an address with a scope or a port is shorter.
const MAX_RUN: usize = 80;

/// Gives each address a number, so that the same address has the same one in all texts.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    v4: HashMap<Ipv4Addr, usize>,
    v6: HashMap<Ipv6Addr, usize>,
    macs: HashMap<String, usize>,
}

impl Redactor {
    /// The text without them.
    pub fn redacted(&mut self, text: &str) -> String {
        let mut redacted = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let line = without_named_secrets(line);
            let line = without_url_secrets(&line);
            let line = without_keys(&line);
            self.add_without_addresses(&line, &mut redacted);
        }
        redacted
    }

    /// Looks at each run of characters that an address can be made of.
    fn add_without_addresses(&mut self, line: &str, to: &mut String) {
        let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
        let mut rest = line;
        while let Some(start) = rest.find(is_part) {
            to.push_str(&rest[..start]);
            rest = &rest[start..];
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            self.add_run(&rest[..end], to);
            rest = &rest[end..];
        }
        to.push_str(rest);
    }

    fn add_run(&mut self, run: &str, to: &mut String) {
        let mut rest = run;
        while !rest.is_empty() {
            let n_dots = rest.matches('.').count();
            let n_colons = rest.matches(':').count();
            if n_dots < 3 && n_colons < 2 {
                return to.push_str(rest);
            }
            if rest.len() > MAX_RUN {
                return to.push_str("(redacted)");
            }
            match self.first_address(rest) {
                Some((start, end, name)) => {
                    to.push_str(&rest[..start]);
                    to.push_str(&name);
                    rest = &rest[end..];
                }
                None => return to.push_str(rest),
            }
        }
    }

    /// The address that begins first, the longest of those that begin there. ASCII only.
    fn first_address(&mut self, run: &str) -> Option<(usize, usize, String)> {
        for start in 0..run.len() {
            for end in (start + 2..=run.len()).rev() {
                if let Some(name) = self.name(&run[start..end]) {
                    return Some((start, end, name));
                }
            }
        }
        None
    }

    fn name(&mut self, text: &str) -> Option<String> {
        if is_mac(text) {
            let number = self.macs.len() + 1;
            let number = self.macs.entry(text.to_ascii_lowercase()).or_insert(number);
            return Some(format!("mac-{number}"));
        }
        match text.parse().ok()? {
            IpAddr::V4(address) => {
                let number = self.v4.len() + 1;
                Some(format!("ip4-{}", self.v4.entry(address).or_insert(number)))
            }
            IpAddr::V6(address) => {
                let number = self.v6.len() + 1;
                Some(format!("ip6-{}", self.v6.entry(address).or_insert(number)))
            }
        }
    }
}

fn is_mac(text: &str) -> bool {
    let parts = || text.split(':');
    parts().count() == 6 && parts().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Takes out what follows a name such as `password` and a `=` or `:`.
fn without_named_secrets(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let named = SECRET_NAMES.iter().filter_map(|name| {
        let at = lower.find(name)? + name.len();
        let sign = lower[at..].find(['=', ':'])?;
        Some(at + sign + 1)
    });
    match named.min() {
        Some(at) => {
            let end = if line.ends_with('\n') { "\n" } else { "" };
            format!("{} (redacted){end}", &line[..at])
        }
        None => line.to_owned(),
    }
}

/// Takes user, password and query out of URLs.
fn without_url_secrets(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        kept.push_str(before);
        let end = url
            .find(|c: char| c.is_whitespace() || "\"'`<>,".contains(c))
            .unwrap_or(url.len());
        let (url, behind) = url.split_at(end);
        let authority_end = url.find(['/', '?', '#']).unwrap_or(url.len());
        // A password may hold a slash that should have been escaped: the last sign before the query counts.
        let query = url.find(['?', '#']).unwrap_or(url.len());
        let host = match url[..query].rfind('@') {
            Some(sign) => {
                kept.push_str("(redacted)");
                &url[sign..query]
            }
            None if authority_end > 0 => &url[..query],
            None => url,
        };
        kept.push_str(host);
        if query < url.len() {
            kept.push_str("?(redacted)");
        }
        rest = behind;
    }
    kept.push_str(rest);
    kept
}

/// Takes out words that look like keys: long, and of more than hexadecimal digits.
fn without_keys(line: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-');
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(is_part) {
        kept.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        kept.push_str(if is_key(word) { "(key redacted)" } else { word });
        rest = behind;
    }
    kept.push_str(rest);
    kept
}

fn is_key(word: &str) -> bool {
    let is_path = word.contains('/') && word.split('/').all(|part| part.len() < KEY_LEN);
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    word.len() >= KEY_LEN
        && !(is_path && word.starts_with('/'))
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(text: &str) -> String {
        Redactor::default().redacted(text)
    }

    #[test]
    fn addresses_are_numbered_wherever_they_stand() {
        let cases = [
            ("src=192.0.2.1,dst=192.0.2.2", "src=ip4-1,dst=ip4-2"),
            ("192.0.2.0/24 and 2001:db8::/32", "ip4-1/24 and ip6-1/32"),
            ("[2001:db8::1]:443 192.0.2.1:443", "[ip6-1]:443 ip4-1:443"),
            ("fe80::1%eth0", "ip6-1%eth0"),
            ("::ffff:192.0.2.1", "ip6-1"),
            ("x192.0.2.1y", "xip4-1y"),
            ("\\n192.0.2.1\\b192.0.2.1", "\\nip4-1\\bip4-1"),
            ("192.0.2.1-192.0.2.9", "ip4-1-ip4-2"),
            ("peer 192.0.2.1.", "peer ip4-1."),
            ("02:00:00:00:00:01", "mac-1"),
            (
                "12:41:12.123 at 2026-11-28T12:41:12Z v1.95.0",
                "12:41:12.123 at 2026-11-28T12:41:12Z v1.95.0",
            ),
            ("a::b", "ip6-1"),
        ];
        for (text, wanted) in cases {
            assert_eq!(redacted(text), wanted, "{text}");
        }
        let mut redactor = Redactor::default();
        redactor.redacted("192.0.2.1");
        assert_eq!(
            redactor.redacted("192.0.2.7 192.0.2.1"),
            "ip4-2 ip4-1",
            "the same in every text"
        );
    }

    #[test]
    fn secrets_are_left_out() {
        let cases = [
            ("token = \"abc\" # x\n", "token = (redacted)\n"),
            (
                "  \"Authorization\": \"Bearer abc\"\n",
                "  \"Authorization\": (redacted)\n",
            ),
            (
                "https://me:pa/ss@example.net/x?sig=abc\"",
                "https://(redacted)@example.net/x?(redacted)\"",
            ),
            ("https://example.net/x", "https://example.net/x"),
            (
                "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
                "(key redacted)",
            ),
            (
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                "/var/lib/Cordon/state/a-file-of-2026",
                "/var/lib/Cordon/state/a-file-of-2026",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(redacted(text), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_address_survives_between_any_characters(
            before in "[ -~]{0,6}", v4 in any::<[u8; 4]>(), v6 in any::<[u16; 8]>(), after in "[ -~]{0,6}",
        ) {
            for address in [IpAddr::from(v4).to_string(), IpAddr::from(v6).to_string()] {
                let text = redacted(&format!("{before}{address}{after}"));
                prop_assert!(!text.contains(&address), "{}", text);
            }
        }
    }
}
