//! How much memory this process may still take, as far as the system reports it: free memory, the limits of
//! its control groups (versions 1 and 2), and its own limits on address space.

use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use ndarray::Array2;

use crate::error::{Error, NO_MEMORY, Result, lack_of_memory};

/// What OpenBLAS allocates for a thread when it multiplies. Where that cannot be had, it tries again
/// for ever.
pub const PRODUCTS: u64 = 128 << 20;
/// What else a thread takes of the address space: its stack, and an arena of the allocator.
const THREAD: u64 = 74 << 20;

/// Bytes that are left, and what bounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// How many.
    pub bytes: u64,
    /// What sets the limit, as the start of a clause: `free memory is`.
    pub by: &'static str,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.by, Size(self.bytes))
    }
}

/// A number of bytes for display.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 as f64 / 1e6 {
            megabytes if megabytes < 1.0 => write!(f, "{:.0} kB", 1000.0 * megabytes),
            megabytes if megabytes < 1000.0 => write!(f, "{megabytes:.0} MB"),
            megabytes => write!(f, "{:.1} GB", megabytes / 1000.0),
        }
    }
}

/// An empty vector with room for so many values. The allocator ends the process where there is no memory; this
/// panics, which ends a run and not the others.
///
/// # Panics
/// Where there is no memory for them: the message says how much is needed ([`lack_of_memory`]).
pub fn with_capacity<T>(count: usize) -> Vec<T> {
    let mut all = Vec::new();
    if all.try_reserve_exact(count).is_err() {
        let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
        panic!("{NO_MEMORY} {} more", Size(bytes));
    }
    all
}

/// So many items of an iterator in a vector.
///
/// # Panics
/// As [`with_capacity`].
pub fn collected<T>(count: usize, items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all = with_capacity(count);
    all.extend(items);
    all
}

/// Reads data of a file; that there is no memory for them is an error which names it.
///
/// # Errors
/// As what is called, and where it panics as [`with_capacity`] does.
pub fn for_data_of<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| match lack_of_memory(&*panic) {
        Some(reason) => Err(Error::no_memory(path, reason)),
        None => resume_unwind(panic),
    })
}

/// Whether so many bytes for each row of a file's data can be allocated: many small allocations are to come, and
/// the first that failed would end the process.
///
/// # Errors
/// Where they cannot, with what to do.
pub fn check_for_rows(path: &Path, rows: usize, bytes_per_row: usize) -> Result<()> {
    for_data_of(path, || {
        drop(with_capacity::<u8>(rows.saturating_mul(bytes_per_row)));
        Ok(())
    })
}

/// So many copies of a value.
///
/// # Panics
/// As [`with_capacity`].
pub fn filled<T: Clone>(value: T, count: usize) -> Vec<T> {
    let mut all = with_capacity(count);
    all.resize(count, value);
    all
}

/// Zeros of this shape.
///
/// # Panics
/// As [`with_capacity`].
pub fn zeros((rows, columns): (usize, usize)) -> Array2<f32> {
    let zeros = filled(0.0, rows.saturating_mul(columns));
    Array2::from_shape_vec((rows, columns), zeros).expect("of this shape")
}

/// What a process may still take: memory that is written to, and addresses, of which also those count
/// that are only reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// `None` if the system does not report it.
    pub memory: Option<Left>,
    /// `None` where there is no limit.
    pub addresses: Option<Left>,
}

/// The text of a file, if it can be read.
type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Room {
    /// What there is now.
    pub fn now() -> Self {
        Self::told_by(&|path| fs::read_to_string(path).ok())
    }

    fn told_by(read: Read<'_>) -> Self {
        let free = read("/proc/meminfo").and_then(|text| kibibytes(&text, "MemAvailable:"));
        let free = free.map(|bytes| Left { bytes, by: "free memory is" });
        let groups = read("/proc/self/cgroup").unwrap_or_default();
        let of_groups = groups.lines().filter_map(|line| left_by_group(line, read)).min();
        let of_groups = of_groups.map(|bytes| Left { bytes, by: "the control group leaves" });
        let memory = free.into_iter().chain(of_groups).min_by_key(|left| left.bytes);
        Self { memory, addresses: addresses(read) }
    }

    /// What is too small for so many bytes and so many threads that multiply, if anything is, and how
    /// much of it would be needed.
    pub fn lacks(&self, bytes: u64, threads: usize) -> Option<(u64, Left)> {
        let threads = threads as u64 * (PRODUCTS + THREAD);
        let lacking = |needed: u64, left: Option<Left>| {
            left.filter(|left| left.bytes < needed).map(|left| (needed, left))
        };
        lacking(bytes + threads, self.addresses).or_else(|| lacking(bytes, self.memory))
    }
}

/// What the limits on the address space of this process leave, if it has one.
fn addresses(read: Read<'_>) -> Option<Left> {
    let limits = read("/proc/self/limits")?;
    let status = read("/proc/self/status")?;
    let left = |name: &str, used: &str, by| {
        let soft = limits.lines().find_map(|line| line.strip_prefix(name))?;
        let soft: u64 = soft.split_whitespace().next()?.parse().ok()?;
        Some(Left { bytes: soft.saturating_sub(kibibytes(&status, used)?), by })
    };
    let of_all = left("Max address space", "VmSize:", "RLIMIT_AS (ulimit -v) leaves");
    let of_data = left("Max data size", "VmData:", "RLIMIT_DATA (ulimit -d) leaves");
    of_all.into_iter().chain(of_data).min_by_key(|left| left.bytes)
}

/// Bytes of a line such as `VmSize:   1024 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What a line of `/proc/self/cgroup` and the groups above it leave, such as `0::/user.slice` of version 2
/// and `4:memory:/job_7` of version 1. Files that can be dropped do not count as used.
fn left_by_group(line: &str, read: Read<'_>) -> Option<u64> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (roots, limit, usage, files): (&[&str], _, _, _) = match controllers {
        "" => {
            let roots = &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
            (roots, "memory.max", "memory.current", "inactive_file ")
        }
        _ if controllers.split(',').any(|name| name == "memory") => {
            let names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ");
            (&["/sys/fs/cgroup/memory"], names.0, names.1, names.2)
        }
        _ => return None,
    };
    // In a container, the path may be that outside it, and only the root is there.
    let mut groups: Vec<&str> = vec![path.trim_end_matches('/')];
    while let Some((above, _)) = groups[groups.len() - 1].rsplit_once('/') {
        groups.push(above);
    }
    let of_group = |folder: String| {
        let number = |name: &str| read(&format!("{folder}/{name}"))?.trim().parse::<u64>().ok();
        let stat = read(&format!("{folder}/memory.stat")).unwrap_or_default();
        let dropped = stat.lines().find_map(|line| line.strip_prefix(files)?.parse::<u64>().ok());
        let used = number(usage)?.saturating_sub(dropped.unwrap_or(0));
        Some(number(limit)?.saturating_sub(used))
    };
    let all =
        roots.iter().flat_map(|root| groups.iter().map(move |group| format!("{root}{group}")));
    all.filter_map(of_group).min()
}

/// Whether so many bytes can be allocated now: they are, and given back.
pub fn can_allocate(bytes: u64) -> bool {
    usize::try_from(bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::catch_panic;

    fn told(files: &[(&str, &str)]) -> Room {
        let find = |path: &str| files.iter().find(|(name, _)| *name == path);
        Room::told_by(&|path| find(path).map(|(_, text)| (*text).to_string()))
    }

    const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   4000 kB\n");
    const STATUS: (&str, &str) = ("/proc/self/status", "VmSize:\t 300 kB\nVmData:\t 100 kB\n");

    fn memory(files: &[(&str, &str)]) -> (u64, &'static str) {
        let left = told(&[&[MEMINFO], files].concat()).memory.unwrap();
        (left.bytes, left.by)
    }

    #[test]
    fn the_least_of_free_memory_and_the_limits_of_all_groups_counts() {
        assert_eq!(memory(&[]), (4_096_000, "free memory is"));
        let group = "the control group leaves";
        let version_2 = [
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/sys/fs/cgroup/a/memory.max", "2000000\n"),
            ("/sys/fs/cgroup/a/memory.current", "900000\n"),
            ("/sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 400000\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/b/memory.current", "900000\n"),
        ];
        assert_eq!(memory(&version_2), (1_500_000, group));
        // In a container of version 1, whose path is none of its own.
        let version_1 = [
            ("/proc/self/cgroup", "7:cpu:/x\n4:hugetlb,memory:/docker/x\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1200000\n"),
            ("/sys/fs/cgroup/memory/memory.stat", "total_inactive_file 300000\n"),
        ];
        assert_eq!(memory(&version_1), (100_000, group));
    }

    #[test]
    fn memory_that_is_not_there_is_a_panic_that_can_be_caught() {
        assert_eq!(zeros((2, 3)), Array2::from_elem((2, 3), 0.0));
        for shape in [(1 << 40, 1 << 16), (usize::MAX, 2)] {
            let reason = catch_panic(|| zeros(shape)).unwrap_err();
            assert!(reason.starts_with("found no memory for"), "{reason}");
        }
    }

    #[test]
    fn limits_on_addresses_count_with_what_threads_reserve() {
        let limits = |all: &str, data: &str| {
            let text = format!("Limit Soft Hard\nMax data size {data} 9 bytes\n");
            let text = format!("{text}Max address space         {all}  unlimited bytes\n");
            told(&[MEMINFO, STATUS, ("/proc/self/limits", &text)])
        };
        assert_eq!(limits("unlimited", "unlimited").addresses, None);
        let both = limits("1024000000", "512000000");
        assert_eq!(both.addresses.unwrap().bytes, 512_000_000 - 102_400);
        let room = limits("512307200", "unlimited");
        assert_eq!(
            room.addresses,
            Some(Left { bytes: 512_000_000, by: "RLIMIT_AS (ulimit -v) leaves" })
        );
        let threads = |count: u64| count * (202 << 20);
        assert_eq!(room.lacks(1_000_000, 2), None);
        assert_eq!(room.lacks(1_000_000, 3).unwrap().0, threads(3) + 1_000_000);
        let (needed, left) = room.lacks(5_000_000, 1).unwrap();
        assert_eq!((needed, left.by), (5_000_000, "free memory is"));
    }

    #[test]
    fn what_cannot_be_allocated_is_told_without_an_abort() {
        assert!(can_allocate(1 << 20));
        assert!(!can_allocate(u64::MAX / 4));
    }
}
