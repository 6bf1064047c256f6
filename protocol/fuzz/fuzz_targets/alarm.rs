//! Shows that a run fails when it must: every input but the empty one breaks one promise that the other targets rest on.
#![no_main]

use std::hint::black_box;

use accord_fuzz::guard::{HELD_MAX, KEPT_MAX};

accord_fuzz::target!(alarm);

fn alarm(data: &[u8]) {
    match data {
        b"panic" => assert!(data.is_empty(), "a panic"),
        b"caught" => drop(std::panic::catch_unwind(|| assert!(black_box(false), "a panic that somebody catches"))),
        b"overflow" => drop(black_box(black_box(u8::MAX) + black_box(1))),
        b"debug" => debug_assert!(black_box(false), "a debug assertion"),
        // Asked for and never written to: no page of it is ever resident.
        b"reserve" => drop(black_box(Vec::<u8>::with_capacity(HELD_MAX + 1))),
        b"zeroed" => drop(black_box(vec![0u8; HELD_MAX + 1])),
        b"pieces" => drop(black_box((0..=64).map(|_| vec![0u8; HELD_MAX / 64]).collect::<Vec<_>>())),
        b"grow" => drop(black_box((0..=HELD_MAX as u64 / 8).collect::<Vec<u64>>())),
        b"keep" => std::mem::forget(black_box(vec![0u8; KEPT_MAX + 1])),
        b"hang" => while black_box(true) {},
        _ => {}
    }
}
