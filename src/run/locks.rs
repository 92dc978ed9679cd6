//! What the locks beside the recipes name: keys, and the outputs they had. Reads a lock of any version, since all it
//! takes from one are words of 64 hexadecimal digits.

use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};
use crate::plan::Key;

/// What one lock names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Named {
    pub path: PathBuf,
    /// Every word that may be a key.
    pub keys: Vec<[u8; 32]>,
    /// A key and, behind it in one line, the digest of its output.
    pub pairs: Vec<([u8; 32], [u8; 32])>,
}

/// What a lock's text names.
pub fn read(path: &Path) -> Result<Named> {
    let text = std::fs::read_to_string(path).doing("read the lock", path)?;
    let mut named = Named { path: path.to_path_buf(), ..Named::default() };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<[u8; 32]> = line
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| word.len() == 64)
            .filter_map(|word| Key::from_hex(word).map(|key| key.0))
            .collect();
        named.keys.extend(&words);
        if let [key, digest, ..] = words[..] {
            named.pairs.push((key, digest));
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
    fn every_digest_is_a_key_and_two_in_one_line_a_key_with_its_output() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|n| Key([n; 32]).hex());
        let text = format!(
            "# {e}\nx = \"12\"\ntrain = \"{c}\"\n{a} = \"{b} keep\"\ng = {{ key = \"{d}\", weights = \"{a}\", on = \"cpu\" }}\n"
        );
        std::fs::write(&path, text).unwrap();
        std::fs::write(dir.path().join("a.toml"), &e).unwrap();
        let found = in_folder(dir.path()).unwrap();
        let keys = [3, 1, 2, 4, 1].map(|n| [n; 32]).to_vec();
        let pairs = vec![([1; 32], [2; 32]), ([4; 32], [1; 32])];
        assert_eq!(found, [Named { path, keys, pairs }]);
        assert_eq!(in_folder(dir.path().join("missing")).unwrap(), []);
    }
}
