//! Writes libtorch's folder into the binary's run path, so that it starts from anywhere without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
    // A binary that was packed with its libraries finds them beside it.
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
}
