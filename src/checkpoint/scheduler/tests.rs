//! What a scheduler's config means, and what is refused.

use super::*;

const SD15: &str = r#"{
    "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true,
    "steps_offset": 1, "trained_betas": null, "clip_sample": false}"#;

fn read(text: &str) -> Result<SchedulerConfig> {
    SchedulerConfig::read(text, Path::new("sd/scheduler/scheduler_config.json"))
}

/// The 1.5 config with a field more, or another value for one.
fn with(field: &str, value: Value) -> SchedulerConfig {
    let mut config: Value = serde_json::from_str(SD15).unwrap();
    config[field] = value;
    read(&config.to_string()).unwrap()
}

#[test]
fn what_a_file_leaves_out_is_the_default_of_the_class_that_walks() {
    let config = read(SD15).unwrap();
    let own = config.own().unwrap();
    assert_eq!((own.class, own.timestep_spacing), (Class::Pndm, TimestepSpacing::Leading));
    assert!(own.skip_prk_steps && !own.set_alpha_to_one);
    assert_eq!((own.beta_schedule, own.beta_start, own.beta_end), (BetaSchedule::ScaledLinear, 0.00085, 0.012));
    let solver = config.for_class(Class::DpmSolverMultistep).unwrap();
    assert_eq!((solver.timestep_spacing, solver.solver_order, solver.clip), (TimestepSpacing::Linspace, 2, None));
    let ddim = config.for_class(Class::Ddim).unwrap();
    assert_eq!((ddim.set_alpha_to_one, ddim.clip, ddim.steps_offset), (false, None, 1));
    // Where nothing is said of clipping, DDIM clips and LCM does not.
    let silent = read(&SD15.replace(", \"clip_sample\": false", "")).unwrap();
    assert_eq!(silent.for_class(Class::Ddim).unwrap().clip, Some(1.0));
    assert_eq!(silent.for_class(Class::Lcm).unwrap().clip, None);
}

#[test]
fn old_files_are_mended_as_the_pipeline_does() {
    let config = with("clip_sample", Value::from(true));
    assert_eq!(config.for_class(Class::Ddim).unwrap().clip, None);
    let config = with("steps_offset", Value::from(0));
    assert_eq!(config.own().unwrap().steps_offset, 1);
    assert_eq!(config.for_class(Class::Ddim).unwrap().steps_offset, 1);
    // Left out, the pipeline mends its own scheduler, and another class starts from its own default.
    let bare = read(r#"{"_class_name": "DDIMScheduler"}"#).unwrap();
    let (own, other) = (bare.own().unwrap(), bare.for_class(Class::Ddpm).unwrap());
    assert_eq!((own.steps_offset, own.clip), (1, None));
    assert_eq!((other.steps_offset, other.clip), (0, Some(1.0)));
}

#[test]
fn infinities_as_python_writes_them_are_read() {
    let text = r#"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "steps_offset": 1}"#;
    assert_eq!(read(text).unwrap().own().unwrap().lambda_min_clipped, f64::NEG_INFINITY);
    let text = text.replace("-Infinity", "-5.1");
    assert_eq!(read(&text).unwrap().own().unwrap().lambda_min_clipped, -5.1);
}

#[test]
fn values_without_effect_pass() {
    for (field, value) in [
        ("thresholding", Value::from(false)),
        ("dynamic_thresholding_ratio", Value::from(0.9)),
        ("use_karras_sigmas", Value::Null),
        ("solver_order", Value::from(2)),
        ("flow_shift", Value::from(3.0)),
        ("timestep_type", Value::from("continuous")),
        ("variance_type", Value::Null),
        ("_use_default_values", serde_json::json!(["thresholding"])),
    ] {
        let config = with(field, value);
        for class in Class::ALL {
            config.for_class(class).unwrap();
        }
    }
}

#[test]
fn a_field_that_is_not_built_is_refused_by_name_where_it_concerns_the_class() {
    let exponential = with("use_exponential_sigmas", Value::from(true));
    exponential.own().unwrap();
    assert_eq!(
        exponential.for_class(Class::EulerDiscrete).unwrap_err().to_string(),
        "`sd/scheduler/scheduler_config.json`: `use_exponential_sigmas` is true, which birdaug does not build for \
         `EulerDiscreteScheduler`\n  help: allowed: false"
    );
    for (field, value, class) in [
        ("use_beta_sigmas", Value::from(true), Class::UniPcMultistep),
        ("use_lu_lambdas", Value::from(true), Class::DpmSolverMultistep),
        ("use_flow_sigmas", Value::from(true), Class::DpmSolverMultistep),
        ("algorithm_type", Value::from("sde-dpmsolver++"), Class::DpmSolverMultistep),
        ("solver_type", Value::from("newton"), Class::UniPcMultistep),
        ("solver_order", Value::from(4), Class::UniPcMultistep),
        ("predict_x0", Value::from(false), Class::UniPcMultistep),
        ("interpolation_type", Value::from("log_linear"), Class::EulerDiscrete),
        ("prediction_type", Value::from("flow_prediction"), Class::Ddim),
        ("prediction_type", Value::from("sample"), Class::Pndm),
        ("prediction_type", Value::from("sample"), Class::EulerAncestral),
        ("variance_type", Value::from("learned_range"), Class::Ddpm),
        ("beta_schedule", Value::from("sigmoid"), Class::Ddpm),
        ("beta_end", Value::from(1.5), Class::Ddim),
        ("trained_betas", serde_json::json!([0.1, 0.2]), Class::Ddim),
        ("timestep_spacing", Value::from("karras"), Class::Ddim),
        ("skip_prk_steps", Value::from("yes"), Class::Pndm),
        ("thresholding", Value::from(1), Class::Ddim),
    ] {
        let config = with(field, value);
        let message = config.for_class(class).unwrap_err().to_string();
        assert!(message.contains(&format!("`{field}`")), "{message}");
        assert!(message.starts_with("`sd/scheduler/scheduler_config.json`: "), "{message}");
    }
    let mut thresholding: Value = serde_json::from_str(SD15).unwrap();
    thresholding["thresholding"] = Value::from(true);
    thresholding["sample_max_value"] = Value::from(1.5);
    let message = read(&thresholding.to_string()).unwrap().for_class(Class::Ddim).unwrap_err().to_string();
    assert!(message.contains("allowed: 1 where `thresholding` is on"), "{message}");
}

#[test]
fn what_is_no_config_of_a_known_scheduler_is_refused() {
    let message = |text: &str| read(text).unwrap_err().to_string();
    assert!(message("{").starts_with("`sd/scheduler/scheduler_config.json` is not JSON: "));
    assert_eq!(message("[]"), "`sd/scheduler/scheduler_config.json` is not a scheduler's config: no object");
    assert_eq!(
        message("{}"),
        "`sd/scheduler/scheduler_config.json` is not a scheduler's config: it names no `_class_name`"
    );
    assert_eq!(
        message(r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}"#),
        "`sd/scheduler/scheduler_config.json`: `FlowMatchEulerDiscreteScheduler` walks networks of flow matching, which birdaug \
         does not run\n  help: use a checkpoint of Stable Diffusion 1.x or 2.x"
    );
    assert_eq!(
        message(r#"{"_class_name": "DDIMScheduler", "shift": 3.0}"#),
        "`sd/scheduler/scheduler_config.json`: birdaug does not know the field `shift`\n  help: leaving it out of the file \
         walks without it"
    );
}

#[test]
fn a_class_that_is_not_built_can_be_walked_by_a_named_one() {
    let config = read(&SD15.replace("PNDMScheduler", "LMSDiscreteScheduler")).unwrap();
    assert_eq!(
        config.own().unwrap_err().to_string(),
        "`sd/scheduler/scheduler_config.json`: the scheduler `LMSDiscreteScheduler` is not built; known: PNDMScheduler, \
         DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, \
         UniPCMultistepScheduler, DDPMScheduler, LCMScheduler\n  help: name a `sampler` to walk with that instead"
    );
    assert_eq!(config.for_class(Class::EulerDiscrete).unwrap().timestep_spacing, TimestepSpacing::Linspace);
    // Its own fields go with it.
    let config =
        read(r#"{"_class_name": "DPMSolverSDEScheduler", "noise_sampler_seed": 1, "beta_end": 0.012}"#).unwrap();
    assert!(config.own().unwrap_err().to_string().contains("the scheduler `DPMSolverSDEScheduler` is not built"));
    assert_eq!(config.for_class(Class::EulerDiscrete).unwrap().beta_end, 0.012);
}

#[test]
fn a_solver_type_is_what_the_configs_own_class_takes_it_for() {
    for (own, given, class, heun, bh1) in [
        ("UniPCMultistepScheduler", "heun", Class::DpmSolverMultistep, false, false),
        ("UniPCMultistepScheduler", "bh1", Class::UniPcMultistep, false, true),
        ("DPMSolverMultistepScheduler", "bh1", Class::UniPcMultistep, false, false),
        ("DPMSolverMultistepScheduler", "heun", Class::DpmSolverMultistep, true, false),
        ("DPMSolverSinglestepScheduler", "bh1", Class::UniPcMultistep, false, false),
        ("DEISMultistepScheduler", "heun", Class::DpmSolverMultistep, false, false),
        ("DEISMultistepScheduler", "bh1", Class::UniPcMultistep, false, false),
        ("DDIMScheduler", "bh1", Class::UniPcMultistep, false, true),
    ] {
        let config = read(&format!(r#"{{"_class_name": "{own}", "solver_type": "{given}"}}"#)).unwrap();
        let found = config.for_class(class).unwrap();
        assert_eq!((found.heun, found.bh1), (heun, bh1), "{own} {given}");
    }
}
