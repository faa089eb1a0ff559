//! A measurement -> lines for people: a row of a table, and what is remarkable about it.

use std::fmt::Write as _;

use super::report::Run;

/// A client that is so busy may be what is measured.
const BUSY: f64 = 0.9;

/// The table's head.
pub(super) fn head() -> String {
    format!(
        "{:<10} {:>10} {:>5} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7}\n",
        "",
        "due/s",
        "conn",
        "answers/s",
        "p50 us",
        "p90 us",
        "p99 us",
        "p99.9 us",
        "max us",
        "hits",
        "failed"
    )
}

/// One measurement's row.
pub(super) fn row(run: &Run) -> String {
    let due = run.rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
    let latency = &run.latency_us;
    let mut row =
        format!("{:<10} {due:>10} {:>5} {:>10.0}", run.encoding, run.connections, run.answered_per_sec);
    for microseconds in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
        let _ = write!(row, " {microseconds:>9.0}");
    }
    let told = run.cache.hits + run.cache.misses;
    let hits = if told == 0 { "-".to_owned() } else { format!("{:.1}%", percent(run.cache.hits, told)) };
    row + &format!(" {hits:>7} {:>7}\n", run.failures())
}

fn percent(part: u64, of: u64) -> f64 {
    part as f64 * 100.0 / of as f64
}

/// What a reader must know beside the figures, a line each.
pub(super) fn remarks(run: &Run) -> Vec<String> {
    let mut remarks = Vec::new();
    for (kind, failed) in &run.failed {
        remarks.push(format!("failed: {} x {kind}: {}", failed.count, failed.first));
    }
    for (said, count) in &run.cache.said {
        remarks.push(format!("cache: {count} x {said}"));
    }
    if run.cache.silent > 0 && run.cache.hits + run.cache.misses > 0 {
        remarks.push(format!("cache: {} answers say nothing", run.cache.silent));
    }
    if run.unsent > 0 {
        remarks
            .push(format!("unsent: {} requests were due and never sent: no connection was free", run.unsent));
    }
    if run.late > 0 && run.rate.is_some() {
        remarks.push(format!(
            "late: {} requests were sent more than 1 ms after they were due, {:.0} us at most; their latency counts from then",
            run.late, run.latest_us
        ));
    }
    if run.reconnected > 0 {
        remarks.push(format!("reconnected: {} times", run.reconnected));
    }
    if let Some(busy) = run.client_busy.filter(|busy| *busy > BUSY) {
        remarks.push(format!(
            "the client was busy {:.0}% of the time: the server may do more (--threads)",
            busy * 100.0
        ));
    }
    remarks
}
