//! A lock as TOML and back: a fact a line, sorted, so that changes of different things merge and a line that a merge
//! left twice is an error. Knows nothing of where the facts come from.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Fate, Fitted, Image, Lock, Machine};
use crate::error::{Error, Result};
use crate::plan::Key;
use crate::plan::inputs::Digest;
use crate::text::quoted;

/// Version of the spelling; another one is refused, never guessed at.
const FORMAT: &str = "2";

/// Parts the device class from libtorch's version.
const LIBTORCH: &str = ", libtorch ";

/// The lock's text.
pub fn render(lock: &Lock) -> String {
    let mut out = String::from("# Written by `birdaug build`; belongs beside the recipe, under version control.\n");
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = out.write_fmt(text);
        out.push('\n');
    };
    line(format_args!("birdaug = {}", quoted(&lock.engine)));
    line(format_args!("format = {FORMAT}"));
    line(format_args!("\n# BLAKE3 of the lists of photos, and of how synthetic images are encoded.\n[dataset]"));
    for (name, digest) in &lock.dataset {
        line(format_args!("{name} = \"{}\"", hex(digest)));
    }
    line(format_args!("\n# BLAKE3 of the paths and bytes of the emitted tree.\n[tree]"));
    if let Some(digest) = &lock.tree {
        line(format_args!("digest = \"{}\"", hex(digest)));
    }
    line(format_args!("\n# Files that the recipe names.\n[weights]"));
    for (path, digest) in &lock.weights {
        line(format_args!("{} = \"{}\"", quoted(path), hex(digest)));
    }
    line(format_args!("\n# What was fitted: where, from which inputs, and to which bytes.\n[models]"));
    for (name, fitted) in &lock.models {
        let Fitted { key, weights, machine } = fitted;
        let (name, machine) = (quoted(name), quoted(&machine.to_string()));
        line(format_args!("{name} = {{ key = \"{}\", weights = \"{}\", on = {machine} }}", key.hex(), hex(weights)));
    }
    line(format_args!(
        "\n# Every candidate that was looked at, by device and species: key, digest of its image, verdict."
    ));
    for (machine, by_species) in &lock.candidates {
        for (species, images) in by_species {
            line(format_args!("[candidates.{}.{}]", quoted(&machine.to_string()), quoted(species)));
            for (key, image) in images {
                let verdict = image.fate.name();
                line(format_args!("{} = \"{} {verdict}\"", key.hex(), hex(&image.digest)));
            }
        }
    }
    out
}

/// The lock that a text spells; `path` names it in messages.
pub fn parse(text: &str, path: &Path) -> Result<Lock> {
    let reader = Reader { text, path };
    let document = match DeTable::parse(text) {
        Ok(document) => document.into_inner(),
        Err(error) if text.lines().any(|line| line.starts_with("<<<<<<<")) => {
            let at = error.span().map_or(0, |span| span.start);
            return Err(reader.wrong(
                at,
                "an unfinished merge stands in it",
                "take either side, then `birdaug build` writes the lock of what is right now",
            ));
        }
        Err(error) => {
            return Err(reader.broken(error.span().map_or(0, |span| span.start), error.message()));
        }
    };
    reader.check_format(&document)?;
    let mut lock = Lock::default();
    for (name, value) in &document {
        let (name, at) = (name.get_ref().as_ref(), name.span().start);
        match name {
            "format" => {}
            "birdaug" => lock.engine = reader.text(value)?.to_string(),
            "dataset" => lock.dataset = reader.digests(value)?,
            "tree" => lock.tree = reader.digests(value)?.remove("digest"),
            "weights" => lock.weights = reader.digests(value)?,
            "models" => {
                for (name, value) in reader.entries(value)? {
                    lock.models.insert(name.to_string(), reader.fitted(value)?);
                }
            }
            "candidates" => {
                for (machine, by_species) in reader.entries(value)? {
                    let machine = reader.machine(by_species.span().start, machine)?;
                    let mut all = BTreeMap::new();
                    for (species, images) in reader.entries(by_species)? {
                        all.insert(species.to_string(), reader.images(images)?);
                    }
                    lock.candidates.insert(machine, all);
                }
            }
            other => return Err(reader.broken(at, &format!("there is no `{other}` in a lock"))),
        }
    }
    reader.refuse_twice(&lock)?;
    Ok(lock)
}

/// Reads values and names the line of a wrong one.
struct Reader<'t> {
    text: &'t str,
    path: &'t Path,
}

type Value<'v> = Spanned<DeValue<'v>>;

impl Reader<'_> {
    fn wrong(&self, at: usize, problem: &str, help: &str) -> Error {
        let line = 1 + self.text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count();
        Error::input_help(format!("{}:{line}: {problem}", self.path.display()), help)
    }

    fn broken(&self, at: usize, problem: &str) -> Error {
        self.wrong(at, problem, "restore the lock from version control, or delete it: a complete build writes it again")
    }

    fn check_format(&self, document: &DeTable<'_>) -> Result<()> {
        let found = document.get("format").map(|value| &self.text[value.span()]);
        if found == Some(FORMAT) {
            return Ok(());
        }
        let found = found.map_or("no format version".to_string(), |found| format!("format version {found}"));
        Err(Error::input_help(
            format!("the lock `{}` has {found}; this birdaug reads {FORMAT}", self.path.display()),
            "use the birdaug that wrote it, or delete it: a complete build writes it again",
        ))
    }

    fn entries<'v, 'd>(
        &self,
        value: &'v Value<'d>,
    ) -> Result<impl Iterator<Item = (&'v str, &'v Value<'d>)> + use<'v, 'd>> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table.iter().map(|(name, value)| (name.get_ref().as_ref(), value))),
            _ => Err(self.broken(value.span().start, "a table belongs here")),
        }
    }

    fn text<'v>(&self, value: &'v Value<'_>) -> Result<&'v str> {
        value.get_ref().as_str().ok_or_else(|| self.broken(value.span().start, "text belongs here"))
    }

    fn key(&self, at: usize, text: &str) -> Result<Key> {
        Key::from_hex(text).ok_or_else(|| self.broken(at, &format!("{text:?} is not 64 hexadecimal digits")))
    }

    fn digests(&self, value: &Value<'_>) -> Result<BTreeMap<String, Digest>> {
        self.entries(value)?
            .map(|(name, value)| Ok((name.to_string(), self.key(value.span().start, self.text(value)?)?.0)))
            .collect()
    }

    fn machine(&self, at: usize, text: &str) -> Result<Machine> {
        let (device, libtorch) = text
            .rsplit_once(LIBTORCH)
            .ok_or_else(|| self.broken(at, &format!("{text:?} does not say `DEVICE{LIBTORCH}VERSION`")))?;
        Ok(Machine { device: device.to_string(), libtorch: libtorch.to_string() })
    }

    fn fitted(&self, value: &Value<'_>) -> Result<Fitted> {
        let at = value.span().start;
        let parts: BTreeMap<&str, &Value<'_>> = self.entries(value)?.collect();
        let part = |name: &str| {
            let value = parts.get(name).ok_or_else(|| self.broken(at, &format!("`{name}` is missing")))?;
            self.text(value)
        };
        Ok(Fitted {
            key: self.key(at, part("key")?)?,
            weights: self.key(at, part("weights")?)?.0,
            machine: self.machine(at, part("on")?)?,
        })
    }

    fn images(&self, value: &Value<'_>) -> Result<BTreeMap<Key, Image>> {
        self.entries(value)?
            .map(|(key, value)| {
                let at = value.span().start;
                let (digest, verdict) = self.text(value)?.split_once(' ').unwrap_or_default();
                let fate = Fate::ALL.into_iter().find(|fate| fate.name() == verdict);
                let fate = fate.ok_or_else(|| {
                    self.broken(at, "a candidate is `KEY = \"DIGEST keep\"`, `... more\"` or `... drop\"`")
                })?;
                Ok((self.key(at, key)?, Image { digest: self.key(at, digest)?.0, fate }))
            })
            .collect()
    }

    /// A merge may leave a candidate twice, under two devices: neither can be believed.
    fn refuse_twice(&self, lock: &Lock) -> Result<()> {
        let mut seen = std::collections::HashSet::new();
        for candidate in lock.candidates() {
            if !seen.insert(candidate.key) {
                let hex = candidate.key.hex();
                let at = self.text.rfind(&hex).unwrap_or(0);
                return Err(self.broken(at, &format!("the candidate {} stands here twice", candidate.key.short())));
            }
        }
        Ok(())
    }
}

fn hex(digest: &Digest) -> String {
    Key(*digest).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let machine = Machine { device: "cpu:avx2".into(), libtorch: "2.11.0".into() };
        let image = |n: u8, fate| (Key([n; 32]), Image { digest: [n + 1; 32], fate });
        let species = BTreeMap::from([
            ("BLUE JAY".to_string(), BTreeMap::from([image(1, Fate::Keep), image(7, Fate::Drop)])),
            ("D'ARNAUD\"S \\ BÜLBÜL".to_string(), BTreeMap::from([image(3, Fate::More)])),
        ]);
        Lock {
            engine: "0.1.0".into(),
            dataset: BTreeMap::from([("train".to_string(), [5; 32]), ("encoding".to_string(), [6; 32])]),
            tree: Some([9; 32]),
            weights: BTreeMap::from([("weights/r18.safetensors".to_string(), [2; 32])]),
            models: BTreeMap::from([(
                "generator".to_string(),
                Fitted { key: Key([4; 32]), weights: [8; 32], machine: machine.clone() },
            )]),
            candidates: BTreeMap::from([
                (machine, species),
                (
                    Machine { device: "cuda".into(), libtorch: "2.11.0".into() },
                    BTreeMap::from([("BLUE JAY".to_string(), BTreeMap::from([image(11, Fate::Keep)]))]),
                ),
            ]),
        }
    }

    fn refusal(text: &str) -> String {
        parse(text, Path::new("x.lock")).unwrap_err().to_string()
    }

    #[test]
    fn a_written_lock_reads_as_the_same_one() {
        assert_eq!(parse(&render(&lock()), Path::new("x.lock")).unwrap(), lock());
        assert_eq!(parse(&render(&Lock::default()), Path::new("x.lock")).unwrap(), Lock::default());
    }

    #[test]
    fn a_candidate_is_one_line_and_a_new_one_adds_one_line() {
        let mut more = lock();
        let machine = more.candidates.keys().next().unwrap().clone();
        let images = more.candidates.get_mut(&machine).unwrap().get_mut("BLUE JAY").unwrap();
        images.insert(Key([2; 32]), Image { digest: [3; 32], fate: Fate::Keep });
        let (before, after) = (render(&lock()), render(&more));
        let added: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
        assert_eq!(added, [format!("{} = \"{} keep\"", "02".repeat(32), "03".repeat(32))]);
        assert_eq!(after.lines().count(), before.lines().count() + 1);
    }

    #[test]
    fn another_format_is_refused_plainly() {
        let other = render(&lock()).replace("format = 2", "format = 3");
        assert!(refusal(&other).starts_with("the lock `x.lock` has format version 3; this birdaug reads 2"), "{other}");
        assert!(refusal("birdaug = \"0.1.0\"\n").contains("has no format version"));
    }

    #[test]
    fn what_is_no_lock_is_refused_with_its_line() {
        let text = render(&lock());
        let cases = [
            (text.replace(" keep\"", " perhaps\""), "a candidate is"),
            (text.replace("[tree]", "[trees]"), "there is no `trees` in a lock"),
            (text.replace(&"01".repeat(32), "0101"), "is not 64 hexadecimal digits"),
            (text.replace("weights = ", "weight = "), "`weights` is missing"),
            (text.replace("cuda, libtorch", "cuda,"), "does not say `DEVICE, libtorch VERSION`"),
            (text.replace(&"0b".repeat(32), &"01".repeat(32)), "stands here twice"),
            (text.replace("[models]", "[models"), "x.lock:"),
        ];
        for (text, expected) in cases {
            let message = refusal(&text);
            assert!(message.starts_with("x.lock:") && message.contains(expected), "{message}");
        }
        let conflict = text.replace("[tree]\n", "<<<<<<< ours\n[tree]\n=======\n");
        assert!(refusal(&conflict).contains("an unfinished merge stands in it"), "{}", refusal(&conflict));
    }

    #[test]
    fn fifty_thousand_candidates_take_seven_megabytes_and_read_quickly() {
        let mut big = lock();
        let machine = big.candidates.keys().next().unwrap().clone();
        for n in 0..50_000u32 {
            let key = *blake3::hash(&n.to_le_bytes()).as_bytes();
            let species =
                big.candidates.get_mut(&machine).unwrap().entry(format!("SPECIES {:03}", n % 525)).or_default();
            species.insert(Key(key), Image { digest: key, fate: Fate::ALL[n as usize % 3] });
        }
        let text = render(&big);
        assert!(text.len() < 7_200_000, "{}", text.len());
        assert_eq!(parse(&text, Path::new("x.lock")).unwrap(), big);
    }
}
