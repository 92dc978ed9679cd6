//! A folder of its own for a test: a small drawn dataset, a small recipe, and the binary run in a clean environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use birdaug::dataset::sample::{self, Options};

/// A build of this takes seconds and goes through every step.
pub const RECIPE: &str = r#"
[dataset]
root = "birds"

[balance]
target = 6
[balance.species]

[generator]
kind = "ddpm"
mode = "txt2img"
size = 16
width = 8
levels = [1]
depth = 1
steps = 2
guidance = 1.5
batch = 4
precision = "fp32"
[generator.train]
steps = 3
batch = 4
learning_rate = 1e-3

[filter]
candidates = 1.5
ssim_max = 0.99

[emit]
out = "out/tiny"

[classifier]
size = 32
steps = 3
batch = 4
seeds = [0, 1]

[compare]
arms = ["real", "augmented"]
tail = 0.34
"#;

/// A test's folder; removed when dropped.
pub struct Place {
    dir: tempfile::TempDir,
}

/// What a run of the binary left.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Panics with everything said unless the status is this one.
    #[track_caller]
    pub fn exits(self, status: i32) -> Said {
        assert_eq!(self.status, status, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in:\n{}", self.stdout))
    }
}

impl Place {
    /// A folder with the drawn dataset `birds` (3 species of 6, 5 and 4 photos) and `recipes/tiny.toml`.
    pub fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        let options =
            Options { size: 48, species: 3, commonest: 6, rarest: 4, valid: 1, test: 2, ..Options::default() };
        sample::write(&place.path("birds"), &options).unwrap();
        place.recipe(RECIPE);
        place
    }

    /// A folder with nothing in it.
    pub fn empty() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    /// A path inside.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Writes `recipes/tiny.toml`.
    pub fn recipe(&self, text: &str) {
        self.write("recipes/tiny.toml", text.as_bytes());
    }

    /// Writes `recipes/tiny.toml` as [`RECIPE`] with one text replaced.
    #[track_caller]
    pub fn recipe_with(&self, from: &str, to: &str) {
        assert!(RECIPE.contains(from), "the recipe has no `{from}`");
        self.recipe(&RECIPE.replace(from, to));
    }

    /// Writes a file.
    pub fn write(&self, relative: &str, bytes: &[u8]) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The command, with nothing of the tester's environment. One thread each: tests run side by side, and threads of
    /// several processes that wait for each other on few cores stand still.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_birdaug"));
        command.args(args);
        self.clean(command)
    }

    /// A line for the shell, in the same environment.
    pub fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        self.clean(command)
    }

    fn clean(&self, mut command: Command) -> Command {
        command.current_dir(self.dir.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("OMP_NUM_THREADS", "1").env("RAYON_NUM_THREADS", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, args: &[&str]) -> Said {
        said(self.command(args).output().unwrap())
    }

    /// Builds `recipes/tiny.toml`, which must succeed.
    #[track_caller]
    pub fn build(&self) -> Said {
        self.run(&["build", "recipes/tiny.toml"]).exits(0)
    }

    /// The plan of `recipes/tiny.toml`.
    #[track_caller]
    pub fn plan(&self) -> serde_json::Value {
        self.run(&["plan", "recipes/tiny.toml", "--json"]).exits(0).json()
    }

    /// A species' photos of a split, sorted.
    pub fn photos(&self, split: &str, species: &str) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.path(&format!("birds/{split}/{species}"))).unwrap();
        let mut photos: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        photos.sort();
        photos
    }

    /// Every file below a folder with its bytes.
    pub fn files(&self, relative: &str) -> BTreeMap<String, Vec<u8>> {
        let root = self.path(relative);
        let mut out = BTreeMap::new();
        collect(&root, &root, &mut out);
        out
    }
}

fn collect(root: &Path, folder: &Path, out: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, out);
        } else {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            out.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// A process's end in words.
pub fn said(output: Output) -> Said {
    Said {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// How many images, and what else, a build says it made: `made: generator 1, candidates 12, ...`.
pub fn made(said: &Said, what: &str) -> usize {
    let Some(line) = said.stdout.lines().find_map(|line| line.strip_prefix("made: ")) else { return 0 };
    let count = line.split(", ").find_map(|part| part.strip_prefix(what)?.strip_prefix(' '));
    count.map_or(0, |count| count.replace(',', "").parse().unwrap())
}
