//! How much memory a process has, and how much there is, as the kernel says.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// What one process has resident.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "units come last")]
pub(crate) struct Resident {
    /// Pages that are no file's and not shared: what there is once for each process.
    pub(crate) own_bytes: u64,
    /// Pages of files and of objects, which others may have too.
    pub(crate) shared_bytes: u64,
    /// The most that it had of its own since it was last looked at.
    pub(crate) most_own_bytes: u64,
    /// The most that it ever had, shared pages included.
    pub(crate) peak_bytes: u64,
}

impl Resident {
    /// Takes into account how many bytes of what looks like its own others have too.
    pub(crate) fn inheriting(mut self, bytes: u64) -> Resident {
        let bytes = bytes.min(self.own_bytes);
        self.own_bytes -= bytes;
        self.most_own_bytes = self.own_bytes;
        self.shared_bytes += bytes;
        self
    }

    /// Takes into account what was so at the last look. If there was never as much as since then, all of it was there at
    /// a time, and what it shares was there too.
    pub(crate) fn since(mut self, before: Resident) -> Resident {
        let shared = self.shared_bytes.max(before.shared_bytes);
        let grown = self.peak_bytes > before.peak_bytes;
        let most = if grown {
            self.peak_bytes.saturating_sub(shared)
        } else {
            0
        };
        self.most_own_bytes = self.own_bytes.max(most);
        self
    }
}

/// What a process has resident now; None if it is gone.
pub(crate) fn of_process(pid: u32) -> Option<Resident> {
    parse_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// What a process has of pages that it was forked with and nobody has written to since, at least; zero if the kernel
/// does not say. To find out it looks at each page.
pub(crate) fn inherited(pid: u32) -> u64 {
    let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    parse_inherited(&read("smaps_rollup"), &read("status")).unwrap_or(0)
}

/// Memory that this process may use: the machine's, or the limit of a cgroup that it is in. It is asked for once.
pub(crate) fn limit() -> Option<u64> {
    static LIMIT: OnceLock<Option<u64>> = OnceLock::new();
    *LIMIT.get_or_init(|| limit_below(Path::new("/")))
}

fn limit_below(root: &Path) -> Option<u64> {
    let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
    let machine = read(Path::new("proc/meminfo")).and_then(|text| kibibytes(&text, "MemTotal:"));
    let groups = read(Path::new("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next().unwrap_or(""), fields.next().unwrap_or("/"));
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let is_told = controllers.is_empty() || controllers.split(',').any(|name| name == "memory");
        let group = Path::new(group.trim_start_matches('/'));
        // A limit of any group on the way to the root holds.
        let folders = group.ancestors().filter(move |_| is_told);
        let files = folders.map(move |folder| Path::new(mount).join(folder).join(file));
        files.filter_map(|path| read(&path)?.trim().parse::<u64>().ok())
    });
    limits.chain(machine).min()
}

fn parse_status(text: &str) -> Option<Resident> {
    let own_bytes = kibibytes(text, "RssAnon:")?;
    Some(Resident {
        own_bytes,
        shared_bytes: kibibytes(text, "RssFile:")? + kibibytes(text, "RssShmem:")?,
        most_own_bytes: own_bytes,
        peak_bytes: kibibytes(text, "VmHWM:")?,
    })
}

fn parse_inherited(rollup: &str, status: &str) -> Option<u64> {
    let anonymous = kibibytes(rollup, "Anonymous:")?;
    // Neither is more than what is wanted: the first leaves out the process's share of it, the second what has been
    // written of objects and is no longer mapped by others.
    let share_of_others = anonymous.saturating_sub(kibibytes(rollup, "Pss_Anon:")?);
    let shared =
        kibibytes(rollup, "Shared_Dirty:")?.saturating_sub(kibibytes(status, "RssShmem:")?);
    Some(share_of_others.max(shared).min(anonymous))
}

/// The number behind a name, which is in units of 1024 bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name))?;
    let number: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_some_and_there_is_more() {
        let resident = of_process(std::process::id()).expect("it runs");
        assert!(0 < resident.own_bytes && resident.own_bytes <= resident.peak_bytes);
        assert!(resident.own_bytes < limit().expect("known"));
        assert_eq!(of_process(u32::MAX), None);
    }

    #[test]
    fn what_was_resident_for_a_moment_counts_without_what_is_shared() {
        let looked = |own_bytes, shared_bytes, peak_bytes| Resident {
            own_bytes,
            shared_bytes,
            most_own_bytes: own_bytes,
            peak_bytes,
        };
        let first = looked(10, 20, 35).since(Resident::default());
        assert_eq!(first.most_own_bytes, 15);
        assert_eq!(looked(10, 20, 35).since(first).most_own_bytes, 10);
        let after_a_burst = looked(10, 5, 100).since(first);
        assert_eq!(after_a_burst.most_own_bytes, 80);
    }

    #[test]
    fn what_a_process_was_forked_with_is_what_it_shares_and_is_no_object() {
        let rollup = |private: u64, shared: u64, share: u64| {
            let anonymous = private + shared;
            let share = private + share;
            format!("Pss_Anon: {share} kB\nShared_Dirty: {shared} kB\nAnonymous: {anonymous} kB\n")
        };
        let none = "RssShmem: 0 kB\n";
        assert_eq!(parse_inherited(&rollup(10, 300, 60), none), Some(300 << 10));
        assert_eq!(parse_inherited(&rollup(10, 0, 0), none), Some(0));
        // Pages of objects count as shared and written to as well.
        let text = "Pss_Anon: 70 kB\nShared_Dirty: 400 kB\nAnonymous: 310 kB\n";
        assert_eq!(parse_inherited(text, "RssShmem: 100 kB\n"), Some(300 << 10));
        assert_eq!(
            parse_inherited(&rollup(10, 300, 60), "RssShmem: 250 kB\n"),
            Some(240 << 10)
        );
        assert_eq!(parse_inherited("", none), None);
        let resident = Resident {
            own_bytes: 310,
            ..Resident::default()
        };
        let own = resident.inheriting(300);
        assert_eq!(
            (own.own_bytes, own.most_own_bytes, own.shared_bytes),
            (10, 10, 300)
        );
    }

    #[test]
    fn the_tightest_limit_holds_and_garbage_is_none() {
        let root = std::env::temp_dir().join(format!("lineshaft-memory-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("in a folder")).expect("writable");
            fs::write(path, text).expect("writable");
        };
        assert_eq!(limit_below(&root), None);
        write("proc/meminfo", "MemFree: 1 kB\nMemTotal:      4096 kB\n");
        write("proc/self/cgroup", "3:cpu:/a\n0::/a/b\n2:memory:/c\n");
        assert_eq!(limit_below(&root), Some(4096 << 10));
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        write("sys/fs/cgroup/a/memory.max", "1000000\n");
        assert_eq!(limit_below(&root), Some(1_000_000));
        write("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "900000\n");
        assert_eq!(limit_below(&root), Some(900_000));
        fs::remove_dir_all(&root).expect("writable");
        for garbage in [
            "",
            "RssAnon: 1 kB",
            "RssAnon: x kB\nVmHWM: 1 kB\nRssFile: 1 kB\nRssShmem: 1 kB",
        ] {
            assert_eq!(parse_status(garbage), None, "{garbage}");
        }
    }
}
