//! What was found, told: a table for the terminal (`text`), everything as JSON (`data`), and a page that needs no network (`page`).

mod data;
mod page;
mod plot;
mod text;

use std::path::Path;

use super::fleet::Fleet;
use super::judge::Footprint;
use super::request::Request;
use super::search::Found;
use super::verdict::{Judged, Terms};
use super::workshop::Workshop;

/// All that a report tells of.
pub(crate) struct Report<'a, 'b> {
    pub(crate) request: &'a Request,
    pub(crate) shop: &'a Workshop<'b>,
    pub(crate) terms: &'a Terms,
    pub(crate) found: &'a Found,
    pub(crate) judged: &'a [Judged],
    /// Of the original.
    pub(crate) footprint: Footprint,
    /// The servers that it is for, if they were asked.
    pub(crate) fleet: Option<&'a Fleet>,
}

impl Report<'_, '_> {
    /// The table.
    pub(crate) fn text(&self) -> String {
        text::of(self)
    }

    /// The files of a report, by name.
    pub(crate) fn files(&self) -> [(&'static str, String); 3] {
        let data = serde_json::to_string_pretty(&data::of(self)).unwrap_or_default();
        [("report.txt", self.text()), ("report.json", data + "\n"), ("report.html", page::of(self))]
    }

    /// Writes the files into a folder, which is made.
    ///
    /// # Errors
    /// They can't be written.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        self.files().iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
    }

    /// How much smaller a variant is.
    fn smaller(&self, bytes: u64) -> f64 {
        self.terms.original_bytes as f64 / bytes as f64
    }
}

/// Of a loss: estimate, bound, and what else is known of it.
fn loss(judged: &Judged) -> String {
    let loss = &judged.loss;
    let bound = loss.bound.map_or("no bound".to_owned(), |bound| format!("<= {bound:.2}"));
    let disagreeing = loss.disagreements.map(|count| format!(", {count} of {} disagree", loss.items));
    format!("{:.2} points ({bound}){}", loss.points, disagreeing.unwrap_or_default())
}
