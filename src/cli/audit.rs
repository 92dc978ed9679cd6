//! `birdaug audit DATASET`.

use std::collections::HashMap;

use serde_json::json;

use super::args::{Audit, Global};
use super::terminal;
use crate::dataset::audit::{Finding, audit};
use crate::dataset::stat_index::StatIndex;
use crate::dataset::{ScanOptions, audit::Kind};
use crate::error::Result;
use crate::run::Progress;
use crate::text;

/// Lists a dataset's defects, each with the recipe text that mends it.
pub fn run(options: &Audit, global: &Global) -> Result<()> {
    let progress = Progress::new(global.quiet || options.json);
    // Nothing is remembered: an audit may look at a folder that no recipe uses, and needs no cache.
    let mut index = StatIndex::load(std::path::Path::new(""));
    let task = std::sync::Mutex::new(None);
    let findings = audit(&ScanOptions::new(&options.dataset), &mut index, &mut HashMap::new(), &|done, total| {
        let mut task = task.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        task.get_or_insert_with(|| progress.task("audit", total, "photo")).set(done, "");
    })?;
    if let Some(task) = task.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        task.finish();
    }
    if options.json {
        terminal::json(&json!({ "findings": findings }));
        return Ok(());
    }
    terminal::print(&as_text(&findings));
    Ok(())
}

fn as_text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "no defects found\n".to_string();
    }
    let mut out = String::new();
    let mut last: Option<Kind> = None;
    for finding in findings {
        if last != Some(finding.kind) {
            let name = serde_json::to_value(finding.kind).unwrap_or_default();
            out.push_str(&format!("{}\n", name.as_str().unwrap_or_default()));
            last = Some(finding.kind);
        }
        out.push_str(&format!("  {}\n", finding.message));
        for line in finding.fix.lines() {
            out.push_str(&format!("    fix: {line}\n"));
        }
    }
    out.push_str(&format!("{}\n", text::count(findings.len(), "finding")));
    out
}
