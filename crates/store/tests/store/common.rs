//! Helpers of the store's tests.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use lineshaft_store::{Owner, Segment, SegmentWriter, SharedPage, Store, StoreError, StoreOptions};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// A spill directory that is removed at the end of a test. Removing it fails, and with it the test,
/// if a file is left in it.
pub struct SpillDir(PathBuf);

impl SpillDir {
    pub fn new(test: &str) -> SpillDir {
        let name = format!("lineshaft-store-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        SpillDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn store(&self, budget_bytes: u64, spill_max_bytes: Option<u64>) -> Store {
        let spill_dir = self.0.clone();
        Store::new(StoreOptions {
            budget_bytes,
            spill_dir,
            spill_max_bytes,
        })
        .unwrap()
    }

    pub fn writer(&self, store: &Store) -> SegmentWriter {
        let page = SharedPage::from_fd(store.budget_page().fd().unwrap()).unwrap();
        SegmentWriter::new(page, self.0.clone())
    }
}

impl Drop for SpillDir {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir(&self.0);
        assert!(
            removed.is_ok() || std::thread::panicking(),
            "a spill file has a name"
        );
    }
}

/// Bytes that tell one object from another.
pub fn content(seed: u64, bytes: u64) -> Vec<u8> {
    (0..bytes)
        .map(|at| (seed * 31 + at).to_le_bytes()[0] ^ (at >> 8).to_le_bytes()[0])
        .collect()
}

/// What an honest worker passes: a sealed memfd.
pub fn sealed(bytes: &[u8]) -> OwnedFd {
    let fd = memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    assert_eq!(rustix::io::pwrite(&fd, bytes, 0).unwrap(), bytes.len());
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// Runs the rest of the calling test in a process of its own, whose limits it may change. False in
/// the calling process, after that process has passed.
pub fn in_own_process(test: &str) -> bool {
    const MARK: &str = "LINESHAFT_STORE_TEST_CHILD";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    // A process that exceeds RLIMIT_FSIZE gets a signal unless it ignores it, as Python does.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads", "1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}"
    );
    false
}

/// Has the store take over a segment, and spill if that was one too many.
pub fn adopt(store: &Store, fd: OwnedFd, bytes: u64) -> Arc<Segment> {
    let segment = store.adopt(fd, bytes, Owner::Worker(1)).unwrap();
    // A full directory is told by the store's books.
    let _over_budget: Result<(), StoreError> = store.relieve();
    segment
}
