//! How much memory the process may have.

use std::fs;

/// Where a container's limit stands, in the second and the first version of control groups.
const LIMIT_FILES: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// The container's limit if there is one, else the machine's memory.
pub(crate) fn bytes() -> Option<u64> {
    let info = rustix::system::sysinfo();
    let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    // A file that's not there, or says `max`, is no limit.
    let limits = LIMIT_FILES.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    limits.chain((machine > 0).then_some(machine)).min()
}
