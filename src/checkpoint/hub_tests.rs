//! A small hub on loopback: fetching, going on, refusals.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::Checkpoint;
use super::folder_tests::golden;
use super::hub::{Spec, cached, fetch_from};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// What the server holds, and what it was asked.
#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    /// How many times yet an answer for a file stops after 1000 bytes.
    breaks: HashMap<String, usize>,
    asked: Vec<String>,
    status: Option<u16>,
}

struct Server {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn start(state: State) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &mut shared.lock().unwrap());
            }
        });
        Server { endpoint, state }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    fn fetch(&self, text: &str, cache: &Path) -> Result<std::path::PathBuf, String> {
        let spec = Spec::parse(text).unwrap().unwrap();
        let fetched = fetch_from(&self.endpoint, Some("secret".into()), &spec, cache, &|_, _, _| {});
        fetched.map_err(|error| error.to_string().replace(&self.endpoint, "HUB"))
    }
}

fn answer(mut stream: TcpStream, state: &mut State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap().to_string();
    let (mut from, mut token) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(range) = header.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap();
        }
        token |= header == "authorization: bearer secret";
    }
    assert!(token, "the token is sent");
    state.asked.push(if from > 0 { format!("{path} from {from}") } else { path.clone() });
    let mut head = |status: u16, length: usize| {
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").unwrap();
    };
    if let Some(status) = state.status {
        return head(status, 0);
    }
    if path == "/api/models/a/sd/revision/main?blobs=true" {
        let siblings =
            state.files.iter().map(|(name, content)| serde_json::json!({"rfilename": name, "size": content.len()}));
        let text = serde_json::json!({"sha": COMMIT, "siblings": siblings.collect::<Vec<_>>()}).to_string();
        head(200, text.len());
        return stream.write_all(text.as_bytes()).unwrap();
    }
    let name = path.strip_prefix(&format!("/a/sd/resolve/{COMMIT}/")).unwrap_or_default().to_string();
    let Some(content) = state.files.get(&name) else { return head(404, 0) };
    let rest = &content[from..];
    head(if from > 0 { 206 } else { 200 }, rest.len());
    let breaks = state.breaks.entry(name).or_default();
    if *breaks > 0 {
        *breaks -= 1;
        return stream.write_all(&rest[..1000]).unwrap();
    }
    let _ = stream.write_all(rest);
}

/// The small checkpoint's files by name; its text encoder says that it knows all of the tokeniser's tokens.
fn files() -> HashMap<String, Vec<u8>> {
    let mut files = HashMap::new();
    for entry in walkdir::WalkDir::new(golden("v1")).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        let name = entry.path().strip_prefix(golden("v1")).unwrap().to_string_lossy().into_owned();
        files.insert(name, fs::read(entry.path()).unwrap());
    }
    let config = files.get_mut("text_encoder/config.json").unwrap();
    let text = String::from_utf8(config.clone()).unwrap();
    assert!(text.contains("\"vocab_size\": 50"), "{text}");
    *config = text.replace("\"vocab_size\": 50", "\"vocab_size\": 49408").into_bytes();
    files
}

/// The small checkpoint with what a hub has beside it.
fn model() -> State {
    let mut files = files();
    for name in
        ["README.md", "unet/diffusion_pytorch_model.bin", "sd.ckpt", "unet/diffusion_pytorch_model.fp16.safetensors"]
    {
        files.insert(name.into(), b"never fetched".to_vec());
    }
    State { files, ..State::default() }
}

/// Whether a folder holds the small checkpoint.
fn is_model(folder: &Path) -> bool {
    let own = tempfile::tempdir().unwrap();
    for (name, content) in files() {
        let path = own.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    Checkpoint::open(folder).unwrap().digest() == Checkpoint::open(own.path()).unwrap().digest()
}

#[test]
fn a_model_is_fetched_with_the_needed_files_alone_and_only_once() {
    let server = Server::start(model());
    let cache = tempfile::tempdir().unwrap();
    let folder = server.fetch("hf:a/sd", cache.path()).unwrap();
    assert_eq!(folder, cache.path().join("models/a--sd").join(COMMIT));
    assert!(is_model(&folder));
    let asked = server.asked();
    assert_eq!(asked.len(), 1 + 12, "{asked:?}");
    assert!(
        asked.iter().all(|path| !path.contains(".bin") && !path.contains("ckpt") && !path.contains("fp16")),
        "{asked:?}"
    );
    let parts = walkdir::WalkDir::new(&folder)
        .into_iter()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "part" || ending == "new"));
    assert_eq!(parts.count(), 0);

    assert_eq!(server.fetch("hf:a/sd@main", cache.path()).unwrap(), folder);
    assert_eq!(server.asked(), ["/api/models/a/sd/revision/main?blobs=true"], "a branch may have moved");
    assert_eq!(server.fetch(&format!("hf:a/sd@{COMMIT}"), cache.path()).unwrap(), folder);
    assert!(server.asked().is_empty(), "a commit has not");
    let spec = Spec::parse("hf:a/sd").unwrap().unwrap();
    assert_eq!(cached(&spec, cache.path()), Some(folder));
    assert_eq!(cached(&Spec { revision: "other".into(), ..spec }, cache.path()), None);
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let mut state = model();
    state.breaks.insert(UNET.into(), 3);
    let server = Server::start(state);
    let cache = tempfile::tempdir().unwrap();
    let heard = Mutex::new(Vec::new());
    let spec = Spec::parse("hf:a/sd").unwrap().unwrap();
    let folder = fetch_from(&server.endpoint, Some("secret".into()), &spec, cache.path(), &|file, done, total| {
        if file == UNET {
            heard.lock().unwrap().push((done, total));
        }
    });
    assert!(is_model(&folder.unwrap()));
    let path = format!("/a/sd/resolve/{COMMIT}/{UNET}");
    let asked: Vec<String> = server.asked().into_iter().filter(|asked| asked.starts_with(&path)).collect();
    assert_eq!(
        asked,
        [path.clone(), format!("{path} from 1000"), format!("{path} from 2000"), format!("{path} from 3000")]
    );
    let size = fs::metadata(golden("v1").join(UNET)).unwrap().len();
    let heard = heard.into_inner().unwrap();
    assert!(heard.is_sorted() && heard.iter().all(|&(_, total)| total == size), "{heard:?}");
    assert_eq!((heard[0], *heard.last().unwrap()), ((0, size), (size, size)));
}

#[test]
fn a_download_that_stopped_goes_on_in_the_next_run() {
    let mut state = model();
    state.breaks.insert(UNET.into(), 5);
    let server = Server::start(state);
    let cache = tempfile::tempdir().unwrap();
    let refused = server.fetch("hf:a/sd", cache.path()).unwrap_err();
    let start = format!("`hf:a/sd@main`: the connection broke 5 times while `{UNET}` came: ");
    assert!(refused.starts_with(&start), "{refused}");
    assert!(refused.ends_with("\n  help: what has come is kept: the same command goes on from there"), "{refused}");
    assert_eq!(cached(&Spec::parse("hf:a/sd").unwrap().unwrap(), cache.path()), None, "half a model is none");
    server.asked();
    let folder = server.fetch("hf:a/sd", cache.path()).unwrap();
    assert!(server.asked().contains(&format!("/a/sd/resolve/{COMMIT}/{UNET} from 5000")));
    assert!(is_model(&folder));
}

#[test]
fn shards_are_fetched_by_their_index() {
    let mut state = model();
    let whole = state.files.remove(UNET).unwrap();
    let index = serde_json::json!({"weight_map": {"conv_in.bias": "s-1.safetensors"}}).to_string();
    state.files.insert("unet/diffusion_pytorch_model.safetensors.index.json".into(), index.into_bytes());
    state.files.insert("unet/s-1.safetensors".into(), whole);
    let server = Server::start(state);
    let cache = tempfile::tempdir().unwrap();
    let folder = server.fetch("hf:a/sd", cache.path()).unwrap();
    assert!(folder.join("unet/s-1.safetensors").is_file() && Checkpoint::open(&folder).is_ok());
}

#[test]
fn what_the_hub_refuses_is_explained() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(model());
    assert_eq!(
        server.fetch("hf:a/no", cache.path()).unwrap_err(),
        "`hf:a/no@main`: there is no such model or revision at HUB (HTTP 404)\n  help: check owner, name and revision"
    );
    server.state.lock().unwrap().status = Some(401);
    assert_eq!(
        server.fetch("hf:a/sd", cache.path()).unwrap_err(),
        "`hf:a/sd@main`: the hub at HUB does not give such model or revision to everyone (HTTP 401)\n  help: it is private, \
         gated or misspelt: accept its terms in a browser, then set HF_TOKEN to a token of yours"
    );
    let mut state = model();
    state.files.remove(UNET);
    state.files.remove("unet/diffusion_pytorch_model.fp16.safetensors");
    let server = Server::start(state);
    assert_eq!(
        server.fetch("hf:a/sd", cache.path()).unwrap_err(),
        "`hf:a/sd@main`: its `unet` has no safetensors, only pickles are there, if any\n  help: another revision may have \
         them; a pickle can be converted with diffusers' `save_pretrained`"
    );
    let mut state = model();
    let index = String::from_utf8(state.files["model_index.json"].clone()).unwrap();
    let index = index.replace("StableDiffusionPipeline", "StableDiffusionXLPipeline");
    state.files.insert("model_index.json".into(), index.into_bytes());
    let server = Server::start(state);
    let cache = tempfile::tempdir().unwrap();
    let refused = server.fetch("hf:a/sd", cache.path()).unwrap_err();
    assert!(
        refused.contains("holds a `StableDiffusionXLPipeline`, Stable Diffusion XL: birdaug does not run it"),
        "{refused}"
    );
    assert_eq!(server.asked().len(), 2, "no weights of a stranger are fetched");

    // What is in the small files is looked at before any weights are asked for, too.
    let refused = |change: &dyn Fn(&mut State)| {
        let mut state = model();
        change(&mut state);
        let server = Server::start(state);
        let cache = tempfile::tempdir().unwrap();
        let refused = server.fetch("hf:a/sd", cache.path()).unwrap_err();
        assert!(server.asked().iter().all(|path| !path.ends_with(".safetensors")), "no weights of it are fetched");
        refused.replace(&cache.path().join("models/a--sd").join(COMMIT).display().to_string(), "MODEL")
    };
    let replaced = |name: &'static str, from: &'static str, to: &'static str| {
        move |state: &mut State| {
            let text = String::from_utf8(state.files[name].clone()).unwrap();
            assert!(text.contains(from), "{text}");
            state.files.insert(name.into(), text.replace(from, to).into_bytes());
        }
    };
    assert_eq!(
        refused(&replaced("unet/config.json", "\"in_channels\": 4", "\"in_channels\": 9")),
        "`MODEL`: its U-Net takes 9 channels (an inpainting model), its autoencoder makes 4: birdaug runs models that take \
         latents and text alone"
    );
    assert_eq!(
        refused(&replaced("scheduler/scheduler_config.json", "{", "{\"churn\": 1, ")),
        "`MODEL/scheduler/scheduler_config.json`: birdaug does not know the field `churn`\n  help: leaving it out of the file \
         walks without it"
    );
    assert_eq!(
        refused(&|state| drop(state.files.insert("tokenizer/vocab.json".into(), b"[]".to_vec()))),
        "`MODEL/tokenizer/vocab.json`: holds no JSON object"
    );
    assert_eq!(
        refused(&|state| {
            state.files.remove("vae/config.json");
            state.files.remove("tokenizer/merges.txt");
        }),
        "`hf:a/sd@main`: `vae/config.json` and `tokenizer/merges.txt` are missing"
    );

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let spec = Spec::parse("hf:a/sd").unwrap().unwrap();
    let refused = fetch_from(&format!("http://{closed}"), None, &spec, cache.path(), &|_, _, _| {}).unwrap_err();
    assert!(
        refused.to_string().starts_with(&format!("`hf:a/sd@main`: the hub at http://{closed} cannot be reached: "))
    );
}

#[test]
fn a_name_of_the_hub_is_owner_name_and_revision() {
    assert!(Spec::parse("models/sd15").is_none());
    let spec = Spec::parse("hf:stabilityai/sd-turbo@refs/pr/4").unwrap().unwrap();
    assert_eq!(
        (spec.owner.as_str(), spec.name.as_str(), spec.revision.as_str()),
        ("stabilityai", "sd-turbo", "refs/pr/4")
    );
    assert_eq!(Spec::parse("hf:a/b").unwrap().unwrap().revision, "main");
    for wrong in ["hf:", "hf:a", "hf:a/", "hf:a/b/c", "hf:a/../b", "hf:a/b@", "hf:a/b@../../x", "hf:a b/c"] {
        assert_eq!(
            Spec::parse(wrong).unwrap().unwrap_err().to_string(),
            format!("`{wrong}` names no model of the hub\n  help: write `hf:owner/name` or `hf:owner/name@revision`")
        );
    }
}
