//! What a diffusers checkpoint says of its scheduler, `scheduler/scheduler_config.json`, and what that means to each class of
//! scheduler. Every field is honoured or refused by name. Knows no sampler and no tensors.

mod fields;
mod keys;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Classes of diffusers' schedulers that can be walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Pndm,
    Ddim,
    DpmSolverMultistep,
    EulerDiscrete,
    EulerAncestral,
    UniPcMultistep,
    Ddpm,
    Lcm,
}

impl Class {
    /// Every class, in the order in which messages list them.
    pub const ALL: [Class; 8] = [
        Class::Pndm,
        Class::Ddim,
        Class::DpmSolverMultistep,
        Class::EulerDiscrete,
        Class::EulerAncestral,
        Class::UniPcMultistep,
        Class::Ddpm,
        Class::Lcm,
    ];

    /// The class of that name in diffusers.
    fn named(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Its name in diffusers.
    pub fn name(self) -> &'static str {
        match self {
            Class::Pndm => "PNDMScheduler",
            Class::Ddim => "DDIMScheduler",
            Class::DpmSolverMultistep => "DPMSolverMultistepScheduler",
            Class::EulerDiscrete => "EulerDiscreteScheduler",
            Class::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Class::UniPcMultistep => "UniPCMultistepScheduler",
            Class::Ddpm => "DDPMScheduler",
            Class::Lcm => "LCMScheduler",
        }
    }
}

/// A scheduler's config as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    /// Where it was read, for messages.
    file: String,
    class_name: String,
    /// What the file says; what it leaves out is each class's own default.
    given: Map<String, Value>,
}

impl SchedulerConfig {
    /// Reads the text of `file`.
    ///
    /// # Errors
    /// [`Error::Input`] where it is not JSON of a scheduler, or has a field that no known class has.
    pub fn read(text: &str, file: &Path) -> Result<SchedulerConfig> {
        let file = file.display().to_string();
        let Value::Object(mut given) = serde_json::from_str(&without_infinities(text))
            .map_err(|error| Error::input(format!("`{file}` is not JSON: {error}")))?
        else {
            return Err(Error::input(format!("`{file}` is not a scheduler's config: no object")));
        };
        let Some(Value::String(class_name)) = given.remove("_class_name") else {
            return Err(Error::input(format!("`{file}` is not a scheduler's config: it names no `_class_name`")));
        };
        if let Some(Value::Array(defaults)) = given.remove("_use_default_values") {
            given.retain(|key, _| !defaults.iter().any(|default| default == key));
        }
        keys::WITHOUT_MEANING.iter().for_each(|key| drop(given.remove(*key)));
        if class_name.starts_with("FlowMatch") {
            return Err(Error::input_help(
                format!("`{file}`: `{class_name}` walks networks of flow matching, which birdaug does not run"),
                "use a checkpoint of Stable Diffusion 1.x or 2.x",
            ));
        }
        let known = |key: &str| keys::KEYS.iter().any(|(known, _)| *known == key);
        if Class::named(&class_name).is_none() {
            // What such a class has of its own means nothing to the one that is named in its place.
            given.retain(|key, _| known(key));
        } else if let Some(key) = given.keys().find(|key| !known(key)) {
            return Err(Error::input_help(
                format!("`{file}`: birdaug does not know the field `{key}`"),
                "leaving it out of the file walks without it",
            ));
        }
        Ok(SchedulerConfig { file, class_name, given })
    }

    /// Its own class.
    ///
    /// # Errors
    /// [`Error::Input`] where it is none that can be walked.
    pub fn class(&self) -> Result<Class> {
        Class::named(&self.class_name).ok_or_else(|| {
            let names: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
            Error::input_help(
                format!(
                    "`{}`: the scheduler `{}` is not built; known: {}",
                    self.file,
                    self.class_name,
                    names.join(", ")
                ),
                "name a `sampler` to walk with that instead",
            )
        })
    }

    /// As `StableDiffusionPipeline` walks where no sampler is named: by its own class, `steps_offset` 1 and nothing clipped
    /// whatever the file says, for the pipeline mends old checkpoints so.
    ///
    /// # Errors
    /// [`Error::Input`] for a class that is not known, and for the first field that cannot be honoured.
    pub fn own(&self) -> Result<Scheduler> {
        let class = self.class()?;
        let mut mended = self.mended();
        mended.given.insert("steps_offset".to_string(), Value::from(1));
        if matches!(class, Class::Ddim | Class::Ddpm | Class::Lcm) {
            mended.given.insert("clip_sample".to_string(), Value::from(false));
        }
        fields::scheduler(&mended, class)
    }

    /// As `Class.from_config(pipe.scheduler.config)`: what the file does not say is the default of `class`, not of its own.
    ///
    /// # Errors
    /// [`Error::Input`] for the first field that cannot be honoured.
    pub fn for_class(&self, class: Class) -> Result<Scheduler> {
        fields::scheduler(&self.mended(), class)
    }

    /// What the file says, as the pipeline mends it.
    fn mended(&self) -> SchedulerConfig {
        let mut mended = self.clone();
        if let Some(offset) = mended.given.get_mut("steps_offset") {
            *offset = Value::from(1);
        }
        if mended.given.get("clip_sample") == Some(&Value::Bool(true)) {
            mended.given.insert("clip_sample".to_string(), Value::from(false));
        }
        if let Some(solver) = mended.given.get_mut("solver_type")
            && let Some(taken) = solver.as_str().and_then(|given| taken_for(&self.class_name, given))
        {
            *solver = Value::from(taken);
        }
        mended
    }
}

/// The `solver_type` that a class of solvers takes another one's for, before any other class sees the config.
fn taken_for(class: &str, solver: &str) -> Option<&'static str> {
    match (class, solver) {
        ("UniPCMultistepScheduler", "midpoint" | "heun" | "logrho") => Some("bh2"),
        ("DPMSolverMultistepScheduler" | "DPMSolverSinglestepScheduler", "logrho" | "bh1" | "bh2") => Some("midpoint"),
        ("DEISMultistepScheduler", "midpoint" | "heun" | "bh1" | "bh2") => Some("logrho"),
        _ => None,
    }
}

/// Python writes infinities and NaN bare, which JSON does not know: they become strings.
fn without_infinities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Every other piece between quotes is outside of strings; no name or value of these files holds a quote itself.
    for (i, piece) in text.split('"').enumerate() {
        if i > 0 {
            out.push('"');
        }
        if i % 2 == 0 {
            let piece = piece.replace("-Infinity", "\"-inf\"").replace("NaN", "\"nan\"");
            out.push_str(&piece.replace("Infinity", "\"inf\""));
        } else {
            out.push_str(piece);
        }
    }
    out
}

/// How the variance of each timestep's noise is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BetaSchedule {
    Linear,
    ScaledLinear,
    SquaredCosine,
}

/// What the network's output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionType {
    Epsilon,
    V,
    Sample,
}

/// How sampling timesteps are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestepSpacing {
    Leading,
    Trailing,
    Linspace,
}

/// A scheduler of one class with every field that it has, named as in diffusers; fields that it lacks have no effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduler {
    pub class: Class,
    pub num_train_timesteps: usize,
    pub beta_schedule: BetaSchedule,
    pub beta_start: f64,
    pub beta_end: f64,
    /// In place of the schedule; `num_train_timesteps` of them.
    pub trained_betas: Option<Vec<f64>>,
    pub rescale_betas_zero_snr: bool,
    pub prediction_type: PredictionType,
    pub timestep_spacing: TimestepSpacing,
    pub steps_offset: i64,
    pub set_alpha_to_one: bool,
    /// `clip_sample_range` where `clip_sample` is on.
    pub clip: Option<f64>,
    pub skip_prk_steps: bool,
    pub use_karras_sigmas: bool,
    pub sigma_min: Option<f64>,
    pub sigma_max: Option<f64>,
    /// `final_sigmas_type` is `sigma_min`, not `zero`.
    pub ends_at_sigma_min: bool,
    pub solver_order: usize,
    /// `solver_type` of DPM-Solver++ is `heun`, not `midpoint`.
    pub heun: bool,
    /// `solver_type` of UniPC is `bh1`, not `bh2`.
    pub bh1: bool,
    pub lower_order_final: bool,
    pub euler_at_final: bool,
    pub lambda_min_clipped: f64,
    pub disable_corrector: Vec<usize>,
    /// `variance_type` of DDPM is `fixed_large`, not `fixed_small`.
    pub large_variance: bool,
    pub original_inference_steps: usize,
    pub timestep_scaling: f64,
}
