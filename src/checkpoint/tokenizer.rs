//! Prompts to token ids, as transformers' `CLIPTokenizer` makes them: byte-level byte-pair encoding (Radford et al.
//! 2021) of lower-cased words. Knows no checkpoint beyond the files of its tokeniser.
//!
//! That is transformers' class over the tokenizers crate, since transformers 5 its only one. The slower class of older
//! versions spells a few prompts otherwise: it drops control characters and joiners, and sets blanks around each
//! ideograph.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizers::{AddedToken, Tokenizer as Encoder};

use crate::error::{Error, Result};

/// Files that a tokeniser is made of; which are there depends on the version that wrote them.
pub const FILES: [&str; 6] = [
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// What a word is; as OpenAI wrote it.
const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Named special tokens, with what they are if nothing says so. A later one's attributes win.
const SPECIAL: [(&str, &str); 4] = [
    ("bos_token", "<|startoftext|>"),
    ("eos_token", "<|endoftext|>"),
    ("unk_token", "<|endoftext|>"),
    ("pad_token", "<|endoftext|>"),
];

/// Token ids of one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Begin, the prompt's tokens, end, padding: exactly as many as the text encoder has positions, 77.
    pub ids: Vec<u32>,
    /// Tokens of the prompt that did not fit; the model does not see them.
    pub cut: usize,
}

/// A checkpoint's tokeniser.
pub struct Tokenizer {
    encoder: Encoder,
    begin: u32,
    end: u32,
    padding: u32,
    length: usize,
    /// Rows of the text encoder's vocabulary.
    rows: usize,
    /// Of learned tokens: the text encoder's row of each id.
    learned: BTreeMap<u32, u32>,
}

impl Tokenizer {
    /// Makes a tokeniser of its files (by name, see [`FILES`]), for a text encoder of `positions` positions and a
    /// vocabulary of `rows`; `folder` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file that is damaged or cannot be honoured.
    pub fn new(folder: &Path, files: &BTreeMap<&str, &[u8]>, positions: usize, rows: usize) -> Result<Tokenizer> {
        let read = |name: &str| object(folder, files, name);
        let whole = read("tokenizer.json")?;
        let config = read("tokenizer_config.json")?;
        check(folder, &config)?;
        let (vocabulary, merges) = match whole.get("model") {
            Some(model) => (model["vocab"].clone(), pairs(&model["merges"])),
            None => (Value::Object(read("vocab.json")?), lines(files.get("merges.txt").copied().unwrap_or_default())),
        };
        let wrong = |problem: &str| Error::input(format!("`{}`: {problem}", folder.display()));
        let Value::Object(vocabulary) = vocabulary else { return Err(wrong("its vocabulary is no JSON object")) };
        let Some(merges) = merges else { return Err(wrong("its merges are not pairs of words")) };

        let special = special(&config, &read("special_tokens_map.json")?, &whole, &read("added_tokens.json")?);
        let id = |content: &str| {
            let there = vocabulary.get(content).or_else(|| special.added.get(content)?.get("id"));
            there.and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok())
        };
        let mut added = Vec::new();
        for (content, token) in &special.added {
            let id = id(content).ok_or_else(|| wrong(&format!("the special token `{content}` has no id")))?;
            let mut token = token.clone();
            token.extend([("id".into(), json!(id)), ("content".into(), json!(content))]);
            added.push(token);
        }
        added.sort_by_key(|token| token["id"].as_u64());
        let largest = vocabulary.values().chain(added.iter().map(|token| &token["id"])).filter_map(Value::as_u64).max();
        if let Some(largest) = largest.filter(|&largest| largest >= rows as u64) {
            return Err(wrong(&format!("has token ids up to {largest}, the text encoder knows {rows} tokens")));
        }
        let [begin, end, unknown, padding] = special.named;
        let (begin_id, end_id, padding_id) = match (id(&begin), id(&end), id(&padding)) {
            (Some(begin), Some(end), Some(padding)) => (begin, end, padding),
            _ => return Err(wrong("its special tokens are not in its vocabulary")),
        };
        let encoder = encoder(vocabulary, merges, &unknown, added)
            .map_err(|error| wrong(&format!("its vocabulary and its merges do not fit: {error}")))?;
        let longest = config.get("model_max_length").and_then(Value::as_u64).map_or(positions, |n| n as usize);
        Ok(Tokenizer {
            encoder,
            begin: begin_id,
            end: end_id,
            padding: padding_id,
            length: longest.min(positions),
            rows,
            learned: BTreeMap::new(),
        })
    }

    /// The same that also knows these words as one token each, with the numbers after the text encoder's own, in order.
    ///
    /// # Errors
    /// [`Error::Input`] for a word that the vocabulary has already.
    pub fn with_learned<'w>(mut self, words: impl Iterator<Item = &'w str>) -> Result<Tokenizer> {
        for (number, word) in words.enumerate() {
            if self.encoder.token_to_id(word).is_some() {
                return Err(Error::input(format!("the learned token `{word}` is one of the checkpoint's vocabulary")));
            }
            self.encoder
                .add_tokens([AddedToken::from(word, false)])
                .map_err(|error| Error::input(format!("the learned token `{word}` cannot be added: {error}")))?;
            let id = self.encoder.token_to_id(word);
            let id = id.ok_or_else(|| Error::input(format!("the learned token `{word}` cannot be added")))?;
            self.learned.insert(id, (self.rows + number) as u32);
        }
        Ok(self)
    }

    /// The one token that a word is.
    ///
    /// # Errors
    /// [`Error::Input`] where it is none or several.
    pub fn one(&self, word: &str) -> Result<u32> {
        let tokens = self.encode(word)?;
        match (tokens.ids[2] == self.end || tokens.ids[2] == self.padding, tokens.ids[1]) {
            (true, id) if id != self.end => Ok(id),
            _ => Err(Error::input_help(
                format!("`{word}` is not one token of the checkpoint's"),
                "take a plainer word, such as `bird`",
            )),
        }
    }

    /// Token ids of a prompt.
    ///
    /// # Errors
    /// [`Error::Input`] if the prompt cannot be encoded.
    pub fn encode(&self, prompt: &str) -> Result<Tokens> {
        let encoding = self
            .encoder
            .encode_fast(prompt, false)
            .map_err(|error| Error::input(format!("the prompt `{prompt}` cannot be made tokens: {error}")))?;
        let words = encoding.get_ids();
        let room = self.length.saturating_sub(2);
        let kept = words.len().min(room);
        let mut ids = Vec::with_capacity(self.length);
        ids.push(self.begin);
        ids.extend(words[..kept].iter().map(|id| self.learned.get(id).unwrap_or(id)));
        ids.push(self.end);
        ids.resize(self.length, self.padding);
        Ok(Tokens { ids, cut: words.len() - kept })
    }
}

/// The pipeline that transformers builds, in the words of the tokenizers crate.
fn encoder(
    vocabulary: Map<String, Value>,
    merges: Vec<Value>,
    unknown: &str,
    added: Vec<Map<String, Value>>,
) -> tokenizers::Result<Encoder> {
    let pipeline = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": null,
        "decoder": null,
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": merges,
        },
    });
    Encoder::from_bytes(serde_json::to_vec(&pipeline)?)
}

/// A JSON object among the files; an absent one is empty.
fn object(folder: &Path, files: &BTreeMap<&str, &[u8]>, name: &str) -> Result<Map<String, Value>> {
    let Some(bytes) = files.get(name) else { return Ok(Map::new()) };
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::input(format!("`{}`: holds no JSON object", folder.join(name).display()))),
        Err(error) => Err(Error::input_help(
            format!("`{}`: is not JSON: {error}", folder.join(name).display()),
            "half a download, or edited by hand: fetch the file again",
        )),
    }
}

/// Settings that would make other tokens.
fn check(folder: &Path, config: &Map<String, Value>) -> Result<()> {
    let allowed: [(&str, &[Value]); 4] = [
        ("tokenizer_class", &[json!("CLIPTokenizer"), json!("CLIPTokenizerFast")]),
        ("padding_side", &[json!("right")]),
        ("truncation_side", &[json!("right")]),
        ("split_special_tokens", &[json!(false)]),
    ];
    for (name, values) in allowed {
        let Some(value) = config.get(name).filter(|value| !value.is_null()) else { continue };
        if !values.contains(value) {
            let path = folder.join("tokenizer_config.json");
            return Err(Error::input(format!(
                "`{}`: `{name}` = {value} is not supported, only {} is",
                path.display(),
                values[0]
            )));
        }
    }
    Ok(())
}

/// `merges.txt`: a pair a line, after a line that says its version.
fn lines(text: &[u8]) -> Option<Vec<Value>> {
    let text = std::str::from_utf8(text).ok()?;
    let pairs = text.lines().filter(|line| !line.starts_with("#version") && !line.is_empty());
    pairs.map(|line| line.split_once(' ').map(|(left, right)| json!([left, right]))).collect()
}

/// Merges of `tokenizer.json`: pairs, or the words with a space between.
fn pairs(merges: &Value) -> Option<Vec<Value>> {
    let pair = |merge: &Value| match merge {
        Value::String(text) => text.split_once(' ').map(|(left, right)| json!([left, right])),
        Value::Array(pair) if pair.len() == 2 => Some(merge.clone()),
        _ => None,
    };
    merges.as_array()?.iter().map(pair).collect()
}

/// The special tokens of a tokeniser.
struct Special {
    /// Contents of those that have a name, in the order of [`SPECIAL`].
    named: [String; 4],
    /// Attributes by content, of these and of any other that was added.
    added: BTreeMap<String, Map<String, Value>>,
}

/// What is special, and how it is found in a prompt. `special_tokens_map.json` counts where `tokenizer_config.json`
/// does not list added tokens, as in transformers.
fn special(
    config: &Map<String, Value>,
    map: &Map<String, Value>,
    whole: &Map<String, Value>,
    more: &Map<String, Value>,
) -> Special {
    let mut added: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut add = |token: &Value, id: Option<u64>, special: bool| {
        if let Some((content, attributes)) = attributes(token, id, special) {
            added.insert(content, attributes);
        }
    };
    for (content, id) in more {
        add(&json!(content), id.as_u64(), false);
    }
    for token in whole.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
        add(token, token["id"].as_u64(), false);
    }
    let decoder = config.get("added_tokens_decoder").and_then(Value::as_object);
    for (id, token) in decoder.into_iter().flatten() {
        add(token, id.parse().ok(), false);
    }
    let mut named = SPECIAL.map(|(_, default)| default.to_string());
    for ((name, default), content) in SPECIAL.iter().zip(&mut named) {
        let legacy = if decoder.is_none() { map.get(*name) } else { None };
        let fallback = json!(default);
        let token = legacy.or_else(|| config.get(*name)).filter(|token| !token.is_null()).unwrap_or(&fallback);
        let Some((text, attributes)) = attributes(token, None, true) else { continue };
        // A bare name takes the attributes that the lists of added tokens give it.
        if token.is_object() || !added.contains_key(&text) || (decoder.is_none() && whole.is_empty()) {
            added.insert(text.clone(), attributes);
        }
        *content = text;
    }
    Special { named, added }
}

/// Content and attributes of a token written as a string or as an object.
fn attributes(token: &Value, id: Option<u64>, special: bool) -> Option<(String, Map<String, Value>)> {
    let (content, object) = match token {
        Value::String(content) => (content.clone(), None),
        Value::Object(object) => (object.get("content")?.as_str()?.to_string(), Some(object)),
        _ => return None,
    };
    let flag = |name: &str, default: bool| object.and_then(|token| token.get(name)?.as_bool()).unwrap_or(default);
    let special = special || flag("special", false);
    let mut attributes = Map::new();
    for (name, value) in [
        ("single_word", flag("single_word", false)),
        ("lstrip", flag("lstrip", false)),
        ("rstrip", flag("rstrip", false)),
        ("normalized", flag("normalized", !special)),
        ("special", special),
    ] {
        attributes.insert(name.into(), json!(value));
    }
    attributes.extend(id.map(|id| ("id".to_string(), json!(id))));
    Some((content, attributes))
}

/// The files of a tokeniser in a folder, by name.
///
/// # Errors
/// [`Error::Io`].
pub fn files(folder: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    use crate::error::IoContext;
    let mut files = Vec::new();
    for name in FILES {
        let path: PathBuf = folder.join(name);
        if path.is_file() {
            files.push((name, std::fs::read(&path).doing("read", &path)?));
        }
    }
    Ok(files)
}

/// Files that are missing for a tokeniser, where `has` says which are there.
pub fn missing(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    if has("tokenizer.json") {
        return Vec::new();
    }
    ["vocab.json", "merges.txt"].into_iter().filter(|name| !has(name)).collect()
}
