//! What a process has cost so far, from `/proc` (Linux).

use std::fs;
use std::io;

/// The CPU seconds, user and system, of all threads of a process, those that ended included.
///
/// # Errors
/// `NotFound` when the process is gone; `InvalidData` when `/proc` reads unlike `proc(5)`.
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let ticks = parse_ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?, OWN)?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The CPU seconds of the children of this process that have ended and were waited for, and of theirs.
///
/// # Errors
/// As [`cpu_seconds`].
pub fn cpu_seconds_of_children() -> io::Result<f64> {
    let ticks = parse_ticks(&fs::read_to_string("/proc/self/stat")?, CHILDREN)?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The resident memory of a process in bytes (`VmRSS`).
///
/// # Errors
/// As [`cpu_seconds`].
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    parse_status(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:")
}

/// The number of open file descriptors of a process.
///
/// # Errors
/// As [`cpu_seconds`].
pub fn open_files(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// The first child process that the main thread of a process started and that still runs, if any.
///
/// # Errors
/// As [`cpu_seconds`].
pub fn first_child(pid: u32) -> io::Result<Option<u32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    children.split_whitespace().next().map(|child| child.parse().map_err(|_| unlike_proc())).transpose()
}

fn unlike_proc() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc reads unlike proc(5)")
}

/// `utime` and `stime`, fields 14 and 15, counted behind the name.
const OWN: usize = 11;
/// `cutime` and `cstime`, the two behind them.
const CHILDREN: usize = 13;

/// The sum of two fields; the second field, the name, may hold blanks and parentheses.
fn parse_ticks(stat: &str, skip: usize) -> io::Result<u64> {
    let (_, after_name) = stat.rsplit_once(')').ok_or_else(unlike_proc)?;
    let mut fields = after_name.split_whitespace().skip(skip).map(str::parse::<u64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(user + system),
        _ => Err(unlike_proc()),
    }
}

fn parse_status(status: &str, key: &str) -> io::Result<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(key)).ok_or_else(unlike_proc)?;
    let kib = line.trim().strip_suffix(" kB").and_then(|n| n.parse::<u64>().ok()).ok_or_else(unlike_proc)?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 1 2 20 0 4 0 100 1 2";
        assert_eq!(parse_ticks(stat, OWN).expect("stat"), 300);
        assert_eq!(parse_ticks(stat, CHILDREN).expect("stat"), 3);
        parse_ticks("7 (a) S 1", OWN).expect_err("short");
    }

    #[test]
    fn status_is_in_kib() {
        assert_eq!(parse_status("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n", "VmRSS:").expect("status"), 2 << 20);
        parse_status("VmRSS:\t many kB\n", "VmRSS:").expect_err("no number");
    }

    #[test]
    fn this_process_is_there() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).expect("memory") > 0);
        assert!(open_files(pid).expect("files") > 0);
        cpu_seconds(pid).expect("cpu");
        assert_eq!(first_child(pid).expect("children"), None);
    }
}
