//! Takes the pages that `web/` was built into, or none: `LINESHAFT_WEB_DIST` says where they are.

use std::path::{Path, PathBuf};
use std::{env, fs};

const FILES: [&str; 3] = ["index.html", "app.js", "app.css"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LINESHAFT_WEB_DIST");
    let named = env::var_os("LINESHAFT_WEB_DIST").map(PathBuf::from);
    if let Some(folder) = &named {
        // Also if it is not there yet: then this runs again until it is.
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    let built = named.filter(|folder| FILES.iter().all(|name| folder.join(name).is_file()));
    let out = env::var_os("OUT_DIR").expect("cargo says where to write");
    for name in FILES {
        let page = match &built {
            Some(folder) => fs::read(folder.join(name)).expect("a file that is there can be read"),
            None => Vec::new(),
        };
        fs::write(Path::new(&out).join(name), page).expect("cargo's folder can be written to");
    }
}
