//! Comparing a fingerprint by telephone: the listener types two of its groups as heard, so that the step cannot be skipped.

use accord_edge::{linux, random};

use crate::output::Failure;

/// Groups that the listener types.
const GROUPS: usize = 2;

/// Groups given on the command line, `WHAT=12345,67890`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Vec<(String, Vec<String>)>);

impl Heard {
    /// Reads `--heard` of the command line.
    pub(crate) fn parse(given: &[String]) -> anyhow::Result<Self> {
        let bad = |text: &str| {
            let message = format!("--heard {text}: not NAME=GROUP,GROUP");
            Failure::usage("HEARD", message, "for example --heard IT-AGENCY=12345,67890")
        };
        let mut all = Vec::new();
        for text in given {
            let (what, groups) = text.split_once('=').ok_or_else(|| bad(text))?;
            let groups: Vec<String> = groups.split([',', ' ']).map(str::to_owned).collect();
            let digits = |group: &String| group.len() == 5 && group.bytes().all(|byte| byte.is_ascii_digit());
            if groups.len() != GROUPS || !groups.iter().all(digits) {
                return Err(bad(text).into());
            }
            all.push((what.to_owned(), groups));
        }
        Ok(Self(all))
    }

    /// Refuses unless two groups of the fingerprint were heard: given on the command line, or typed now. The fingerprint itself is
    /// not shown here: it has to come from the other side.
    pub(crate) fn compare(&self, what: &str, fingerprint: &str, who_reads: &str) -> anyhow::Result<()> {
        let groups: Vec<&str> = fingerprint.split(' ').collect();
        let differs = || {
            let message = format!("what you heard is not the fingerprint of {what}: nothing was signed");
            let next = format!(
                "{who_reads} reads it out again; if it still differs, somebody has put other keys in between: call the root holders"
            );
            anyhow::Error::new(Failure::refused("FINGERPRINT", message, next))
        };
        if let Some((_, heard)) = self.0.iter().find(|(name, _)| name == what) {
            // One group said twice counts twice only where the fingerprint has it twice.
            let often = |all: &[&str], group: &str| all.iter().filter(|one| **one == group).count();
            let said: Vec<&str> = heard.iter().map(String::as_str).collect();
            let all = said.iter().all(|group| often(&said, group) <= often(&groups, group));
            return if all { Ok(()) } else { Err(differs()) };
        }
        for place in places()? {
            let Some(expected) = groups.get(place) else { return Err(differs()) };
            let prompt = format!("{who_reads} reads out the fingerprint of {what}. Group {} of 8: ", place + 1);
            let typed = linux::ask_line(&prompt).map_err(|_| {
                let message =
                    format!("the fingerprint of {what} has to be compared, and there is no terminal to ask on");
                let next = format!("{who_reads} reads it out; give two of its groups: --heard {what}=GROUP,GROUP");
                Failure::usage("HEARD", message, next)
            })?;
            if typed.trim() != *expected {
                return Err(differs());
            }
        }
        Ok(())
    }
}

// Two different places of eight, in ascending order.
fn places() -> anyhow::Result<[usize; GROUPS]> {
    let [one, other]: [u8; GROUPS] = random::bytes()?;
    let first = usize::from(one % 8);
    let second = (first + 1 + usize::from(other % 7)) % 8;
    Ok([first.min(second), first.max(second)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_different_groups_of_the_fingerprint_pass() {
        let print = "00001 00002 00003 00004 00005 00006 00007 00008";
        let compare = |given: &str| Heard::parse(&[given.to_owned()]).and_then(|heard| heard.compare("IT", print, "x"));
        assert!(compare("IT=00003,00007").is_ok());
        let twice = "00001 00001 00003 00004 00005 00006 00007 00008";
        let heard = Heard::parse(&["IT=00001,00001".to_owned()]).unwrap();
        assert!(heard.compare("IT", twice, "x").is_ok());
        for bad in ["IT=00003,00009", "IT=00003,00003", "IT=00003", "IT=3,7", "IT", "IT=00003,00004,00005"] {
            assert!(compare(bad).is_err(), "{bad}");
        }
        for _ in 0..200 {
            let [first, second] = places().unwrap();
            assert!(first < second && second < 8);
        }
    }
}
