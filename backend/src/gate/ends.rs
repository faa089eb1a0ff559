//! What became of requests in the proxies, and how long their answers took. Reports enter; counters leave: `forebay_proxy_requests`, and
//! the steps of a latency in the form of Prometheus' histograms.

use std::collections::HashMap;

use forebay_protocol::poll::{End, LATENCY_MS, Latency, Tier};
use metrics::{Counter, counter};

use super::savings::OTHER;

/// Different ends that are counted apart: some hundred services have as many.
const MOST_ENDS: usize = 4096;
/// The longest result or reason that any filter has.
const LONGEST_WORD: usize = 32;
/// No proxy has more requests between two reports.
const MOST_REQUESTS: u64 = 1 << 32;

/// The sums.
#[derive(Default)]
pub(super) struct Ends {
    counters: HashMap<(String, String, String), Counter>,
    latency: HashMap<Tier, Vec<Counter>>,
}

/// Results and reasons are words of ours.
fn is_word(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    text.len() <= LONGEST_WORD && text.bytes().all(is_letter)
}

impl Ends {
    pub(super) fn count(&mut self, ends: &[End], latency: &[Latency]) {
        for end in ends {
            self.counter(end).increment(end.count.min(MOST_REQUESTS));
        }
        for Latency { tier, counts } in latency {
            let steps = self.latency.entry(*tier).or_insert_with(|| steps(*tier));
            let mut sum = 0;
            for (step, counter) in steps.iter().enumerate() {
                sum += counts.get(step).map_or(0, |count| (*count).min(MOST_REQUESTS));
                counter.increment(sum);
            }
        }
    }

    fn counter(&mut self, end: &End) -> &Counter {
        let known = (end.service.clone(), end.result.clone(), end.reason.clone());
        let fits =
            forebay_protocol::service::is_name(&end.service) && is_word(&end.result) && is_word(&end.reason);
        let room = fits && self.counters.len() < MOST_ENDS;
        let other = || (OTHER.to_owned(), OTHER.to_owned(), String::new());
        let end = if room || self.counters.contains_key(&known) { known } else { other() };
        self.counters.entry(end).or_insert_with_key(|(service, result, reason)| {
            let labels = [("service", service), ("result", result), ("reason", reason)];
            let labels = labels.map(|(name, value)| (name, value.clone()));
            counter!("forebay_proxy_requests", &labels)
        })
    }
}

/// Of a tier; each counts what took up to its bound.
fn steps(tier: Tier) -> Vec<Counter> {
    let bounds = LATENCY_MS.iter().map(u64::to_string).chain(["+Inf".to_owned()]);
    let step =
        |bound: String| counter!("forebay_proxy_latency_ms_bucket", "tier" => tier.text(), "le" => bound);
    bounds.map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::{Series, series};

    fn end(service: &str, result: &str, reason: &str) -> End {
        End { service: service.into(), result: result.into(), reason: reason.into(), count: 2 }
    }

    #[test]
    fn ends_are_counted_by_their_words_and_what_is_no_word_together() {
        let (recorder, mut ends) = (Series::of("ends", "words"), Ends::default());
        let told = [
            end("words", "miss", "stale"),
            end("words", "miss", "stale"),
            end("words", "<b>", ""),
            end("words", "miss", &"x".repeat(LONGEST_WORD + 1)),
            end("a\nb", "miss", ""),
        ];
        recorder.count(|| ends.count(&told, &[]));
        let text = series();
        let has = |line: &str| assert!(text.contains(line), "{line} is not in\n{text}");
        has("forebay_proxy_requests{service=\"words\",result=\"miss\",reason=\"stale\"} 4");
        has("forebay_proxy_requests{service=\"(other)\",result=\"(other)\",reason=\"\"} 6");
        assert!(!text.contains("<b>"));
    }

    #[test]
    fn there_is_a_bound_on_ends() {
        let (recorder, mut ends) = (Series::of("ends", "bound"), Ends::default());
        let told: Vec<End> = (0..2 * MOST_ENDS).map(|number| end("bound", &number.to_string(), "")).collect();
        recorder.count(|| ends.count(&told, &[]));
        assert_eq!(ends.counters.len(), MOST_ENDS + 1);
    }

    #[test]
    fn steps_of_a_latency_hold_all_that_took_less() {
        let (recorder, mut ends) = (Series::of("ends", "steps"), Ends::default());
        let mut counts = vec![0; LATENCY_MS.len() + 1];
        (counts[0], counts[3], counts[LATENCY_MS.len()]) = (5, 2, 1);
        // One that is short, and one with more steps than there are.
        let more = [counts.clone(), vec![u64::MAX; 1000]].concat();
        for counts in [vec![1], more[..1].to_vec(), counts] {
            recorder.count(|| ends.count(&[], &[Latency { tier: Tier::Upstream, counts }]));
        }
        let text = series();
        for (le, count) in [("1", 11), ("5", 11), ("10", 13), ("30000", 13), ("+Inf", 14)] {
            let line = format!("forebay_proxy_latency_ms_bucket{{tier=\"upstream\",le=\"{le}\"}} {count}");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
