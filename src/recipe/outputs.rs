//! `[emit]` and `[report]`: where results go, and that nothing of the user's is lost there. Looks at no disk.

use std::path::{Component, Path, PathBuf};

use toml::de::DeValue;

use super::read::{At, Section};
use super::schema;
use super::tables::{table, value};
use super::types::{Dataset, Emit, Encode, ImageFormat, Link, Report, SplitNames};

/// `[emit]` and `[report]`: what they write must not stand in each other's way, nor in the dataset's.
pub(super) fn read(root: &Section<'_, '_>, name: &str, dataset: Option<&Dataset>) -> (Emit, Report) {
    let section = table(root, "emit");
    let out = section.filled("out", "a folder").map(|out| At { value: PathBuf::from(out.value), at: out.at });
    let tree = value(out.clone(), Path::new("out").join(name));
    let place = out.map_or_else(|| section.header(), |out| out.at);
    let clean = plain(&tree);
    let trouble = if clean.file_name().is_none() {
        Some(("has no name of its own", "a folder with a name of its own, since the tree is swapped in whole"))
    } else if dataset.is_some_and(|dataset| plain(&dataset.root).starts_with(&clean)) {
        Some(("would replace the dataset", "a folder that does not hold the dataset"))
    } else if dataset.is_some_and(|dataset| inside_a_split(dataset, &clean)) {
        Some(("would write into the dataset's images", "a folder outside of train, valid and test"))
    } else {
        None
    };
    if let Some((found, allowed)) = trouble {
        section.impossible("out", place, found, allowed);
    }
    let emit = Emit { out: tree, link: value(section.choice("link"), Link::Auto), encode: encode(&section) };

    let section = table(root, "report");
    let out = section.filled("out", "a folder").map(|out| At { value: PathBuf::from(out.value), at: out.at });
    let results = value(out.clone(), Path::new("results").join(name));
    if plain(&results).starts_with(&clean) && trouble.is_none() {
        let place = out.map_or_else(|| section.header(), |out| out.at);
        let allowed = "a folder outside of `[emit] out`, which is replaced in whole";
        section.impossible("out", place, "would be lost with the next tree", allowed);
    }
    (emit, Report { out: results })
}

/// The path without `.`, and without `..` where a name stands before it. Looks at no disk: it is a guard
/// against slips, not against links.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

fn inside_a_split(dataset: &Dataset, path: &Path) -> bool {
    let SplitNames { train, valid, test } = &dataset.splits;
    [train, valid, test].into_iter().any(|split| path.starts_with(plain(&dataset.root.join(split))))
}

fn encode(section: &Section<'_, '_>) -> Encode {
    let Some(written) = section.get("encode") else { return Encode::Match };
    match written.get_ref() {
        DeValue::String(word) if word == "match" => Encode::Match,
        DeValue::String(word) => {
            section.unknown_name(
                "encode",
                written.span(),
                word,
                &["match", "{ format = \"jpg\", quality = 95, size = 224 }"],
            );
            Encode::Match
        }
        DeValue::Table(_) => {
            let table = section.table("encode", schema::ENCODE);
            Encode::As {
                format: value(table.choice("format"), ImageFormat::Jpg),
                quality: value(table.whole("quality", 1..=100), 95) as u8,
                size: value(table.whole("size", 8..=4096), 224) as usize,
            }
        }
        _ => {
            let allowed = "`match`, or a table such as `{ format = \"jpg\", quality = 95, size = 224 }`";
            section.wrong_type("encode", written, allowed);
            Encode::Match
        }
    }
}
