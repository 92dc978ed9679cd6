//! What is odd about a recipe without being wrong. Knows the types.

use super::types::Link;
use super::types::TOKEN;
use super::types::{Encode, GeneratorKind, ImageFormat, Mode, Recipe};

/// A line for everything that the recipe says and that is likely to be a slip, or has no effect, in the order of
/// the recipe: `recipes/birds.toml:10: ...`.
pub fn warnings(recipe: &Recipe) -> Vec<String> {
    let mut out: Vec<(Option<usize>, String)> = Vec::new();
    let mut say = |key: &str, what: String| {
        let line = recipe.lines.get(key).copied();
        let place = line.map_or_else(String::new, |line| format!(":{line}"));
        out.push((line, format!("{}{place}: {what}", recipe.path.display())));
    };
    let generator = &recipe.generator;
    if let GeneratorKind::StableDiffusion(model) = &generator.kind {
        if !model.prompt.contains("{species}") && !model.prompt.contains(TOKEN) {
            say("generator.prompt", "`prompt` holds no `{species}`: every species gets the same prompt".into());
        } else if model.prompt.replace("{species}", "").replace(TOKEN, "").contains(['{', '}']) {
            say(
                "generator.prompt",
                "`prompt` holds braces other than `{species}`: they go to the model as they are".into(),
            );
        }
        if generator.guidance <= 1.0 && !model.negative_prompt.is_empty() {
            say("generator.negative_prompt", "`negative_prompt` has no effect with `guidance` of 1 or less".into());
        }
    }
    if generator.guidance == 0.0 && matches!(generator.kind, GeneratorKind::Ddpm(_)) {
        say("generator.guidance", "`guidance = 0` makes images without regard to the species; 1 is off".into());
    }
    if generator.mode == Mode::Txt2Img {
        for (key, what) in [("generator.strength", "strength"), ("filter.ssim_min", "ssim_min")] {
            if recipe.lines.contains_key(key) {
                say(key, format!("`{what}` has no effect with `mode = \"txt2img\"`: there is no source image"));
            }
        }
    }
    if let (Some(held_out), Some(copy)) = (recipe.filter.held_out_max, recipe.filter.ssim_max)
        && held_out >= copy
    {
        let what = format!("`held_out_max` has no effect: `ssim_max` of {copy} drops those that come nearer already");
        say("filter.held_out_max", what);
    }
    if let Encode::As { format: ImageFormat::Png, .. } = recipe.emit.encode
        && recipe.lines.contains_key("emit.encode.quality")
    {
        say("emit.encode.quality", "`quality` has no effect on png".into());
    }
    if recipe.emit.link == Link::Symlink {
        say("emit.link", "with `link = \"symlink\"` the tree breaks when the dataset moves".into());
    }
    for name in &recipe.dataset.exclude {
        if let Some(new) = recipe.dataset.rename.get(name) {
            say("dataset.exclude", format!("`exclude` names `{name}`, which `rename` calls `{new}`: exclude that one"));
        }
        if recipe.balance.species.contains_key(name) {
            say(&format!("balance.species.{name}"), format!("`{name}` is excluded: no image is made for it"));
        }
    }
    for (name, new) in recipe.balance.species.keys().filter_map(|name| Some((name, recipe.dataset.rename.get(name)?))) {
        let key = format!("balance.species.{name}");
        say(&key, format!("`rename` calls `{name}` `{new}`: give the number to that one"));
    }
    if !recipe.compare.arms.iter().any(|arm| arm.real && arm.dose > 0.0) {
        say("compare.arms", "`arms` holds no `augmented`: nothing says whether the synthetic images help".into());
    }
    if recipe.lines.contains_key("compare.doses")
        && !recipe.compare.arms.iter().any(|arm| arm.name.starts_with("dose-"))
    {
        say("compare.doses", "`doses` has no effect: `arms` does not name `dose`".into());
    }
    out.sort_by_key(|(line, _)| *line);
    out.into_iter().map(|(_, warning)| warning).collect()
}
