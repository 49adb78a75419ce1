//! How many workers there are unless a user says otherwise: one per physical core that this process
//! may use, because two hardware threads of a core share the units that multiply.

use std::collections::HashSet;
use std::fs;
use std::num::NonZero;
use std::thread::available_parallelism;

/// One per physical core within the affinity mask, and no more than the CPU quota of the control
/// group (versions 1 and 2) allows.
pub fn default_workers() -> usize {
    let read = |path: &str| fs::read_to_string(path).ok();
    let siblings = |cpu: usize| {
        read(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))
    };
    let online = read("/sys/devices/system/cpu/online");
    let cores = read("/proc/self/status")
        .and_then(|status| physical_cores(&status, online.as_deref(), &siblings));
    // The standard library knows the mask and the quota, but counts hardware threads.
    let threads = available_parallelism().map_or(1, NonZero::get);
    cores.map_or(threads, |cores| cores.min(threads))
}

/// The physical cores among the CPUs that a process may run on, from the texts of its
/// `/proc/self/status`, of `/sys/devices/system/cpu/online` and of each CPU's
/// `topology/thread_siblings_list`. A CPU without siblings counts as a core. `None` where the system
/// does not say which CPUs are allowed.
fn physical_cores(
    status: &str,
    online: Option<&str>,
    siblings: &dyn Fn(usize) -> Option<String>,
) -> Option<usize> {
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cpus = cpu_list(allowed)?;
    // A mask may name CPUs that are switched off or were never there.
    if let Some(online) = online.and_then(cpu_list) {
        cpus.retain(|cpu| online.contains(cpu));
    }
    // All threads of a core have the same list.
    let core = |cpu: &usize| siblings(*cpu).map_or(cpu.to_string(), |list| list.trim().to_string());
    let cores: HashSet<String> = cpus.iter().map(core).collect();
    (!cores.is_empty()).then_some(cores.len())
}

/// Reads a list such as `0-3,8`.
fn cpu_list(text: &str) -> Option<HashSet<usize>> {
    let mut cpus = HashSet::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight CPUs: the threads of core n are n and n + 4.
    fn cores(allowed: &str, online: Option<&str>) -> Option<usize> {
        let siblings = |cpu: usize| Some(format!("{},{}\n", cpu % 4, cpu % 4 + 4));
        let status = format!("Name:\trookie\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n");
        physical_cores(&status, online, &siblings)
    }

    #[test]
    fn two_threads_of_a_core_are_one_core() {
        assert_eq!(cores("0-7", Some("0-7\n")), Some(4));
        assert_eq!(cores("0-3", Some("0-7\n")), Some(4));
        assert_eq!(cores("1,5", Some("0-7\n")), Some(1));
        assert_eq!(cores("0-1,4,6-7", None), Some(4));
    }

    #[test]
    fn cpus_that_are_switched_off_do_not_count() {
        assert_eq!(cores("0-127", Some("0-1,4\n")), Some(2));
    }

    #[test]
    fn where_the_system_does_not_tell_the_cores_each_cpu_is_one_or_all_are_unknown() {
        let status = "Cpus_allowed_list:\t0-2,8\n";
        assert_eq!(physical_cores(status, None, &|_| None), Some(4));
        assert_eq!(physical_cores("Name:\trookie\n", None, &|_| None), None);
        assert_eq!(physical_cores("Cpus_allowed_list:\t0-x\n", None, &|_| None), None);
    }

    #[test]
    fn there_is_at_least_one_worker_and_never_more_than_hardware_threads() {
        let threads = available_parallelism().map_or(1, NonZero::get);
        assert!((1..=threads).contains(&default_workers()));
    }
}
