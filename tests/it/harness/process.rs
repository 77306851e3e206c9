//! A program that a test started; it ends with the test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::eventually;

/// A running program, with what it has written.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program that writes its log into `directory`.
    pub fn start(program: &Path, arguments: &[impl AsRef<OsStr>], directory: &Path) -> Self {
        let name = program.file_name().unwrap().to_string_lossy();
        let log = directory.join(format!("{name}.log"));
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        Self { child, log }
    }

    /// Everything it has written so far, in this and in earlier runs in the same directory.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its log has a line of which `read` makes something.
    pub async fn logged<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> T {
        eventually(what, async || {
            let log = self.log();
            if let Some(found) = log.lines().find_map(&read) {
                return Some(found);
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status} before it logged {what}:\n{log}");
            }
            None
        })
        .await
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        eventually("the end of a process", async || self.child.try_wait().unwrap()).await
    }

    /// SIGKILL: it gets no chance to finish anything.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    /// SIGSTOP: it hangs, and whoever is connected to it notices nothing. Waits until every thread has stopped.
    pub async fn hang(&self) {
        self.signal("-STOP");
        let threads = format!("/proc/{}/task", self.id());
        eventually("a process that hangs", async || {
            let states = std::fs::read_dir(&threads).ok()?.map(|thread| {
                let stat = std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
                // the name before it is in brackets, and may be anything
                Some(stat.rsplit_once(") ")?.1.starts_with('T'))
            });
            states.collect::<Option<Vec<bool>>>()?.into_iter().all(|stopped| stopped).then_some(())
        })
        .await;
    }

    /// SIGCONT: it goes on after [`Process::hang`].
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- the end of {}", self.log.display());
            lines.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
