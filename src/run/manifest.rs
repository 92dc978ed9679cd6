//! `manifest.csv` and `rejected.csv` of an emitted tree, read back. Knows columns by name, so that new ones disturb nobody.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, IoContext, Result};

use super::tree::MARK;

/// A row of `manifest.csv`.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Below the tree's root.
    pub path: String,
    pub split: String,
    pub species: String,
    pub origin: String,
    pub digest: String,
    /// The candidate's, in full; empty for a real photo.
    pub key: String,
    /// Path in the dataset: of the photo itself, or of the one that a candidate was made from.
    pub source: String,
    /// Every column with something in it, by name.
    pub fields: BTreeMap<String, String>,
}

impl Row {
    /// Whether the file was made.
    pub fn is_synthetic(&self) -> bool {
        self.origin == "synthetic"
    }
}

/// The manifest of the tree at `root`.
pub fn read(root: &Path) -> Result<Vec<Row>> {
    Ok(table(&root.join(MARK))?
        .into_iter()
        .map(|fields| {
            let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
            Row {
                path: field("path"),
                split: field("split"),
                species: field("species"),
                origin: field("origin"),
                digest: field("digest"),
                key: field("key"),
                source: field("source"),
                fields: fields.clone(),
            }
        })
        .collect())
}

/// The candidates that the filter dropped, by column; none if the list is not there.
pub fn rejected(root: &Path) -> Result<Vec<BTreeMap<String, String>>> {
    let path = root.join("rejected.csv");
    if path.exists() { table(&path) } else { Ok(Vec::new()) }
}

/// The rows of a csv file by column; empty cells are absent.
fn table(path: &Path) -> Result<Vec<BTreeMap<String, String>>> {
    let bytes = std::fs::read(path).doing("read", path)?;
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let broken = |error: csv::Error| Error::input(format!("`{}` is no list of birdaug's: {error}", path.display()));
    let header: Vec<String> = reader.headers().map_err(broken)?.iter().map(String::from).collect();
    reader
        .records()
        .map(|row| {
            let row = row.map_err(broken)?;
            let cells = header.iter().cloned().zip(row.iter().map(String::from));
            Ok(cells.filter(|(_, cell)| !cell.is_empty()).collect())
        })
        .collect()
}
