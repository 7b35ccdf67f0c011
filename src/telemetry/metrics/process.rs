//! What the kernel says of this process; a number that it does not say is left out.

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs;

/// Name and value of each number that is known.
pub(super) fn samples() -> Vec<(&'static str, f64)> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let mut samples =
        vec![("process_cpu_seconds_total", cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9)];
    let mut push = |name, value: Option<f64>| samples.extend(value.map(|value| (name, value)));
    push("process_resident_memory_bytes", field(&status, "VmRSS:").map(|kib| kib * 1024.0));
    push("process_virtual_memory_bytes", field(&status, "VmSize:").map(|kib| kib * 1024.0));
    push("process_threads", field(&status, "Threads:"));
    // The handle that reads the folder is itself in it.
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1));
    push("process_open_fds", open.map(|count| count as f64));
    push("process_max_fds", getrlimit(Resource::Nofile).current.map(|limit| limit as f64));
    samples
}

fn field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_by_its_whole_name() {
        let status = "VmPeak:\t 9 kB\nVmRSS:\t  1234 kB\nThreads:\t7\n";
        assert_eq!(field(status, "VmRSS:"), Some(1234.0));
        assert_eq!(field(status, "Threads:"), Some(7.0));
        assert_eq!(field(status, "VmSize:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_threads_and_open_files() {
        let samples = samples();
        assert_eq!(samples.len(), 6);
        assert!(samples.iter().all(|(_, value)| *value > 0.0), "{samples:?}");
    }
}
