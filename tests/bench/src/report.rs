//! Figures, gathered over several runs, and how they are printed.
//!
//! Invariant: figures of one name, system, metric and unit are samples of one row; rows are printed in
//! the order in which they first came.

use std::io::Write as _;

use crate::error::BenchError;

/// Whose figure it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    /// Ours.
    Tombolo,
    /// What the machine or a library alone can do.
    Limit,
    /// What people would pick instead.
    Peer(&'static str),
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tombolo => "tombolo",
            Self::Limit => "limit",
            Self::Peer(name) => name,
        }
    }
}

/// A row as it is printed with `--json`, and read again.
#[derive(serde::Deserialize, serde::Serialize)]
pub(crate) struct Figure {
    pub(crate) workload: String,
    pub(crate) system: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    pub(crate) runs: usize,
}

struct Row {
    workload: String,
    system: System,
    metric: String,
    unit: &'static str,
    samples: Vec<f64>,
}

impl Row {
    fn figure(&self) -> Figure {
        let (min, median, max) = spread(&self.samples);
        let (workload, metric, runs) = (self.workload.clone(), self.metric.clone(), self.samples.len());
        let (system, unit) = (self.system.name().to_owned(), self.unit.to_owned());
        Figure { workload, system, metric, unit, min, median, max, runs }
    }
}

/// All figures so far.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// How many of them were printed.
    printed: usize,
}

impl Report {
    /// Adds one run's figure; metric and unit are names of the design's list.
    pub(crate) fn add(
        &mut self,
        workload: &str,
        system: System,
        (metric, unit): (&'static str, &'static str),
        value: f64,
    ) {
        let same = |row: &&mut Row| row.workload == workload && row.system == system && row.metric == metric;
        match self.rows.iter_mut().find(same) {
            Some(row) => row.samples.push(value),
            None => {
                let (workload, metric) = (workload.to_owned(), metric.to_owned());
                self.rows.push(Row { workload, system, metric, unit, samples: vec![value] });
            }
        }
    }

    /// Adds our figure, the limit's, and their ratio.
    pub(crate) fn compare(&mut self, workload: &str, metric: (&'static str, &'static str), ours: f64, limit: f64) {
        self.add(workload, System::Tombolo, metric, ours);
        self.add(workload, System::Limit, metric, limit);
        self.add(workload, System::Tombolo, RATIO, ours / limit);
    }

    /// Adds, wherever a figure was taken in several sizes, the exponent with which it grows.
    pub(crate) fn add_exponents(&mut self) {
        let mut families: Vec<(Row, Vec<(f64, f64)>)> = Vec::new();
        for row in &self.rows {
            let Some((workload, size)) = row.workload.rsplit_once('/') else { continue };
            let Ok(size) = size.parse::<f64>() else { continue };
            let point = (size, spread(&row.samples).1);
            let metric = format!("{}_exponent", row.metric);
            let same = |(family, _): &&mut (Row, Vec<_>)| {
                family.workload == workload && family.system == row.system && family.metric == metric
            };
            match families.iter_mut().find(same) {
                Some((_, points)) => points.push(point),
                None => {
                    let workload = workload.to_owned();
                    let family = Row { workload, system: row.system, metric, unit: "1", samples: Vec::new() };
                    families.push((family, vec![point]));
                }
            }
        }
        for (mut family, points) in families {
            if let Some(exponent) = exponent(&points) {
                family.samples.push(exponent);
                self.rows.push(family);
            }
        }
    }

    /// Prints the rows that were not printed yet.
    pub(crate) fn print(&mut self, json: bool) -> Result<(), BenchError> {
        let mut out = std::io::stdout().lock();
        if !json && self.printed == 0 {
            writeln!(
                out,
                "{:34} {:14} {:22} {:>12} {:>12} {:>12} unit",
                "workload", "system", "metric", "min", "median", "max"
            )?;
        }
        for figure in self.rows.iter().skip(self.printed).map(Row::figure) {
            if json {
                let line = serde_json::to_string(&figure).map_err(|_| BenchError::Answer("the figures"))?;
                writeln!(out, "{line}")?;
            } else {
                let Figure { workload, system, metric, unit, .. } = &figure;
                let [min, median, max] = [figure.min, figure.median, figure.max].map(short);
                writeln!(out, "{workload:34} {system:14} {metric:22} {min:>12} {median:>12} {max:>12} {unit}")?;
            }
        }
        self.printed = self.rows.len();
        Ok(out.flush()?)
    }
}

/// A metric and its unit.
pub(crate) const SECONDS: (&str, &str) = ("seconds", "s");
/// Pieces of work a second.
pub(crate) const PER_SECOND: (&str, &str) = ("per_second", "1/s");
/// The figure over the limit's.
pub(crate) const RATIO: (&str, &str) = ("ratio_to_limit", "1");
/// The middle of many latencies.
pub(crate) const P50: (&str, &str) = ("p50_ms", "ms");
/// What one in a hundred latencies exceeds.
pub(crate) const P99: (&str, &str) = ("p99_ms", "ms");
/// Time on a core.
pub(crate) const CPU: (&str, &str) = ("cpu_s", "s");
/// Memory that is resident, at its most where a peak is meant.
pub(crate) const RSS: (&str, &str) = ("rss_kib", "KiB");
/// Memory of one session.
pub(crate) const RSS_PER_SESSION: (&str, &str) = ("rss_kib_per_session", "KiB");
/// Bytes on a disk or a wire.
pub(crate) const BYTES: (&str, &str) = ("bytes", "B");
/// Frames on a wire.
pub(crate) const MESSAGES: (&str, &str) = ("messages", "1");

/// What was still there, of what was acknowledged.
pub(crate) const KEPT: (&str, &str) = ("kept_ratio", "1");

/// The value below which this share of the samples lies.
pub(crate) fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    samples.get(at).copied().unwrap_or(f64::NAN)
}

/// The slope of the line through the logarithms of sizes and figures, by least squares; none of one size, or of nothing.
fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let logarithms: Vec<(f64, f64)> =
        points.iter().filter(|(_, figure)| *figure > 0.0).map(|(size, figure)| (size.ln(), figure.ln())).collect();
    let count = logarithms.len() as f64;
    let mean_x = logarithms.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = logarithms.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = logarithms.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let together: f64 = logarithms.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then(|| together / spread)
}

fn spread(samples: &[f64]) -> (f64, f64, f64) {
    let mut sorted = samples.to_vec();
    (percentile(&mut sorted, 0.0), percentile(&mut sorted, 0.5), percentile(&mut sorted, 1.0))
}

fn short(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.5}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_one_figure_give_the_exponent_with_which_it_grows() {
        let mut report = Report::default();
        for size in [10.0_f64, 100.0, 1000.0] {
            report.add(&format!("sort/{size}"), System::Tombolo, SECONDS, 3.0 * size.powi(2));
            report.add("sort/whole", System::Tombolo, SECONDS, size);
        }
        report.add("once/10", System::Tombolo, SECONDS, 1.0);
        report.add_exponents();
        let exponents: Vec<&Row> = report.rows.iter().filter(|row| row.metric == "seconds_exponent").collect();
        let [row] = exponents.as_slice() else { unreachable!("one family has several sizes") };
        assert_eq!(row.workload, "sort");
        assert!((spread(&row.samples).1 - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_middle_of_several_runs_is_what_counts() {
        assert_eq!(spread(&[3.0, 1.0, 50.0]), (1.0, 3.0, 50.0));
        let mut many: Vec<f64> = (0..=100).map(f64::from).collect();
        assert!((percentile(&mut many, 0.99) - 99.0).abs() < f64::EPSILON);
    }
}
