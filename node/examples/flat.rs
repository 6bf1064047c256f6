//! x
#![allow(clippy::all, clippy::pedantic, missing_docs, reason = "experiment")]
use accord_node::domain::disclosure::{chooser::*, star::*};
use std::collections::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let insiders = std::env::var("NOINS").is_err();
    let env = |n: &str, d: u64| std::env::var(n).map_or(d, |v| v.parse().unwrap());
    let (wm, wq, wy) = (env("WM", 1), env("WQ", 1), env("WY", 2));
    for path in &args[1..] {
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<(u32, u32, String)> = text
            .lines()
            .map(|l| {
                let f: Vec<&str> = l.split('\t').collect();
                (f[0].parse().unwrap(), f[1].parse().unwrap(), f[2].to_owned())
            })
            .collect();
        let drugs: BTreeSet<&str> = rows.iter().map(|r| r.2.as_str()).collect();
        let years: BTreeSet<u32> = rows.iter().map(|r| r.0).collect();
        let mut shown = [0u64; 3];
        let mut primary = [0u64; 3];
        let mut all = 0u64;
        let mut effort = (0, 0, 0);
        let start = std::time::Instant::now();
        for year in years {
            let mut nodes = Vec::new();
            let mut levels = Vec::new();
            let mut bases = Vec::new();
            let mut add = |lines: u64, weight: u64, national: bool, level: usize| {
                let index = nodes.len() as u32;
                nodes.push(Node { lines, cases: lines, lead: index, offered: true, weight, national, key: (0, [0; 8], 0), links: Vec::new() });
                levels.push(level);
                index
            };
            let count = |from: u32, to: u32, drug: Option<&str>| {
                rows.iter().filter(|r| r.0 == year && (from..=to).contains(&r.1) && drug.is_none_or(|d| d == r.2)).count() as u64
            };
            let total = add(count(1, 12, None), 2, true, 3);
            for drug in &drugs {
                let y = add(count(1, 12, Some(drug)), wy, false, 2);
                for q in 0..4 {
                    let qn = add(count(q * 3 + 1, q * 3 + 3, Some(drug)), wq, false, 1);
                    for m in q * 3 + 1..=q * 3 + 3 {
                        let n = count(m, m, Some(drug));
                        let mn = add(n, wm, false, 0);
                        let cases = if n == 0 { Cases::None } else if n == 1 { Cases::One(mn) } else { Cases::Many };
                        bases.push((Base { lines: n, cases, table: 0, seen: n > 0 }, vec![total, y, qn, mn], NONE));
                    }
                }
            }
            let star = Star::from_parts(nodes, bases);
            let unsafe_nodes: Vec<bool> = star.nodes.iter().map(|n| n.cases < 5).collect();
            let protect: Vec<bool> = star.nodes.iter().enumerate().map(|(i, n)| n.offered && n.lead as usize == i && n.cases < 5).collect();
            let task = Task { star: &star, must_hide: &unsafe_nodes, protect: &protect, width: 5, k: 5, clean_up_max: std::env::var("CLEAN").map_or(2000, |v| v.parse().unwrap()), insiders };
            let choice = choose(&task);
            effort.0 += choice.effort.programmes;
            effort.1 += choice.without.len();
            effort.2 += choice.effort.fractional;
            if std::env::var("SHOW").is_ok() {
                for (i, n) in star.nodes.iter().enumerate().filter(|(i, n)| choice.hidden[*i] && n.cases >= 5) {
                    let d: Vec<&&str> = drugs.iter().collect();
                    println!("  {year} level {} drug {} number {} lines {}", levels[i], d[(i - 1) / 17], (i - 1) % 17, n.lines);
                }
                println!("  without {:?}", choice.without.iter().map(|n| (&star.nodes[*n as usize].lines, (*n - 1) % 17, drugs.iter().nth((*n as usize - 1) / 17))).collect::<Vec<_>>());
            }
            all += star.nodes[0].lines;
            for (i, n) in star.nodes.iter().enumerate().filter(|(i, _)| levels[*i] < 3) {
                primary[levels[i]] += if n.cases >= 5 { n.lines } else { 0 };
                shown[levels[i]] += if choice.hidden[i] { 0 } else { n.lines };
            }
        }
        let f = |a: [u64; 3]| a.map(|v| (v as f64 / all as f64 * 1000.0).round() / 1000.0);
        println!("{path}: lines {all} primary {:?} shown m/q/y {:?}  programmes {} without {} fractional {} {:?}", f(primary), f(shown), effort.0, effort.1, effort.2, start.elapsed());
    }
}
