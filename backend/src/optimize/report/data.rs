//! Everything as JSON.

use serde_json::{Value, json};

use super::Report;
use crate::optimize::fleet::Fleet;
use crate::optimize::search::{Rejected, Tried};
use crate::optimize::verdict::Judged;

/// The report as JSON.
pub(super) fn of(report: &Report<'_, '_>) -> Value {
    let Report { request, shop, terms, found, judged, footprint, fleet } = report;
    let of_tried = |Tried { candidate, loss, speed }: &Tried| json!({"name": candidate.to_string(), "candidate": candidate, "loss": loss, "speed": speed});
    let of_judged = |one: &Judged| {
        let reasons: Vec<String> = one.refusals.iter().map(ToString::to_string).collect();
        json!({
            "name": one.tried.candidate.to_string(),
            "candidate": one.tried.candidate,
            "loss": one.loss,
            "speeds": one.speeds,
            "footprint": one.footprint,
            "refusals": one.refusals,
            "reasons": reasons,
        })
    };
    json!({
        "model": request.name,
        "version": request.version,
        "metric": request.metric.to_string(),
        "data": {"blake3": request.data.0.to_hex().to_string(), "items": request.data.1, "made_up": request.is_made_up},
        "terms": terms,
        "cpu": shop.template.judged.cpu,
        "tools": shop.tools.versions,
        "original": {"bytes": terms.original_bytes, "footprint": footprint},
        "tried": found.tried.iter().map(of_tried).collect::<Vec<_>>(),
        "rejected": found.rejected.iter().map(|Rejected { what, why }| json!({"what": what, "why": why})).collect::<Vec<_>>(),
        "cut": found.was_cut,
        "fleet": fleet.map(Fleet::data),
        "judged": judged.iter().map(of_judged).collect::<Vec<_>>(),
    })
}
