//! Two plots: how many times better than others, and how figures grow.
//!
//! Invariant: both axes of what is a ratio are logarithmic, so that half and double are equally far from one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;

use super::{Beside, Lines};
use crate::error::BenchError;

const WIDTH: u32 = 1000;
const ROW_HEIGHT: u32 = 18;
const FRAME_HEIGHT: u32 = 110;
const PANEL_HEIGHT: u32 = 300;
const LABEL_WIDTH: u32 = 330;
const AHEAD: RGBColor = RGBColor(46, 125, 50);
const BEHIND: RGBColor = RGBColor(198, 40, 40);

/// Draws a bar for each pair: to the right, in green, where we are ahead; to the left, in red, where we are not. Tells
/// whether there was any.
pub(super) fn beside(rows: &[Beside], path: &Path) -> Result<bool, BenchError> {
    if rows.is_empty() {
        return Ok(false);
    }
    let count = i32::try_from(rows.len()).unwrap_or(i32::MAX);
    let root = SVGBackend::new(path, (WIDTH, FRAME_HEIGHT + ROW_HEIGHT * rows.len() as u32)).into_drawing_area();
    root.fill(&WHITE).map_err(plot)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("How many times better than others in the same call", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(LABEL_WIDTH)
        .build_cartesian_2d(
            around_one(rows.iter().map(|row| row.times_better)).log_scale(),
            (0..count).into_segmented(),
        )
        .map_err(plot)?;
    let name = |at: &SegmentValue<i32>| match at {
        // The first is drawn on top.
        SegmentValue::CenterOf(nth) => {
            let row = rows.iter().rev().nth(usize::try_from(*nth).unwrap_or(usize::MAX));
            row.map(|row| format!("{}, {}", row.name, row.other)).unwrap_or_default()
        }
        _ => String::new(),
    };
    let mesh = &mut chart.configure_mesh();
    mesh.disable_y_mesh().y_labels(rows.len()).y_label_formatter(&name).x_desc("times").draw().map_err(plot)?;
    let bars = rows.iter().rev().zip(0..).map(|(row, nth)| {
        let color = if row.times_better >= 1.0 { AHEAD } else { BEHIND };
        let ends = [(1.0, SegmentValue::Exact(nth)), (row.times_better, SegmentValue::Exact(nth + 1))];
        let mut bar = Rectangle::new(ends, color.filled());
        bar.set_margin(3, 3, 0, 0);
        bar
    });
    chart.draw_series(bars).map_err(plot)?;
    root.present().map_err(plot)?;
    Ok(true)
}

/// Draws each figure over its size as a multiple of that of the least size, all of one unit in one panel. Tells whether
/// there was any.
pub(super) fn growth(lines: &Lines, path: &Path) -> Result<bool, BenchError> {
    if lines.is_empty() {
        return Ok(false);
    }
    let mut panels: BTreeMap<&str, Vec<Line<'_>>> = BTreeMap::new();
    for (name, points) in lines {
        let (of, unit) = name.rsplit_once(' ').unwrap_or((name, "figures"));
        panels.entry(unit).or_default().push((of, points));
    }
    let height_of = |panel: &[Line<'_>]| FRAME_HEIGHT + PANEL_HEIGHT + ROW_HEIGHT * panel.len() as u32;
    let root = SVGBackend::new(path, (WIDTH, panels.values().map(|panel| height_of(panel)).sum())).into_drawing_area();
    root.fill(&WHITE).map_err(plot)?;
    let sizes = || lines.values().flatten().map(|point| point.0);
    let least = sizes().fold(f64::INFINITY, f64::min);
    let most = sizes().fold(least, f64::max);
    let mut rest = root.clone();
    for (unit, panel) in &panels {
        let (area, below) = rest.split_vertically(height_of(panel));
        grow(unit, panel, least..most, &area)?;
        rest = below;
    }
    root.present().map_err(plot)?;
    Ok(true)
}

/// What was measured, and its figure at each size.
type Line<'a> = (&'a str, &'a [(f64, f64)]);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn grow(unit: &str, lines: &[Line<'_>], sizes: Range<f64>, area: &Area<'_>) -> Result<(), BenchError> {
    let (above, legend) = area.split_vertically(FRAME_HEIGHT + PANEL_HEIGHT - 20);
    let figures = lines.iter().flat_map(|(_, points)| *points).map(|point| point.1);
    let mut chart = ChartBuilder::on(&above)
        .caption(format!("{unit}: how many times those of the least size"), ("sans-serif", 18))
        .margin(12)
        .margin_right(50)
        .x_label_area_size(36)
        .y_label_area_size(70)
        .build_cartesian_2d(sizes.log_scale(), around_one(figures).log_scale())
        .map_err(plot)?;
    let mesh = &mut chart.configure_mesh();
    mesh.x_label_formatter(&|size| format!("{size:.0}")).y_label_formatter(&|times| format!("{times}"));
    mesh.x_desc("size").y_desc("times").draw().map_err(plot)?;
    for (nth, (name, points)) in (0..).zip(lines) {
        let color = Palette99::pick(nth).to_rgba();
        chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2))).map_err(plot)?;
        let y = i32::try_from(nth).unwrap_or_default() * i32::try_from(ROW_HEIGHT).unwrap_or_default();
        legend.draw(&PathElement::new([(70, y + 8), (100, y + 8)], color.stroke_width(2))).map_err(plot)?;
        legend.draw(&Text::new((*name).to_owned(), (110, y + 2), ("sans-serif", 13))).map_err(plot)?;
    }
    Ok(())
}

/// A range that has one and all of these in it.
fn around_one(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((0.5_f64, 2.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    least * 0.9..most * 1.1
}

fn plot(error: impl std::fmt::Display) -> BenchError {
    BenchError::Plot(error.to_string())
}
