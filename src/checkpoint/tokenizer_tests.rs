//! Token ids against transformers: `tests/golden/tokens.json`, and all of CLIP's vocabulary where `BIRDAUG_TOKENS`
//! names what `tests/golden/tokens.py` wrote of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::folder_tests::golden;
use super::tokenizer::{self, Tokenizer, Tokens};
use crate::error::Result;

fn tokenizer(folder: &Path) -> Result<Tokenizer> {
    let files = tokenizer::files(folder)?;
    let files: BTreeMap<&str, &[u8]> = files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
    Tokenizer::new(folder, &files, 77, 49408)
}

/// A folder with the small vocabulary and these settings.
fn with(settings: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(golden("v1/tokenizer").join(name), folder.path().join(name)).unwrap();
    }
    for (name, value) in settings {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    folder
}

/// Whether a tokeniser makes the ids that transformers made; `name` is the set of settings.
fn equals(golden: &Value, name: &str, padding: u32, tokenizer: &Tokenizer) {
    let prompts = golden["prompts"].as_array().unwrap();
    assert_eq!(prompts.len(), 200);
    for (i, prompt) in prompts.iter().enumerate() {
        let other = golden["ids"][name].get(i.to_string());
        let expected = other.unwrap_or(&golden["ids"]["1"][i]);
        let mut ids = vec![golden["begin"].as_u64().unwrap() as u32];
        ids.extend(expected[1].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32));
        ids.push(golden["end"].as_u64().unwrap() as u32);
        ids.resize(77, padding);
        let tokens = Tokens { ids, cut: expected[0].as_u64().unwrap() as usize };
        assert_eq!(tokenizer.encode(prompt.as_str().unwrap()).unwrap(), tokens, "{name}: prompt {i}: {prompt}");
    }
}

#[test]
fn tokens_of_200_prompts_equal_those_of_transformers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let golden: Value = serde_json::from_slice(&fs::read(root.join("tokens.json")).unwrap()).unwrap();
    let end = golden["end"].as_u64().unwrap() as u32;
    equals(&golden, "1", end, &tokenizer(&root.join("checkpoint/v1/tokenizer")).unwrap());
    equals(&golden, "bare", end, &tokenizer(with(&[]).path()).unwrap());

    let map: Value =
        serde_json::from_slice(&fs::read(root.join("checkpoint/v1/tokenizer/special_tokens_map.json")).unwrap())
            .unwrap();
    let mut two = map.clone();
    two["pad_token"] = json!("!");
    let legacy =
        with(&[("special_tokens_map.json", two), ("tokenizer_config.json", json!({"pad_token": "<|endoftext|>"}))]);
    equals(&golden, "2", 0, &tokenizer(legacy.path()).unwrap());

    // The same as transformers 4 writes it: attributes in a list by id, names beside.
    let token = |word: &str, normalized: bool| json!({"content": word, "lstrip": false, "rstrip": false, "single_word": false, "special": true, "normalized": normalized});
    let config = json!({
        "added_tokens_decoder": {
            "0": token("!", false),
            (end - 1).to_string(): token("<|startoftext|>", true),
            end.to_string(): token("<|endoftext|>", true),
        },
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "!", "unk_token": "<|endoftext|>",
        "model_max_length": 77, "tokenizer_class": "CLIPTokenizer",
    });
    equals(&golden, "2", 0, &tokenizer(with(&[("tokenizer_config.json", config)]).path()).unwrap());
}

#[test]
fn tokens_come_from_one_file_as_from_two() {
    let two = golden("v1/tokenizer");
    let vocabulary: Value = serde_json::from_slice(&fs::read(two.join("vocab.json")).unwrap()).unwrap();
    let merges = fs::read_to_string(two.join("merges.txt")).unwrap();
    let words: Vec<&str> = merges.lines().skip(1).collect();
    let pairs: Vec<Vec<&str>> = words.iter().map(|line| line.split(' ').collect()).collect();
    for merges in [json!(words), json!(pairs)] {
        let folder = tempfile::tempdir().unwrap();
        let whole = json!({"model": {"type": "BPE", "vocab": vocabulary, "merges": merges}, "added_tokens": [
            {"id": 0, "content": "!", "special": true, "normalized": false},
            {"id": 2512, "content": "<|startoftext|>", "special": true, "normalized": true},
            {"id": 2513, "content": "<|endoftext|>", "special": true, "normalized": true},
        ]});
        fs::write(folder.path().join("tokenizer.json"), whole.to_string()).unwrap();
        fs::write(folder.path().join("tokenizer_config.json"), json!({"pad_token": "!"}).to_string()).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokens.json");
        let golden: Value = serde_json::from_slice(&fs::read(root).unwrap()).unwrap();
        equals(&golden, "2", 0, &tokenizer(folder.path()).unwrap());
    }
}

#[test]
fn tokens_of_the_whole_vocabulary_equal_those_of_transformers() {
    let Ok(folder) = std::env::var("BIRDAUG_TOKENS") else { return };
    let golden: Value = serde_json::from_slice(&fs::read(Path::new(&folder).join("tokens.json")).unwrap()).unwrap();
    for (name, work, padding) in
        [("1", "1", 49407), ("1", "1-new", 49407), ("bare", "bare", 49407), ("2", "2", 0), ("2", "2-new", 0)]
    {
        let tokenizer = tokenizer(&Path::new(&folder).join("work").join(work)).unwrap();
        equals(&golden, name, padding, &tokenizer);
        if work == "1" {
            let bird = tokenizer.encode("a bird").unwrap();
            assert_eq!(bird.ids[..5], [49406, 320, 3329, 49407, 49407], "the ids of OpenAI's CLIP");
        }
    }
}

#[test]
fn a_tokeniser_that_cannot_be_honoured_says_why() {
    let refusal =
        |folder: &Path| tokenizer(folder).err().unwrap().to_string().replace(&folder.display().to_string(), "T");
    let folder = with(&[("tokenizer_config.json", json!({"tokenizer_class": "T5Tokenizer"}))]);
    assert_eq!(
        refusal(folder.path()),
        "`T/tokenizer_config.json`: `tokenizer_class` = \"T5Tokenizer\" is not supported, only \"CLIPTokenizer\" is"
    );
    let folder = with(&[("tokenizer_config.json", json!({"pad_token": "<pad>"}))]);
    assert_eq!(refusal(folder.path()), "`T`: the special token `<pad>` has no id");
    let folder = with(&[]);
    fs::write(folder.path().join("merges.txt"), "#version: 0.2\nin\n").unwrap();
    assert_eq!(refusal(folder.path()), "`T`: its merges are not pairs of words");
    fs::write(folder.path().join("merges.txt"), "#version: 0.2\nzq qz\n").unwrap();
    assert!(
        refusal(folder.path()).starts_with("`T`: its vocabulary and its merges do not fit: "),
        "{}",
        refusal(folder.path())
    );
    fs::write(folder.path().join("vocab.json"), "{\"a\": 1").unwrap();
    assert!(refusal(folder.path()).starts_with("`T/vocab.json`: is not JSON: EOF"), "{}", refusal(folder.path()));

    let small = super::Checkpoint::open(&golden("v1")).unwrap().tokenizer().err().unwrap().to_string();
    let expected =
        format!("`{}`: has token ids up to 2513, the text encoder knows 50 tokens", golden("v1/tokenizer").display());
    assert_eq!(small, expected);
}
