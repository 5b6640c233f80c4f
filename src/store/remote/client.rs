//! The clients of stores: one for each bucket, kept for the whole process, and the runtime that their requests run on.
//!
//! limpid is synchronous: [`wait`] blocks the calling thread until a request is answered. Requests never wait for limpid's own
//! threads, so that all of these may wait at once.

use std::collections::HashMap;
use std::env;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::fault::fault;
use super::location::{Location, is_loopback, location};
use super::profile::profile;
use crate::error::Again;
use crate::interrupt;
use crate::store::url::Scheme;

/// Time for one request, its body included, unless `AWS_TIMEOUT` or the like says otherwise: enough for a part at a megabit a second.
const TIMEOUT: &str = "150s";
/// How often a waiting thread looks for a signal.
const LOOK: Duration = Duration::from_millis(200);
/// How long a request goes on after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// How requests that failed are repeated: with growing pauses, over up to three minutes.
fn retries() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(15), base: 2.0 };
    RetryConfig { backoff, max_retries: 12, retry_timeout: Duration::from_secs(180) }
}

static RUNTIME: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).thread_name("stores").enable_all().build());

/// The runtime of all requests.
///
/// # Errors
/// The system has no more threads.
pub fn runtime() -> io::Result<&'static Runtime> {
    RUNTIME.as_ref().map_err(|cause| io::Error::new(cause.kind(), cause.to_string()))
}

/// Waits for a request.
///
/// # Errors
/// What it fails with; interruption.
pub fn wait<T>(request: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
    attempt(request)?.map_err(fault)
}

/// As [`wait`], for callers who look at the error of the store.
///
/// # Errors
/// Interruption.
pub fn attempt<T>(request: impl Future<Output = T>) -> io::Result<T> {
    runtime()?.block_on(async {
        let (mut request, mut interrupted) = (pin!(request), None);
        loop {
            if let Ok(answer) = tokio::time::timeout(LOOK, &mut request).await {
                return Ok(answer);
            }
            // A checkpoint can still be written.
            if interrupt::requested() && interrupted.get_or_insert_with(Instant::now).elapsed() > GRACE {
                return Err(io::Error::other(Again("interrupted; run the same command again to go on".to_owned())));
            }
        }
    })
}

/// An object: the client of its bucket, and its key.
#[derive(Debug, Clone)]
pub struct Object {
    /// The client.
    pub store: Arc<dyn ObjectStore>,
    /// The key.
    pub key: Key,
    /// The parts of its URL.
    pub location: Location,
}

/// The object, or the prefix of objects, that a URL names.
///
/// # Errors
/// A URL that is refused, or settings with which no client can be made.
pub fn object(path: &Path) -> io::Result<Object> {
    type Clients = HashMap<(Scheme, String, Option<String>), Arc<dyn ObjectStore>>;
    static CLIENTS: LazyLock<Mutex<Clients>> = LazyLock::new(Mutex::default);
    let location = location(path)?;
    let key = match location.scheme {
        Scheme::Http => Key::from_url_path(&location.key),
        _ => Key::parse(&location.key),
    };
    let key = key.map_err(|cause| fault(cause.into()))?;
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let bucket = (location.scheme, location.bucket.clone(), location.account.clone());
    if let Some(store) = clients.get(&bucket) {
        return Ok(Object { store: Arc::clone(store), key, location });
    }
    let store = client(&location)?;
    clients.insert(bucket, Arc::clone(&store));
    Ok(Object { store, key, location })
}

/// Options of the connections. `allow_http` for servers of this machine, or where a variable asks for it.
fn options(variables: &str, allow_http: bool) -> ClientOptions {
    let variable = |name: &str| env::var(format!("{variables}_{name}")).ok().filter(|value| !value.is_empty());
    let allow_http = allow_http || variable("ALLOW_HTTP").is_some_and(|value| value == "true" || value == "1");
    let options = ClientOptions::new().with_allow_http(allow_http).with_connect_timeout(Duration::from_secs(10));
    options.with_config(ClientConfigKey::Timeout, variable("TIMEOUT").unwrap_or_else(|| TIMEOUT.to_owned()))
}

/// Whether a server is this machine, so that it may be spoken to without encryption.
fn is_local(endpoint: Option<String>) -> bool {
    let authority = endpoint.as_deref().and_then(|endpoint| endpoint.strip_prefix("http://"));
    authority.is_some_and(|authority| is_loopback(authority.split('/').next().unwrap_or_default()))
}

fn client(location: &Location) -> io::Result<Arc<dyn ObjectStore>> {
    Ok(match location.scheme {
        Scheme::S3 => {
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(&location.bucket).with_retry(retries());
            let is_set = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_some();
            let mut profile = profile()?;
            // Keys of the environment come first, and then as a set: a token belongs to its key.
            if is_set(&builder, AmazonS3ConfigKey::AccessKeyId) {
                for key in ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"] {
                    profile.remove(key);
                }
            }
            for (name, key) in [
                ("aws_access_key_id", AmazonS3ConfigKey::AccessKeyId),
                ("aws_secret_access_key", AmazonS3ConfigKey::SecretAccessKey),
                ("aws_session_token", AmazonS3ConfigKey::Token),
                ("region", AmazonS3ConfigKey::Region),
                ("endpoint_url", AmazonS3ConfigKey::Endpoint),
                ("role_arn", AmazonS3ConfigKey::RoleArn),
                ("web_identity_token_file", AmazonS3ConfigKey::WebIdentityTokenFile),
            ] {
                if let Some(value) = profile.get(name).filter(|_| !is_set(&builder, key)) {
                    builder = builder.with_config(key, value);
                }
            }
            let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
            let endpoint = endpoint.iter().find_map(|key| builder.get_config_value(key));
            Arc::new(builder.with_client_options(options("AWS", is_local(endpoint))).build().map_err(fault)?)
        }
        Scheme::Google => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&location.bucket);
            let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
            let builder = builder.with_retry(retries()).with_client_options(options("GOOGLE", is_local(endpoint)));
            Arc::new(builder.build().map_err(fault)?)
        }
        Scheme::Azure => {
            let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(&location.bucket);
            if let Some(account) = &location.account {
                builder = builder.with_account(account);
            }
            let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
            let emulator = builder.get_config_value(&AzureConfigKey::UseEmulator).is_some_and(|value| value == "true");
            let builder = builder.with_retry(retries());
            let builder = builder.with_client_options(options("AZURE", emulator || is_local(endpoint)));
            Arc::new(builder.build().map_err(fault)?)
        }
        Scheme::Http => {
            // A host may be mistyped, which its silence does not tell from an outage.
            let retries = RetryConfig { retry_timeout: Duration::from_secs(20), ..retries() };
            let builder = HttpBuilder::new().with_url(&location.bucket).with_retry(retries);
            let options = options("HTTPS", is_local(Some(location.bucket.clone())));
            Arc::new(builder.with_client_options(options).build().map_err(fault)?)
        }
    })
}

/// The error of writing where objects are only read.
pub fn read_only() -> io::Error {
    io::Error::new(ErrorKind::Unsupported, "https:// is only read: name a file, or an object of a store")
}
