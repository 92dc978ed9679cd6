//! `birdaug doctor`.

use super::args::{Doctor, Global};
use super::terminal;
use crate::error::{Error, Result};
use crate::run;
use crate::text;

/// Shows what this machine and installation offer.
pub fn run(options: &Doctor, global: &Global) -> Result<()> {
    let health = run::health(&global.cache)?;
    if options.json {
        let value = serde_json::to_value(&health).map_err(|error| Error::input(error.to_string()))?;
        terminal::json(&value);
        return Ok(());
    }
    let cuda = health.cuda.map_or("open".to_string(), |why| format!("none ({why})"));
    let cache = if health.cache.exists {
        format!(
            "{}: {}, {} in {}",
            health.cache.dir,
            text::count(health.cache.records, "record"),
            text::bytes(health.cache.bytes),
            text::count(health.cache.blobs, "blob")
        )
    } else {
        format!("{}: not made yet", health.cache.dir)
    };
    let features =
        if health.cpu_features.is_empty() { "none that matter".to_string() } else { health.cpu_features.join(" ") };
    let rows = [
        ("birdaug", health.birdaug),
        ("libtorch", format!("{} ({})", health.libtorch, health.libtorch_path.unwrap_or("linked in".into()))),
        ("threads", health.threads.to_string()),
        ("devices", health.devices.join(", ")),
        ("cuda", cuda),
        ("cpu features", features),
        (
            "weights",
            if health.weights.is_empty() { "none under weights/".to_string() } else { weights(&health.weights) },
        ),
        ("cache", cache),
    ];
    for (name, value) in rows {
        terminal::line(&format!("{name:<13} {value}"));
    }
    Ok(())
}

fn weights(found: &[(String, u64)]) -> String {
    let list: Vec<String> = found.iter().map(|(name, size)| format!("{name} ({})", text::bytes(*size))).collect();
    list.join(", ")
}
