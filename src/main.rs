//! Maps what [`birdaug::cli`] returns to the process's exit status.

fn main() -> std::process::ExitCode {
    birdaug::cli::main()
}
