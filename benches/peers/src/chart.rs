//! The chart: one panel of horizontal bars for each contest, drawn as SVG by hand.
//!
//! Bars are linear and start at zero; the slowest median fills a panel's width, so lengths compare within a panel
//! only. The thin line at a bar's end goes from the best round to the worst.

use std::fmt::Write as _;

use crate::arena::{Bout, Row};
use crate::contest::{Side, Unit};
use crate::report::amount;

/// Width of the picture.
const WIDTH: f64 = 960.0;
/// Where the bars begin.
const BARS_LEFT: f64 = 300.0;
/// Length of the longest bar.
const BARS_WIDTH: f64 = 520.0;
/// Height of a row.
const ROW: f64 = 20.0;
/// Height of a panel's title.
const TITLE: f64 = 34.0;
/// Space above the first panel.
const TOP: f64 = 62.0;

/// Draws the contests.
pub(crate) fn svg(bouts: &[Bout]) -> String {
    let mut panels = String::new();
    let mut y = TOP;
    for bout in bouts {
        y = panel(&mut panels, bout, y);
    }
    let height = y + 20.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"crewkit and its peers\">\n\
         <style>text {{ font: 13px 'DejaVu Sans', Verdana, sans-serif; fill: #1f2933 }}\n\
         .head {{ font-size: 18px; font-weight: bold }} .title {{ font-weight: bold }} .note {{ fill: #61707f }}\n\
         .crewkit {{ fill: #c2571a }} .peer {{ fill: #9fb0c0 }} .spread {{ stroke: #1f2933; stroke-width: 1 }}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"20\" y=\"28\" class=\"head\">crewkit and its peers: cost of one operation, shorter is better</text>\n\
         <text x=\"20\" y=\"48\" class=\"note\">Medians; thin lines from the best to the worst round, cut off at the edge. Lengths \
         compare within a panel only.</text>\n{panels}</svg>\n"
    )
}

/// Draws one panel with its top at `y`, and returns where the next begins.
fn panel(svg: &mut String, bout: &Bout, mut y: f64) -> f64 {
    let slowest = bout.rows.iter().filter_map(|row| Some(row.figures.as_ref().ok()?.median)).fold(0.0, f64::max);
    let _ = writeln!(
        svg,
        "<text x=\"20\" y=\"{:.0}\" class=\"title\">{}: {}</text>",
        y + 22.0,
        escaped(bout.group),
        escaped(&bout.work)
    );
    y += TITLE;
    for row in &bout.rows {
        bar(svg, bout.unit, row, y, slowest);
        y += ROW;
    }
    y
}

/// Draws one row with its top at `y`.
fn bar(svg: &mut String, unit: Unit, row: &Row, y: f64, slowest: f64) {
    let base = y + 14.0;
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{base:.0}\" text-anchor=\"end\">{}</text>",
        BARS_LEFT - 8.0,
        escaped(row.name)
    );
    let figures = match &row.figures {
        Ok(figures) => figures,
        Err(_) => {
            let _ = writeln!(
                svg,
                "<text x=\"{BARS_LEFT}\" y=\"{base:.0}\" class=\"note\">no figure: see the report</text>"
            );
            return;
        }
    };
    let x = |value: f64| BARS_LEFT + (value / slowest).min(1.04) * BARS_WIDTH;
    let class = if row.side == Side::Crewkit { "crewkit" } else { "peer" };
    let (end, middle) = (x(figures.median), y + 2.0 + (ROW - 5.0) / 2.0);
    let _ = writeln!(
        svg,
        "<rect x=\"{BARS_LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" class=\"{class}\"/>\
         <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" class=\"spread\"/>\
         <text x=\"{:.1}\" y=\"{base:.0}\">{}</text>",
        y + 2.0,
        (end - BARS_LEFT).max(1.0),
        ROW - 5.0,
        x(figures.least),
        x(figures.most),
        x(figures.most).max(end) + 6.0,
        amount(unit, figures.median),
    );
}

/// A text with XML's special characters replaced.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
