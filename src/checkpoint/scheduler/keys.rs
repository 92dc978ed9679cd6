//! Which class of scheduler looks at which field: diffusers' constructors as a table.

use super::Class::{self, Ddim, Ddpm, DpmSolverMultistep, EulerAncestral, EulerDiscrete, Lcm, Pndm, UniPcMultistep};

/// Fields that say where a file comes from and change no walk.
pub(super) const WITHOUT_MEANING: [&str; 3] = ["_diffusers_version", "_name_or_path", "_commit_hash"];

const ALL: &[Class] = &Class::ALL;
const CLIPPING: &[Class] = &[Ddim, Ddpm, Lcm];
const THRESHOLDING: &[Class] = &[Ddim, DpmSolverMultistep, UniPcMultistep, Ddpm, Lcm];
const LEVELS: &[Class] = &[DpmSolverMultistep, EulerDiscrete, UniPcMultistep];
const SOLVERS: &[Class] = &[DpmSolverMultistep, UniPcMultistep];

/// Every known field with the classes that it concerns; the others leave it aside, as diffusers does.
pub(super) const KEYS: &[(&str, &[Class])] = &[
    ("num_train_timesteps", ALL),
    ("beta_start", ALL),
    ("beta_end", ALL),
    ("beta_schedule", ALL),
    ("trained_betas", ALL),
    ("prediction_type", ALL),
    ("timestep_spacing", ALL),
    ("steps_offset", ALL),
    ("rescale_betas_zero_snr", &[Ddim, DpmSolverMultistep, EulerDiscrete, EulerAncestral, UniPcMultistep, Ddpm, Lcm]),
    ("skip_prk_steps", &[Pndm]),
    ("set_alpha_to_one", &[Pndm, Ddim, Lcm]),
    ("clip_sample", CLIPPING),
    ("clip_sample_range", CLIPPING),
    ("thresholding", THRESHOLDING),
    ("dynamic_thresholding_ratio", THRESHOLDING),
    ("sample_max_value", THRESHOLDING),
    ("use_karras_sigmas", LEVELS),
    ("use_exponential_sigmas", LEVELS),
    ("use_beta_sigmas", LEVELS),
    ("sigma_min", LEVELS),
    ("sigma_max", LEVELS),
    ("final_sigmas_type", LEVELS),
    ("interpolation_type", &[EulerDiscrete]),
    ("timestep_type", &[EulerDiscrete]),
    ("solver_order", SOLVERS),
    ("solver_type", SOLVERS),
    ("lower_order_final", SOLVERS),
    ("use_flow_sigmas", SOLVERS),
    ("flow_shift", SOLVERS),
    ("use_dynamic_shifting", SOLVERS),
    ("time_shift_type", SOLVERS),
    ("algorithm_type", &[DpmSolverMultistep]),
    ("euler_at_final", &[DpmSolverMultistep]),
    ("use_lu_lambdas", &[DpmSolverMultistep]),
    ("lambda_min_clipped", &[DpmSolverMultistep]),
    ("variance_type", &[DpmSolverMultistep, Ddpm]),
    ("predict_x0", &[UniPcMultistep]),
    ("disable_corrector", &[UniPcMultistep]),
    ("solver_p", &[UniPcMultistep]),
    ("shift_terminal", &[UniPcMultistep]),
    ("original_inference_steps", &[Lcm]),
    ("timestep_scaling", &[Lcm]),
];
