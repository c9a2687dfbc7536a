//! Transcripts: `transcripts/*.txt` say what is asked and what comes of it, as text that can be read and reviewed.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test -p logrun-group --test transcripts` writes them anew; the difference is then to be
//! judged, not trusted.

mod common;

use std::path::Path;

use common::{World, config};
use logrun_group::GroupConfig;

fn play(text: &str) -> String {
    let mut world = World::new(GroupConfig::default());
    let mut out = String::new();
    for line in text.lines().filter(|l| !l.starts_with("  ")) {
        out.push_str(line);
        out.push('\n');
        let is_command = !line.trim().is_empty() && !line.starts_with('#');
        if let Some(options) = line.strip_prefix("config ") {
            world = World::new(config(options));
        } else if is_command {
            out.push_str(&world.line(line));
        }
    }
    out
}

#[test]
fn transcripts_are_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let mut paths: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "transcripts are missing");
    let mut differing = Vec::new();
    for path in paths {
        let written = std::fs::read_to_string(&path).unwrap();
        let played = play(&written);
        if update {
            std::fs::write(&path, &played).unwrap();
        } else if written != played {
            let line = written.lines().zip(played.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let at = |text: &str| text.lines().skip(line.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n");
            differing.push(format!(
                "{} from line {}:\n--- written\n{}\n--- played\n{}",
                path.display(),
                line + 1,
                at(&written),
                at(&played)
            ));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}
