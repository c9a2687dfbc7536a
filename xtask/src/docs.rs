//! Rewrites the reference pages in `docs/` from the tables that they describe.

use std::path::Path;

/// Writes every page; says which changed.
///
/// # Errors
/// If a page can't be written.
pub fn run(docs: &Path) -> Result<(), String> {
    let pages = [("configs.md", logrun_config::page::markdown())];
    std::fs::create_dir_all(docs).map_err(|e| format!("{}: {e}", docs.display()))?;
    for (name, page) in pages {
        let path = docs.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|before| before == page) {
            continue;
        }
        std::fs::write(&path, page).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
