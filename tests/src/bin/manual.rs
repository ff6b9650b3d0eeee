//! Writes manual pages and shell completions, made from the parser of the command line: `manual DIR`.

use std::{env, fs, path::PathBuf};

use anyhow::Context as _;
use clap_complete::Shell;

fn main() -> anyhow::Result<()> {
    let dir = env::args_os().nth(1).context("usage: manual DIR")?;
    let dir = PathBuf::from(dir);
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    for dir in [&man, &completions] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let command = cordon::cli::definition();
    clap_mangen::generate_to(command.clone(), &man).context("cannot write the manual pages")?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "cordon", &completions)
            .with_context(|| format!("cannot write completions for {shell}"))?;
    }
    Ok(())
}
