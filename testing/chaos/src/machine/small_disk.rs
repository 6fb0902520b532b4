//! A directory that is a disk of its own, and soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

use steadfast::Failure;

/// A directory that is a disk of its own until this is dropped.
pub struct SmallDisk {
    directory: PathBuf,
}

impl SmallDisk {
    /// Mounts a file system of that size.
    ///
    /// # Errors
    /// What the machine has against it.
    pub fn mount(directory: &Path, kilobytes: u64) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory)?;
        let size = format!("size={kilobytes}k");
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory).output()?;
        match output.status.success() {
            true => Ok(SmallDisk { directory: directory.to_path_buf() }),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
        }
    }

    /// Gives it another size, while it is in use.
    pub fn resize(&self, kilobytes: u64) -> Result<(), Failure> {
        let size = format!("remount,size={kilobytes}k");
        let status = Command::new("mount").args(["-o", &size]).arg(&self.directory).status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{} cannot be given another size", self.directory.display()).into()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is just ending may still use it.
        let ended = Command::new("umount").arg("--lazy").arg(&self.directory).status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.directory.display());
        }
    }
}
