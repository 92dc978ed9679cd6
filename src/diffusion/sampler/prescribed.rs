//! From a checkpoint's scheduler config to a schedule and settings: what diffusers' `from_config` does between its classes.

use super::SamplerKind;
use super::settings::{Consistency, Levels, Prediction, Settings, Solver, Spacing, Variance};
use crate::checkpoint::scheduler::{BetaSchedule, Class, PredictionType, Scheduler, SchedulerConfig, TimestepSpacing};
use crate::diffusion::schedule::{Arithmetic, Betas, Schedule};
use crate::error::Result;

/// How a checkpoint is walked.
#[derive(Debug, Clone, PartialEq)]
pub struct Prescribed {
    pub kind: SamplerKind,
    pub schedule: Schedule,
    pub settings: Settings,
}

/// How to walk a checkpoint with this scheduler config by the sampler asked for, or by its own without one. The same names
/// walk as `XScheduler.from_config(pipe.scheduler.config)` in diffusers, so `dpm++2m` takes Karras levels too where the config
/// says `use_karras_sigmas`.
///
/// # Errors
/// [`crate::error::Error::Input`] for the first field of the config that cannot be honoured, by name.
pub fn prescribed(config: &SchedulerConfig, asked: Option<SamplerKind>) -> Result<Prescribed> {
    prescribed_in(config, asked, Arithmetic::Fp32)
}

/// As [`prescribed`], with the schedule computed in this arithmetic.
pub(super) fn prescribed_in(
    config: &SchedulerConfig,
    asked: Option<SamplerKind>,
    arithmetic: Arithmetic,
) -> Result<Prescribed> {
    let scheduler = match asked {
        None => config.own()?,
        Some(kind) => config.for_class(class(kind))?,
    };
    let kind = asked.unwrap_or_else(|| kind(&scheduler));
    Ok(Prescribed { kind, schedule: schedule(&scheduler, arithmetic), settings: settings(&scheduler) })
}

fn class(kind: SamplerKind) -> Class {
    match kind {
        SamplerKind::Ddim => Class::Ddim,
        SamplerKind::DpmSolver2M { .. } => Class::DpmSolverMultistep,
        SamplerKind::Euler => Class::EulerDiscrete,
        SamplerKind::EulerAncestral => Class::EulerAncestral,
        SamplerKind::UniPc => Class::UniPcMultistep,
        SamplerKind::Pndm => Class::Pndm,
        SamplerKind::Ddpm => Class::Ddpm,
        SamplerKind::Lcm => Class::Lcm,
    }
}

fn kind(scheduler: &Scheduler) -> SamplerKind {
    match scheduler.class {
        Class::Ddim => SamplerKind::Ddim,
        Class::DpmSolverMultistep => SamplerKind::DpmSolver2M { karras: scheduler.use_karras_sigmas },
        Class::EulerDiscrete => SamplerKind::Euler,
        Class::EulerAncestral => SamplerKind::EulerAncestral,
        Class::UniPcMultistep => SamplerKind::UniPc,
        Class::Pndm => SamplerKind::Pndm,
        Class::Ddpm => SamplerKind::Ddpm,
        Class::Lcm => SamplerKind::Lcm,
    }
}

fn schedule(scheduler: &Scheduler, arithmetic: Arithmetic) -> Schedule {
    let (start, end) = (scheduler.beta_start, scheduler.beta_end);
    let betas = match scheduler.beta_schedule {
        BetaSchedule::Linear => Betas::Linear { start, end },
        BetaSchedule::ScaledLinear => Betas::ScaledLinear { start, end },
        BetaSchedule::SquaredCosine => Betas::Cosine,
    };
    let schedule = match &scheduler.trained_betas {
        Some(trained) => Schedule::given(betas, trained.clone(), arithmetic),
        None => Schedule::new(betas, scheduler.num_train_timesteps, arithmetic),
    };
    if scheduler.rescale_betas_zero_snr { schedule.with_zero_terminal_snr() } else { schedule }
}

fn settings(scheduler: &Scheduler) -> Settings {
    Settings {
        prediction: match scheduler.prediction_type {
            PredictionType::Epsilon => Prediction::Epsilon,
            PredictionType::V => Prediction::V,
            PredictionType::Sample => Prediction::Sample,
        },
        spacing: match scheduler.timestep_spacing {
            TimestepSpacing::Leading => Spacing::Leading,
            TimestepSpacing::Trailing => Spacing::Trailing,
            TimestepSpacing::Linspace => Spacing::Linspace,
        },
        steps_offset: scheduler.steps_offset,
        clip: scheduler.clip,
        end_clean: scheduler.set_alpha_to_one,
        levels: Levels {
            karras: scheduler.use_karras_sigmas,
            lowest: scheduler.sigma_min,
            highest: scheduler.sigma_max,
            end_at_lowest: scheduler.ends_at_sigma_min,
        },
        solver: Solver {
            order: scheduler.solver_order,
            heun: scheduler.heun,
            bh1: scheduler.bh1,
            lower_order_final: scheduler.lower_order_final,
            euler_at_final: scheduler.euler_at_final,
            lowest_lambda: scheduler.lambda_min_clipped,
            uncorrected: scheduler.disable_corrector.clone(),
        },
        variance: if scheduler.large_variance { Variance::Large } else { Variance::Small },
        consistency: Consistency { steps: scheduler.original_inference_steps, scaling: scheduler.timestep_scaling },
        runge_kutta: !scheduler.skip_prk_steps,
    }
}
