//! A misspelt word and the words that there are enter, the one that was probably meant leaves.

/// The nearest of the words, if it is near: at most a third of its letters differ, or only their case.
pub fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    words
        .map(|one| (distance(&lower, &one.to_lowercase()), one))
        .filter(|(distance, one)| *distance <= (one.len() / 3).clamp(1, 3))
        .min()
        .map(|(_, one)| one)
}

/// Letters to change, add, take away, or swap with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let change = usize::from(one[i - 1] != other[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn what_was_meant_is_found_and_nothing_far_away() {
        let words = ["replicas", "selector", "template"];
        let near = |word| nearest(word, words.into_iter());
        assert_eq!(near("replcias"), Some("replicas"));
        assert_eq!(near("Selector"), Some("selector"));
        assert_eq!(near("strategy"), None);
    }
}
