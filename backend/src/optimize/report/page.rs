//! The page: one file, no script, nothing from a network.

use std::fmt::Write as _;

use super::text::time;
use super::{Report, loss, plot};
use crate::optimize::search::Tried;
use crate::optimize::speed::Speed;
use crate::optimize::verdict::Judged;

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c2430; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d8dde5; vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.verdict { padding: .6rem 1rem; border-left: 4px solid #2f7d4f; background: #eef7f1 } .verdict.no { border-color: #b3541e; background: #fbf1ea }
.warning { padding: .6rem 1rem; border-left: 4px solid #b01e1e; background: #fbeaea; font-weight: 600 }
pre { white-space: pre-wrap; font: inherit }
svg { width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: #445 } svg .grid { stroke: #e3e7ee }
svg line.budget { stroke: #b01e1e; stroke-dasharray: 5 4 } svg text.budget { fill: #b01e1e }
circle { fill-opacity: .65; stroke: #fff } circle.original { fill: #667 } circle.good { fill: #3a76b8 } circle.bad { fill: #c9b3a2 } circle.taken { fill: #2f7d4f; fill-opacity: .9; stroke: #14301f }
@media (prefers-color-scheme: dark) { body { color: #dde3ea; background: #14181e } th, td { border-color: #333b46 } svg text { fill: #aab } svg .grid { stroke: #2a313b } .verdict { background: #1a2a20 } .verdict.no { background: #2c2119 } .warning { background: #331a1a } }
";

/// The page.
pub(super) fn of(report: &Report<'_, '_>) -> String {
    let Report { request, terms, found, judged, .. } = report;
    let title = format!("{}, version {}: made lighter", request.name, request.version);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{0}</title><style>{STYLE}</style>\n<h1>{0}</h1>\n",
        escaped(&title)
    );
    if terms.is_made_up {
        page += "<p class=\"warning\">The inputs are made up: what a variant loses on real ones is not known.</p>\n";
    }
    page += &verdict(report);
    let _ = writeln!(
        page,
        "<p>{} items ({}), metric <b>{}</b>, {} points may be lost{}. Judged with ONNX Runtime {} on {}.</p>",
        request.data.1,
        &request.data.0.to_hex()[..12],
        escaped(&request.metric.to_string()),
        terms.max_loss,
        if terms.guarantee { ", guaranteed by the 95 % bound" } else { "" },
        escaped(&report.shop.template.judged.onnxruntime),
        escaped(&report.shop.template.judged.cpu.to_string())
    );
    if let Some(fleet) = report.fleet {
        let _ = writeln!(page, "<pre>{}</pre>", escaped(&fleet.text()));
    }
    page += &plot::of(report);
    page += "<p>Each dot is a candidate on the choose split: to the right is faster, up loses more, its area is its size.</p>\n";
    if !judged.is_empty() {
        page += "<h2>Judged on the report split</h2>\n<table><tr><th>Variant<th>Points lost<th>Batch\
                 <th class=\"number\">As fast<th class=\"number\">p50<th class=\"number\">p99<th class=\"number\">Items/s</tr>\n";
        judged.iter().for_each(|one| page += &rows(one));
        page += "</table>\n";
    }
    page += "<h2>Tried</h2>\n<table><tr><th>Candidate<th class=\"number\">Smaller<th class=\"number\">As fast<th class=\"number\">Points lost<th>Most of it</tr>\n";
    for Tried { candidate, loss, speed } in &found.tried {
        let _ = writeln!(
            page,
            "<tr><td>{}<td class=\"number\">{:.2}x<td class=\"number\">{:.2}x<td class=\"number\">{:.2}<td>{}</tr>",
            escaped(&candidate.to_string()),
            report.smaller(candidate.bytes),
            speed.estimate(),
            loss.points,
            escaped(loss.worst.as_deref().unwrap_or_default())
        );
    }
    page += "</table>\n";
    if !found.rejected.is_empty() {
        page += "<h2>Not possible</h2>\n<table><tr><th>What<th>Why</tr>\n";
        for rejected in &found.rejected {
            let _ = writeln!(page, "<tr><td>{}<td>{}</tr>", escaped(&rejected.what), escaped(&rejected.why));
        }
        page += "</table>\n";
    }
    page + &left(report) + "</html>\n"
}

fn verdict(report: &Report<'_, '_>) -> String {
    let Some(judged) = report.judged.last().filter(|judged| judged.refusals.is_empty()) else {
        return "<p class=\"verdict no\">Nothing may be installed: the original stays.</p>\n".to_owned();
    };
    let speed = judged.speeds.first().map_or(1.0, Speed::estimate);
    format!(
        "<p class=\"verdict\"><b>{}</b>: {:.2} times smaller, {speed:.2} times as fast, loses {}. \
         It loads in {} (the original in {}) and holds {:.1} MB (the original {:.1}).</p>\n",
        escaped(&judged.tried.candidate.to_string()),
        report.smaller(judged.tried.candidate.bytes),
        escaped(&loss(judged)),
        time(judged.footprint.load),
        time(report.footprint.load),
        judged.footprint.resident as f64 / 1e6,
        report.footprint.resident as f64 / 1e6
    )
}

fn rows(judged: &Judged) -> String {
    let reasons: Vec<String> = judged.refusals.iter().map(|refusal| escaped(&refusal.to_string())).collect();
    let said = if reasons.is_empty() { "may be installed".to_owned() } else { reasons.join("; ") };
    let of_speed = |(at, speed): (usize, &Speed)| {
        let name = match at {
            0 => format!("{}<br><small>{said}</small>", escaped(&judged.tried.candidate.to_string())),
            _ => String::new(),
        };
        let lost = if at == 0 { escaped(&loss(judged)) } else { String::new() };
        format!(
            "<tr><td>{name}<td>{lost}<td>{}<td class=\"number\">{:.2}x (&ge; {:.2})<td class=\"number\">{} &rarr; {}\
             <td class=\"number\">{} &rarr; {}<td class=\"number\">{:.0} &rarr; {:.0}</tr>\n",
            speed.batch,
            speed.estimate(),
            speed.low(),
            time(speed.original.p50),
            time(speed.variant.p50),
            time(speed.original.p99),
            time(speed.variant.p99),
            speed.original.throughput,
            speed.variant.throughput
        )
    };
    judged.speeds.iter().enumerate().map(of_speed).collect()
}

/// What stayed FP32 in the last that was judged.
fn left(report: &Report<'_, '_>) -> String {
    let Some(judged) = report.judged.last() else { return String::new() };
    let candidate = &judged.tried.candidate;
    let kept = candidate.recipe.integers().map_or(&[][..], |integers| &integers.keep);
    if candidate.made.left.is_empty() && kept.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "<h2>Stayed FP32 in {}</h2>\n<table><tr><th>Node<th>Operator<th>Why</tr>\n",
        escaped(&candidate.to_string())
    );
    for node in kept {
        let _ = writeln!(text, "<tr><td>{}<td><td>it lost the most as INT8</tr>", escaped(node));
    }
    for node in candidate.made.left.iter().filter(|node| !kept.contains(&node.node)) {
        let _ = writeln!(
            text,
            "<tr><td>{}<td>{}<td>{}</tr>",
            escaped(&node.node),
            escaped(&node.op),
            escaped(&node.why)
        );
    }
    text + "</table>\n"
}

/// Text that stands in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
