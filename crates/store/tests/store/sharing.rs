//! What other processes can and cannot do with a segment, and what they leave behind.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use crate::common::{SpillDir, content, in_own_process, sealed};
use lineshaft_store::{ALIGNMENT, Owner, SharedPage, StoreError, map_fd, map_fd_private};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;

const KIB: u64 = 1024;

#[test]
fn a_sealed_segment_cannot_be_changed() {
    let dir = SpillDir::new("seals");
    let store = dir.store(100 * KIB, None);
    let (segment, offsets) = store.put(&[b"header", &content(1, 5000)]).unwrap();
    assert_eq!(offsets, [0, ALIGNMENT]);
    let fd = segment.fd().unwrap();
    assert_eq!(rustix::io::pwrite(&fd, b"x", 0).unwrap_err(), Errno::PERM);
    assert_eq!(ftruncate(&fd, 0).unwrap_err(), Errno::PERM);
    assert_eq!(ftruncate(&fd, 1 << 20).unwrap_err(), Errno::PERM);
    assert_eq!(
        fcntl_add_seals(&fd, SealFlags::WRITE).unwrap_err(),
        Errno::PERM
    );
    let map = map_fd(fd.as_fd(), segment.bytes()).unwrap();
    assert_eq!(&map[..6], b"header");
    assert_eq!(map[64..], content(1, 5000));
}

#[test]
fn a_private_map_changes_nothing_but_itself() {
    let dir = SpillDir::new("private");
    for budget_bytes in [100 * KIB, 0] {
        let store = dir.store(budget_bytes, None);
        let (segment, _) = store.put(&[&content(1, 5000)]).unwrap();
        let fd = segment.fd().unwrap();
        let mut map = map_fd_private(fd.as_fd(), 5000).unwrap();
        map.as_mut().fill(0);
        assert_eq!(segment.map().unwrap().as_ref(), content(1, 5000));
        assert!(map.iter().all(|&byte| byte == 0));
    }
}

#[test]
fn only_what_can_no_longer_change_is_adopted() {
    let dir = SpillDir::new("adopt");
    let store = dir.store(100 * KIB, None);
    let refused = |fd: OwnedFd, bytes| store.adopt(fd, bytes, Owner::Worker(1)).unwrap_err();

    let sealable = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let unsealed = memfd_create(c"test", sealable).unwrap();
    ftruncate(&unsealed, 100).unwrap();
    assert!(matches!(
        refused(unsealed.try_clone().unwrap(), 100),
        StoreError::NotSealed
    ));
    fcntl_add_seals(
        &unsealed,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )
    .unwrap();
    assert!(matches!(refused(unsealed, 100), StoreError::NotSealed));

    let unsealable = memfd_create(c"test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&unsealable, 100).unwrap();
    assert!(matches!(refused(unsealable, 100), StoreError::NotSealed));

    let (pipe, _other_end) = rustix::pipe::pipe().unwrap();
    assert!(matches!(refused(pipe, 0), StoreError::NotSealed));

    let named = OwnedFd::from(std::fs::File::create(dir.path().join("named")).unwrap());
    assert!(matches!(refused(named, 0), StoreError::NotSealed));
    std::fs::remove_file(dir.path().join("named")).unwrap();

    for announced in [99, 101] {
        assert!(matches!(
            refused(sealed(&content(1, 100)), announced),
            StoreError::WrongLength {
                found_bytes: 100,
                ..
            }
        ));
    }
    let stats = store.stats();
    assert_eq!((stats.used_bytes, stats.segments), (0, 0));
    assert!(map_fd(sealed(b"short").as_fd(), 6).is_err());
}

#[test]
fn a_worker_goes_to_disk_when_the_budget_page_shows_no_room() {
    let dir = SpillDir::new("writer");
    let store = dir.store(10 * KIB, None);
    let writer = dir.writer(&store);
    let parts = content(1, 6 * KIB);
    let (fd, bytes, offsets) = writer.write(&[b"pickle", &parts]).unwrap();
    assert_eq!((bytes, offsets), (6 * KIB + 64, vec![0, 64]));
    let first = store.adopt(fd, bytes, Owner::Worker(1)).unwrap();
    let (fd, bytes, _) = writer.write(&[&parts]).unwrap();
    let second = store.adopt(fd, bytes, Owner::Worker(1)).unwrap();
    assert_eq!([first.is_spilled(), second.is_spilled()], [false, true]);
    assert_eq!(second.map().unwrap().as_ref(), parts);
    assert_eq!(store.stats().spilled_bytes, 6 * KIB);
}

#[test]
fn workers_cannot_write_the_budget_page() {
    let dir = SpillDir::new("page");
    let store = dir.store(10 * KIB, None);
    let fd = store.budget_page().fd().unwrap();
    assert_eq!(
        rustix::io::pwrite(&fd, &[0xff; 8], 0).unwrap_err(),
        Errno::PERM
    );
    assert_eq!(ftruncate(&fd, 0).unwrap_err(), Errno::PERM);
    assert!(memmap2::MmapOptions::new().len(4096).map_raw(&fd).is_err());
    let page = SharedPage::<lineshaft_store::BudgetPage>::from_fd(fd).unwrap();
    assert_eq!((page.limit_bytes(), page.used_bytes()), (10 * KIB, 0));
    let _held = store.put(&[&[0; 100]]).unwrap();
    assert_eq!(page.used_bytes(), 100);
}

#[test]
fn a_page_must_be_one() {
    let short = sealed(b"short");
    assert!(SharedPage::<lineshaft_store::BudgetPage>::from_fd(short).is_err());
    let unsealed = memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&unsealed, 4096).unwrap();
    assert!(SharedPage::<lineshaft_store::BudgetPage>::from_fd(unsealed).is_err());
}

/// Counts the descriptors and the mappings of this process.
fn resources() -> (usize, usize) {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let lineshaft = maps
        .lines()
        .filter(|line| line.contains("lineshaft") && line.contains("(deleted)"));
    (fds, lineshaft.count())
}

#[test]
fn no_descriptor_and_no_mapping_is_left() {
    if !in_own_process("sharing::no_descriptor_and_no_mapping_is_left") {
        return;
    }
    let dir = SpillDir::new("leaks");
    let before = resources();
    for round in 0..200 {
        let store = dir.store(20 * KIB, Some(60 * KIB));
        let writer = dir.writer(&store);
        let mut held = Vec::new();
        for seed in 0..10 {
            // Some fail, and those must not leak either.
            if let Ok((segment, _)) = store.put(&[&content(seed, 9 * KIB)]) {
                let map = segment.map().unwrap();
                held.push((segment, (seed % 2 == round % 2).then_some(map)));
            }
            if let Ok((fd, bytes, _)) = writer.write(&[&content(seed, KIB)]) {
                drop(map_fd(fd.as_fd(), bytes).unwrap());
                assert!(
                    store
                        .adopt(fd.try_clone().unwrap(), bytes + 1, Owner::Worker(1))
                        .is_err()
                );
                held.push((store.adopt(fd, bytes, Owner::Worker(1)).unwrap(), None));
            }
        }
        // Segments may outlive their store.
        drop(store);
    }
    assert_eq!(resources(), before);
}

/// The other side of `kill_9_leaves_nothing`: says when it has everything, then stays.
#[test]
#[ignore = "killed by kill_9_leaves_nothing"]
fn child_that_holds_objects() {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    let spill_dir = std::env::var_os("LINESHAFT_STORE_TEST_DIR").unwrap().into();
    let options = lineshaft_store::StoreOptions {
        budget_bytes: 64 << 20,
        spill_dir,
        spill_max_bytes: None,
    };
    let store = lineshaft_store::Store::new(options).unwrap();
    let held: Vec<_> = (0..4)
        .map(|_| store.put(&[&vec![1; 32 << 20]]).unwrap())
        .collect();
    assert_eq!(store.stats().spill_count, 2);
    let maps: Vec<_> = held
        .iter()
        .map(|(segment, _)| segment.map().unwrap())
        .collect();
    assert_eq!(maps.iter().map(|map| map.len()).sum::<usize>(), 128 << 20);
    rustix::io::write(std::io::stdin(), b"!").unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn kill_9_leaves_nothing() {
    let dir = SpillDir::new("kill");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "sharing::child_that_holds_objects"])
        .env("LINESHAFT_STORE_TEST_DIR", dir.path())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut ready = [0];
    assert_eq!(
        rustix::io::read(&ours, &mut ready).unwrap(),
        1,
        "the child failed"
    );
    let names = || std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names(), 0, "spill files have no names");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(), 0);
    // Objects have no names in shared memory either, so the kernel has freed them.
    let shared_memory = std::fs::read_dir("/dev/shm")
        .into_iter()
        .flatten()
        .flatten();
    let left =
        shared_memory.filter(|entry| entry.file_name().to_string_lossy().contains("lineshaft"));
    assert_eq!(left.count(), 0);
}
