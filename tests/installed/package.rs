//! The Debian package: what is in it, and what installing, upgrading, removing and purging do to a system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

use crate::{file, said, text, tool};

/// Every file that Cargo.toml puts into the package comes from somewhere.
#[test]
fn what_goes_into_the_package_exists() {
    let manifest = text("Cargo.toml");
    let assets = manifest.split("\nassets = [\n").nth(1).and_then(|rest| rest.split("\n]").next());
    let sources = assets.expect("a list").lines().filter_map(|line| line.split('"').nth(1));
    let sources: Vec<_> = sources.filter(|source| !source.starts_with("target/")).collect();
    assert!(sources.len() > 8, "{sources:?}");
    for source in sources {
        let folder = source.split('*').next().unwrap_or_default();
        assert!(fs::symlink_metadata(file(folder)).is_ok(), "{source}");
    }
    assert!(file("CHANGELOG.md").exists() && file("LICENSE-APACHE").exists());
    assert_eq!(
        fs::read_link(file("config/debian/p2p_orchestrator")).ok(),
        Some("ringrift-p2p".into())
    );
}

/// A system with nothing on it, as far as dpkg knows.
struct Root {
    dir: TempDir,
}

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for folder in ["info", "updates", "triggers"] {
            fs::create_dir_all(dir.path().join("var/lib/dpkg").join(folder)).expect("a folder");
        }
        fs::create_dir(dir.path().join("etc")).expect("a folder");
        fs::write(dir.path().join("var/lib/dpkg/status"), "").expect("a file");
        Self { dir }
    }

    /// One run of dpkg on it.
    #[track_caller]
    fn dpkg(&self, words: &[&str]) -> String {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.dir.path().display()));
        said(
            dpkg.args(["--force-script-chrootless", "--force-depends", "--force-confold"])
                .args(words),
        )
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }
}

/// `PACKAGE` names the file that config/debian/build has made.
#[test]
#[ignore = "needs a package: PACKAGE=$(ls $PWD/target/debian/*.deb) cargo test --test installed -- --ignored package"]
fn it_installs_keeps_what_an_operator_changed_and_goes_without_a_trace() {
    let package = std::env::var("PACKAGE").expect("PACKAGE names the file");
    let Some(_dpkg) = tool("dpkg") else { return };
    let root = Root::new();
    root.dpkg(&["-i", &package]);
    let program = root.path("/usr/bin/ringrift-p2p");
    let version = said(Command::new(&program).arg("--version"));
    assert_eq!(version, format!("ringrift-p2p {}\n", env!("CARGO_PKG_VERSION")));
    let old = said(Command::new(root.path("/usr/bin/p2p_orchestrator")).args(["run", "--help"]));
    assert!(old.contains("--guardian"), "{old}");
    let linked = Command::new("ldd").arg(&program).output().expect("ldd runs");
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    assert!(linked.contains("statically linked"), "{linked}");
    let size = fs::metadata(&program).expect("a file").len();
    assert!(size < 12 << 20, "the program has {size} bytes");
    for path in [
        "/usr/lib/systemd/system/ringrift-p2p.service",
        "/usr/share/man/man1/ringrift-p2p.1.gz",
        "/usr/share/man/man1/ringrift-p2p-run.1.gz",
        "/usr/share/bash-completion/completions/ringrift-p2p",
        "/usr/share/zsh/vendor-completions/_ringrift-p2p",
        "/usr/share/doc/ringrift-p2p/examples/prometheus/alerts.yaml",
        "/usr/share/doc/ringrift-p2p/examples/distributed_hosts.yaml",
        "/usr/share/doc/ringrift-p2p/runbook.md",
    ] {
        assert!(root.path(path).exists(), "{path}");
    }
    let users = fs::read_to_string(root.path("/etc/passwd")).expect("a user was made");
    assert!(users.starts_with("ringrift-p2p:x:") && users.contains("/usr/sbin/nologin"), "{users}");
    // Nothing is started or enabled before there is a configuration.
    assert!(!root.path("/etc/systemd/system/multi-user.target.wants").exists());
    assert!(!root.path("/etc/ringrift").exists());

    // An upgrade keeps what an operator has changed, and the votes.
    let changed = root.path("/etc/default/ringrift-p2p");
    fs::write(&changed, "RINGRIFT_NODE_ID=hetzner-cpu1\n").expect("a file");
    let votes = root.path("/var/lib/ringrift-p2p/hetzner-cpu1/votes");
    fs::create_dir_all(votes.parent().expect("a folder")).expect("a folder");
    fs::write(&votes, "votes").expect("a file");
    root.dpkg(&["-i", &package]);
    let kept = |path: &Path| fs::read_to_string(path).ok();
    assert_eq!(kept(&changed).as_deref(), Some("RINGRIFT_NODE_ID=hetzner-cpu1\n"));

    root.dpkg(&["-r", "ringrift-p2p"]);
    assert!(!program.exists() && changed.exists() && votes.exists());
    root.dpkg(&["-P", "ringrift-p2p"]);
    assert!(!changed.exists() && !root.path("/var/lib/ringrift-p2p").exists());
    let left: Vec<_> = walk(root.dir.path()).into_iter().filter(|path| is_ours(path)).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn is_ours(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| name.contains("ringrift") || name.contains("p2p_orchestrator"))
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let paths = entries.map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
