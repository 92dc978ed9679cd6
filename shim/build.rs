//! Compiles the C++ side against the headers of the libtorch that torch-sys links.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/shim.cpp");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let lib = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names libtorch's folder"));
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    let include = std::env::var("LIBTORCH_INCLUDE").map(PathBuf::from).ok();
    let root = include.or_else(|| lib.parent().map(PathBuf::from)).expect("libtorch's libraries are in a folder of it");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .include(root.join("include"))
        .file("src/shim.cpp")
        .compile("torch_shim");
}
