//! The plot: one column for each side, a dot for each round, a bar at the median. The scale is logarithmic, as sides
//! differ by a factor of a hundred.

use std::error::Error;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::samples::Samples;

/// A plot that could not be drawn or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot plot {}", path.display())]
pub(super) struct PlotError {
    path: PathBuf,
    source: Box<dyn Error + Send + Sync>,
}

/// Pixels.
const COLUMN: u32 = 150;
const MARGIN: u32 = 80;
const HEIGHT: u32 = 480;

/// Draws every round of every side into an SVG file.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn plot(path: &Path, title: &str, sides: &[&Samples]) -> Result<(), PlotError> {
    // The library's errors borrow from the drawing.
    draw(path, title, sides).map_err(|error| PlotError { path: path.to_owned(), source: error.to_string().into() })
}

fn draw(path: &Path, title: &str, sides: &[&Samples]) -> Result<(), Box<dyn Error>> {
    let width = MARGIN + COLUMN * sides.len() as u32;
    let area = SVGBackend::new(path, (width, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let all = || sides.iter().flat_map(|side| side.all().iter().copied());
    let (low, high) = (all().fold(f64::INFINITY, f64::min) / 1.5, all().fold(0.0, f64::max) * 1.5);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..sides.len() as f64, (low..high).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc("milliseconds, logarithmic")
        .y_label_formatter(&|ms| format!("{ms}"))
        .draw()?;
    for (column, side) in sides.iter().enumerate() {
        let colour = Palette99::pick(column).mix(0.8);
        let middle = column as f64 + 0.5;
        let spread = side.all().len().max(2) - 1;
        let across = |round: usize| middle - 0.2 + 0.4 * round as f64 / spread as f64;
        chart.draw_series(
            side.all().iter().enumerate().map(|(round, &ms)| Circle::new((across(round), ms), 3, colour.filled())),
        )?;
        let median = side.median();
        chart.draw_series([PathElement::new(
            vec![(middle - 0.3, median), (middle + 0.3, median)],
            BLACK.stroke_width(2),
        )])?;
        let label = |text: String, pixels: (i32, i32)| {
            EmptyElement::at((middle, low)) + Text::new(text, pixels, ("sans-serif", 12).into_font())
        };
        // Seven pixels are about the width of a letter; there is no font at hand to measure with.
        let left = |text: &str| -(text.chars().count() as i32 * 7 / 2);
        let value = format!("{median:.2} ms");
        chart.draw_series([label(side.side.clone(), (left(&side.side), 6))])?;
        chart.draw_series([label(value.clone(), (left(&value), 20))])?;
    }
    area.present()?;
    Ok(())
}
