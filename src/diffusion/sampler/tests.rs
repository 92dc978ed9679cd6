//! Whole walks against diffusers' schedulers, and what each sampler refuses.

use std::path::Path;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::prescribed::prescribed_in;
use super::spacing::Walk;
use super::*;
use crate::checkpoint::scheduler::SchedulerConfig;
use crate::diffusion::golden;
use crate::diffusion::schedule::{Arithmetic, Betas};

/// The fake model of `tests/golden/samplers.py`.
fn model(x: &Tensor, t: f64) -> Tensor {
    (x * 3.0 + t / 1000.0).cos() * 0.7
}

/// `scale` times 1, 2, 3, ...
fn ramp(numel: usize, scale: f64) -> Tensor {
    Tensor::arange_start(1, numel as i64 + 1, (Kind::Double, Device::Cpu)) * scale
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// The worst difference of timesteps and of final samples, relative to `1 + |theirs|`, in float64 and float32.
fn compare(kind: SamplerKind, schedule: &Schedule, settings: &Settings, case: &Value) -> [f64; 2] {
    let steps = case["steps"].as_u64().unwrap() as usize;
    let distance = |ours: &[f64], theirs: &[f64]| {
        assert_eq!(ours.len(), theirs.len(), "{case}");
        let apart = |(ours, theirs): (&f64, &f64)| (ours - theirs).abs() / (1.0 + theirs.abs());
        ours.iter().zip(theirs).map(apart).fold(0.0, |worst: f64, d| if d > worst || d.is_nan() { d } else { worst })
    };
    let last = numbers(&case["final"]);
    [Kind::Double, Kind::Float].map(|float| {
        let mut sampler = kind.start(schedule, steps, settings).unwrap();
        let timesteps = sampler.timesteps().to_vec();
        if !case["timesteps"].is_null() {
            assert!(distance(&timesteps, &numbers(&case["timesteps"])) < 1e-9, "{timesteps:?} {case}");
        }
        let noise = ramp(last.len(), 1.0).sin().to_kind(float);
        let (start, mut x) = match case["strength"].as_f64() {
            None => (0, noise * sampler.initial_scale()),
            Some(strength) => {
                let start = start_index(steps, timesteps.len(), strength);
                let clean = ramp(last.len(), 0.37).cos().to_kind(float);
                (start, sampler.add_noise(&clean, &noise, start).unwrap())
            }
        };
        for (index, t) in timesteps.iter().enumerate().skip(start) {
            let output = model(&sampler.scale_input(&x, index).unwrap(), *t);
            let noise = sampler
                .wants_noise(index)
                .then(|| (ramp(last.len(), 0.7) + 1.3 * (index - start) as f64).sin().to_kind(float));
            x = sampler.step(&output, index, &x, noise.as_ref()).unwrap();
        }
        assert_eq!(x.kind(), float);
        distance(&Vec::try_from(x.to_kind(Kind::Double)).unwrap(), &last)
    })
}

#[test]
fn whole_walks_are_those_of_diffusers() {
    for case in golden("samplers.json").as_array().unwrap() {
        let text = |key: &str| case[key].as_str().unwrap();
        let betas = match text("betas") {
            "cosine" => Betas::Cosine,
            "linear" => Betas::Linear { start: 1e-4, end: 0.02 },
            _ => Betas::ScaledLinear { start: 0.00085, end: 0.012 },
        };
        let settings = Settings {
            prediction: match text("prediction") {
                "epsilon" => Prediction::Epsilon,
                "v_prediction" => Prediction::V,
                _ => Prediction::Sample,
            },
            spacing: match text("spacing") {
                "leading" => Spacing::Leading,
                "trailing" => Spacing::Trailing,
                _ => Spacing::Linspace,
            },
            steps_offset: case["offset"].as_i64().unwrap(),
            clip: case["clip"].as_bool().unwrap().then_some(1.0),
            end_clean: case["end_clean"].as_bool().unwrap(),
            ..Settings::default()
        };
        let kind = SamplerKind::from_name(text("sampler")).unwrap();
        let worst = compare(kind, &Schedule::new(betas, 1000, Arithmetic::Fp64), &settings, case);
        assert!(worst.iter().all(|worst| *worst < 1e-5), "{worst:?} {case}");
    }
}

#[test]
fn every_sampler_walks_every_scheduler_config_as_diffusers_does() {
    let golden = golden("schedulers.json");
    let mut worst = [0.0f64; 2];
    for walk in golden["walks"].as_array().unwrap() {
        let config = golden["configs"][walk[0].as_str().unwrap()].to_string();
        let config = SchedulerConfig::read(&config, Path::new("scheduler_config.json")).unwrap();
        let asked = walk[1].as_str().map(|name| SamplerKind::from_name(name).unwrap());
        let Prescribed { kind, schedule, settings } = prescribed_in(&config, asked, Arithmetic::Fp64).unwrap();
        let (timesteps, last) = if walk[5].is_null() { (&walk[5], &walk[4]) } else { (&walk[4], &walk[5]) };
        let case = json!({
            "walk": [walk[0], walk[1]], "steps": walk[2], "strength": walk[3], "timesteps": timesteps, "final": last,
        });
        let found = compare(kind, &schedule, &settings, &case);
        // The fake model grows what float32 rounds away: tenfold and more in each of LCM's steps from noise.
        assert!(found[0] < 1e-7 && found[1] < 1e-4, "{found:?} {case}");
        worst = [worst[0].max(found[0]), worst[1].max(found[1])];
    }
    println!("worst in float64 {:.1e}, in float32 {:.1e}", worst[0], worst[1]);
}

#[test]
fn levels_between_timesteps_are_rounded_to_those_that_diffusers_tables_say() {
    for walk in golden("levels.json").as_array().unwrap() {
        let config = SchedulerConfig::read(&walk["config"].to_string(), Path::new("scheduler_config.json")).unwrap();
        let Prescribed { schedule, settings, .. } = prescribed(&config, None).unwrap();
        let is_dpm = walk["config"]["_class_name"] == "DPMSolverMultistepScheduler";
        for (steps, theirs) in walk["timesteps"].as_object().unwrap() {
            let number = steps.parse().unwrap();
            // The levels alone: what of them a sampler then refuses is another matter.
            let ours = match is_dpm {
                true => Walk::of_dpm_solver(&schedule, number, &settings),
                false => Walk::of_unipc(&schedule, number, &settings),
            };
            assert_eq!(ours.timesteps, numbers(theirs), "{steps} steps of {}", walk["config"]);
        }
    }
}

#[test]
fn names_and_kinds_go_both_ways_and_unknown_ones_are_refused() {
    for kind in SamplerKind::ALL {
        assert_eq!(SamplerKind::from_name(kind.name()).unwrap(), kind);
    }
    let message = SamplerKind::from_name("heun").unwrap_err().to_string();
    assert_eq!(
        message,
        "there is no sampler `heun`; allowed: `ddim`, `dpm++2m`, `dpm++2m-karras`, `euler`, `euler-a`, `unipc`, `pndm`, \
         `ddpm`, `lcm`"
    );
}

fn refused(kind: SamplerKind, steps: usize, settings: &Settings) -> String {
    let schedule = Schedule::new(Betas::ScaledLinear { start: 0.00085, end: 0.012 }, 1000, Arithmetic::Fp64);
    match kind.start(&schedule, steps, settings) {
        Ok(_) => panic!("{kind:?} walks {steps} steps"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_sampler_takes_one_step_and_none_takes_no_step_or_more_than_the_schedule_has() {
    let schedule = Schedule::new(Betas::Cosine, 1000, Arithmetic::Fp64);
    for kind in SamplerKind::ALL {
        let settings = Settings { prediction: Prediction::V, spacing: Spacing::Trailing, ..Settings::default() };
        kind.start(&schedule, 1, &settings).unwrap();
        for steps in [0, 1001] {
            assert_eq!(refused(kind, steps, &settings), format!("a sampler takes 1 to 1000 steps, not {steps}"));
        }
    }
}

#[test]
fn steps_that_a_sampler_cannot_walk_are_refused() {
    let settings = Settings { steps_offset: 1, ..Settings::default() };
    assert_eq!(
        refused(SamplerKind::Ddim, 1000, &settings),
        "1000 steps with `steps_offset` 1 would visit timestep 1000 of 0 to 999; take fewer steps"
    );
    assert_eq!(
        refused(SamplerKind::DpmSolver2M { karras: false }, 1000, &settings),
        "1000 steps are too many for the sampler `dpm++2m`: two of them would start at one noise level"
    );
    assert_eq!(
        refused(SamplerKind::UniPc, 1000, &settings),
        "1000 steps are too many for the sampler `unipc`: two of them would start at one noise level"
    );
    assert_eq!(
        refused(SamplerKind::Lcm, 51, &settings),
        "the sampler `lcm` takes 1 to 50 steps (`original_inference_steps`), not 51"
    );
    let settings = Settings { runge_kutta: true, ..Settings::default() };
    assert_eq!(
        refused(SamplerKind::Pndm, 3, &settings),
        "the sampler `pndm` with Runge-Kutta steps takes at least 4 steps, not 3"
    );
}

#[test]
fn noise_cannot_be_predicted_from_noise_alone() {
    let plain = Schedule::new(Betas::ScaledLinear { start: 0.00085, end: 0.012 }, 1000, Arithmetic::Fp64);
    let zero = plain.with_zero_terminal_snr();
    let settings = Settings { spacing: Spacing::Trailing, ..Settings::default() };
    let Err(error) = SamplerKind::Ddim.start(&zero, 5, &settings) else { panic!("it starts") };
    assert_eq!(
        error.to_string(),
        "the sampler `ddim` cannot start from noise alone (`rescale_betas_zero_snr`) with a network that predicts noise; \
         `euler`, `euler-a`, `dpm++2m` and `unipc` can"
    );
    SamplerKind::Euler.start(&zero, 5, &settings).unwrap();
    SamplerKind::Ddim.start(&zero, 5, &Settings { spacing: Spacing::Leading, ..settings.clone() }).unwrap();
    SamplerKind::Ddim.start(&zero, 5, &Settings { prediction: Prediction::V, ..settings }).unwrap();
}

#[test]
fn strength_is_the_share_of_the_walk() {
    assert_eq!([1.0, 0.6, 0.5, 0.01].map(|strength| start_index(25, 25, strength)), [0, 10, 13, 24]);
    // Of PNDM's extra call all that diffusers walks is that one, where the strength is less than a step.
    assert_eq!([1.0, 0.6, 0.01].map(|strength| start_index(25, 26, strength)), [0, 10, 25]);
}

#[test]
fn noise_of_an_image_depends_on_its_key_alone_and_each_step_has_its_own() {
    let one = noise(&[[1; 32]], &[3, 2, 2]);
    let two = noise(&[[0; 32], [1; 32]], &[3, 2, 2]);
    assert_eq!((two.size(), two.get(1)), (vec![2, 3, 2, 2], one.get(0)));
    assert_ne!(two.get(0), two.get(1));
    let steps = [0, 3].map(|index| step_noise(&[[1; 32]], index, &[3, 2, 2]));
    assert_eq!(steps[1], step_noise(&[[0; 32], [1; 32]], 3, &[3, 2, 2]).narrow(0, 1, 1));
    assert!(steps[0] != steps[1] && steps[0] != one);
}

#[test]
fn a_step_that_wants_noise_and_gets_none_is_an_error() {
    let schedule = Schedule::new(Betas::Cosine, 1000, Arithmetic::Fp64);
    let settings = Settings { prediction: Prediction::V, ..Settings::default() };
    let x = ramp(4, 1.0);
    for kind in [SamplerKind::EulerAncestral, SamplerKind::Ddpm, SamplerKind::Lcm] {
        let mut sampler = kind.start(&schedule, 4, &settings).unwrap();
        assert!(sampler.wants_noise(0) && !sampler.wants_noise(3));
        let error = sampler.step(&x, 0, &x, None).unwrap_err().to_string();
        assert!(error.contains("wants noise and was given none"), "{error}");
        assert_eq!(sampler.step(&x, 0, &x, Some(&x)).unwrap().size(), x.size());
    }
}
