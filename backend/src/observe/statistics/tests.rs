//! What is counted, where, and for how long.

use super::*;

#[test]
fn a_batch_counts_once_as_an_execution_and_by_its_rows_as_inferences() {
    let statistics = Statistics::new("batches", "1");
    let ms = Duration::from_millis;
    statistics.executed(6, 2, &Compute { input: ms(1), infer: ms(4), output: ms(2) });
    statistics.executed(1, 1, &Compute { infer: ms(3), ..Compute::default() });
    let text = crate::observe::metrics::series();
    assert!(text.contains("forebay_computed_us{model=\"batches\",version=\"1\"} 8000"), "{text}");
    let snapshot = statistics.snapshot("batches", "1");
    assert_eq!((snapshot.execution_count, snapshot.inference_count), (2, 7));
    let infer = snapshot.inference_stats.unwrap().compute_infer.unwrap();
    assert_eq!((infer.count, infer.ns), (3, 11_000_000));
    let sizes: Vec<_> = snapshot
        .batch_stats
        .iter()
        .map(|batch| (batch.batch_size, batch.compute_infer.unwrap().ns))
        .collect();
    assert_eq!(sizes, [(1, 3_000_000), (6, 4_000_000)]);
}

#[test]
fn a_request_ends_once_and_one_that_is_dropped_was_given_up() {
    let statistics = Statistics::new("ends", "1");
    statistics.arrived().succeeded();
    statistics.arrived().failed(Failure::Rejected);
    drop(statistics.arrived());
    let stats = statistics.snapshot("ends", "1").inference_stats.unwrap();
    assert_eq!((stats.success.unwrap().count, stats.fail.unwrap().count), (1, 2));
    let text = crate::observe::metrics::series();
    let failures = |reason: &str| {
        let line =
            format!("nv_inference_request_failure{{model=\"ends\",version=\"1\",reason=\"{reason}\"}} 1");
        text.contains(&line)
    };
    assert!(failures("CANCELED") && failures("REJECTED") && !failures("OTHER"), "{text}");
}

#[test]
fn series_stay_while_a_version_is_replaced_and_go_with_the_last() {
    let success = || {
        let text = crate::observe::metrics::series();
        let line = text.lines().find(|line| line.starts_with("nv_inference_request_success{model=\"goes\""));
        line.map(|line| line.rsplit(' ').next().unwrap().to_owned())
    };
    let old = Statistics::new("goes", "1");
    old.arrived().succeeded();
    let new = Statistics::new("goes", "1");
    drop(old);
    new.arrived().succeeded();
    assert_eq!(success().as_deref(), Some("2"));
    drop(new);
    assert_eq!(success(), None);
}
