//! `birdaug verify RECIPE`.

use serde_json::{Value, json};

use super::args::{Global, Verify};
use super::{opened, terminal};
use crate::error::{Error, Result};
use crate::recipe;
use crate::run::{self, Progress, Verified, VerifyOptions};
use crate::text;

/// Says what is proven, and exits 3 if something differs.
pub fn run(options: &Verify, global: &Global) -> Result<()> {
    let recipe = recipe::load_in(&options.recipe, terminal::colour(global.color))?;
    let progress = Progress::new(global.quiet || options.json);
    run::listen();
    let store = opened::store(global)?;
    let wanted = VerifyOptions { device: global.device.clone(), sample: options.sample, deep: options.deep };
    let verified = run::verify(&recipe, &store, &progress, &wanted)?;
    if options.json {
        terminal::json(&as_json(&verified));
    } else if !global.quiet {
        terminal::print(&as_text(&verified));
    }
    if verified.holds() {
        return Ok(());
    }
    Err(Error::Differs("something differs from the lock".to_string()))
}

fn as_json(verified: &Verified) -> Value {
    json!({
        "level": verified.level.name(),
        "holds": verified.holds(),
        "checked": verified.checked,
        "equal": verified.equal,
        "distance": verified.distance.map(|distance| distance.relative_l2),
        "ssim_min": verified.distance.map(|distance| distance.ssim),
        "here": verified.here.to_string(),
        "lock_made_on": verified.there.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "parts": verified.parts.iter().map(|part| json!({
            "name": part.name,
            "state": part.state(),
            "checked": part.checked,
            "findings": part.findings,
            "more_findings": part.more,
            "notes": part.notes,
        })).collect::<Vec<_>>(),
    })
}

fn as_text(verified: &Verified) -> String {
    let rows: Vec<Vec<String>> = verified
        .parts
        .iter()
        .map(|part| vec![part.name.into(), text::thousands(part.checked), part.state().into(), part.notes.join("; ")])
        .collect();
    let mut out = terminal::table(&["part", "checked", "state", ""], &rows, &[1]);
    for part in &verified.parts {
        for finding in &part.findings {
            out.push_str(&format!("{}: {finding}\n", part.name));
        }
        if part.more > 0 {
            out.push_str(&format!("{}: and {} more\n", part.name, text::thousands(part.more)));
        }
    }
    out.push('\n');
    out.push_str(&sentence(verified));
    out.push('\n');
    out
}

/// The level in words; a distance is never passed off as equality.
fn sentence(verified: &Verified) -> String {
    let level = verified.level.name();
    if verified.checked == 0 {
        return format!("{level}: no image was made again");
    }
    let made = text::count(verified.checked, "image");
    let equal = text::thousands(verified.equal);
    let distance = match verified.distance {
        Some(distance) => {
            format!("relative L2 of pixels at most {:.2e}, SSIM at least {:.4}", distance.relative_l2, distance.ssim)
        }
        None => "no distance could be measured".to_string(),
    };
    match verified.level {
        run::VerifyLevel::E2 => {
            let there: Vec<String> = verified.there.iter().map(ToString::to_string).collect();
            format!(
                "{level}: {made} made again on {}, the lock's on {}: measured {distance}; {equal} equal bit by bit",
                verified.here,
                there.join(" and ")
            )
        }
        _ => format!("{level}: {made} made again on {}, {equal} equal bit by bit", verified.here),
    }
}
