//! Numbers and shapes -> SVG, for those that draw: an `axis` says where a value is, `svg` puts shapes and texts.

pub(crate) mod axis;
pub(crate) mod svg;
