//! What goes into a support dump. Pure.

mod redact;

pub use redact::Redactor;

/// A part of the dump.
#[derive(Clone, Debug)]
pub struct Section {
    /// What it is.
    pub title: String,
    /// Its text, as it was read.
    pub text: String,
}

/// The dump: every section, without addresses and secrets.
pub fn dump(sections: &[Section]) -> String {
    let mut redactor = Redactor::default();
    let mut dump = String::from(
        "cordon support dump\n\
         Addresses are numbered (ip4-1, ip6-1, mac-1): the same address has the same number. Keys, passwords, user names and\n\
         queries of URLs are left out. Names of hosts, policies, orders and customers are not: read it before you send it.\n",
    );
    for section in sections {
        dump.push_str(&format!("\n===== {} =====\n", section.title));
        dump.push_str(&redactor.redacted(&section.text));
        if !dump.ends_with('\n') {
            dump.push('\n');
        }
    }
    dump
}
