//! Flags -> whether a gate has a page of what it knows, and what that says of money.

use clap::{ArgAction, Args};

use super::units::parse_price;

/// The page of a gate.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Page")]
pub(crate) struct UiSettings {
    /// Serve a page of what this gate knows: /ui at the port of /metrics
    #[arg(long, env = "FOREBAY_UI", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true")]
    pub(crate) ui: bool,
    /// What a GPU hour costs: the page then says what was computed and saved in money too
    #[arg(long, env = "FOREBAY_PRICE", value_parser = parse_price)]
    pub(crate) price: Option<f64>,
}
