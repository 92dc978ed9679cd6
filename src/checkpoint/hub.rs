//! Models of the Hugging Face hub, `hf:owner/name@revision`, as folders in the diffusers layout under the cache: only
//! the files that a checkpoint needs, never a pickle. Knows nothing of what is inside them but which files there are.
//!
//! `HF_ENDPOINT` names another hub, `HF_TOKEN` opens what is private or gated. A file comes as `NAME.part` and gets
//! its name when it is whole; a part is gone on from, in the same run after a broken connection and in the next run.
//! `model_index.json` comes last: a folder that has it is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::scheduler::SchedulerConfig;
use super::{Component, folder, index, tokenizer, weights};
use crate::error::{Error, IoContext, Result};

/// How often a broken connection is taken up again before a download stops.
const ATTEMPTS: usize = 5;

/// A model of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub owner: String,
    pub name: String,
    /// Branch, tag or commit; `main` unless said.
    pub revision: String,
}

impl Spec {
    /// Reads `hf:owner/name` or `hf:owner/name@revision`; `None` if the text does not begin with `hf:`.
    ///
    /// # Errors
    /// [`Error::Input`] that shows the form.
    pub fn parse(text: &str) -> Option<Result<Spec>> {
        let rest = text.strip_prefix("hf:")?;
        let (model, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let plain = |word: &str, more: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || more.contains(c);
            !word.is_empty() && !word.starts_with('.') && !word.contains("..") && word.chars().all(known)
        };
        Some(match model.split_once('/') {
            Some((owner, name)) if plain(owner, "") && plain(name, "") && plain(revision, "/") => {
                Ok(Spec { owner: owner.into(), name: name.into(), revision: revision.into() })
            }
            _ => Err(Error::input_help(
                format!("`{text}` names no model of the hub"),
                "write `hf:owner/name` or `hf:owner/name@revision`",
            )),
        })
    }

    /// As it is written.
    fn text(&self) -> String {
        format!("hf:{}/{}@{}", self.owner, self.name, self.revision)
    }

    /// Folder of the model's commits and of what its branches were when they were last looked at.
    fn folder(&self, cache: &Path) -> PathBuf {
        cache.join("models").join(format!("{}--{}", self.owner, self.name))
    }
}

/// The model's folder if it is whole under `cache`, without asking the hub: a branch is what it was when it was last
/// fetched.
pub fn cached(spec: &Spec, cache: &Path) -> Option<PathBuf> {
    let folder = spec.folder(cache);
    let commit = fs::read_to_string(reference(&folder, &spec.revision)).unwrap_or_else(|_| spec.revision.clone());
    let model = folder.join(commit);
    model.join("model_index.json").is_file().then_some(model)
}

/// Fetches what is not there yet of a model into `cache`; the folder that holds it. `progress` hears of each file, of
/// the bytes that are there and of all its bytes.
///
/// # Errors
/// [`Error::Input`] saying what the hub refused, or that the model is none that birdaug runs; [`Error::Io`].
pub fn fetch(spec: &Spec, cache: &Path, progress: &dyn Fn(&str, u64, u64)) -> Result<PathBuf> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
    fetch_from(endpoint.trim_end_matches('/'), set("HF_TOKEN"), spec, cache, progress)
}

/// As [`fetch`], from the hub at `endpoint`.
pub(super) fn fetch_from(
    endpoint: &str,
    token: Option<String>,
    spec: &Spec,
    cache: &Path,
    progress: &dyn Fn(&str, u64, u64),
) -> Result<PathBuf> {
    let is_commit = spec.revision.len() == 40 && spec.revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_commit && let Some(folder) = cached(spec, cache) {
        return Ok(folder);
    }
    let config = Agent::config_builder().http_status_as_error(false).timeout_connect(Some(Duration::from_secs(30)));
    let hub = Hub { agent: config.build().into(), endpoint, token, spec };
    let listing = hub.listing()?;
    let folder = spec.folder(cache);
    let model = folder.join(&listing.commit);
    fs::create_dir_all(&model).doing("create", &model)?;
    if !model.join("model_index.json").is_file() {
        hub.model(&listing, &model, progress)?;
    }
    let reference = reference(&folder, &spec.revision);
    fs::write(&reference, &listing.commit).doing("write", &reference)?;
    Ok(model)
}

/// The file that says which commit a branch was.
fn reference(folder: &Path, revision: &str) -> PathBuf {
    folder.join(format!("{}.commit", revision.replace('/', "--")))
}

/// What the hub says of a revision.
struct Listing {
    commit: String,
    /// Size by file name, where the hub says it.
    files: BTreeMap<String, Option<u64>>,
}

/// One model of one hub.
struct Hub<'a> {
    agent: Agent,
    endpoint: &'a str,
    token: Option<String>,
    spec: &'a Spec,
}

impl Hub<'_> {
    /// Asks for `path`, from byte `from` on; any status is an answer.
    fn get(&self, path: &str, from: u64) -> std::result::Result<Response<Body>, ureq::Error> {
        let mut request = self.agent.get(format!("{}/{path}", self.endpoint));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call()
    }

    /// The error for a status that is no answer.
    fn refused(&self, status: u16, what: &str) -> Error {
        let spec = self.spec.text();
        match status {
            401 | 403 => Error::input_help(
                format!("`{spec}`: the hub at {} does not give {what} to everyone (HTTP {status})", self.endpoint),
                "it is private, gated or misspelt: accept its terms in a browser, then set HF_TOKEN to a token of yours",
            ),
            404 => Error::input_help(
                format!("`{spec}`: there is no {what} at {} (HTTP 404)", self.endpoint),
                "check owner, name and revision",
            ),
            _ => Error::input_help(
                format!("`{spec}`: the hub at {} answers HTTP {status} for {what}", self.endpoint),
                "try again later: what has been fetched is kept",
            ),
        }
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Error {
        Error::input_help(
            format!("`{}`: the hub at {} cannot be reached: {error}", self.spec.text(), self.endpoint),
            "HF_ENDPOINT names another hub; a folder on disk needs none",
        )
    }

    /// Commit and files of the revision.
    fn listing(&self) -> Result<Listing> {
        let Spec { owner, name, revision } = self.spec;
        let revision = revision.replace('/', "%2F");
        let path = format!("api/models/{owner}/{name}/revision/{revision}?blobs=true");
        let answer = self.get(&path, 0).map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(self.refused(status, "such model or revision"));
        }
        let strange = || Error::input(format!("`{}`: the hub's answer is not understood", self.spec.text()));
        let value: Value = serde_json::from_reader(answer.into_body().into_reader()).map_err(|_| strange())?;
        let commit = value["sha"].as_str().filter(|sha| !sha.is_empty() && sha.bytes().all(|b| b.is_ascii_hexdigit()));
        let files = value["siblings"].as_array().into_iter().flatten();
        let files = files.filter_map(|file| Some((file["rfilename"].as_str()?.to_string(), file["size"].as_u64())));
        Ok(Listing { commit: commit.ok_or_else(strange)?.to_string(), files: files.collect() })
    }

    /// Fetches all that is needed of a revision into `folder`: what is small first, so that no weights come of a model
    /// that birdaug does not run.
    fn model(&self, listing: &Listing, folder: &Path, progress: &dyn Fn(&str, u64, u64)) -> Result<()> {
        let index = folder::NEEDED[0];
        if !listing.files.contains_key(index) {
            return Err(Error::input_help(
                format!("`{}` is no checkpoint in the diffusers layout: it has no `{index}`", self.spec.text()),
                "fetch a checkpoint in one file yourself, and name the file",
            ));
        }
        // What it is comes first, its name last.
        let waiting = folder.join("model_index.json.new");
        self.file(listing, index, &waiting, progress)?;
        index::check(&waiting, &fs::read_to_string(&waiting).doing("read", &waiting)?)?;
        let missing = folder::missing(|place| listing.files.contains_key(place));
        if !missing.is_empty() {
            return Err(Error::input(format!("`{}`: `{} missing", self.spec.text(), folder::list(&missing))));
        }
        let mut wanted: Vec<String> = folder::NEEDED[1..].iter().map(|place| place.to_string()).collect();
        wanted.extend(tokenizer::FILES.map(|name| format!("tokenizer/{name}")));
        wanted.retain(|place| listing.files.contains_key(place));
        for place in &wanted {
            self.file(listing, place, &folder.join(place), progress)?;
        }
        let checkpoint = folder::without_weights(folder, &waiting)?;
        SchedulerConfig::read(&checkpoint.scheduler, &checkpoint.scheduler_path)?;
        checkpoint.tokenizer()?;
        for place in self.weights(listing, folder, progress)? {
            self.file(listing, &place, &folder.join(&place), progress)?;
        }
        fs::rename(&waiting, folder.join(index)).doing("rename", &waiting)
    }

    /// The files of the weights; an index of shards is fetched to know them.
    fn weights(&self, listing: &Listing, folder: &Path, progress: &dyn Fn(&str, u64, u64)) -> Result<Vec<String>> {
        let mut wanted = Vec::new();
        for component in Component::ALL {
            let part = component.folder();
            let names: BTreeSet<&str> =
                listing.files.keys().filter_map(|place| place.strip_prefix(part)?.strip_prefix('/')).collect();
            let Some(first) = weights::choose(component.stem(), |name| names.contains(name)) else {
                return Err(Error::input_help(
                    format!("`{}`: its `{part}` has no safetensors, only pickles are there, if any", self.spec.text()),
                    "another revision may have them; a pickle can be converted with diffusers' `save_pretrained`",
                ));
            };
            if first.ends_with(".json") {
                let path = folder.join(part).join(&first);
                self.file(listing, &format!("{part}/{first}"), &path, progress)?;
                wanted.extend(weights::shard_names(&path)?.into_iter().map(|shard| format!("{part}/{shard}")));
            } else {
                wanted.push(format!("{part}/{first}"));
            }
        }
        Ok(wanted)
    }

    /// Fetches one file, going on from its part; a connection that breaks is taken up again.
    fn file(&self, listing: &Listing, place: &str, to: &Path, progress: &dyn Fn(&str, u64, u64)) -> Result<()> {
        if to.is_file() {
            return Ok(());
        }
        let parent = to.parent().unwrap_or(to);
        fs::create_dir_all(parent).doing("create", parent)?;
        let part = PathBuf::from(format!("{}.part", to.display()));
        let size = listing.files.get(place).copied().flatten();
        let mut broken = String::new();
        for _ in 0..ATTEMPTS {
            match self.go_on(listing, place, &part, size, progress)? {
                Ok(()) => return fs::rename(&part, to).doing("rename", &part),
                Err(reason) => broken = reason,
            }
        }
        Err(Error::input_help(
            format!("`{}`: the connection broke {ATTEMPTS} times while `{place}` came: {broken}", self.spec.text()),
            "what has come is kept: the same command goes on from there",
        ))
    }

    /// One attempt at the rest of a file: done, or how the connection broke.
    fn go_on(
        &self,
        listing: &Listing,
        place: &str,
        part: &Path,
        size: Option<u64>,
        progress: &dyn Fn(&str, u64, u64),
    ) -> Result<std::result::Result<(), String>> {
        let mut have = part.metadata().map_or(0, |part| part.len());
        if size.is_some_and(|size| have > size) {
            fs::remove_file(part).doing("remove", part)?;
            have = 0;
        }
        if have > 0 && size == Some(have) {
            return Ok(Ok(()));
        }
        let Spec { owner, name, .. } = self.spec;
        let answer = match self.get(&format!("{owner}/{name}/resolve/{}/{place}", listing.commit), have) {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let fresh = match answer.status().as_u16() {
            200 => true,
            206 => false,
            416 => {
                fs::remove_file(part).doing("remove", part)?;
                return Ok(Err("the part does not fit the file".into()));
            }
            500..=599 => return Ok(Err(format!("HTTP {}", answer.status().as_u16()))),
            status => return Err(self.refused(status, &format!("`{place}`"))),
        };
        have = if fresh { 0 } else { have };
        let rest = answer.body().content_length();
        let total = size.or(rest.map(|rest| rest + have));
        let mut file: File = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(fresh)
            .append(!fresh)
            .open(part)
            .doing("write", part)?;
        let mut reader = answer.into_body().into_reader();
        let mut buffer = vec![0; 1 << 20];
        loop {
            progress(place, have, total.unwrap_or(have));
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => file.write_all(&buffer[..n]).doing("write", part)?,
                Err(error) => return Ok(Err(error.to_string())),
            }
            have = file.metadata().doing("read", part)?.len();
        }
        match total {
            Some(total) if have < total => Ok(Err(format!("{have} of {total} bytes came"))),
            _ => file.sync_all().doing("write", part).map(Ok),
        }
    }
}
