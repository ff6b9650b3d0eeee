//! Sizes: whole numbers within limits.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use crate::policy::{
    document::Document,
    table::{Item, wrong_type},
    value::list,
};

/// A whole number within limits.
pub(super) fn number(
    document: &mut Document<'_>,
    item: Item<'_>,
    limits: RangeInclusive<u32>,
) -> Option<u32> {
    let (least, most) = limits.into_inner();
    let DeValue::Integer(value) = item.node.get_ref() else {
        let fix = format!("write `{} = {least}` or more, without quotes", item.key);
        wrong_type(document, item, "a whole number", &fix);
        return None;
    };
    match u32::from_str_radix(value.as_str(), value.radix()) {
        Ok(value) if (least..=most).contains(&value) => Some(value),
        _ => {
            let message = format!("`{}` must be {least} to {most}", item.key);
            document.error(item.node, message, "choose a number within these limits");
            None
        }
    }
}

/// Most `ssh_ports`.
const MAX_PORTS: usize = 16;

/// `ssh_ports`.
pub(super) fn ssh_ports<'a>(document: &mut Document<'a>, item: Item<'a>) -> Option<Vec<u16>> {
    let elements = list(document, item, "22")?;
    if let Some(element) = elements.get(MAX_PORTS) {
        document.error(
            element.node,
            format!("more than {MAX_PORTS} SSH ports"),
            "name those that people log in by",
        );
        return None;
    }
    let mut ports = Vec::new();
    for element in elements {
        let port = number(document, element, 1..=u32::from(u16::MAX));
        ports.push(u16::try_from(port?).ok()?);
    }
    Some(ports)
}

/// A power of two within limits that are powers of two.
pub(super) fn power_of_two(
    document: &mut Document<'_>,
    item: Item<'_>,
    limits: RangeInclusive<u32>,
) -> Option<u32> {
    let value = number(document, item, limits)?;
    if value.is_power_of_two() {
        return Some(value);
    }
    let above = value.next_power_of_two();
    document.error(
        item.node,
        format!(
            "`{}` must be a power of two: the kernel's ring buffers are",
            item.key
        ),
        format!("write `{} = {above}` or `{} = {}`", item.key, item.key, above / 2),
    );
    None
}
