//! Every way birdaug can stop, as data; the prose is in one place, `Display`. Knows no other module.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Result with birdaug's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why birdaug stopped; [`Error::exit_code`] maps each to the process's exit status.
#[derive(Debug)]
pub enum Error {
    /// The command line asks for something impossible.
    Usage(String),
    /// The recipe is wrong: every problem, rendered with file, line, column and marker, ready to print.
    Recipe(String),
    /// A file or folder could not be read or written.
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    /// An image file could not be decoded or encoded.
    Image { path: PathBuf, problem: String },
    /// The input (dataset, weights, cache) cannot be worked with: what was found, and what to do about it.
    Input { problem: String, help: Option<String> },
    /// libtorch refused: what was being done, and the first line of its message.
    Tensor { doing: String, message: String },
    /// Work is due, or something differs from what it should be: exit 3.
    Differs(String),
    /// The user pressed Ctrl-C; everything finished so far is kept.
    Interrupted,
}

impl Error {
    /// The process's exit status: 1 failed, 2 command line or recipe wrong, 3 work due, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Recipe(_) => 2,
            Error::Differs(_) => 3,
            Error::Interrupted => 130,
            Error::Io { .. } | Error::Image { .. } | Error::Input { .. } | Error::Tensor { .. } => 1,
        }
    }

    /// An [`Error::Input`] without advice.
    pub fn input(problem: impl Into<String>) -> Error {
        Error::Input { problem: problem.into(), help: None }
    }

    /// An [`Error::Input`] with a line that says what to do next.
    pub fn input_help(problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Input { problem: problem.into(), help: Some(help.into()) }
    }

    /// An [`Error::Image`].
    pub fn image(path: &Path, problem: impl fmt::Display) -> Error {
        Error::Image { path: path.to_path_buf(), problem: problem.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(problem) | Error::Differs(problem) => f.write_str(problem),
            Error::Recipe(rendered) => f.write_str(rendered),
            Error::Io { doing, path, source } => write!(f, "could not {doing} `{}`: {source}", path.display()),
            Error::Image { path, problem } => write!(f, "`{}`: {problem}", path.display()),
            Error::Input { problem, help: None } => f.write_str(problem),
            Error::Input { problem, help: Some(help) } => write!(f, "{problem}\n  help: {help}"),
            Error::Tensor { doing, message } => write!(f, "could not {doing}: {message}"),
            Error::Interrupted => f.write_str("interrupted; everything finished so far is kept"),
        }
    }
}

impl std::error::Error for Error {}

/// Adds what was being done, and to which path, to an [`io::Error`].
pub trait IoContext<T> {
    /// `doing` completes "could not ... `path`": "read", "write", "list".
    fn doing(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Io { doing, path: path.as_ref().to_path_buf(), source })
    }
}
