//! A small disk that can be filled: a file system in memory, mounted for the test.

#![allow(dead_code, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of so many MiB; unmounted when it goes out of scope.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub fn mount(mib: u64) -> SmallDisk {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(dir.path())
            .status()
            .expect("`mount` (util-linux) runs");
        assert!(
            mount.success(),
            "this test mounts a small tmpfs: run it as root (or in `unshare --map-root-user --mount`)"
        );
        SmallDisk(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file that takes room away.
    pub fn ballast(&self, mib: u64) -> PathBuf {
        let path = self.path().join("ballast");
        std::fs::write(&path, vec![1u8; (mib << 20) as usize]).unwrap();
        path
    }

    /// Takes all the room that is left.
    pub fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.path().join("rest");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[1u8; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
