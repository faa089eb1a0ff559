//! What was found, told: a table for the terminal (`text`), everything as JSON (`data`), and a page that needs no network (`page`).

mod data;
mod page;
mod plot;
mod text;

use std::path::Path;

use super::fleet::Fleet;
use super::judge::Footprint;
use super::request::Request;
use super::search::{Found, Tried};
use super::speed::NOT_SLOWER;
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

/// What a dot of the picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Original,
    Taken,
    Good,
    Bad,
}

impl Kind {
    /// Its name in the page's style.
    fn class(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Taken => "taken",
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }

    /// What it is, in words.
    fn means(self) -> &'static str {
        match self {
            Self::Original => "the original",
            Self::Taken => "the one that may be installed",
            Self::Good => "no slower, loses no more than it may",
            Self::Bad => "slower, or loses more",
        }
    }
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

    /// What a candidate is in the picture.
    fn kind(&self, tried: &Tried) -> Kind {
        let taken = self.judged.last().filter(|judged| judged.refusals.is_empty());
        if taken.is_some_and(|taken| taken.tried.candidate.number == tried.candidate.number) {
            return Kind::Taken;
        }
        let is_good = tried.loss.points <= self.terms.max_loss && tried.speed.likely() >= NOT_SLOWER;
        if is_good { Kind::Good } else { Kind::Bad }
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
