//! The groups of a bundle: `[[group]]` tables and nothing else, so that they cannot reach into the policy before them.

use crate::{
    diagnostic::Diagnostic,
    policy::{
        document::{Document, parse_tree},
        recovery::Readable,
        table::{Key, Shape, Table},
    },
};

const ROOT: Shape = Shape {
    label: "the groups",
    keys: &[Key::optional("group")],
    elsewhere: &[
        ("groups", "write `[[group]]`, once for each group"),
        ("order", "this belongs to the policy"),
        ("allow", "this belongs to the policy"),
        ("deny", "this belongs to the policy"),
        ("exemption", "this belongs to the policy"),
    ],
};

/// Whether a text holds groups only. What the groups say is judged with the policy that names them.
pub(crate) fn check(file: &str, text: &str) -> Result<(), Vec<Diagnostic>> {
    let readable = Readable::new(text);
    let tree = parse_tree(&readable);
    let mut document = Document::new(file, text, &readable.errors);
    Table::root(&mut document, &tree, &ROOT);
    match document.finish() {
        (true, remarks) => Err(remarks),
        (false, _) => Ok(()),
    }
}
