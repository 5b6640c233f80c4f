//! Profiles of AWS: the files `~/.aws/credentials` and `~/.aws/config`, which `object_store` does not read.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::store::read_text;

/// Most bytes of a file of profiles.
const MOST_BYTES: u64 = 1 << 20;

/// The keys of a profile, in lower case.
pub type Profile = BTreeMap<String, String>;

/// Ways to log in that need another program; the profile has one of these keys then.
const ELSEWHERE: [&str; 5] =
    ["sso_session", "sso_start_url", "credential_process", "source_profile", "credential_source"];

/// The profile that `AWS_PROFILE` names, `default` unless it is set; without keys if there is none of that name `default`.
///
/// # Errors
/// A profile that is named and missing, or that another program has to log in with; the file system.
pub fn profile() -> io::Result<Profile> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let home = |name: &str| env::home_dir().map(|home| home.join(".aws").join(name));
    let file = |name: &str, usual: &str| variable(name).map(PathBuf::from).or_else(|| home(usual));
    let named = variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"));
    let name = named.as_deref().unwrap_or("default");
    let files = [file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials")];
    let (mut profile, mut found) = (Profile::new(), false);
    for path in files.into_iter().flatten() {
        let text = match read_text(&path, MOST_BYTES) {
            Ok(text) => text,
            Err(cause) if cause.kind() == ErrorKind::NotFound => continue,
            Err(cause) => return Err(io::Error::new(cause.kind(), format!("cannot read {}: {cause}", path.display()))),
        };
        // The file of credentials is the last one, since it takes precedence.
        if let Some(keys) = section(&text, name) {
            (found, _) = (true, profile.extend(keys));
        }
    }
    let bad = |what: String| Err(io::Error::new(ErrorKind::InvalidInput, what));
    if named.is_some() && !found {
        return bad(format!("there is no profile {name:?}, which AWS_PROFILE names, in ~/.aws"));
    }
    let has_keys = profile.contains_key("aws_access_key_id") || profile.contains_key("web_identity_token_file");
    if let Some(key) = ELSEWHERE.iter().find(|key| !has_keys && profile.contains_key(**key)) {
        let advice =
            format!("eval \"$(aws configure export-credentials --profile {name} --format env)\" sets the variables");
        return bad(format!("the profile {name:?} logs in by `{key}`, which only the AWS CLI does: {advice}"));
    }
    Ok(profile)
}

/// The keys of the section of a profile; nested ones are left out.
fn section(text: &str, name: &str) -> Option<Profile> {
    let (mut inside, mut keys) = (false, None);
    for line in text.lines() {
        let written = line.trim();
        if let Some(title) = written.strip_prefix('[').and_then(|title| title.split_once(']')) {
            let title = title.0.trim();
            inside = title.strip_prefix("profile ").map_or(title, str::trim) == name;
            if inside {
                keys.get_or_insert_with(Profile::new);
            }
        } else if let Some((key, value)) =
            written.split_once('=').filter(|_| inside && !line.starts_with([' ', '\t', '#', ';']))
        {
            let keys = keys.get_or_insert_with(Profile::new);
            keys.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_keys() {
        let text = "[default]\nregion = eu-west-1\n[profile two]\n# no = comment\nAWS_Access_Key_Id=A=B\ns3 =\n  nested = 1\n[three]\n";
        let two = section(text, "two").expect("is there");
        assert_eq!(two.get("aws_access_key_id").map(String::as_str), Some("A=B"));
        assert!(!two.contains_key("nested") && !two.contains_key("# no"));
        assert_eq!(section(text, "default").expect("is there").len(), 1);
        assert_eq!(section(text, "three"), Some(Profile::new()));
        assert_eq!(section(text, "four"), None);
    }
}
