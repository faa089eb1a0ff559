//! `--bypass-quota`: how often requests may have computed what is kept.

use rig::http::Answer;

use crate::client::fp32;
use crate::process::Forebay;

const MODEL: &str = "identity_fp32";

fn ask(serve: &Forebay, more: &[(&str, &str)]) -> Answer {
    serve.infer(MODEL, more, &fp32(&[1.0]))
}

#[test]
fn who_passes_by_the_cache_too_often_is_refused_and_has_what_is_kept() {
    let serve = Forebay::serve(&["--instances", "1", "--bypass-quota", "2"]);
    ask(&serve, &[]);
    for directive in ["no-cache", "no-store"] {
        let answers: Vec<Answer> = (0..40).map(|_| ask(&serve, &[("cache-control", directive)])).collect();
        let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
        assert!(refused.len() > 20 && answers.iter().all(|answer| [200, 429].contains(&answer.status)));
        assert_eq!(refused[0].header("retry-after"), "1");
        assert!(refused[0].json()["error"].as_str().unwrap().contains("--bypass-quota"), "{refused:?}");
    }
    assert!(ask(&serve, &[]).header("cache-status").contains("hit"));
    assert!(serve.metric_line("forebay_bypass_refused") > 20);
}

#[test]
fn a_model_whose_answers_are_not_kept_has_no_quota() {
    let serve = Forebay::serve(&["--instances", "1", "--bypass-quota", "1", "--pool", "none"]);
    for _ in 0..10 {
        assert_eq!(ask(&serve, &[("cache-control", "no-cache")]).status, 200);
    }
}
