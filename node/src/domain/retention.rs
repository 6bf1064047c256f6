//! Which entries of the audit log may be destroyed, and which of its checkpoints need not stay then.

use accord_protocol::{log::tick::PAD_TO, time::UnixMs};

/// How far entries are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// Those before this place may be destroyed.
    pub up_to: u64,
    /// Whether more would be old enough, and have to stay until others know that they were there.
    pub waits: bool,
}

/// What may be destroyed of a log whose entries from `from` on, which are there, bear these times: what is older than `kept_from`, up to the
/// first entry that is not. Never beyond `known`, the size that others can hold this log to: what only this node has seen could
/// otherwise be destroyed before anybody could tell. In steps of what the log is filled up to, as its hashes are kept in pieces of so many.
pub fn over<E>(
    times: impl Iterator<Item = Result<UnixMs, E>>,
    from: u64,
    kept_from: UnixMs,
    known: u64,
) -> Result<Over, E> {
    // One step behind what is known says whether anything waits.
    let enough = known.max(from).saturating_add(PAD_TO);
    let mut old = from;
    for time in times {
        if time? >= kept_from || old >= enough {
            break;
        }
        old += 1;
    }
    let old = old / PAD_TO * PAD_TO;
    let up_to = old.min(known / PAD_TO * PAD_TO).max(from);
    Ok(Over { up_to, waits: old > up_to })
}

/// Of the checkpoints of a log's destroyed part the last of each calendar year stays: which ones go, and which is the last now. `last` is
/// the last of those that stayed so far, `closed` are the ones behind it in order, each with its size and the year of the entry before it.
pub fn superseded(last: Option<(u64, u16)>, closed: &[(u64, u16)]) -> (Vec<u64>, Option<(u64, u16)>) {
    let (mut last, mut go) = (last, Vec::new());
    for &(size, year) in closed {
        go.extend(last.filter(|(_, of)| *of == year).map(|(before, _)| before));
        last = Some((size, year));
    }
    (go, last)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn over_of(times: &[u64], from: u64, kept_from: u64, known: u64) -> (u64, bool) {
        let times = times.iter().map(|time| Ok::<_, Infallible>(UnixMs(*time)));
        let Ok(Over { up_to, waits }) = over(times, from, UnixMs(kept_from), known);
        (up_to, waits)
    }

    #[test]
    fn what_is_destroyed_is_old_known_to_others_and_in_front() {
        let times: Vec<u64> = (0..300).collect();
        for (kept_from, known, want) in [
            (0, 256, (0, false)),
            (63, 256, (0, false)),
            (64, 256, (64, false)),
            (127, 256, (64, false)),
            (200, 256, (192, false)),
            // The moment itself is kept.
            (256, 256, (256, false)),
            (1_000, 256, (256, false)),
            (1_000, 192, (192, true)),
            (130, 64, (64, true)),
            (127, 64, (64, false)),
            (1_000, 0, (0, true)),
            (10, 0, (0, false)),
            // Never more than is there.
            (1_000, 10_000, (256, false)),
        ] {
            assert_eq!(over_of(&times, 0, kept_from, known), want, "from {kept_from}, known {known}");
        }
    }

    #[test]
    fn an_entry_of_a_clock_that_ran_ahead_holds_back_what_is_behind_it() {
        let mut times: Vec<u64> = (0..300).collect();
        times[100] = 5_000;
        assert_eq!(over_of(&times, 0, 1_000, 256), (64, false));
    }

    #[test]
    fn what_was_destroyed_stays_so_whatever_is_known_now() {
        let times: Vec<u64> = (128..300).collect();
        assert_eq!(over_of(&times, 128, 0, 256), (128, false));
        assert_eq!(over_of(&times, 128, 1_000, 0), (128, true));
        assert_eq!(over_of(&times, 128, 200, 256), (192, false));
    }

    #[test]
    fn the_last_checkpoint_of_a_year_stays_however_often_it_is_looked_at() {
        let all = [(64, 2020), (128, 2020), (192, 2021), (256, 2021), (320, 2021), (384, 2023)];
        let at_once = superseded(None, &all);
        assert_eq!(at_once, (vec![64, 192, 256], Some((384, 2023))));
        for cut in 0..all.len() {
            let (first, last) = superseded(None, &all[..cut]);
            let (second, last) = superseded(last, &all[cut..]);
            assert_eq!(([first, second].concat(), last), at_once, "cut at {cut}");
        }
        assert_eq!(superseded(None, &[]), (vec![], None));
        // A clock that goes back begins a year anew, and loses nothing.
        assert_eq!(superseded(Some((64, 2021)), &[(128, 2020)]), (vec![], Some((128, 2020))));
    }
}
