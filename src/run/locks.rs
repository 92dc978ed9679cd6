//! What the locks beside the recipes name: keys, and the outputs they had. Reads any lock of any version, since all it
//! takes from one are words of 64 hexadecimal digits in quotes.

use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};
use crate::plan::Key;

/// What one lock names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Named {
    pub path: PathBuf,
    /// Every word that may be a key.
    pub keys: Vec<[u8; 32]>,
    /// A key and, behind it in one text, the digest of its output.
    pub pairs: Vec<([u8; 32], [u8; 32])>,
}

/// What a lock's text names.
pub fn read(path: &Path) -> Result<Named> {
    let text = std::fs::read_to_string(path).doing("read the lock", path)?;
    let mut named = Named { path: path.to_path_buf(), ..Named::default() };
    for line in text.lines() {
        for quoted in line.split('"').skip(1).step_by(2) {
            let words: Vec<Option<Key>> =
                quoted.split_whitespace().map(|word| Key::from_hex(word).filter(|_| word.len() == 64)).collect();
            named.keys.extend(words.iter().flatten().map(|key| key.0));
            if let [Some(key), Some(digest), ..] = words[..] {
                named.pairs.push((key.0, digest.0));
            }
        }
    }
    Ok(named)
}

/// All locks of a folder, which need not be there.
pub fn in_folder(folder: impl AsRef<Path>) -> Result<Vec<Named>> {
    let folder = folder.as_ref();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).doing("list", folder),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.doing("list", folder)?.path();
        if path.extension().is_some_and(|ending| ending == "lock") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    paths.iter().map(|path| read(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_digests_are_keys_and_two_in_one_text_a_key_with_its_output() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let (a, b, c) = (Key([1; 32]), Key([2; 32]), Key([3; 32]));
        let text = format!(
            "# \"comment\"\nx = \"12\"\nlist = \"{} 17\"\n\"OWL\" = [\n  \"{} {} keep\",\n]\nbare = {}\n",
            c.hex(),
            a.hex(),
            b.hex(),
            Key([9; 32]).hex()
        );
        std::fs::write(&path, text).unwrap();
        std::fs::write(dir.path().join("a.toml"), "x = 1").unwrap();
        let found = in_folder(dir.path()).unwrap();
        assert_eq!(found, [Named { path, keys: vec![c.0, a.0, b.0], pairs: vec![(a.0, b.0)] }]);
        assert_eq!(in_folder(dir.path().join("missing")).unwrap(), []);
    }
}
