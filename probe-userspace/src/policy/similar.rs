//! What the user may have meant.

/// Longer words are no typing errors, and comparing them costs time.
const MAX_CHARS: usize = 64;

/// The candidate closest to a word, if one is close.
pub(crate) fn similar<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let n_chars = word.chars().take(MAX_CHARS + 1).count();
    if n_chars > MAX_CHARS {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::osa_distance(&word, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= (n_chars / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_closest_and_only_if_close() {
        let keys = ["default", "unknown", "until"];
        assert_eq!(similar("defualt", keys), Some("default"));
        assert_eq!(similar("Unknown", keys), Some("unknown"));
        assert_eq!(similar("countries", keys), None);
        assert_eq!(similar(&"u".repeat(65), keys), None);
    }
}
