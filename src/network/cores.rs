//! The cores that OpenBLAS has kernels for, what they need of a processor, and which to use where.
//! All of it follows from what a process finds when it starts; [`super::kernels`] acts on it.

use std::fmt;

/// Where OpenBLAS reads the name of a core.
pub(super) const VARIABLE: &str = "OPENBLAS_CORETYPE";
/// How OpenBLAS names a build that has the kernels of several cores.
const SEVERAL_CORES: &str = "DYNAMIC_ARCH";
/// The choice that leaves the kernels as they are.
pub(super) const AUTO: &str = "auto";

/// Vector instructions for float32, each level with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vectors {
    /// SSE, which every x86-64 processor has.
    Sse,
    /// AVX.
    Avx,
    /// AVX2 with FMA.
    Avx2,
    /// AVX512 with F, BW, VL and DQ.
    Avx512,
    /// AVX512 with BF16.
    Avx512Bf16,
    /// AVX512 with BF16 and FP16.
    Avx512Fp16,
}

impl Vectors {
    /// What this processor has; `None` on an architecture whose cores are not known here.
    #[cfg(target_arch = "x86_64")]
    pub fn of_processor() -> Option<Self> {
        let has_avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        Some(if has_avx512 && is_x86_feature_detected!("avx512bf16") {
            if is_x86_feature_detected!("avx512fp16") { Self::Avx512Fp16 } else { Self::Avx512Bf16 }
        } else if has_avx512 {
            Self::Avx512
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            Self::Avx2
        } else if is_x86_feature_detected!("avx") {
            Self::Avx
        } else {
            Self::Sse
        })
    }

    /// What this processor has; `None` on an architecture whose cores are not known here.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn of_processor() -> Option<Self> {
        None
    }

    /// Without extensions that float32 has no use for.
    pub(super) fn family(self) -> Self {
        self.min(Self::Avx512)
    }

    /// Floating-point operations of one instruction.
    pub(super) fn flops(self) -> usize {
        match self {
            Self::Sse => 4,
            Self::Avx => 8,
            Self::Avx2 => 16,
            Self::Avx512 | Self::Avx512Bf16 | Self::Avx512Fp16 => 32,
        }
    }
}

impl fmt::Display for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sse => "SSE",
            Self::Avx => "AVX",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX512",
            Self::Avx512Bf16 => "AVX512 with BF16",
            Self::Avx512Fp16 => "AVX512 with FP16",
        })
    }
}

/// Kernels of OpenBLAS that a user can ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct Core {
    /// As OpenBLAS spells it.
    pub name: &'static str,
    needs: Vectors,
}

/// The cores that a user can ask for. Those of AMD's Bulldozer family are left out: their FMA4 is
/// on no other processor.
#[cfg(target_arch = "x86_64")]
static CORES: [Core; 8] = [
    Core { name: "Prescott", needs: Vectors::Sse },
    Core { name: "Nehalem", needs: Vectors::Sse },
    Core { name: "Sandybridge", needs: Vectors::Avx },
    Core { name: "Haswell", needs: Vectors::Avx2 },
    Core { name: "Zen", needs: Vectors::Avx2 },
    Core { name: "SkylakeX", needs: Vectors::Avx512 },
    Core { name: "Cooperlake", needs: Vectors::Avx512Bf16 },
    Core { name: "SapphireRapids", needs: Vectors::Avx512Fp16 },
];
#[cfg(not(target_arch = "x86_64"))]
static CORES: [Core; 0] = [];

/// What to start again on, best first. A library that does not have the first gets the next.
const CANDIDATES: [&str; 4] = ["Cooperlake", "SkylakeX", "Haswell", "Sandybridge"];

/// The vectors that a core's kernels use, by OpenBLAS's name of it.
fn vectors_of(core: &str) -> Vectors {
    let bulldozers = ["Bulldozer", "Piledriver", "Steamroller", "Excavator"];
    match named(core) {
        Some(known) => known.needs,
        None if bulldozers.iter().any(|name| name.eq_ignore_ascii_case(core)) => Vectors::Avx,
        None => Vectors::Sse,
    }
}

/// The core with the widest vectors that this processor has.
pub fn best_core() -> Option<&'static Core> {
    let processor = Vectors::of_processor()?;
    candidates(processor).next()
}

/// The core with the widest vectors that this processor has, where those of `core` are narrower.
pub fn wider_core(core: &str) -> Option<&'static Core> {
    best_core().filter(|best| best.needs.flops() > vectors_of(core).flops())
}

fn candidates(processor: Vectors) -> impl Iterator<Item = &'static Core> {
    let named = |name: &&str| CORES.iter().find(|core| core.name == *name);
    CANDIDATES.iter().filter_map(named).filter(move |core| core.needs <= processor)
}

/// Who chose the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    /// OpenBLAS, by the processor's model.
    OpenBlas,
    /// The program, because OpenBLAS's were narrower than the processor's vectors.
    Rookie,
    /// A user, by `OPENBLAS_CORETYPE`.
    Variable,
    /// A user, by `--kernels`.
    Flag,
    /// A user, by `kernels` in a grid file.
    GridFile,
}

impl fmt::Display for ChosenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenBlas => "OpenBLAS",
            Self::Rookie => "rookie",
            Self::Variable => VARIABLE,
            Self::Flag => "--kernels",
            Self::GridFile => "the grid file",
        })
    }
}

/// Why the program started again: at whose request, from which core, and on which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) is_asked_for: bool,
    pub(super) first: String, // what OpenBLAS had chosen
    pub(super) wanted: String,
}

impl Guard {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [by, first, wanted] = words[..] else { return None };
        Some(Self { is_asked_for: by == "user", first: first.into(), wanted: wanted.into() })
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.is_asked_for { "user" } else { "rookie" };
        write!(f, "{by} {} {}", self.first, self.wanted)
    }
}

/// What a process finds when it starts.
#[derive(Debug, Clone)]
pub(super) struct Situation {
    pub(super) core: String,
    pub(super) build: String,
    pub(super) processor: Option<Vectors>,
    pub(super) variable: Option<String>, // the user's
    pub(super) guard: Option<Guard>,
}

impl Situation {
    pub(super) fn runs_on(&self, core: &str) -> bool {
        self.core.eq_ignore_ascii_case(core)
    }

    fn has_several_cores(&self) -> bool {
        self.build.contains(SEVERAL_CORES)
    }

    /// `0.3.21`, where the build says so.
    fn version(&self) -> &str {
        self.build.split(' ').nth(1).unwrap_or_default()
    }

    pub(super) fn chosen_by(&self) -> ChosenBy {
        match (&self.guard, &self.variable) {
            (Some(guard), _) if !self.runs_on(&guard.first) => ChosenBy::Rookie,
            (None, Some(name)) if self.runs_on(name) => ChosenBy::Variable,
            // Also where it did not accept what the program or a user wanted.
            _ => ChosenBy::OpenBlas,
        }
    }
}

/// What to do about the kernels when the program starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Keep,
    /// Warn, and continue.
    Say(String),
    /// Start again on this core.
    StartAgain(&'static str),
}

pub(super) fn decide(found: &Situation) -> Decision {
    let asked_for = found.guard.as_ref().is_some_and(|guard| guard.is_asked_for);
    if asked_for || found.variable.as_ref().is_some_and(|name| found.runs_on(name)) {
        return Decision::Keep; // on purpose, however narrow
    }
    let (core, version) = (&found.core, found.version());
    if let Some(name) = &found.variable {
        return Decision::Say(format!(
            "OpenBLAS {version} uses its {core} kernels, because it does not have those of \
             {VARIABLE}={name}; correct or unset that variable"
        ));
    }
    let Some(processor) = found.processor else { return Decision::Keep };
    let widest = processor.family();
    if vectors_of(core).flops() >= processor.flops() {
        return match &found.guard {
            Some(Guard { first, .. }) => Decision::Say(format!(
                "using OpenBLAS's {core} kernels, because its own choice for this processor, {first}, \
                 does not use {widest}"
            )),
            None => Decision::Keep,
        };
    }
    let narrow = format!(
        "OpenBLAS {version} uses its {core} kernels, which do not use this processor's {widest}"
    );
    if !found.has_several_cores() {
        let problem = format!("{narrow}, and was built for these alone");
        return Decision::Say(format!("{problem}; install a build with {SEVERAL_CORES}"));
    }
    let mut untried = candidates(processor);
    let next = match &found.guard {
        None => untried.next(),
        Some(guard) => untried.skip_while(|core| core.name != guard.wanted).nth(1),
    };
    match next.filter(|next| next.needs.flops() > vectors_of(core).flops()) {
        Some(next) => Decision::StartAgain(next.name),
        None => Decision::Say(format!(
            "{narrow}, and accepts no others; training is slower than it could be, install a newer \
             version"
        )),
    }
}

/// Why starting again cannot lead to these kernels, if it cannot: what was found, and what
/// expected.
pub(super) fn refusal(core: &Core, found: &Situation) -> Option<(String, String)> {
    let version = found.version();
    let was_tried = |guard: &Guard| guard.is_asked_for && guard.wanted == core.name;
    if let Some(processor) = found.processor.filter(|has| *has < core.needs) {
        Some((
            format!("kernels for {} ({})", core.needs, core.name),
            format!("kernels for {processor} or less, which this processor has"),
        ))
    } else if !found.has_several_cores() {
        Some((
            format!("OpenBLAS {version} built for {} alone", found.core),
            format!("a build with {SEVERAL_CORES} for {}", core.name),
        ))
    } else if found.guard.as_ref().is_some_and(was_tried) {
        Some((
            format!("the {} kernels after starting again", found.core),
            format!("{}, which OpenBLAS {version} does not have", core.name),
        ))
    } else {
        None
    }
}

/// The core of a name, in capitals or not, if it can be requested.
pub(super) fn named(name: &str) -> Option<&'static Core> {
    CORES.iter().find(|core| core.name.eq_ignore_ascii_case(name))
}

/// The kernels that can be requested, in lower case.
pub fn names() -> Vec<String> {
    let cores = CORES.iter().map(|core| core.name.to_ascii_lowercase());
    std::iter::once(AUTO.to_string()).chain(cores).collect()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    const BUILD: &str = "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY MAX_THREADS=64";
    const LEVELS: [Vectors; 6] = [
        Vectors::Sse,
        Vectors::Avx,
        Vectors::Avx2,
        Vectors::Avx512,
        Vectors::Avx512Bf16,
        Vectors::Avx512Fp16,
    ];

    fn found(core: &str, processor: Vectors) -> Situation {
        let (core, build) = (core.to_string(), BUILD.to_string());
        Situation { core, build, processor: Some(processor), variable: None, guard: None }
    }

    fn after(by_user: bool, first: &str, wanted: &str) -> Guard {
        Guard { is_asked_for: by_user, first: first.into(), wanted: wanted.into() }
    }

    #[track_caller]
    fn says(found: &Situation, text: &str) {
        match decide(found) {
            Decision::Say(sentence) => assert!(sentence.contains(text), "{sentence}"),
            other => panic!("{other:?}, expected `{text}`"),
        }
    }

    #[test]
    fn the_program_starts_again_where_the_kernels_are_narrower_than_the_processor_and_not_elsewhere()
     {
        let flops_of_cores = [
            ("Prescott", 4),
            ("Core2", 4),
            ("Nehalem", 4),
            ("Atom", 4),
            ("Sandybridge", 8),
            ("Excavator", 8),
            ("Haswell", 16),
            ("Zen", 16),
            ("SkylakeX", 32),
            ("Cooperlake", 32),
            ("SapphireRapids", 32),
        ];
        let best = ["", "Sandybridge", "Haswell", "SkylakeX", "Cooperlake", "Cooperlake"];
        for (processor, best) in LEVELS.into_iter().zip(best) {
            for (core, flops) in flops_of_cores {
                let expected = if flops < processor.flops() {
                    Decision::StartAgain(best)
                } else {
                    Decision::Keep
                };
                assert_eq!(decide(&found(core, processor)), expected, "{core} on {processor:?}");
            }
        }
    }

    #[test]
    fn a_build_for_one_core_is_kept_with_a_word() {
        let build = "OpenBLAS 0.3.29 NO_AFFINITY Nehalem MAX_THREADS=64".to_string();
        let narrow = Situation { build, ..found("Nehalem", Vectors::Avx2) };
        says(
            &narrow,
            "0.3.29 uses its Nehalem kernels, which do not use this processor's AVX2, and was built for these alone",
        );
        assert_eq!(decide(&Situation { core: "Haswell".into(), ..narrow }), Decision::Keep);
    }

    #[test]
    fn an_unknown_architecture_is_left_alone() {
        let unknown = Situation { processor: None, ..found("neoversen1", Vectors::Sse) };
        assert_eq!(decide(&unknown), Decision::Keep);
    }

    #[test]
    fn a_users_variable_is_respected_and_one_that_openblas_ignores_is_told_of() {
        let variable = |name: &str| Some(name.to_string());
        let own = found("Prescott", Vectors::Avx512);
        let chosen = Situation { variable: variable("PRESCOTT"), ..own.clone() };
        assert_eq!(decide(&chosen), Decision::Keep);
        assert_eq!(chosen.chosen_by(), ChosenBy::Variable);
        let ignored = Situation { variable: variable("Granite"), ..own };
        let sentence = "OpenBLAS 0.3.21 uses its Prescott kernels, because it does not have those of \
                        OPENBLAS_CORETYPE=Granite; correct or unset that variable";
        says(&ignored, sentence);
        assert_eq!(ignored.chosen_by(), ChosenBy::OpenBlas);
        // Also where its own choice is as wide as the processor's vectors.
        let wide = Situation { core: "SkylakeX".into(), ..ignored };
        says(&wide, "uses its SkylakeX kernels, because it does not have those of");
    }

    #[test]
    fn each_candidate_is_tried_once_and_then_the_program_goes_on() {
        for processor in LEVELS {
            let mut stuck = found("Prescott", processor);
            let mut tried = Vec::new();
            while let Decision::StartAgain(next) = decide(&stuck) {
                assert!(!tried.contains(&next), "{next} twice on {processor:?}");
                tried.push(next);
                stuck.guard = Some(after(false, "Prescott", next));
            }
            assert_eq!(tried, candidates(processor).map(|core| core.name).collect::<Vec<_>>());
            if !tried.is_empty() {
                says(&stuck, "accepts no others");
                assert_eq!(stuck.chosen_by(), ChosenBy::OpenBlas);
            }
        }
        // Kernels that are better than the first, but not the widest, are as good as it gets.
        let better = found("Haswell", Vectors::Avx512);
        says(
            &Situation { guard: Some(after(false, "Prescott", "Haswell")), ..better },
            "accepts no others",
        );
        let done = found("SkylakeX", Vectors::Avx512Bf16);
        let done = Situation { guard: Some(after(false, "Prescott", "SkylakeX")), ..done };
        says(&done, "its own choice for this processor, Prescott, does not use AVX512");
        assert_eq!(done.chosen_by(), ChosenBy::Rookie);
    }

    #[test]
    fn kernels_asked_for_are_kept_and_refused_where_they_cannot_be() {
        let narrow = found("Prescott", Vectors::Avx512);
        let asked =
            Situation { guard: Some(after(true, "Cooperlake", "Prescott")), ..narrow.clone() };
        assert_eq!(decide(&asked), Decision::Keep);
        let refusal = |name: &str, found: &Situation| {
            let pair = refusal(named(name).unwrap(), found);
            pair.map(|(found, expected)| format!("{found}; {expected}")).unwrap_or_default()
        };
        assert_eq!(
            refusal("cooperlake", &narrow),
            "kernels for AVX512 with BF16 (Cooperlake); kernels for AVX512 or less, which this \
             processor has"
        );
        let missed =
            Situation { guard: Some(after(true, "Cooperlake", "Haswell")), ..narrow.clone() };
        assert_eq!(
            refusal("haswell", &missed),
            "the Prescott kernels after starting again; Haswell, which OpenBLAS 0.3.21 does not have"
        );
        let alone = Situation { build: "OpenBLAS 0.3.21 Prescott".into(), ..narrow.clone() };
        assert!(refusal("haswell", &alone).contains("built for Prescott alone; a build with"));
        assert_eq!(refusal("SKYLAKEX", &narrow), "");
        assert_eq!(named("foo"), None);
        // Kernels of rookie's choice may be followed by those that a user asks for.
        let chosen = Situation { guard: Some(after(false, "Prescott", "Haswell")), ..narrow };
        assert_eq!(refusal("haswell", &chosen), "");
    }

    #[test]
    fn a_guard_reads_back_and_a_foreign_one_is_none() {
        for guard in [after(true, "Zen", "Haswell"), after(false, "Prescott", "Cooperlake")] {
            assert_eq!(Guard::parse(&guard.to_string()), Some(guard));
        }
        assert_eq!(Guard::parse("1"), None);
    }
}
