//! The figures as tables of Markdown, ready for the README.

use super::{
    Figures,
    paths::PathRow,
    row::{Row, Spread},
};

/// Prints everything.
pub fn print(figures: &Figures) {
    println!("Kernel {}, {}.\n", figures.kernel, figures.at);
    println!(
        "| packets (world table, counters on) | floor | time ÷ floor: min | median | max | ns, generator included |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: |");
    for row in &figures.packets {
        let [min, median, max] = row.ratio;
        println!(
            "| {} | {} | {min:.2} | **{median:.2}** | {max:.2} | {:.0} (floor {:.0}) |",
            row.name, row.floor, row.ns[1], row.floor_ns[1]
        );
    }
    println!("\n| publish (median ms) | read | compile | build | load | fill | verify | total (min - max) |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for row in &figures.publishes {
        let [min, median, max] = row.total_ms;
        println!(
            "| {} | {:.0} | {:.1} | {:.0} | {:.0} | {:.0} | {:.0} | **{median:.0}** ({min:.0} - {max:.0}) |",
            row.name,
            row.read_ms[1],
            row.compile_ms[1],
            row.build_ms[1],
            row.load_ms[1],
            row.fill_ms[1],
            row.verify_ms[1]
        );
    }
    if let Some(row) = figures.publishes.first() {
        let [v4, v6] = row.n_prefixes;
        println!("\nLocation tries: {v4} IPv4 and {v6} IPv6 prefixes.");
    }
    println!("\n| program | verified instructions | load, ms |\n| --- | ---: | ---: |");
    for program in &figures.programs {
        let size = program
            .verified_instructions
            .map_or_else(|| "?".to_owned(), |size| size.to_string());
        let load = program.load.map_or_else(
            || "?".to_owned(),
            |load| format!("{:.1}", load.as_secs_f64() * 1e3),
        );
        println!("| {} | {size} | {load} |", program.name);
    }
    println!();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let memory = &figures.memory;
    println!(
        "Memory: {:.1} MiB in the kernel for one generation ({:.1} MiB of it location tries); daemon {:.1} MiB at \
         rest, {:.1} MiB at its peak.",
        mib(memory.generation_bytes),
        mib(memory.location_bytes),
        mib(memory.daemon_rss_bytes),
        mib(memory.daemon_peak_bytes)
    );
}

/// Prints what look-ups cost.
pub fn print_lookups(rows: &[Row]) {
    println!("| look-up | who, ns | against, ns | ratio: min | median | max |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for row in rows {
        let median = |spread: &Option<Spread>| spread.as_ref().map_or(f64::NAN, |spread| spread.median);
        if let Some(other) = &row.against
            && let Some(ratio) = &other.ratio
        {
            println!(
                "| {} | {} {:.1} | {} {:.1} | {:.2} | **{:.2}** | {:.2} |",
                row.name,
                row.subject,
                median(&row.value),
                other.name,
                median(&other.value),
                ratio.min,
                ratio.median,
                ratio.max
            );
        }
    }
}

/// Prints the comparison of two builds.
pub fn print_paths(rows: &[PathRow]) {
    println!("| one prefix, one frame | before, ns | this build, ns | ratio: min | median | max |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for row in rows {
        let [min, median, max] = row.ratio;
        println!(
            "| {} | {:.0} | {:.0} | {min:.3} | **{median:.3}** | {max:.3} |",
            row.name, row.before_ns[1], row.ns[1]
        );
    }
}
