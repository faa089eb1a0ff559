//! The table of the terminal.

use std::fmt::Write as _;

use super::{Report, loss};
use crate::optimize::search::Tried;
use crate::optimize::verdict::Judged;

/// The report as text.
pub(super) fn of(report: &Report<'_, '_>) -> String {
    let Report { request, terms, found, judged, .. } = report;
    let mut text = format!(
        "\n{} version {}, {} bytes; {} items, metric {}, {} points may be lost{}\n",
        request.name,
        request.version,
        terms.original_bytes,
        request.data.1,
        request.metric,
        terms.max_loss,
        if terms.guarantee { ", guaranteed" } else { "" }
    );
    if terms.is_made_up {
        text += "WARNING: the inputs are made up: what a variant loses on real ones is NOT known\n";
    }
    if let Some(fleet) = report.fleet {
        text += &fleet.text();
    }
    if found.tried.is_empty() {
        text += "nothing could be tried\n";
    }
    for Tried { candidate, loss, speed } in &found.tried {
        let _ = writeln!(
            text,
            "  tried   {:<66} {:5.2}x smaller {:5.2}x as fast {:7.2} points",
            candidate.to_string(),
            report.smaller(candidate.bytes),
            speed.likely(),
            loss.points
        );
    }
    for rejected in &found.rejected {
        let _ = writeln!(text, "  not     {}: {}", rejected.what, rejected.why);
    }
    if found.was_cut {
        text += "  the time was over before all was tried: --time says how long to look\n";
    }
    for one in *judged {
        text += &told(report, one);
    }
    if judged.is_empty() {
        let most = terms.max_loss;
        let _ = writeln!(text, "no variant loses at most {most} points, is not slower and not larger");
    }
    text
}

fn told(report: &Report<'_, '_>, judged: &Judged) -> String {
    let candidate = &judged.tried.candidate;
    let verdict = if judged.refusals.is_empty() { "good" } else { "refused" };
    let mut text = format!(
        "  {verdict:<7} {candidate}: {:.2}x smaller, loses {} on {} items\n",
        report.smaller(candidate.bytes),
        loss(judged),
        judged.loss.items
    );
    for speed in &judged.speeds {
        let _ = writeln!(
            text,
            "          batch {:<4} {:.2}x as fast (>= {:.2}); p50 {} -> {}, p99 {} -> {}, {:.0} -> {:.0} items/s{}",
            speed.batch,
            speed.estimate(),
            speed.low(),
            time(speed.original.p50),
            time(speed.variant.p50),
            time(speed.original.p99),
            time(speed.variant.p99),
            speed.original.throughput,
            speed.variant.throughput,
            if speed.was_loaded { "; the machine did other work" } else { "" }
        );
    }
    let _ = writeln!(
        text,
        "          loads in {} (the original {}), holds {:.1} MB (the original {:.1})",
        time(judged.footprint.load),
        time(report.footprint.load),
        judged.footprint.resident as f64 / 1e6,
        report.footprint.resident as f64 / 1e6
    );
    for refusal in &judged.refusals {
        let _ = writeln!(text, "          {refusal}");
    }
    text
}

/// Seconds, with a unit.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        short if short < 1e-3 => format!("{:.1} us", short * 1e6),
        short if short < 1.0 => format!("{:.2} ms", short * 1e3),
        long => format!("{long:.2} s"),
    }
}
