//! What a result was measured on: cores, memory, kernel, load. No host names, no users.

use std::fs;

/// One line.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = value("/proc/cpuinfo", "model name").map_or_else(String::new, |m| format!(" ({m})"));
    let memory = value("/proc/meminfo", "MemTotal").and_then(|m| m.strip_suffix(" kB")?.parse::<u64>().ok());
    let memory = memory.map_or_else(String::new, |kib| format!(", {:.0} GiB of memory", kib as f64 / 1048576.0));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!("{cores} cores{model}{memory}, Linux {}, load average {load} at the start", kernel.trim())
}

/// The first `KEY : VALUE` of a file of the kernel's.
fn value(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    line.split_once(':').map(|(_, v)| v.trim().to_owned())
}
