//! Golden files of `tests/golden`, for the tests of this folder.

/// A golden file as JSON.
pub fn golden(name: &str) -> serde_json::Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the golden file is there")).expect("it holds JSON")
}
