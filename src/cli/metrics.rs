//! `birdaug metrics`: two folders of images against each other.

mod pairs;
mod sets;

use super::args::{Global, Metrics, MetricsCommand};
use crate::error::Result;
use crate::run::inception;
use crate::score::ms_ssim::ms_ssim;
use crate::score::ssim::ssim;

/// Measures two folders against each other.
pub fn run(options: &Metrics, global: &Global) -> Result<()> {
    match &options.command {
        MetricsCommand::Ssim(both) => pairs::run(both, "ssim", ssim),
        MetricsCommand::MsSsim(both) => pairs::run(both, "ms-ssim", ms_ssim),
        MetricsCommand::Fid(set) => sets::fid(set, global),
        MetricsCommand::Kid(set) => sets::kid(set, global),
        MetricsCommand::Prdc { set, k } => sets::prdc(set, *k, global),
        MetricsCommand::Convert { from, to } => inception::convert(from, to),
    }
}
