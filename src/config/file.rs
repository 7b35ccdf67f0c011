//! Where things are: the configuration file, a node's state folder, its promise file.

use std::env;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use ringrift_wire::NodeId;

use super::convert::parse;
use super::error::{ConfigErrors, Warning};
use super::yaml::fnv1a;
use super::{Config, Loaded};

/// The largest configuration file, in bytes.
pub const MAX_FILE_BYTES: u64 = 8 << 20;

const PLACES: [&str; 2] = ["config/distributed_hosts.yaml", "/etc/ringrift/distributed_hosts.yaml"];

/// What the process finds around it. Read once; everything else here is a function of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `RINGRIFT_CONFIG`.
    pub config: Option<PathBuf>,
    /// `RINGRIFT_NODE_ID`.
    pub node: Option<String>,
    /// The text of `/etc/ringrift/node-id`.
    pub node_file: Option<String>,
    /// Whether `RINGRIFT_P2P_VOTERS` is set.
    pub voters: bool,
    /// Whether the user is root.
    pub is_root: bool,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `RINGRIFT_CLUSTER_AUTH_TOKEN`; a secret.
    pub token: Option<String>,
    /// `RINGRIFT_CLUSTER_AUTH_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
}

impl Surroundings {
    /// Reads environment, user and `/etc/ringrift/node-id`; an empty variable counts as not set.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name| env::var(name).ok().filter(|text| !text.trim().is_empty());
        let path = |name| env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        // The XDG specification has relative paths ignored.
        let absolute = |name| path(name).filter(|path| path.is_absolute());
        Self {
            config: path("RINGRIFT_CONFIG"),
            node: text("RINGRIFT_NODE_ID"),
            node_file: std::fs::read_to_string("/etc/ringrift/node-id").ok(),
            voters: env::var_os("RINGRIFT_P2P_VOTERS").is_some(),
            is_root: rustix::process::geteuid().is_root(),
            home: absolute("HOME"),
            state_home: absolute("XDG_STATE_HOME"),
            runtime_dir: absolute("XDG_RUNTIME_DIR"),
            token: text("RINGRIFT_CLUSTER_AUTH_TOKEN"),
            token_file: path("RINGRIFT_CLUSTER_AUTH_TOKEN_FILE"),
        }
    }
}

/// Finds the file: `flag`, else `RINGRIFT_CONFIG`, else the first that exists of
/// `./config/distributed_hosts.yaml` and `/etc/ringrift/distributed_hosts.yaml`.
///
/// A file that was named is not replaced by another when it is missing.
///
/// # Errors
/// None was named and neither default exists.
pub fn find(flag: Option<&Path>, around: &Surroundings) -> Result<PathBuf, ConfigErrors> {
    find_with(flag, around, Path::exists)
}

fn find_with(
    flag: Option<&Path>,
    around: &Surroundings,
    exists: impl Fn(&Path) -> bool,
) -> Result<PathBuf, ConfigErrors> {
    if let Some(named) = flag.or(around.config.as_deref()) {
        return Ok(named.to_owned());
    }
    let found = PLACES.iter().map(Path::new).find(|path| exists(path));
    found.map(Path::to_owned).ok_or_else(|| {
        ConfigErrors::single(
            None,
            format!("neither ./{} nor {} exists", PLACES[0], PLACES[1]),
            "create one, or name the file with --config or RINGRIFT_CONFIG",
        )
    })
}

/// Reads and checks one file.
///
/// # Errors
/// The file cannot be read, is larger than [`MAX_FILE_BYTES`], is no YAML, or breaks rules: all of them
/// are listed.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let failed = |problem: String, remedy: &str| {
        Err(ConfigErrors::single(Some(path.to_owned()), problem, remedy))
    };
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let remedy = match error.kind() {
            ErrorKind::NotFound => "create it or name another with --config",
            ErrorKind::PermissionDenied => "let the user of this process read it",
            _ => "name a readable file with --config",
        };
        return failed(format!("cannot be read: {error}"), remedy);
    }
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE_BYTES) {
        return failed(format!("longer than {MAX_FILE_BYTES} bytes"), "name the right file");
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return failed(String::from("not UTF-8 text"), "save it as UTF-8");
    };
    match parse(&text) {
        Ok(mut loaded) => {
            loaded.config.path = Some(path.to_owned());
            Ok(loaded)
        }
        Err(errors) => Err(ConfigErrors { path: Some(path.to_owned()), ..errors }),
    }
}

/// Finds, reads and checks the configuration, and warns of what the environment would have it say.
///
/// # Errors
/// As [`find`] and [`load`].
pub fn open(flag: Option<&Path>, around: &Surroundings) -> Result<Loaded, ConfigErrors> {
    let mut loaded = load(&find(flag, around)?)?;
    if around.voters {
        loaded.warnings.push(Warning::VotersInEnvironment);
    }
    Ok(loaded)
}

/// The state folder of one node: `flag` itself, else `<id>` in the file's `data_dir`, else in
/// `/var/lib/ringrift-p2p` for root, else in `ringrift-p2p` of the XDG state folder
/// (`$XDG_STATE_HOME` or `~/.local/state`). `None` when the user has no home either.
#[must_use]
pub fn data_dir(
    flag: Option<&Path>,
    config: &Config,
    id: NodeId,
    around: &Surroundings,
) -> Option<PathBuf> {
    if let Some(flag) = flag {
        return Some(flag.to_owned());
    }
    let base = match &config.data_dir {
        Some(base) => base.clone(),
        None if around.is_root => PathBuf::from("/var/lib/ringrift-p2p"),
        None => {
            let home = || around.home.as_ref().map(|home| home.join(".local/state"));
            around.state_home.clone().or_else(home)?.join("ringrift-p2p")
        }
    };
    Some(base.join(id.as_str()))
}

/// The file that holds the promise of one kernel boot: in `/run/ringrift-p2p` for root, else in
/// `ringrift-p2p` of `$XDG_RUNTIME_DIR`, else in the state folder itself.
///
/// Outside the state folder its name carries a hash of that folder's path: nodes of one name with
/// different stores, as in tests, must not take each other's promises for their own. `data_dir` should
/// be absolute.
#[must_use]
pub fn promise_file(data_dir: &Path, id: NodeId, around: &Surroundings) -> PathBuf {
    let runtime = if around.is_root {
        Some(PathBuf::from("/run/ringrift-p2p"))
    } else {
        around.runtime_dir.as_ref().map(|dir| dir.join("ringrift-p2p"))
    };
    match runtime {
        Some(dir) => {
            let hash = fnv1a(data_dir.as_os_str().as_encoded_bytes());
            dir.join(format!("{id}-{hash:016x}.promise"))
        }
        None => data_dir.join("promise"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> NodeId {
        "a".parse().unwrap()
    }

    #[test]
    fn the_file_is_looked_for_in_the_documented_order() {
        let mut around = Surroundings { config: Some("/env.yaml".into()), ..Default::default() };
        let find = |flag: Option<&str>, around: &Surroundings, there: &[&str]| {
            find_with(flag.map(Path::new), around, |path| {
                there.iter().any(|x| path == Path::new(x))
            })
            .map(|path| path.display().to_string())
        };
        assert_eq!(find(Some("f.yaml"), &around, &PLACES).unwrap(), "f.yaml");
        assert_eq!(find(None, &around, &PLACES).unwrap(), "/env.yaml");
        around.config = None;
        assert_eq!(find(None, &around, &PLACES).unwrap(), PLACES[0]);
        assert_eq!(find(None, &around, &PLACES[1..]).unwrap(), PLACES[1]);
        assert!(find(None, &around, &[]).unwrap_err().to_string().contains("--config"));
    }

    #[test]
    fn the_state_folder_follows_flag_file_user() {
        let config = parse("voters: [a]").unwrap().config;
        let mut around = Surroundings {
            home: Some("/home/u".into()),
            state_home: Some("/state".into()),
            ..Default::default()
        };
        let dir = |flag: Option<&str>, config: &Config, around: &Surroundings| {
            data_dir(flag.map(Path::new), config, id(), around).map(|dir| dir.display().to_string())
        };
        assert_eq!(dir(None, &config, &around).unwrap(), "/state/ringrift-p2p/a");
        around.state_home = None;
        assert_eq!(dir(None, &config, &around).unwrap(), "/home/u/.local/state/ringrift-p2p/a");
        around.is_root = true;
        assert_eq!(dir(None, &config, &around).unwrap(), "/var/lib/ringrift-p2p/a");
        let with_dir = parse("voters: [a]\ndata_dir: /srv").unwrap().config;
        assert_eq!(dir(None, &with_dir, &around).unwrap(), "/srv/a");
        assert_eq!(dir(Some("/flag"), &with_dir, &around).unwrap(), "/flag");
        assert_eq!(dir(None, &config, &Surroundings::default()), None);
    }

    #[test]
    fn two_stores_of_one_name_have_two_promise_files() {
        let root = Surroundings { is_root: true, ..Default::default() };
        let one = promise_file(Path::new("/one"), id(), &root);
        assert!(one.starts_with("/run/ringrift-p2p"));
        assert_ne!(one, promise_file(Path::new("/two"), id(), &root));
        let user = Surroundings { runtime_dir: Some("/run/user/7".into()), ..Default::default() };
        assert!(
            promise_file(Path::new("/one"), id(), &user).starts_with("/run/user/7/ringrift-p2p")
        );
        let bare = promise_file(Path::new("/one"), id(), &Surroundings::default());
        assert_eq!(bare, Path::new("/one/promise"));
    }
}
