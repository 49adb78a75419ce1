//! The kernels of OpenBLAS that this process multiplies with: which they are, who chose them, and
//! how to start on others.
//!
//! OpenBLAS chooses its kernels ("core") by the processor's family and model in a library
//! constructor, before `main`. A processor that is newer than the library may get kernels for much
//! narrower vectors than it has: versions before 0.3.25 run SSE3 kernels on Emerald Rapids and
//! Raptor Lake, four times slower than AVX512's, without a word. `OPENBLAS_CORETYPE` overrides the
//! choice, but only if it is set when the process starts. So where the kernels are narrower than
//! the processor's vectors, or a user asks for others, the program starts itself again with
//! that variable set (`exec`: the same process id, arguments and files), and a second variable
//! remembers why.
//!
//! On other architectures than x86-64, OpenBLAS's choice stands. It has such a list of cores for
//! some of them, such as NEOVERSEN1 for ARM64, but their kernels cannot be compared by the width of
//! their vectors: most have NEON's 128 bits, and SVE's length differs from processor to processor.
//!
//! Beside that, what this core could reach at most: its peak of fused multiply-adds. The only
//! module that starts processes.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::error::{Error, Place, Result};
use crate::memory::Room;
use crate::network::cores::{
    AUTO, ChosenBy, Core, Decision, Guard, Situation, VARIABLE, Vectors, decide, named, names,
    refusal,
};
use crate::network::gemm::core_and_build;

/// The CPU time that this thread has used: other programs on its core do not add to it.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call, which writes nothing else.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "every thread has a clock of its CPU time");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Floating-point operations per second of CPU time that this core reaches with its widest vectors
/// and data in registers, which no product can exceed. `None` where it has no FMA.
///
/// The fastest of several bursts, about a millisecond in all: an interruption slows a burst down,
/// and nothing speeds one up.
#[cfg(target_arch = "x86_64")]
pub fn peak_flops_per_second() -> Option<f64> {
    /// At two per cycle, twelve chains take six cycles per round: 0.2 ms at 3 GHz.
    const ROUNDS: usize = 100_000;
    const BURSTS: usize = 6;
    let vectors = Vectors::of_processor()?;
    // SAFETY: the processor has the instructions that each function uses.
    let burst = || match vectors.family() {
        Vectors::Avx512 => Some(unsafe { peak::avx512(ROUNDS) }),
        Vectors::Avx2 => Some(unsafe { peak::avx2(ROUNDS) }),
        _ => None,
    };
    let operations = ROUNDS * peak::CHAINS * vectors.flops();
    let rates = (0..BURSTS).map_while(|_| {
        let begun = thread_time();
        std::hint::black_box(burst()?);
        Some(operations as f64 / thread_time().saturating_sub(begun).as_secs_f64())
    });
    rates.max_by(f64::total_cmp)
}

/// Not known how on this architecture.
#[cfg(not(target_arch = "x86_64"))]
pub fn peak_flops_per_second() -> Option<f64> {
    None
}

/// Fused multiply-adds in chains that do not wait for each other.
#[cfg(target_arch = "x86_64")]
mod peak {
    use std::arch::x86_64::{
        _mm256_add_ps, _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_add_ps,
        _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps,
    };
    use std::hint::black_box;

    /// Two units with a latency of four or five cycles need ten at least; sixteen registers hold
    /// twelve.
    pub(super) const CHAINS: usize = 12;

    /// Numbers that stay near one however often they are multiplied and added to.
    fn operands() -> (f32, f32) {
        (black_box(1.000_000_1), black_box(1e-9))
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(rounds: usize) -> f32 {
        let (x, y) = operands();
        let (x, y) = (_mm512_set1_ps(x), _mm512_set1_ps(y));
        let mut chains = [x; CHAINS];
        for _ in 0..rounds {
            for chain in &mut chains {
                *chain = _mm512_fmadd_ps(*chain, x, y);
            }
        }
        _mm512_reduce_add_ps(chains.into_iter().fold(y, |sum, chain| _mm512_add_ps(sum, chain)))
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(rounds: usize) -> f32 {
        let (x, y) = operands();
        let (x, y) = (_mm256_set1_ps(x), _mm256_set1_ps(y));
        let mut chains = [x; CHAINS];
        for _ in 0..rounds {
            for chain in &mut chains {
                *chain = _mm256_fmadd_ps(*chain, x, y);
            }
        }
        _mm256_cvtss_f32(chains.into_iter().fold(y, |sum, chain| _mm256_add_ps(sum, chain)))
    }
}

/// The variable that names to the program started again why it was, so that it does not do so for
/// ever.
const GUARD: &str = "ROOKIE_CORE_CHOSEN";

impl Situation {
    fn now() -> Self {
        let (mut core, build) = core_and_build();
        let text = |name| env::var(name).ok().filter(|text| !text.is_empty());
        let guard = text(GUARD).as_deref().and_then(Guard::parse);
        let mut variable = text(VARIABLE).filter(|_| guard.is_none());
        match on_purpose().as_deref() {
            Some("first") => variable = None,
            Some("always") => (core, variable) = ("Prescott".into(), None),
            _ => {}
        }
        Self { core, build, processor: Vectors::of_processor(), variable, guard }
    }
}

/// For the tests, and not in a release: `first` takes the core that `OPENBLAS_CORETYPE` names for
/// OpenBLAS's own choice, and with `always` whatever runs looks like the narrowest core.
fn on_purpose() -> Option<String> {
    if cfg!(debug_assertions) { env::var("ROOKIE_NARROW_CORE").ok() } else { None }
}

/// What is to be said about the kernels by a command that trains.
static NOTICE: OnceLock<String> = OnceLock::new();
/// Who requested the kernels that this process runs on, if anybody did.
static ASKED_BY: OnceLock<ChosenBy> = OnceLock::new();

/// Starts the program again on other kernels where those that OpenBLAS chose are narrower than the
/// processor's vectors. Call it first in `main`. Where it returns, the kernels are as good as they
/// get, or [`notice`] says why not.
pub fn choose() {
    start_with_one_thread_if_limited();
    let found = Situation::now();
    let notice = match decide(&found) {
        Decision::Keep => return,
        Decision::Say(notice) => notice,
        Decision::StartAgain(wanted) => {
            let first = found.guard.as_ref().map_or(&found.core, |guard| &guard.first).clone();
            let guard = Guard { is_asked_for: false, first, wanted: wanted.into() };
            let error = start_again(&guard);
            format!(
                "using OpenBLAS's {} kernels, because starting again with {wanted} failed: {error}",
                found.core
            )
        }
    };
    NOTICE.get_or_init(|| notice);
}

/// OpenBLAS begins as many threads as there are cores, before `main`, and each waits for ever if it cannot
/// have its 128 MiB. So the program starts itself again with one where the address space has a limit.
fn start_with_one_thread_if_limited() {
    const THREADS: &str = "OPENBLAS_NUM_THREADS";
    if Room::now().addresses.is_none() || env::var_os(THREADS).is_some_and(|count| count == "1") {
        return;
    }
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    // If that fails, this process continues as it is.
    let _ = env::current_exe()
        .map(|program| Command::new(program).arg0(name).args(arguments).env(THREADS, "1").exec());
}

/// What a command that trains should say about the kernels, if anything.
pub fn notice() -> Option<&'static str> {
    // Who asks for kernels knows why they are used.
    NOTICE.get().map(String::as_str).filter(|_| ASKED_BY.get().is_none())
}

/// A sentence about kernels that a user requested in vain, because all runs had finished with
/// others: `cores` are those of the runs.
pub fn unused<'a>(cores: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let asked_by = ASKED_BY.get()?;
    let (core, _) = core_and_build();
    let others: BTreeSet<&str> = cores.into_iter().filter(|other| *other != core).collect();
    let others: Vec<&str> = others.into_iter().collect();
    (!others.is_empty()).then(|| {
        format!(
            "the {core} kernels ({asked_by}) are not used, because the finished runs, trained with \
             {}, are kept; --fresh trains them again",
            others.join(" and with ")
        )
    })
}

/// Who chose the kernels that this process runs on.
pub fn chosen_by() -> ChosenBy {
    ASKED_BY.get().copied().unwrap_or_else(|| Situation::now().chosen_by())
}

/// Kernels that a user asks for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    place: Place,
    core: Option<&'static Core>, // none: automatic
}

impl Request {
    /// The kernels of a name, in capitals or not; `auto` leaves them as they are.
    ///
    /// # Errors
    /// Where there are none of that name.
    pub fn parse(place: Place, name: &str) -> Result<Self> {
        if name.eq_ignore_ascii_case(AUTO) {
            return Ok(Self { place, core: None });
        }
        if let Some(core) = named(name) {
            return Ok(Self { place, core: Some(core) });
        }
        let found = format!("`{}`", name.escape_debug());
        Err(Error::unexpected(place, found, format!("one of {}", names().join(", "))))
    }

    /// Makes sure that this process runs on these kernels: starts the program again on them if it
    /// does not, and refuses if it then still does not. Call it before the first product and before
    /// anything is written.
    ///
    /// # Errors
    /// [`Error::Input`] where the processor or OpenBLAS does not have them.
    pub fn take(&self) -> Result<()> {
        let Some(core) = self.core else { return Ok(()) };
        let found = Situation::now();
        if found.runs_on(core.name) {
            let is_flag = matches!(self.place, Place::Flag(_));
            ASKED_BY.get_or_init(|| if is_flag { ChosenBy::Flag } else { ChosenBy::GridFile });
            return Ok(());
        }
        if let Some((what, expected)) = refusal(core, &found) {
            return Err(Error::unexpected(self.place.clone(), what, expected)
                .hint(format!("name other kernels, or {AUTO}")));
        }
        let first = found.guard.as_ref().map_or(&found.core, |guard| &guard.first).clone();
        let guard = Guard { is_asked_for: true, first, wanted: core.name.into() };
        let error = start_again(&guard);
        let problem = format!("starting again with the {} kernels failed: {error}", core.name);
        Err(Error::input(self.place.clone(), problem)
            .hint(format!("start rookie with {VARIABLE}={} set", core.name)))
    }
}

/// This program on the kernels of a core, whatever chose those of this process.
///
/// # Errors
/// Where the system does not name its file.
pub fn program_on(core: &str) -> io::Result<Command> {
    let mut program = Command::new(env::current_exe()?);
    program.env(VARIABLE, core).env_remove(GUARD);
    Ok(program)
}

/// Replaces this process by the same program with the same arguments on another core. Returns only
/// where that fails.
fn start_again(guard: &Guard) -> io::Error {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    match program_on(&guard.wanted) {
        Ok(mut program) => program.arg0(name).args(arguments).env(GUARD, guard.to_string()).exec(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_uses_no_cpu_time() {
        let (begun, wait) = (thread_time(), Duration::from_millis(100));
        std::thread::sleep(wait);
        assert!(thread_time().saturating_sub(begun) < wait / 2);
        let begun = thread_time();
        while thread_time() == begun {}
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_peak_is_that_of_a_processor_with_the_vectors_it_has() {
        let peak = peak_flops_per_second();
        assert_eq!(peak.is_some(), Vectors::of_processor() >= Some(Vectors::Avx2));
        // In CPU time, from an emulator to two units at 6 GHz.
        let flops = Vectors::of_processor().unwrap().flops() as f64;
        if let Some(peak) = peak {
            let per_cycle = peak / flops / 1e9;
            assert!((0.01..12.0).contains(&per_cycle), "{per_cycle} thousand million a second");
        }
    }
}
