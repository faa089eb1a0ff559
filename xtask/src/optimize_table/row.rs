//! What `forebay optimize` reported of a model -> its row of the table.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::models::Model;

/// A row, or why there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) model: String,
    /// Seconds from the command to its end.
    pub(crate) took: f64,
    pub(crate) outcome: Outcome,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Reported(Box<Report>),
    Failed(String),
}

/// `report.json`, as far as the table tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) data: Data,
    pub(crate) cpu: Vec<String>,
    pub(crate) original: Original,
    pub(crate) tried: Vec<Tried>,
    pub(crate) cut: bool,
    pub(crate) judged: Vec<Judged>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Data {
    pub(crate) blake3: String,
    pub(crate) items: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Original {
    pub(crate) bytes: u64,
}

/// A variant, on the choose split.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tried {
    pub(crate) name: String,
    pub(crate) candidate: Candidate,
    pub(crate) loss: Loss,
    pub(crate) speed: Speed,
}

/// A variant, on the report split.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub(crate) name: String,
    pub(crate) candidate: Candidate,
    pub(crate) loss: Loss,
    pub(crate) speeds: Vec<Speed>,
    /// Why it is not installed.
    pub(crate) reasons: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) bytes: u64,
    pub(crate) recipe: Recipe,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Recipe {
    pub(crate) kind: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Loss {
    pub(crate) points: f64,
    pub(crate) bound: Option<f64>,
    pub(crate) items: u64,
    pub(crate) disagreements: Option<u64>,
    pub(crate) values: Option<(f64, f64)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Speed {
    pub(crate) batch: u64,
    pub(crate) cpu: Ratio,
    pub(crate) wall: Ratio,
    pub(crate) was_loaded: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) estimate: f64,
    pub(crate) low: f64,
}

impl Speed {
    /// How much faster, by what says less.
    pub(crate) fn estimate(&self) -> f64 {
        self.cpu.estimate.min(self.wall.estimate)
    }

    /// The same of what was only tried: by CPU time alone where the machine did other work.
    fn likely(&self) -> f64 {
        if self.was_loaded { self.cpu.estimate } else { self.estimate() }
    }
}

impl Report {
    /// What was installed.
    pub(crate) fn installed(&self) -> Option<&Judged> {
        self.judged.last().filter(|judged| judged.reasons.is_empty())
    }

    /// How many times smaller.
    pub(crate) fn smaller(&self, candidate: &Candidate) -> f64 {
        self.original.bytes as f64 / candidate.bytes as f64
    }

    /// What was installed, or why nothing was; and, where that is no INT8, how the fastest of INT8 fared.
    fn told(&self) -> String {
        let is_integers =
            |candidate: &Candidate| ["static", "dynamic", "hybrid"].contains(&&*candidate.recipe.kind);
        let mut told = match (self.installed(), self.judged.last()) {
            (Some(judged), _) => judged.name.clone(),
            (None, Some(judged)) => format!("nothing: {}: {}", judged.name, judged.reasons.join("; ")),
            (None, None) => "nothing: no variant loses so little, is no slower and no larger".to_owned(),
        };
        if !self.installed().is_some_and(|judged| is_integers(&judged.candidate)) {
            let integers = self.tried.iter().filter(|tried| is_integers(&tried.candidate));
            let fastest = integers.max_by(|one, other| one.speed.likely().total_cmp(&other.speed.likely()));
            if let Some(Tried { name, loss, speed, .. }) = fastest {
                let _ = write!(told, " ({name}: {:.2}x as fast, loses {:.2})", speed.likely(), loss.points);
            }
        }
        told
    }
}

/// The head of the table.
pub(super) const HEAD: &str = "| model | asked | installed | MB | smaller | as fast | at batch 8 | points lost | other answers | search | to reach with VNNI |\n\
     |---|---|---|---|---|---|---|---|---|---|---|\n";

impl Row {
    /// The row as Markdown has it.
    pub(super) fn line(&self, model: &Model) -> String {
        let asked = format!("{}; `--metric={} {}`", model.data, model.metric.name(), model.flags.join(" "));
        let report = match &self.outcome {
            Outcome::Reported(report) => report,
            Outcome::Failed(why) => {
                let why = why.replace('|', "\\|");
                return format!(
                    "| {} | {asked} | FAILED: {why} | | | | | | | | {} |\n",
                    self.model, model.mark
                );
            }
        };
        let bytes = report.original.bytes as f64 / 1e6;
        let told = report.told().replace('|', "\\|");
        let mut cells = vec![self.model.clone(), asked, told];
        match report.installed() {
            Some(Judged { candidate, loss, speeds, .. }) => {
                let at =
                    |batch| speeds.iter().find(|speed| speed.batch == batch).map_or("-".to_owned(), fast);
                let bound = loss.bound.map(|bound| format!(" (<= {bound:.2})")).unwrap_or_default();
                cells.extend([
                    format!("{bytes:.2} -> {:.2}", candidate.bytes as f64 / 1e6),
                    format!("{:.2}x", report.smaller(candidate)),
                    at(1),
                    at(8),
                    format!("{:.2}{bound}", loss.points),
                    loss.disagreements.map_or("-".to_owned(), |count| format!("{count} of {}", loss.items)),
                ]);
            }
            None => cells.extend([
                format!("{bytes:.2}"),
                "1x".into(),
                "1x".into(),
                "1x".into(),
                "0".into(),
                "0".into(),
            ]),
        }
        let cut = if report.cut { ", cut" } else { "" };
        cells.extend([format!("{:.0} s{cut}", self.took), model.mark.to_owned()]);
        format!("| {} |\n", cells.join(" | "))
    }
}

fn fast(speed: &Speed) -> String {
    let loaded = if speed.was_loaded { ", loaded" } else { "" };
    format!("{:.2}x (>= {:.2}{loaded})", speed.estimate(), speed.cpu.low.min(speed.wall.low))
}
