//! One code for vectors of every width. Knows nothing of what it is used for.

/// Defines a function that runs the inlined function after the `=`, compiled for the widest vectors that the machine has, at
/// most for those that are named first: `avx512` where much is streamed, `avx2` where little is kept in registers.
/// Multiplications and additions are not fused, so that the bits are the same on every machine. Loops in it are written
/// out: closures and iterators may stay calls there, without vectors.
macro_rules! widest {
    (avx512: $(#[$doc:meta])* fn $name:ident($($arg:ident: $kind:ty),* $(,)?) -> $out:ty = $plain:path) => {
        $(#[$doc])*
        fn $name($($arg: $kind),*) -> $out {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $kind),*) -> $out {
                    $plain($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: the machine has these, as was just asked.
                    return unsafe { avx512($($arg),*) };
                }
            }
            widest! { avx2: fn narrower($($arg: $kind),*) -> $out = $plain }
            narrower($($arg),*)
        }
    };
    (avx2: $(#[$doc:meta])* fn $name:ident($($arg:ident: $kind:ty),* $(,)?) -> $out:ty = $plain:path) => {
        $(#[$doc])*
        fn $name($($arg: $kind),*) -> $out {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $kind),*) -> $out {
                    $plain($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the machine has AVX2, as was just asked.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $plain($($arg),*)
        }
    };
}

/// Asks for a value from memory, for soon.
#[inline(always)]
pub fn fetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of::<T>()).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>().add(at)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
