//! Holds the layer table of `src/lib.rs` true by reading the sources: a layer uses lower layers only, never a
//! neighbour; only some touch tensors, the disk or the terminal.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules and their layers, as in the table of `src/lib.rs`.
const LAYERS: [(&str, u8); 16] = [
    ("simd", 0),
    ("error", 0),
    ("text", 0),
    ("recipe", 1),
    ("dataset", 1),
    ("checkpoint", 1),
    ("stats", 1),
    ("plan", 2),
    ("store", 2),
    ("report", 2),
    ("nn", 3),
    ("diffusion", 4),
    ("score", 4),
    ("train", 4),
    ("run", 5),
    ("cli", 6),
];

fn layer(module: &str) -> u8 {
    LAYERS.iter().find(|(name, _)| *name == module).unwrap_or_else(|| panic!("`{module}` has no layer")).1
}

/// Every source file with its module and its text, without tests.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut out = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(&root).unwrap().to_path_buf();
            let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
            let module = first.trim_end_matches(".rs").to_string();
            let name = relative.file_name().unwrap().to_string_lossy().into_owned();
            let is_test = name.contains("test")
                || name == "golden.rs"
                || name == "fixture.rs"
                || relative.components().any(|part| part.as_os_str() == "tests");
            let is_rust = path.extension().is_some_and(|ending| ending == "rs");
            if module == "main" || module == "lib" || is_test || !is_rust {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_string();
            out.push((module, relative, code));
        }
    }
    assert!(out.len() > 60, "only {} sources found", out.len());
    out
}

/// Lines of code that hold `word`, without comments.
fn uses(code: &str, word: &str) -> bool {
    let begins = |line: &str, at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let has = |line: &str| line.match_indices(word).any(|(at, _)| begins(line, at));
    code.lines().map(|line| line.split("//").next().unwrap()).any(has)
}

#[test]
fn a_layer_uses_lower_layers_only() {
    for (module, path, code) in sources() {
        for (other, height) in LAYERS {
            if other == module || !uses(&code, &format!("crate::{other}")) {
                continue;
            }
            assert!(
                height < layer(&module),
                "{} (layer {}) uses `{other}` (layer {height})",
                path.display(),
                layer(&module)
            );
        }
    }
}

#[test]
fn tensors_begin_at_layer_three_and_end_before_the_command_line() {
    for (module, path, code) in sources() {
        if layer(&module) < 3 || module == "cli" {
            assert!(!uses(&code, "tch::") && !uses(&code, "use tch"), "{} uses tch", path.display());
        }
    }
}

#[test]
fn only_the_command_line_and_the_progress_print() {
    for (module, path, code) in sources() {
        if module == "cli" || path.ends_with("run/progress.rs") {
            continue;
        }
        for word in ["println!", "eprintln!", "print!(", "eprint!(", "dbg!", "stdout()", "stderr()"] {
            assert!(!uses(&code, word), "{} prints ({word})", path.display());
        }
    }
}

#[test]
fn networks_generators_and_metrics_touch_no_disk() {
    for (module, path, code) in sources() {
        let proc = path.ends_with("nn/device.rs");
        if (3..=4).contains(&layer(&module)) && !proc {
            assert!(!uses(&code, "std::fs") && !uses(&code, "File::open"), "{} touches the disk", path.display());
        }
    }
}

#[test]
fn every_file_says_first_what_it_does() {
    for (_, path, code) in sources() {
        assert!(code.starts_with("//! "), "{} does not open with `//!`", path.display());
    }
}
