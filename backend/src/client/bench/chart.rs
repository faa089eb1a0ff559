//! A report -> one picture as SVG: how many answers a second, and how long they took. Where there are runs of several loads, along
//! the loads; else along the percentiles of the one.

mod series;

use series::{Series, loads};

use super::report::Report;
use crate::picture::axis::{Axis, short};
use crate::picture::svg::{Anchor, Svg};

const WIDTH: f64 = 840.0;
const HEIGHT: f64 = 380.0;
/// Where the panels begin and end from above; what is above is title and legend.
const TOP: f64 = 104.0;
const BOTTOM: f64 = 318.0;
const PANEL: f64 = 330.0;
/// Where each panel's plot begins from the left.
const LEFT: [f64; 2] = [64.0, 486.0];
/// From a panel's edge to its first point.
const INSET: f64 = 24.0;

/// Draws it.
pub(super) fn draw(report: &Report, title: Option<&str>) -> String {
    let loads = loads(&report.runs);
    let all = series::of(&report.runs, &loads);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let title = title.map_or_else(|| by_itself(report), str::to_owned);
    svg.text((LEFT[0] - 40.0, 28.0), "title", Anchor::Start, &title);
    legend(&mut svg, &all);
    let rates: Vec<Vec<f64>> = all.iter().map(Series::rates).collect();
    if loads.len() > 1 {
        let names: Vec<String> = loads.iter().map(series::Load::name).collect();
        let below =
            if loads.iter().any(series::Load::is_open) { "requests that were due" } else { "connections" };
        let panel = Panel {
            left: LEFT[0],
            title: "answers a second",
            below,
            names: &names,
            axis: Axis::from_zero(rates.iter().flatten()),
        };
        panel.frame(&mut svg);
        for (series, rates) in all.iter().zip(&rates) {
            panel.line(&mut svg, series.color, "line", rates);
        }
        let latencies: Vec<f64> =
            all.iter().flat_map(|series| [series.medians(), series.p99s()].concat()).collect();
        let panel = Panel {
            left: LEFT[1],
            title: "latency in ms: — median, - - 99th percentile",
            below,
            names: &names,
            axis: Axis::log(&latencies),
        };
        panel.frame(&mut svg);
        for series in &all {
            panel.line(&mut svg, series.color, "line", &series.medians());
            panel.line(&mut svg, series.color, "line dashed", &series.p99s());
        }
    } else {
        bars(&mut svg, &all, &rates);
        let names = series::PERCENTILES.map(str::to_owned);
        let latencies: Vec<f64> = all.iter().flat_map(Series::percentiles).collect();
        let panel = Panel {
            left: LEFT[1],
            title: "latency in ms",
            below: "percentile",
            names: &names,
            axis: Axis::log(&latencies),
        };
        panel.frame(&mut svg);
        for series in &all {
            panel.line(&mut svg, series.color, "line", &series.percentiles());
        }
    }
    svg.finish()
}

/// What a chart without a title says.
fn by_itself(report: &Report) -> String {
    let inputs = &report.inputs;
    let repeats = match (inputs.repeats.as_str(), inputs.keys, inputs.skew) {
        ("same", ..) => "one request".to_owned(),
        ("zipf", Some(keys), Some(skew)) => format!("Zipf's law, {keys} requests, skew {skew}"),
        (repeats, ..) => format!("{repeats} requests"),
    };
    format!("{}: {repeats}", report.model)
}

/// The series' names in their colours, in as many rows as they need.
fn legend(svg: &mut Svg, all: &[Series]) {
    let (mut x, mut y) = (LEFT[0] - 40.0, 52.0);
    for series in all {
        let width = 34.0 + 6.4 * series.name.chars().count() as f64;
        if x + width > WIDTH && x > LEFT[0] {
            (x, y) = (LEFT[0] - 40.0, y + 18.0);
        }
        svg.dot((x + 5.0, y - 4.0), series.color);
        svg.text((x + 15.0, y), "name", Anchor::Start, &series.name);
        x += width;
    }
}

/// One of two plots: names from left to right, numbers upwards.
struct Panel<'a> {
    left: f64,
    title: &'static str,
    below: &'static str,
    names: &'a [String],
    axis: Axis,
}

impl Panel<'_> {
    fn x(&self, index: usize) -> f64 {
        let steps = (self.names.len().max(2) - 1) as f64;
        self.left + INSET + index as f64 * (PANEL - 2.0 * INSET) / steps
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - self.axis.place(value) * (BOTTOM - TOP)
    }

    fn frame(&self, svg: &mut Svg) {
        svg.text((self.left - 40.0, TOP - 14.0), "head", Anchor::Start, self.title);
        for tick in self.axis.ticks() {
            let y = self.y(tick);
            svg.line((self.left, y), (self.left + PANEL, y), "grid");
            svg.text((self.left - 8.0, y + 4.0), "tick", Anchor::End, &short(tick));
        }
        for (index, name) in self.names.iter().enumerate() {
            svg.text((self.x(index), BOTTOM + 20.0), "tick", Anchor::Middle, name);
        }
        svg.text((self.left + PANEL / 2.0, BOTTOM + 42.0), "tick", Anchor::Middle, self.below);
    }

    /// A line through the values that there are.
    fn line(&self, svg: &mut Svg, color: &str, class: &str, values: &[f64]) {
        let points = values.iter().enumerate().filter(|(_, value)| value.is_finite());
        let points: Vec<(f64, f64)> = points.map(|(index, value)| (self.x(index), self.y(*value))).collect();
        svg.path(&points, color, class);
        for point in points {
            svg.dot(point, color);
        }
    }
}

/// Answers a second of one load, a bar a series.
fn bars(svg: &mut Svg, all: &[Series], rates: &[Vec<f64>]) {
    let axis = Axis::from_zero(rates.iter().flatten());
    let names: [String; 0] = [];
    let panel = Panel { left: LEFT[0], title: "answers a second", below: "", names: &names, axis };
    panel.frame(svg);
    let each = (PANEL - INSET) / all.len().max(1) as f64;
    for (index, (series, rates)) in all.iter().zip(rates).enumerate() {
        let rate = rates.first().copied().filter(|rate| rate.is_finite()).unwrap_or(0.0);
        let (width, x) = ((each * 0.7).min(90.0), LEFT[0] + INSET + (index as f64 + 0.35) * each);
        let top = panel.y(rate);
        svg.bar((x - width / 2.0, top), (width, BOTTOM - top), series.color, "full");
        svg.text((x, top - 6.0), "tick", Anchor::Middle, &format!("{rate:.0}"));
    }
}

#[cfg(test)]
mod tests;
