//! Takes the pages that `web/` was built into, or none: `LINESHAFT_WEB_DIST` says where they are.

use std::path::{Path, PathBuf};
use std::{env, fs};

const FILES: [&str; 3] = ["index.html", "app.js", "app.css"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LINESHAFT_WEB_DIST");
    let built = env::var_os("LINESHAFT_WEB_DIST").map(PathBuf::from);
    let built = built.filter(|folder| FILES.iter().all(|name| folder.join(name).is_file()));
    if let Some(folder) = &built {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    let out = env::var_os("OUT_DIR").expect("cargo says where to write");
    for name in FILES {
        let page = match &built {
            Some(folder) => fs::read(folder.join(name)).expect("a file that is there can be read"),
            None => Vec::new(),
        };
        fs::write(Path::new(&out).join(name), page).expect("cargo's folder can be written to");
    }
}
