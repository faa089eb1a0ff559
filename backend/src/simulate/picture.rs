//! A report -> one picture as SVG: what was asked and what was missed over the day, how many replicas there were, what that costs, and
//! how long answers took.

use forebay_simulate::outcome::Step;

use super::report::{Report, Told};
use crate::picture::axis::{Axis, short};
use crate::picture::svg::{Anchor, Svg};

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 640.0;
/// The plots: from the left, from above, wide, high.
const PLOTS: [(f64, f64); 4] = [(64.0, 104.0), (506.0, 104.0), (64.0, 400.0), (506.0, 400.0)];
const SIZE: (f64, f64) = (350.0, 190.0);
/// Okabe and Ito's colours: told apart by all eyes, on light and dark.
const COLORS: [&str; 5] = ["#d55e00", "#e69f00", "#56b4e9", "#009e73", "#cc79a7"];
/// Points of a line at most.
const MOST_POINTS: usize = 288;
const SOLID: &str = "line";
/// HPA and zero without the cache are one but at night: the one shows through the other.
const CLASSES: [&str; 5] = [SOLID, SOLID, "line dashed", SOLID, SOLID];
/// Of what was asked.
const GREY: &str = "#8c959f";
/// Above the highest bar, for what is written there.
const ROOM: f64 = 1.15;

/// Values over the day.
struct Line {
    color: &'static str,
    class: &'static str,
    values: Vec<f64>,
}

/// One of the four.
struct Plot {
    left: f64,
    top: f64,
    axis: Axis,
}

impl Plot {
    fn new(svg: &mut Svg, (left, top): (f64, f64), title: &str, axis: Axis) -> Self {
        let plot = Self { left, top, axis };
        svg.text((left - 40.0, top - 14.0), "head", Anchor::Start, title);
        for tick in plot.axis.ticks() {
            let y = plot.y(tick);
            svg.line((left, y), (left + SIZE.0, y), "grid");
            svg.text((left - 8.0, y + 4.0), "tick", Anchor::End, &short(tick));
        }
        plot
    }

    fn bottom(&self) -> f64 {
        self.top + SIZE.1
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom() - self.axis.place(value) * SIZE.1
    }

    /// The hours below it, in quarters.
    fn hours(&self, svg: &mut Svg, hours: f64) {
        for quarter in 0..=4_u8 {
            let part = f64::from(quarter) / 4.0;
            let hour = short((hours * part * 10.0).round() / 10.0);
            svg.text((self.left + part * SIZE.0, self.bottom() + 20.0), "tick", Anchor::Middle, &hour);
        }
        svg.text((self.left + SIZE.0 / 2.0, self.bottom() + 40.0), "tick", Anchor::Middle, "hour");
    }

    fn line(&self, svg: &mut Svg, Line { color, class, values }: &Line) {
        let step = SIZE.0 / values.len().max(1) as f64;
        let points = values.iter().enumerate();
        let points: Vec<(f64, f64)> =
            points.map(|(at, value)| (self.left + (at as f64 + 0.5) * step, self.y(*value))).collect();
        svg.path(&points, color, class);
    }

    /// A bar for each: all of it faint, and its lower part full; what it is above it.
    fn bars(&self, svg: &mut Svg, bars: &[(f64, f64, String)]) {
        let each = SIZE.0 / bars.len().max(1) as f64;
        for (number, ((whole, part, told), color)) in bars.iter().zip(COLORS).enumerate() {
            let (width, x) = ((each * 0.6).min(60.0), self.left + (number as f64 + 0.5) * each);
            for (value, class) in [(*whole, "faint"), (*part, "full")] {
                let y = self.y(value);
                svg.bar((x - width / 2.0, y), (width, self.bottom() - y), color, class);
            }
            svg.text((x, self.y(*whole) - 6.0), "tick", Anchor::Middle, told);
        }
    }
}

/// Draws it.
pub(super) fn draw(report: &Report) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let title = format!("{:.0} hours of requests, by policy", report.hours);
    svg.text((24.0, 28.0), "title", Anchor::Start, &title);
    legend(&mut svg, &report.policies);
    let lines = Lines { seconds: report.step_seconds(), whole: report.whole_steps() };
    let asked = report.policies.first().map_or(&[][..], |told| &told.steps);
    let whole = lines.course(asked, |step| step.asked as f64 / lines.seconds);
    let mut requests = vec![Line { color: GREY, class: SOLID, values: whole }];
    for (told, color) in report.policies.iter().zip(COLORS).filter(|(told, _)| told.cached) {
        let values = lines.course(&told.steps, |step| step.missed as f64 / lines.seconds);
        requests.push(Line { color, class: SOLID, values });
    }
    let title = "requests a second: grey all, coloured missed";
    course(&mut svg, PLOTS[0], title, report.hours, &requests);
    let replicas = report.policies.iter().zip(COLORS).zip(CLASSES);
    let replicas: Vec<Line> = replicas
        .map(|((told, color), class)| Line {
            color,
            class,
            values: lines.course(&told.steps, |step| step.replicas),
        })
        .collect();
    course(&mut svg, PLOTS[1], "replicas", report.hours, &replicas);
    let hours: Vec<(f64, f64, String)> = report
        .policies
        .iter()
        .map(|told| (told.gpu_hours, told.gpu_hours - told.wasted_hours, format!("{:.1}", told.gpu_hours)))
        .collect();
    let axis = Axis::from_zero(hours.iter().map(|(whole, ..)| whole * ROOM).collect::<Vec<_>>().iter());
    Plot::new(&mut svg, PLOTS[2], "GPU hours, full what was computed in", axis).bars(&mut svg, &hours);
    let latencies: Vec<(f64, f64, String)> =
        report.policies.iter().map(|told| (told.p99_ms, told.p50_ms, time(told.p99_ms))).collect();
    let all: Vec<f64> = latencies.iter().flat_map(|(whole, part, _)| [whole * ROOM, *part]).collect();
    Plot::new(&mut svg, PLOTS[3], "latency in ms: 99th percentile, full the median", Axis::log(&all))
        .bars(&mut svg, &latencies);
    svg.finish()
}

/// A latency in few characters.
fn time(ms: f64) -> String {
    match ms {
        10_000.0.. => format!("{:.0} s", ms / 1e3),
        1_000.0.. => format!("{:.1} s", ms / 1e3),
        10.0.. => format!("{ms:.0} ms"),
        _ => format!("{ms:.1} ms"),
    }
}

/// A plot over the day's hours.
fn course(svg: &mut Svg, place: (f64, f64), title: &str, hours: f64, lines: &[Line]) {
    let axis = Axis::from_zero(lines.iter().flat_map(|line| &line.values));
    let plot = Plot::new(svg, place, title, axis);
    plot.hours(svg, hours);
    for line in lines {
        plot.line(svg, line);
    }
}

/// The policies' names in their colours.
fn legend(svg: &mut Svg, policies: &[Told]) {
    let mut x = 24.0;
    for (told, color) in policies.iter().zip(COLORS) {
        svg.dot((x + 5.0, 50.0), color);
        svg.text((x + 15.0, 54.0), "name", Anchor::Start, &told.name);
        x += 34.0 + 6.6 * told.name.chars().count() as f64;
    }
}

/// How steps become points.
struct Lines {
    /// Of a step.
    seconds: f64,
    /// Steps that are no part of one.
    whole: usize,
}

impl Lines {
    /// As many points as a picture needs, each a mean of some steps.
    fn course(&self, steps: &[Step], value: impl Fn(&Step) -> f64) -> Vec<f64> {
        let steps = &steps[..steps.len().min(self.whole)];
        let each = steps.len().div_ceil(MOST_POINTS).max(1);
        let means = steps.chunks(each).map(|some| some.iter().map(&value).sum::<f64>() / some.len() as f64);
        means.collect()
    }
}
