//! The picture as SVG: to the right is faster, up loses more, a dot's area is the size, the line is what may be lost.

use std::fmt::Write as _;

use super::page::escaped;
use super::{Kind, Report};
use crate::optimize::search::Tried;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// The field, within the picture.
const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 24.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = HEIGHT - 72.0;
/// Radius of a dot as large as the original.
const RADIUS: f64 = 14.0;
/// Points that are written at the axis. It grows by roots: what may be lost lies near nothing.
const POINTS: [f64; 10] = [0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// Numbers to places.
struct Field {
    fastest: f64,
    most: f64,
}

impl Field {
    fn x(&self, speed: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (speed / self.fastest).clamp(0.0, 1.0)
    }

    fn y(&self, points: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (points.max(0.0) / self.most).sqrt().min(1.0)
    }
}

/// The picture.
pub(super) fn of(report: &Report<'_, '_>) -> String {
    let tried = &report.found.tried;
    let largest = |of: fn(&Tried) -> f64, least: f64| {
        tried.iter().map(of).filter(|it| it.is_finite()).fold(least, f64::max)
    };
    let field = Field {
        fastest: 1.1 * largest(|tried| tried.speed.likely(), 1.5),
        most: 1.1 * largest(|tried| tried.loss.points, report.terms.max_loss.max(0.1) * 2.0),
    };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Speed against loss of each candidate\">\n"
    );
    axes(&field, &mut svg);
    let budget = field.y(report.terms.max_loss);
    let _ = writeln!(
        svg,
        "<line class=\"budget\" x1=\"{LEFT}\" y1=\"{budget:.1}\" x2=\"{RIGHT}\" y2=\"{budget:.1}\"/>\
         <text class=\"budget\" x=\"{:.1}\" y=\"{:.1}\">may lose {}</text>",
        LEFT + 6.0,
        budget - 6.0,
        report.terms.max_loss
    );
    svg += &dot(&field, Kind::Original.class(), (1.0, 0.0, 1.0), "the original");
    // Large ones first: a small one on top of it can still be pointed at. The one that is taken is on top of all.
    let mut order: Vec<&Tried> = tried.iter().collect();
    order.sort_by_key(|tried| (report.kind(tried) == Kind::Taken, std::cmp::Reverse(tried.candidate.bytes)));
    for tried in order {
        let class = report.kind(tried).class();
        let size = 1.0 / report.smaller(tried.candidate.bytes);
        let title = format!(
            "{}: {:.2}x as fast, {:.2} points, {:.2}x smaller",
            tried.candidate,
            tried.speed.likely(),
            tried.loss.points,
            1.0 / size
        );
        svg += &dot(&field, class, (tried.speed.likely(), tried.loss.points, size), &title);
    }
    svg + "</svg>\n"
}

fn dot(field: &Field, class: &str, (speed, points, size): (f64, f64, f64), title: &str) -> String {
    format!(
        "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{:.1}\"><title>{}</title></circle>\n",
        field.x(speed),
        field.y(points),
        (RADIUS * size.sqrt()).clamp(3.0, 2.0 * RADIUS),
        escaped(title)
    )
}

fn axes(field: &Field, svg: &mut String) {
    let step = if field.fastest > 4.0 { 1.0 } else { 0.5 };
    let mut speed = 0.0;
    while speed <= field.fastest {
        let x = field.x(speed);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{speed}x</text>",
            BOTTOM + 30.0
        );
        speed += step;
    }
    let mut last = f64::INFINITY;
    for points in POINTS.into_iter().filter(|points| *points <= field.most) {
        let y = field.y(points);
        // Where two would touch, the first is written.
        if last - y < 24.0 {
            continue;
        }
        last = y;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{points}</text>",
            LEFT - 8.0,
            y + 5.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">as fast as the original</text>\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">points lost</text>",
        f64::midpoint(LEFT, RIGHT),
        HEIGHT - 8.0,
        f64::midpoint(TOP, BOTTOM)
    );
}
