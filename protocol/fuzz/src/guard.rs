//! The guard: an input that makes the program hold more than 64 MiB, or keep memory behind, ends the run as a crash.
//!
//! Without a sanitizer libFuzzer does not see single allocations, so `-malloc_limit_mb` does nothing, and `-rss_limit_mb` looks at
//! pages that were touched, once a second: memory that was asked for and not written to, or given back in time, passes both. This
//! allocator counts every byte that Rust code asks for, when it asks. What C code takes (ring, the fuzzer itself) is not counted
//! here; for that there is `-rss_limit_mb`.

#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; it passes every call on to the system's and only counts"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    panic,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// What one input may make the program hold at once, in bytes.
pub const HELD_MAX: usize = 64 << 20;
/// What all inputs together may leave behind, in bytes: code lists that are read once, nothing that grows.
pub const KEPT_MAX: usize = 16 << 20;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static CEILING: AtomicUsize = AtomicUsize::new(usize::MAX);
static FIRST: AtomicUsize = AtomicUsize::new(usize::MAX);

#[global_allocator]
static GUARD: Guard = Guard;

struct Guard;

/// Bytes that Rust code holds now.
pub fn live() -> usize {
    LIVE.load(Relaxed)
}

/// Runs one input.
pub fn watch(run: impl FnOnce()) {
    static HOOK: Once = Once::new();
    HOOK.call_once(lift_for_reports);
    let before = live();
    FIRST.fetch_min(before, Relaxed);
    CEILING.store(before + HELD_MAX, Relaxed);
    run();
    CEILING.store(usize::MAX, Relaxed);
    let kept = live().saturating_sub(FIRST.load(Relaxed));
    assert!(kept <= KEPT_MAX, "{kept} bytes are kept after the input: memory grows");
}

// Whoever prints a backtrace reads the program's debugging information, which is larger than what an input may hold.
fn lift_for_reports() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |about| {
        CEILING.store(usize::MAX, Relaxed);
        report(about);
    }));
}

fn count(size: usize) {
    let held = LIVE.fetch_add(size, Relaxed) + size;
    if held > CEILING.load(Relaxed) {
        CEILING.store(usize::MAX, Relaxed);
        eprintln!("one input holds more than {HELD_MAX} bytes; the last {size} are asked for here:");
        eprintln!("{}", Backtrace::force_capture());
        std::process::abort();
    }
}

// SAFETY: every call goes to the system's allocator with the arguments that came, and its result goes back as it is.
unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
