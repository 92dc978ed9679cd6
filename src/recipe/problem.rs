//! What is wrong with a recipe, as data, and the one place that renders it with file, line, column and
//! marker. Knows the text and byte ranges in it, nothing of what recipes mean.

use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::text;

/// One thing wrong with a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Bytes of the text to mark.
    pub at: Range<usize>,
    /// What is wrong, in one line.
    pub title: String,
    /// Written beside the marker: what was found there.
    pub label: String,
    /// What would be right.
    pub allowed: Option<String>,
    /// What to do next, such as the nearest name.
    pub help: Option<String>,
    /// Another place of the text that this one disagrees with, and what it says.
    pub beside: Option<(Range<usize>, String)>,
}

impl Problem {
    pub(super) fn new(at: Range<usize>, title: impl Into<String>, label: impl Into<String>) -> Problem {
        Problem { at, title: title.into(), label: label.into(), allowed: None, help: None, beside: None }
    }

    pub(super) fn allowed(mut self, allowed: impl Into<String>) -> Problem {
        self.allowed = Some(allowed.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    pub(super) fn beside(mut self, at: Option<Range<usize>>, label: impl Into<String>) -> Problem {
        self.beside = at.map(|at| (at, label.into()));
        self
    }
}

/// Renders every problem of the recipe `text` in the order of the text, then how many there are.
/// Plain text; with `colour`, the same with ANSI codes. No newline at the end.
pub fn render(path: &Path, text: &str, problems: &[Problem], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let path = path.display().to_string();
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| (problem.at.start, problem.at.end));
    let mut parts: Vec<String> =
        sorted.iter().map(|problem| one(&renderer, &path, text, problem).trim_end().to_string()).collect();
    if parts.len() > 1 {
        parts.push(format!("{} in `{path}`", text::count(parts.len(), "problem")));
    }
    parts.join("\n\n")
}

fn one(renderer: &Renderer, path: &str, text: &str, problem: &Problem) -> String {
    let mut snippet = Snippet::source(text)
        .path(path)
        .annotation(AnnotationKind::Primary.span(marked(text, &problem.at)).label(problem.label.as_str()));
    if let Some((at, label)) = &problem.beside {
        snippet = snippet.annotation(AnnotationKind::Context.span(marked(text, at)).label(label.as_str()));
    }
    let mut group = Level::ERROR.primary_title(problem.title.as_str()).element(snippet);
    if let Some(allowed) = &problem.allowed {
        group = group.element(Level::NOTE.with_name("allowed").message(allowed.as_str()));
    }
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// The range as it is marked: inside the text, on characters' borders, and on its first line alone.
fn marked(text: &str, at: &Range<usize>) -> Range<usize> {
    let start = floor(text, at.start.min(text.len()));
    let end = floor(text, at.end.clamp(start, text.len()));
    let line = text[start..].find('\n').map_or(text.len(), |n| start + n);
    start..end.min(line).max(start)
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The line of a byte, counted from 1.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    1 + text.as_bytes()[..byte.min(text.len())].iter().filter(|&&b| b == b'\n').count()
}
