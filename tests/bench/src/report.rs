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
    fn name(self) -> &'static str {
        match self {
            Self::Tombolo => "tombolo",
            Self::Limit => "limit",
            Self::Peer(name) => name,
        }
    }
}

struct Row {
    workload: String,
    system: System,
    metric: &'static str,
    unit: &'static str,
    samples: Vec<f64>,
}

/// All figures so far.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
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
                self.rows.push(Row { workload: workload.to_owned(), system, metric, unit, samples: vec![value] });
            }
        }
    }

    /// Adds our figure, the limit's, and their ratio.
    pub(crate) fn compare(&mut self, workload: &str, metric: (&'static str, &'static str), ours: f64, limit: f64) {
        self.add(workload, System::Tombolo, metric, ours);
        self.add(workload, System::Limit, metric, limit);
        self.add(workload, System::Tombolo, RATIO, ours / limit);
    }

    /// Prints all rows.
    pub(crate) fn print(&self, json: bool) -> Result<(), BenchError> {
        let mut out = std::io::stdout().lock();
        if !json {
            writeln!(
                out,
                "{:34} {:14} {:22} {:>12} {:>12} {:>12} unit",
                "workload", "system", "metric", "min", "median", "max"
            )?;
        }
        for row in &self.rows {
            let (min, median, max) = spread(&row.samples);
            let (workload, system, metric, unit) = (&row.workload, row.system.name(), row.metric, row.unit);
            if json {
                let line = serde_json::json!({
                    "workload": workload, "system": system, "metric": metric, "unit": unit,
                    "min": min, "median": median, "max": max, "runs": row.samples.len(),
                });
                writeln!(out, "{line}")?;
            } else {
                let [min, median, max] = [min, median, max].map(short);
                writeln!(out, "{workload:34} {system:14} {metric:22} {min:>12} {median:>12} {max:>12} {unit}")?;
            }
        }
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
    fn the_middle_of_several_runs_is_what_counts() {
        assert_eq!(spread(&[3.0, 1.0, 50.0]), (1.0, 3.0, 50.0));
        let mut many: Vec<f64> = (0..=100).map(f64::from).collect();
        assert!((percentile(&mut many, 0.99) - 99.0).abs() < f64::EPSILON);
    }
}
