//! One class's view of a scheduler's config: each field read, defaulted, or refused by name.

use std::fmt;

use serde_json::Value;

use super::keys::KEYS;
use super::{BetaSchedule, Class, PredictionType, Scheduler, SchedulerConfig, TimestepSpacing};
use crate::error::{Error, Result};

/// More training timesteps than any checkpoint has.
const MOST_TIMESTEPS: u64 = 100_000;

/// The config as `class` walks it.
pub(super) fn scheduler(config: &SchedulerConfig, class: Class) -> Result<Scheduler> {
    let fields = Fields { config, class };
    fields.refuse_what_is_not_built()?;
    let lcm = class == Class::Lcm;
    let by_level = matches!(
        class,
        Class::DpmSolverMultistep | Class::EulerDiscrete | Class::EulerAncestral | Class::UniPcMultistep
    );
    let beta_schedule = fields.choice(
        "beta_schedule",
        if lcm { "scaled_linear" } else { "linear" },
        &[
            ("linear", BetaSchedule::Linear),
            ("scaled_linear", BetaSchedule::ScaledLinear),
            ("squaredcos_cap_v2", BetaSchedule::SquaredCosine),
        ],
    )?;
    let num_train_timesteps = fields.whole("num_train_timesteps", 1000, 2, MOST_TIMESTEPS)?;
    let (dpm, uni) = (class == Class::DpmSolverMultistep, class == Class::UniPcMultistep);
    let solver_type = fields.choice(
        "solver_type",
        if uni { "bh2" } else { "midpoint" },
        &["midpoint", "heun", "logrho", "bh1", "bh2"].map(|name| (name, name)),
    )?;
    Ok(Scheduler {
        class,
        num_train_timesteps,
        beta_schedule,
        beta_start: fields.within("beta_start", if lcm { 0.00085 } else { 1e-4 }, 0.0, 1.0)?,
        beta_end: fields.within("beta_end", if lcm { 0.012 } else { 0.02 }, 0.0, 1.0)?,
        trained_betas: fields.betas(num_train_timesteps)?,
        rescale_betas_zero_snr: fields.flag("rescale_betas_zero_snr", false)?,
        prediction_type: fields.prediction()?,
        timestep_spacing: fields.choice(
            "timestep_spacing",
            if by_level { "linspace" } else { "leading" },
            &[
                ("leading", TimestepSpacing::Leading),
                ("trailing", TimestepSpacing::Trailing),
                ("linspace", TimestepSpacing::Linspace),
            ],
        )?,
        steps_offset: fields.whole("steps_offset", 0, 0, 1)? as i64,
        set_alpha_to_one: fields.flag("set_alpha_to_one", class != Class::Pndm)?,
        clip: fields.clip()?,
        skip_prk_steps: fields.flag("skip_prk_steps", false)?,
        use_karras_sigmas: fields.flag("use_karras_sigmas", false)?,
        sigma_min: fields.level("sigma_min")?,
        sigma_max: fields.level("sigma_max")?,
        ends_at_sigma_min: fields.choice("final_sigmas_type", "zero", &[("zero", false), ("sigma_min", true)])?,
        solver_order: fields.whole("solver_order", 2, 1, 3)?,
        heun: dpm && solver_type == "heun",
        bh1: uni && solver_type == "bh1",
        lower_order_final: fields.flag("lower_order_final", true)?,
        euler_at_final: fields.flag("euler_at_final", false)?,
        lambda_min_clipped: fields.number("lambda_min_clipped", f64::NEG_INFINITY)?,
        disable_corrector: fields.steps("disable_corrector")?,
        large_variance: class == Class::Ddpm && fields.text("variance_type")? == Some("fixed_large"),
        original_inference_steps: fields.whole("original_inference_steps", 50, 1, MOST_TIMESTEPS)?,
        timestep_scaling: fields.number("timestep_scaling", 10.0)?,
    })
}

/// Fields as one class sees them.
struct Fields<'a> {
    config: &'a SchedulerConfig,
    class: Class,
}

impl Fields<'_> {
    /// What the file says, if it says it and the class looks at it.
    fn get(&self, key: &str) -> Option<&Value> {
        let concerned = KEYS.iter().any(|(known, classes)| *known == key && classes.contains(&self.class));
        concerned.then(|| self.config.given.get(key)).flatten()
    }

    fn wrong(&self, key: &str, found: &Value, allowed: impl fmt::Display) -> Error {
        let (file, class) = (&self.config.file, self.class.name());
        Error::input_help(
            format!("`{file}`: `{key}` is {found}, which birdaug does not build for `{class}`"),
            format!("allowed: {allowed}"),
        )
    }

    /// Null stands for off, as in Python.
    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(other) => Err(self.wrong(key, other, "true, false")),
        }
    }

    fn number(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::String(text)) if text == "-inf" => Ok(f64::NEG_INFINITY),
            Some(value) => value.as_f64().ok_or_else(|| self.wrong(key, value, "a number")),
        }
    }

    /// A number between `low` and `high`, both excluded.
    fn within(&self, key: &str, default: f64, low: f64, high: f64) -> Result<f64> {
        let number = self.number(key, default)?;
        if number > low && number < high {
            return Ok(number);
        }
        Err(self.wrong(key, &Value::from(number), format_args!("a number above {low} and below {high}")))
    }

    fn whole(&self, key: &str, default: usize, low: u64, high: u64) -> Result<usize> {
        let Some(value) = self.get(key) else { return Ok(default) };
        match value.as_u64().filter(|number| (low..=high).contains(number)) {
            Some(number) => Ok(number as usize),
            None => Err(self.wrong(key, value, format_args!("a whole number from {low} to {high}"))),
        }
    }

    /// A noise level, or null for the schedule's own.
    fn level(&self, key: &str) -> Result<Option<f64>> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.within(key, 1.0, 0.0, f64::INFINITY).map(Some),
        }
    }

    /// Text, or null.
    fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, other, "text")),
        }
    }

    fn choice<T: Copy>(&self, key: &str, default: &str, choices: &[(&str, T)]) -> Result<T> {
        let value = self.get(key).cloned().unwrap_or_else(|| Value::from(default));
        let chosen = choices.iter().find(|(name, _)| value == *name);
        let names = || choices.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        chosen.map(|(_, choice)| *choice).ok_or_else(|| self.wrong(key, &value, names()))
    }

    /// A list of numbers of steps.
    fn steps(&self, key: &str) -> Result<Vec<usize>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let list = value.as_array().and_then(|list| list.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>());
        let list = list.ok_or_else(|| self.wrong(key, value, "a list of whole numbers"))?;
        Ok(list.into_iter().map(|step| step as usize).collect())
    }

    fn betas(&self, timesteps: usize) -> Result<Option<Vec<f64>>> {
        let value = match self.get("trained_betas") {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        let betas = value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>());
        let sound = |betas: &Vec<f64>| betas.len() == timesteps && betas.iter().all(|beta| *beta > 0.0 && *beta <= 1.0);
        betas.filter(sound).map(Some).ok_or_else(|| {
            let file = &self.config.file;
            Error::input_help(
                format!("`{file}`: `trained_betas` are not as many as `num_train_timesteps`, {timesteps}, in (0, 1]"),
                "null takes the betas of `beta_schedule`",
            )
        })
    }

    fn prediction(&self) -> Result<PredictionType> {
        let mut choices = vec![("epsilon", PredictionType::Epsilon), ("v_prediction", PredictionType::V)];
        // Diffusers' PNDM and Euler ancestral know no other.
        if !matches!(self.class, Class::Pndm | Class::EulerAncestral) {
            choices.push(("sample", PredictionType::Sample));
        }
        if self.class == Class::EulerDiscrete {
            choices.push(("original_sample", PredictionType::Sample));
        }
        self.choice("prediction_type", "epsilon", &choices)
    }

    /// Dynamic thresholding with a maximum of 1 is clipping to [-1, 1]; other maxima are not for latents.
    fn clip(&self) -> Result<Option<f64>> {
        if self.flag("thresholding", false)? {
            return match self.number("sample_max_value", 1.0)? {
                1.0 => Ok(Some(1.0)),
                most => Err(self.wrong("sample_max_value", &Value::from(most), "1 where `thresholding` is on")),
            };
        }
        let clips = self.flag("clip_sample", matches!(self.class, Class::Ddim | Class::Ddpm))?;
        let range = self.within("clip_sample_range", 1.0, 0.0, f64::INFINITY)?;
        Ok(clips.then_some(range))
    }

    fn refuse_what_is_not_built(&self) -> Result<()> {
        let off =
            ["use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas", "use_dynamic_shifting"];
        for key in off {
            if self.flag(key, false)? {
                return Err(self.wrong(key, &Value::from(true), "false"));
            }
        }
        if !self.flag("predict_x0", true)? {
            return Err(self.wrong("predict_x0", &Value::from(false), "true"));
        }
        for key in ["solver_p", "shift_terminal"] {
            if let Some(value) = self.get(key).filter(|value| !value.is_null()) {
                return Err(self.wrong(key, value, "null"));
            }
        }
        let continuous = self.text("timestep_type")? == Some("continuous");
        if continuous && self.prediction()? == PredictionType::V {
            return Err(self.wrong("timestep_type", &Value::from("continuous"), "\"discrete\" where v is predicted"));
        }
        let variances: &[&str] = match self.class {
            Class::Ddpm => &["fixed_small", "fixed_small_log", "fixed_large"],
            _ => &["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"],
        };
        for (key, allowed) in [
            ("timestep_type", &["discrete", "continuous"] as &[&str]),
            ("interpolation_type", &["linear"]),
            // Diffusers takes "deis" for "dpmsolver++".
            ("algorithm_type", &["dpmsolver++", "deis"]),
            ("variance_type", variances),
        ] {
            if let Some(found) = self.text(key)?.filter(|found| !allowed.contains(found)) {
                let allowed: Vec<String> = allowed.iter().map(|name| format!("\"{name}\"")).collect();
                return Err(self.wrong(key, &Value::from(found), allowed.join(", ")));
            }
        }
        Ok(())
    }
}
