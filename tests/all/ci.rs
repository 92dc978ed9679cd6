//! The workflow in `docs/ci` does what it says: its own commands, run here in a tiny place.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::place::{Place, Said, said};

/// The `run:` lines of the workflow with the job that each stands in. One command a line, quoted or not.
fn commands() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci/birdaug.yml");
    let text = fs::read_to_string(path).unwrap();
    let (_, jobs) = text.split_once("\njobs:\n").unwrap();
    let mut job = String::new();
    let mut out = Vec::new();
    for line in jobs.lines() {
        let is_name = line.starts_with("  ") && !line.starts_with("   ") && line.trim_end().ends_with(':');
        if is_name {
            job = line.trim().trim_end_matches(':').to_string();
        }
        if let Some(command) = line.trim().strip_prefix("- run: ") {
            assert!(!command.starts_with(['|', '>']), "one command a line: {command}");
            out.push((job.clone(), command.trim_matches('\'').to_string()));
        }
    }
    out
}

/// Runs a job's commands that concern birdaug, until one fails, with this binary and the tiny recipe.
fn job(place: &Place, name: &str) -> Vec<Said> {
    let mut out = Vec::new();
    for (_, command) in commands().into_iter().filter(|(job, command)| job == name && command.contains("$BIRDAUG")) {
        if command.contains(" sample ") {
            continue;
        }
        let mut shell = place.shell(&command);
        shell.env("BIRDAUG", env!("CARGO_BIN_EXE_birdaug")).env("RECIPE", "recipes/tiny.toml");
        let ended = said(shell.stdin(Stdio::null()).output().unwrap());
        let failed = ended.status != 0;
        out.push(ended);
        if failed {
            break;
        }
    }
    out
}

#[test]
fn every_job_of_the_workflow_passes_on_an_honest_build() {
    let place = Place::new();
    place.build();
    for (name, n) in [("fill", 1), ("prove", 3), ("from-nothing", 1)] {
        if name == "from-nothing" {
            fs::remove_dir_all(place.path("cache")).unwrap();
        }
        let ended = job(&place, name);
        assert_eq!(ended.len(), n, "{name}: {ended:?}");
        assert!(ended.iter().all(|said| said.status == 0), "{name}: {ended:?}");
    }
    let all = commands();
    assert!(all.iter().filter(|(_, command)| command == "make").count() == 3, "{all:?}");
}

#[test]
fn the_workflow_fails_with_status_3_on_a_changed_photo_a_changed_recipe_and_an_empty_cache() {
    let place = Place::new();
    place.build();
    let recipe = fs::read_to_string(place.path("recipes/tiny.toml")).unwrap();
    place.recipe(&recipe.replace("guidance = 1.5", "guidance = 1.6"));
    assert_eq!(job(&place, "prove").last().unwrap().status, 3);
    place.recipe(&recipe);
    assert_eq!(job(&place, "prove").last().unwrap().status, 0);
    let species = fs::read_dir(place.path("birds/train")).unwrap().next().unwrap().unwrap().path();
    let photo = fs::read_dir(species).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&photo).unwrap();
    // The tree may share the photo's bytes: replace, never write in place.
    fs::remove_file(&photo).unwrap();
    fs::write(&photo, [&bytes[..], b"!"].concat()).unwrap();
    assert_eq!(job(&place, "prove").last().unwrap().status, 3);
    fs::remove_file(&photo).unwrap();
    fs::write(&photo, &bytes).unwrap();
    fs::remove_dir_all(place.path("cache")).unwrap();
    let ended = job(&place, "prove");
    assert!(ended[0].status == 3 && ended[0].stderr.contains("--offline refuses it"), "{ended:?}");
}
