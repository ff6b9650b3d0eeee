//! Sizes: whole numbers within limits.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use crate::policy::{
    document::Document,
    table::{Item, wrong_type},
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
