//! Where tensors live and in which precision: choosing a device, opening CUDA at run time, naming the machine.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::{Mutex, OnceLock};

use tch::{Device, Kind};

use crate::error::{Error, Result};

/// libtorch's version that this binary was built against.
pub const LIBTORCH: &str = "2.11.0";

/// Floating-point format of a network's weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Fp32,
    Bf16,
    Fp16,
}

impl Precision {
    /// As recipes write it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Bf16 => "bf16",
            Precision::Fp16 => "fp16",
        }
    }

    /// tch's name for it.
    pub fn kind(self) -> Kind {
        match self {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
            Precision::Fp16 => Kind::Half,
        }
    }
}

/// Opens libtorch's CUDA half where it and its libraries are installed; before the first question about CUDA, since
/// libtorch keeps its first answer. Returns what dlopen said when it could not.
pub fn open_cuda() -> std::result::Result<(), String> {
    static OPENED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    OPENED
        .get_or_init(|| {
            let name = CString::new("libtorch_cuda.so").expect("no NUL inside");
            // SAFETY: a library's constructors run; libtorch_cuda registers its kernels in libtorch_cpu's tables.
            let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
            if !handle.is_null() {
                return Ok(());
            }
            // SAFETY: dlerror returns a NUL-terminated string or null, valid until the next dl call of this thread.
            let message = unsafe {
                let text = libc::dlerror();
                if text.is_null() {
                    "no reason given".into()
                } else {
                    CStr::from_ptr(text).to_string_lossy().into_owned()
                }
            };
            Err(message)
        })
        .clone()
}

/// The same bits from the same inputs on a GPU, as far as its libraries can. cuBLAS looks for its variable when it is first
/// used, which is later; one that is set already stays.
fn reproducible() {
    // SAFETY: called before tensors are on a GPU, from the thread that reads the command line.
    unsafe { libc::setenv(c"CUBLAS_WORKSPACE_CONFIG".as_ptr(), c":4096:8".as_ptr(), 0) };
    torch_shim::set_reproducible();
}

/// The device that `auto`, `cpu`, `cuda` or `cuda:N` names.
///
/// # Errors
/// [`Error::Usage`] for another name, [`Error::Input`] where the named GPU is not there.
pub fn select(name: &str) -> Result<Device> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" | "cuda" => 0,
        _ => name.strip_prefix("cuda:").and_then(|n| n.parse().ok()).ok_or_else(|| {
            Error::Usage(format!("unknown device `{name}`; allowed: `auto`, `cpu`, `cuda`, `cuda:N`"))
        })?,
    };
    let opened = open_cuda();
    let count = if opened.is_ok() { tch::Cuda::device_count() } else { 0 };
    if (index as i64) < count {
        reproducible();
        return Ok(Device::Cuda(index));
    }
    if name == "auto" {
        return Ok(Device::Cpu);
    }
    let why = match opened {
        Err(message) => message,
        Ok(()) => format!("libtorch sees {count} GPUs"),
    };
    Err(Error::input_help(
        format!("device `{name}` is not there: {why}"),
        "`birdaug doctor` shows the devices; `--device cpu` always works",
    ))
}

/// The device class that stands in records: a CPU's vector capability, or a GPU's kind.
pub fn class(device: Device) -> String {
    match device {
        Device::Cpu => {
            static CPU: OnceLock<String> = OnceLock::new();
            CPU.get_or_init(cpu_class).clone()
        }
        Device::Cuda(index) => {
            static GPUS: Mutex<BTreeMap<usize, String>> = Mutex::new(BTreeMap::new());
            // Asked once a GPU: each record carries the name.
            let mut gpus = GPUS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let name = || format!("cuda:{}", gpu_name(index).unwrap_or_else(|| "unknown".into()));
            gpus.entry(index).or_insert_with(name).clone()
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

fn cpu_class() -> String {
    let features = cpu_features();
    let named: Vec<&str> =
        ["avx2", "avx512f", "avx512bf16", "amx-bf16"].into_iter().filter(|name| features.contains(name)).collect();
    format!("cpu:{}", if named.is_empty() { "baseline".into() } else { named.join("+") })
}

/// A GPU's model by the driver's own name (`NVIDIA H200`): bits differ between models. The driver counts GPUs as libtorch
/// does. `None` where there is no driver to ask.
fn gpu_name(index: usize) -> Option<String> {
    type Init = unsafe extern "C" fn(u32) -> i32;
    type Get = unsafe extern "C" fn(*mut i32, i32) -> i32;
    type Name = unsafe extern "C" fn(*mut libc::c_char, i32, i32) -> i32;
    const LENGTH: usize = 256;
    let library = CString::new("libcuda.so.1").ok()?;
    // SAFETY: the driver's library is loaded already where libtorch uses a GPU; loading it again returns the same one.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW) };
    let symbol = |name: &str| {
        let name = CString::new(name).ok()?;
        // SAFETY: the handle was returned by dlopen and is never closed.
        let found = if handle.is_null() { std::ptr::null_mut() } else { unsafe { libc::dlsym(handle, name.as_ptr()) } };
        (!found.is_null()).then_some(found)
    };
    let (init, get, name) = (symbol("cuInit")?, symbol("cuDeviceGet")?, symbol("cuDeviceGetName")?);
    let (mut device, mut text) = (0i32, [0 as libc::c_char; LENGTH]);
    // SAFETY: the driver API's signatures since CUDA 2; the buffer is as long as it is said to be, and ends in NUL
    // because the call is given one byte less.
    let answered = unsafe {
        let (init, get, name) = (
            std::mem::transmute::<*mut libc::c_void, Init>(init),
            std::mem::transmute::<*mut libc::c_void, Get>(get),
            std::mem::transmute::<*mut libc::c_void, Name>(name),
        );
        init(0) == 0
            && get(&mut device, i32::try_from(index).ok()?) == 0
            && name(text.as_mut_ptr(), LENGTH as i32 - 1, device) == 0
    };
    // SAFETY: the array ends in NUL.
    answered.then(|| unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned())
}

/// The CPU features that decide which kernels libtorch picks.
pub fn cpu_features() -> Vec<&'static str> {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = flags.lines().find(|line| line.starts_with("flags")).unwrap_or("");
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    [
        ("avx2", "avx2"),
        ("avx512f", "avx512f"),
        ("avx512_bf16", "avx512bf16"),
        ("amx_tile", "amx-tile"),
        ("amx_bf16", "amx-bf16"),
    ]
    .into_iter()
    .filter(|(flag, _)| has(flag))
    .map(|(_, name)| name)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_device_is_refused_with_what_is_allowed() {
        let error = select("tpu").unwrap_err();
        assert_eq!(error.to_string(), "unknown device `tpu`; allowed: `auto`, `cpu`, `cuda`, `cuda:N`");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_gpu_without_a_driver_has_no_name_and_no_class_of_its_own() {
        if !std::path::Path::new("/proc/driver/nvidia").exists() {
            assert_eq!(class(Device::Cuda(0)), "cuda:unknown");
        }
        assert!(class(Device::Cpu).starts_with("cpu:"));
    }

    #[test]
    fn auto_always_finds_a_device() {
        select("auto").unwrap();
        assert_eq!(select("cpu").unwrap(), Device::Cpu);
    }
}
