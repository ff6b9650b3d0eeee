//! The list, and a first policy around it.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::Imported;

/// `lists/NAME.txt`.
pub fn list_text(imported: &Imported, source: &str, prefixes: &[IpNet]) -> String {
    let mut text = format!("# Imported by cordon from {source}.\n");
    for set in &imported.sets {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "# {}: {} prefixes",
            set.name.replace('\n', " "),
            set.spans.prefixes().len()
        );
    }
    for prefix in prefixes {
        let _ = writeln!(text, "{prefix}");
    }
    text
}

/// The policy.
pub fn policy_text(name: &str, source: &str, prefixes: &[IpNet]) -> String {
    let mut text = format!(
        "# A first policy around an imported list: it drops what the list names and passes everything else.\n\
         # Read it, check it with `cordon check`, apply it with `cordon apply`.\n\
         version = 1\n\
         name = \"{name}\"\n\
         default = \"pass\"        # sources that nothing mentions\n\
         unknown = \"pass\"        # sources without a country in the GeoIP data\n\
         \n\
         [[deny]]                 # whatever a packet is for; failsafe prefixes of the host file pass all the same\n\
         list = \"{name}\"\n\
         reason = \"imported from {source}\"\n"
    );
    if let Some(prefix) = prefixes.first() {
        let _ = write!(
            text,
            "\n[[test]]                 # must hold before anything is published\naddress = \"{}\"\nexpect = \"drop\"\n",
            prefix.addr()
        );
    }
    text
}
