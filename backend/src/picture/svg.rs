//! Shapes and texts -> SVG that is readable on light and dark pages, with no more than a page needs.

use std::fmt::Write as _;

/// Which side of a text is where it is put.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

pub(crate) struct Svg(String);

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#24292f}\
.title{font-size:16px;font-weight:600}.head{font-size:13px;font-weight:600}.name{font-size:13px}\
.tick{font-size:12px;fill:#57606a}.grid{stroke:#d0d7de}.line{fill:none;stroke-width:2.25}.dashed{stroke-dasharray:6 4}.faint{opacity:.4}\
.page{fill:#ffffff}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.tick{fill:#9198a1}.grid{stroke:#3d444d}.page{fill:#0d1117}}";

type Point = (f64, f64);

impl Svg {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        let mut svg = Self(String::new());
        svg.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">"
        ));
        svg.put(format_args!("<style>{STYLE}</style>"));
        svg.put(format_args!("<rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"));
        svg
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "{element}");
    }

    pub(crate) fn text(&mut self, (x, y): Point, class: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    pub(crate) fn line(&mut self, (x1, y1): Point, (x2, y2): Point, class: &str) {
        self.put(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    pub(crate) fn path(&mut self, points: &[Point], color: &str, class: &str) {
        let mut steps = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = write!(steps, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { " L" });
        }
        self.put(format_args!("<path d=\"{steps}\" class=\"{class}\" stroke=\"{color}\"/>"));
    }

    pub(crate) fn dot(&mut self, (x, y): Point, color: &str) {
        self.put(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"/>"));
    }

    pub(crate) fn bar(&mut self, (x, y): Point, (width, height): Point, color: &str, class: &str) {
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{color}\" class=\"{class}\"/>"
        ));
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
