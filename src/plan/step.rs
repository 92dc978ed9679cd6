//! The steps of a build by name, in order, and whether each is due.

/// A step of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Scan,
    Audit,
    Split,
    Baseline,
    Generator,
    Candidates,
    Scores,
    Select,
    Emit,
    Arms,
    Compare,
    Report,
}

impl Step {
    /// Every step, in the order of a build.
    pub const ALL: [Step; 12] = [
        Step::Scan,
        Step::Audit,
        Step::Split,
        Step::Baseline,
        Step::Generator,
        Step::Candidates,
        Step::Scores,
        Step::Select,
        Step::Emit,
        Step::Arms,
        Step::Compare,
        Step::Report,
    ];

    /// The name that `--until`, `plan` and `why` use.
    pub fn name(self) -> &'static str {
        match self {
            Step::Scan => "scan",
            Step::Audit => "audit",
            Step::Split => "split",
            Step::Baseline => "baseline",
            Step::Generator => "generator",
            Step::Candidates => "candidates",
            Step::Scores => "scores",
            Step::Select => "select",
            Step::Emit => "emit",
            Step::Arms => "arms",
            Step::Compare => "compare",
            Step::Report => "report",
        }
    }

    /// The step of that name.
    pub fn from_name(name: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.name() == name)
    }
}

/// Whether a step's output is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Fresh,
    /// Due, with the reasons, each a sentence.
    Stale(Vec<String>),
}

impl State {
    /// Fresh where there is no reason.
    pub fn from_reasons(reasons: Vec<String>) -> State {
        if reasons.is_empty() { State::Fresh } else { State::Stale(reasons) }
    }

    /// Whether work is due.
    pub fn is_stale(&self) -> bool {
        matches!(self, State::Stale(_))
    }

    /// `fresh` or `stale`.
    pub fn name(&self) -> &'static str {
        if self.is_stale() { "stale" } else { "fresh" }
    }

    /// The reasons, none where fresh.
    pub fn reasons(&self) -> &[String] {
        match self {
            State::Fresh => &[],
            State::Stale(reasons) => reasons,
        }
    }
}
