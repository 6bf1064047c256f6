//! x
#![allow(clippy::all, clippy::pedantic, missing_docs, reason = "experiment")]
use accord_node::domain::contribution::{Contributions, Leaves};
use accord_node::domain::disclosure::star::{Filled, Star};
use accord_node::domain::tabulate::tabulate;
use accord_node::io::store::Store;
use accord_protocol::{catalogue::*, edition::Layout};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (store, stored) = Store::open(std::path::Path::new(&args[1]), 1 << 26).unwrap();
    let country = &args[2];
    let catalogue = Catalogue::parse(SHIPPED).unwrap();
    let leaves = Leaves::new(&catalogue, country).unwrap();
    let mut contributions = Contributions::default();
    for lines in store.lines(&stored.index) {
        for line in lines.unwrap() {
            contributions.add(&line, &leaves);
        }
    }
    for kind in [Kind::Seizure, Kind::Purity, Kind::Price] {
        for year in stored.coverage.years(kind) {
            let start = std::time::Instant::now();
            let tables: Vec<&Table> = catalogue.tables().iter().filter(|t| t.kind == kind && t.margins).collect();
            let layouts: Vec<Layout> = tables.iter().map(|t| Layout::new(t, country, year).unwrap()).collect();
            let raws: Vec<_> = tables.iter().zip(&layouts).map(|(t, l)| tabulate(t, l, &contributions, year)).collect();
            let t1 = start.elapsed();
            let filled: Vec<Filled> =
                tables.iter().zip(&layouts).zip(&raws).map(|((table, layout), cells)| Filled { table, layout, cells }).collect();
            let lines = contributions.year(kind, year);
            let star = Star::new(&filled, lines, year, &|_| true);
            println!(
                "{kind} {year}: lines {} nodes {} primary {} bases {} nonzero {} anc {} tab {:?} star {:?}",
                lines.len(),
                star.nodes.len(),
                star.nodes.iter().filter(|n| n.cases < 5 && n.offered).count(),
                star.bases.len(),
                star.bases.iter().filter(|b| b.lines > 0).count(),
                (0..star.bases.len()).map(|b| star.above(b).len()).sum::<usize>(),
                t1,
                start.elapsed() - t1
            );
            if lines.is_empty() { continue; }
            let start = std::time::Instant::now();
            let unsafe_nodes: Vec<bool> = star.nodes.iter().map(|n| n.cases < 5).collect();
            let protect: Vec<bool> = star.nodes.iter().enumerate().map(|(i, n)| n.offered && n.lead as usize == i && n.cases < 5).collect();
            let task = accord_node::domain::disclosure::chooser::Task { star: &star, must_hide: &unsafe_nodes, protect: &protect, width: 5, k: 5, clean_up_max: std::env::var("CLEAN").map_or(2000, |v| v.parse().unwrap()), insiders: std::env::var("NOINS").is_err() };
            let choice = accord_node::domain::disclosure::chooser::choose(&task);
            println!("   {:?} without {} in {:?}", choice.effort, choice.without.len(), start.elapsed());
            for (at, of) in filled.iter().enumerate() {
                for (set, first) in of.layout.sets() {
                    let size: usize = of.layout.numbers(set).iter().map(Vec::len).product();
                    let (mut all, mut prim, mut shown, mut cells, mut cshown) = (0, 0, 0, 0, 0);
                    for c in *first..*first + size {
                        let n = star.numbers[at][c * of.layout.width()] as usize;
                        let node = &star.nodes[n];
                        all += node.cases;
                        cells += (node.cases > 0) as u32;
                        if node.cases >= 5 { prim += node.cases; }
                        if !choice.hidden[n] { shown += node.cases; cshown += 1; }
                    }
                    println!("      {} {:?}: primary {:.3} shown {:.3}  cells {cshown}/{cells}", of.table.name, set.levels, prim as f64 / all as f64, shown as f64 / all as f64);
                }
            }
            if std::env::var("ONE").is_ok() { return; }
        }
    }
}
