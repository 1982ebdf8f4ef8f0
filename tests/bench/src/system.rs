//! What Linux says of a process: time on a core, memory; and of files.
//!
//! Invariant: figures are the kernel's own, read from `/proc`.

use std::path::Path;

use crate::error::BenchError;

/// Ticks of `/proc/PID/stat` in a second, on every Linux since 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory of a process in KiB: `VmRSS` is what is resident now, `VmHWM` the most that ever was.
pub(crate) fn memory_kib(pid: u32, field: &str) -> Result<f64, BenchError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or(BenchError::Answer("/proc/PID/status"))
}

/// Seconds that a process has spent on cores.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64, BenchError> {
    const WRONG: BenchError = BenchError::Answer("/proc/PID/stat");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; what follows it is fields 3 and on.
    let (_, fields) = stat.rsplit_once(") ").ok_or(WRONG)?;
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    if ticks.len() == 2 { Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND) } else { Err(WRONG) }
}

/// Bytes of all files in a folder whose names begin like this.
pub(crate) fn file_bytes(folder: &Path, prefix: &str) -> Result<f64, BenchError> {
    let mut bytes = 0;
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with(prefix) {
            bytes += file.metadata()?.len();
        }
    }
    Ok(bytes as f64)
}

/// Bytes of all files in a folder and those below it, as they are on disk.
pub(crate) fn folder_bytes(folder: &Path) -> Result<f64, BenchError> {
    let mut bytes = 0.0;
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let kind = file.file_type()?;
        bytes += if kind.is_dir() { folder_bytes(&file.path())? } else { file.metadata()?.len() as f64 };
    }
    Ok(bytes)
}
