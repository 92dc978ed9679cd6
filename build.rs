//! Writes libtorch's folder into the binary's run path, so that it starts from anywhere without `LD_LIBRARY_PATH`, and
//! a checksum of the sources into the binary, so that what an older one remembered is not taken for its own.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
    // A binary that was packed with its libraries finds them beside it.
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    let mut hasher = DefaultHasher::new();
    add(Path::new("src"), &mut hasher);
    println!("cargo:rustc-env=BIRDAUG_SOURCES={:016x}", hasher.finish());
}

fn add(folder: &Path, hasher: &mut DefaultHasher) {
    let mut paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            add(&path, hasher);
        } else {
            (path.to_string_lossy(), fs::read(&path).unwrap_or_default()).hash(hasher);
        }
    }
}
