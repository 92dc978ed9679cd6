//! The cache that the options of every command name, opened. Knows no command.

use std::path::PathBuf;

use super::args::Global;
use crate::error::Result;
use crate::store::Store;

/// Names further caches where `--cache-from` names none: folders with `:` between them.
const FROM: &str = "BIRDAUG_CACHE_FROM";

/// `--cache`, with the caches of `--cache-from` behind it.
pub fn store(global: &Global) -> Result<Store> {
    Store::open_with(&global.cache, &others(global))
}

/// The caches that are only read.
pub fn others(global: &Global) -> Vec<PathBuf> {
    if !global.cache_from.is_empty() {
        return global.cache_from.clone();
    }
    let named = std::env::var_os(FROM).unwrap_or_default();
    std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect()
}
