//! Where the filter finds the gate's two endpoints.

/// `GET`, with `x-forebay-service`, `-tenant`, `-model`, `-version` and `-digest`: 200 with a plain entry, or 404.
pub const LOOKUP_PATH: &str = "/forebay/v1/lookup";
/// `GET`: the table of live generations, as JSON.
pub const GENERATIONS_PATH: &str = "/forebay/v1/generations";
