//! Reads `tests/golden/stats.json`.

use serde_json::Value;

pub fn golden() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/stats.json")).unwrap()
}

pub fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}
