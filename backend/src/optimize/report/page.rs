//! The page: one file, no script, nothing from a network.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::text::time;
use super::{Kind, Report, loss, plot};
use crate::optimize::search::Tried;
use crate::optimize::speed::Speed;
use crate::optimize::verdict::Judged;

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1c2430; --ground: #fff; --line: #d8dde5; --faint: #e3e7ee; --label: #445; --red: #b01e1e;
  --original: #667; --good: #3a76b8; --bad: #c08a5a; --taken: #2f7d4f; --yes: #eef7f1; --no: #fbf1ea; --warning: #fbeaea }
@media (prefers-color-scheme: dark) { :root { --text: #dde3ea; --ground: #14181e; --line: #333b46; --faint: #2a313b; --label: #b4bcc8;
  --red: #ff8a80; --original: #9aa3b2; --good: #6fa8e6; --bad: #c79a72; --taken: #5fbf86; --yes: #1a2a20; --no: #2c2119; --warning: #331a1a } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: var(--text); background: var(--ground) }
h1 { font-size: 1.5rem } h1, h2, td, p { overflow-wrap: anywhere } h2 { font-size: 1.15rem; margin-top: 2rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% } td.name { min-width: 11rem } td.where { white-space: nowrap }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.verdict, .warning { padding: .6rem 1rem; border-left: 4px solid } .warning { font-weight: 600 }
.verdict { border-color: var(--taken); background: var(--yes) } .verdict.no { border-color: var(--bad); background: var(--no) }
.warning { border-color: var(--red); background: var(--warning) }
pre { white-space: pre-wrap; font: inherit }
svg { display: block; width: 100%; height: auto } svg text { font: 13px system-ui, sans-serif; fill: var(--label) }
@media (max-width: 40rem) { svg text { font-size: 24px } }
svg .grid { stroke: var(--faint) } svg line.budget { stroke: var(--red); stroke-dasharray: 5 4 } svg text.budget { fill: var(--red) }
circle { fill-opacity: .75; stroke: var(--ground) } circle.original { fill: var(--original) } circle.good { fill: var(--good) }
circle.bad { fill: var(--bad) } circle.taken { fill: var(--taken); fill-opacity: .9; stroke: var(--text) }
.legend span { white-space: nowrap; margin-right: 1rem } .legend i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .35em }
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
    page += &legend(report);
    if !judged.is_empty() {
        page += "<h2>Judged on the report split</h2>\n<div class=\"wide\"><table><tr><th>Variant<th>Points lost<th class=\"number\">Batch\
                 <th class=\"number\">As fast<th class=\"number\">p50<th class=\"number\">p99<th class=\"number\">Items/s</tr>\n";
        judged.iter().for_each(|one| page += &rows(one));
        page += "</table></div>\n";
    }
    page += &tried(report);
    if !found.rejected.is_empty() {
        page += "<h2>Not possible</h2>\n<div class=\"wide\"><table><tr><th>What<th>Why</tr>\n";
        for rejected in &found.rejected {
            let _ = writeln!(page, "<tr><td>{}<td>{}</tr>", escaped(&rejected.what), escaped(&rejected.why));
        }
        page += "</table></div>\n";
    }
    page + &left(report) + "</html>\n"
}

/// What the picture's dots are; of no kind that is not there.
fn legend(report: &Report<'_, '_>) -> String {
    let kinds: BTreeSet<Kind> = report.found.tried.iter().map(|tried| report.kind(tried)).collect();
    let of_kind = |kind: Kind| {
        let class = kind.class();
        format!("<span><i style=\"background: var(--{class})\"></i>{}</span> ", kind.means())
    };
    let all: String = std::iter::once(Kind::Original).chain(kinds).map(of_kind).collect();
    format!(
        "<p class=\"legend\">{all}</p>\n<p>Each dot is a candidate on the choose split: to the right is faster, up loses more, its \
         area is its size.</p>\n"
    )
}

/// All candidates; where most of a loss is, if any metric says it.
fn tried(report: &Report<'_, '_>) -> String {
    let tried = &report.found.tried;
    let says_where = tried.iter().any(|tried| tried.loss.worst.is_some());
    let mut text = "<h2>Tried</h2>\n<div class=\"wide\"><table><tr><th>Candidate<th class=\"number\">Smaller\
                    <th class=\"number\">As fast<th class=\"number\">Points lost"
        .to_owned();
    text += if says_where { "<th>Most of it</tr>\n" } else { "</tr>\n" };
    for Tried { candidate, loss, speed } in tried {
        let _ = write!(
            text,
            "<tr><td class=\"name\">{}<td class=\"number\">{:.2}x<td class=\"number\">{:.2}x<td class=\"number\">{:.2}",
            escaped(&candidate.to_string()),
            report.smaller(candidate.bytes),
            speed.likely(),
            loss.points
        );
        if says_where {
            let place = escaped(loss.worst.as_deref().unwrap_or_default());
            let _ = write!(text, "<td class=\"where\">{place}");
        }
        text += "</tr>\n";
    }
    text + "</table></div>\n"
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
        escaped(&loss(judged)).replace("&lt;=", "&le;"),
        time(judged.footprint.load),
        time(report.footprint.load),
        judged.footprint.resident as f64 / 1e6,
        report.footprint.resident as f64 / 1e6
    )
}

fn rows(judged: &Judged) -> String {
    let reasons: Vec<String> = judged.refusals.iter().map(|refusal| escaped(&refusal.to_string())).collect();
    let said = if reasons.is_empty() { "may be installed".to_owned() } else { reasons.join("; ") };
    let name = escaped(&judged.tried.candidate.to_string());
    // What the figure is stands above the column.
    let lost = escaped(&loss(judged)).replace("&lt;=", "&le;").replacen(" points", "", 1);
    let count = judged.speeds.len();
    let of_speed = |(at, speed): (usize, &Speed)| {
        let first = match at {
            0 => format!(
                "<td class=\"name\" rowspan=\"{count}\">{name}<br><small>{said}</small><td rowspan=\"{count}\">{lost}"
            ),
            _ => String::new(),
        };
        format!(
            "<tr>{first}<td class=\"number\">{}<td class=\"number\">{:.2}x (&ge; {:.2})<td class=\"number\">{} &rarr; {}\
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
        "<h2>Stayed FP32 in {}</h2>\n<div class=\"wide\"><table><tr><th>Node<th>Operator<th>Why</tr>\n",
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
    text + "</table></div>\n"
}

/// Text that stands in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
