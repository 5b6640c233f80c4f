//! OpenLineage events: what a run has read and written, for Marquez, DataHub and other consumers.
//!
//! `run --lineage FILE` appends one event a line, as the file transport of OpenLineage's own clients does: `START` and one of
//! `COMPLETE`, `FAIL` and `ABORT` (interrupted) for the run of the pipeline and for each stage that has work, whose parent it
//! is. A stage that is up to date has no run. Each file is a data set, named by its absolute path in the namespace `file`, or by its
//! key in that of its bucket, with its digest as version, and its schema and rows if it is a table. Environment variables connect a pipeline to what started it:
//! `OPENLINEAGE_NAMESPACE` (of jobs; `limpid` unless set) and `OPENLINEAGE_PARENT_ID` (`namespace/job/run`).
//!
//! Lineage never stops the work: once its file is open, an event that cannot be written is reported at once, stages still run and
//! publish, and a run whose work has succeeded ends with an error that counts the missing events. An event that a full disk cut
//! short stays on a line of its own ([`LineFile`]).

use std::cell::Cell;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::error::{self, Kind};
use crate::pipeline::plan::StagePlan;
use crate::progress::Progress;
use crate::record::receipt::Receipt;
use crate::record::workspace::Workspace;
use crate::stage::named;
use crate::store::url::is_url;
use crate::store::{self, LineFile};
use crate::table;
use crate::text::escaped;

const PRODUCER: &str = concat!("urn:limpid:", env!("CARGO_PKG_VERSION"));
const SPEC: &str = "https://openlineage.io/spec";
/// The version of the schema of events, which also defines facets in general.
const EVENTS: &str = "2-0-2/OpenLineage.json";
/// What is in each event, and in how many bytes it is looked for in the first of a file.
const EVENT: &[u8] = b"\"eventType\"";
const FIRST_EVENT: u64 = 1 << 20;
/// How those of limpid begin.
const OWN_EVENT: &[u8] = b"{\"eventT";

/// Where events are written, if they are wanted.
pub struct Lineage<'a> {
    file: Option<LineFile>,
    /// How many events could not be written.
    missing: Cell<u64>,
    namespace: String,
    /// The parent facet that the environment gives to the run of the pipeline.
    parent: Option<Value>,
    progress: &'a Progress,
}

/// A run that has started; it fails if it is dropped before its end.
pub struct LineageRun<'a> {
    lineage: &'a Lineage<'a>,
    id: String,
    job: Value,
    facets: Map<String, Value>,
    inputs: Vec<Value>,
    ended: bool,
}

impl<'a> Lineage<'a> {
    /// Opens the file that events are appended to.
    ///
    /// # Errors
    /// A folder that does not exist, a file that holds something else, and the file system.
    pub fn open(path: Option<&Path>, progress: &'a Progress) -> Result<Self> {
        let open = |path: &Path| {
            check(path)?;
            LineFile::open(path).map_err(|cause| {
                let what = format!("cannot open the lineage file {}", path.display());
                match cause.kind() {
                    ErrorKind::NotFound => error::settings(format!("{what}: its folder does not exist")),
                    _ => anyhow::Error::new(cause).context(what),
                }
            })
        };
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let parent = variable("OPENLINEAGE_PARENT_ID").and_then(|parent| {
            let mut parts = parent.rsplitn(3, '/').map(str::to_owned);
            let (run, job, namespace) = (parts.next()?, parts.next()?, parts.next()?);
            Some(parent_facet(&run, &json!({ "namespace": namespace, "name": job })))
        });
        Ok(Self {
            file: path.map(open).transpose()?,
            missing: Cell::new(0),
            namespace: variable("OPENLINEAGE_NAMESPACE").unwrap_or_else(|| "limpid".to_owned()),
            parent,
            progress,
        })
    }

    /// Checks that every event was written.
    ///
    /// # Errors
    /// Some were not.
    pub fn check_complete(&self) -> Result<()> {
        match (&self.file, self.missing.get()) {
            (Some(file), missing @ 1..) => {
                let lacks =
                    format!("{} lacks {missing} lineage events, which could not be written", file.path().display());
                Err(error::io(format!("{lacks}; the results are published")))
            }
            _ => Ok(()),
        }
    }

    /// Starts the run of a pipeline.
    pub fn pipeline(&'a self, name: &str) -> LineageRun<'a> {
        self.begin("PIPELINE", name, self.parent.clone(), Vec::new(), Map::new())
    }

    fn begin(
        &'a self,
        kind: &str,
        name: &str,
        parent: Option<Value>,
        inputs: Vec<Value>,
        mut facets: Map<String, Value>,
    ) -> LineageRun<'a> {
        let engine = json!({ "name": "limpid", "version": env!("CARGO_PKG_VERSION") });
        facets.insert("processing_engine".to_owned(), named_facet("ProcessingEngineRunFacet", "1-1-1", engine));
        facets.extend(parent.map(|parent| ("parent".to_owned(), parent)));
        let job_type = json!({ "processingType": "BATCH", "integration": "LIMPID", "jobType": kind });
        let job_type = named_facet("JobTypeJobFacet", "2-0-4", job_type);
        let job = json!({ "namespace": self.namespace, "name": name, "facets": { "jobType": job_type } });
        let run = LineageRun { lineage: self, id: uuid(), job, facets, inputs, ended: false };
        run.tell("START", Vec::new());
        run
    }
}

/// Refuses a file that holds something else than events, as a result or a source, and a pipe, whose reader would be waited for.
fn check(path: &Path) -> Result<()> {
    // What cannot be read is told when it is opened.
    let Ok(file) = std::fs::metadata(path) else { return Ok(()) };
    let what = path.display();
    if file.file_type().is_fifo() {
        return Err(error::settings(format!("the lineage file {what} is a pipe; name a file")));
    }
    if !file.is_file() || file.len() == 0 {
        return Ok(());
    }
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FIRST_EVENT).read_to_end(&mut start));
    // Of the first, a full disk may have left a part.
    let is_own = start.iter().zip(OWN_EVENT).all(|(found, own)| found == own);
    let is_event = start.starts_with(b"{") && start.windows(EVENT.len()).any(|part| part == EVENT);
    if read.is_ok() && !is_own && !is_event {
        return Err(error::settings(format!(
            "{what} holds no lineage events, which would be appended to it; name another file"
        )));
    }
    Ok(())
}

impl<'a> LineageRun<'a> {
    /// Starts the run of a stage of this pipeline, with the reasons of its plan.
    pub fn stage(&self, plan: &StagePlan, workspace: &Workspace) -> LineageRun<'a> {
        let pipeline = self.job["name"].as_str().unwrap_or_default();
        let inputs = if self.lineage.file.is_some() { inputs(plan, workspace) } else { Vec::new() };
        let why = json!({ "action": plan.action, "reasons": plan.reasons });
        let facets = Map::from_iter([("limpid_plan".to_owned(), facet(&format!("{EVENTS}#/$defs/RunFacet"), why))]);
        let parent = Some(parent_facet(&self.id, &self.job));
        self.lineage.begin("STAGE", &format!("{pipeline}.{}", plan.stage), parent, inputs, facets)
    }

    /// Ends the run of a pipeline.
    pub fn end(self, result: &Result<()>) {
        self.finish(result.as_ref().map(|()| Vec::new()));
    }

    /// Ends the run of a stage.
    pub fn end_stage(self, result: &Result<Receipt>, workspace: &Workspace) {
        let wanted = self.lineage.file.is_some();
        let outputs = |receipt: &Receipt| if wanted { outputs(receipt, workspace) } else { Vec::new() };
        self.finish(result.as_ref().map(outputs));
    }

    fn finish(mut self, result: std::result::Result<Vec<Value>, &anyhow::Error>) {
        self.ended = true;
        match result {
            Ok(outputs) => self.tell("COMPLETE", outputs),
            Err(cause) if error::kind(cause) == Kind::TryAgain => self.tell("ABORT", Vec::new()),
            Err(cause) => self.fail(&format!("{cause:#}")),
        }
    }

    fn fail(&mut self, message: &str) {
        let message = json!({ "message": message, "programmingLanguage": "RUST" });
        self.facets.insert("errorMessage".to_owned(), named_facet("ErrorMessageRunFacet", "1-0-1", message));
        self.tell("FAIL", Vec::new());
    }

    fn tell(&self, event: &str, outputs: Vec<Value>) {
        let Some(file) = &self.lineage.file else { return };
        let event = json!({
            "eventType": event,
            "eventTime": format!("{:.3}", jiff::Timestamp::now()),
            "run": { "runId": self.id, "facets": self.facets },
            "job": self.job,
            "inputs": self.inputs,
            "outputs": outputs,
            "producer": PRODUCER,
            "schemaURL": format!("{SPEC}/{EVENTS}#/$defs/RunEvent"),
        });
        // Some readers end a line at a U+2028 in a name.
        if let Err(cause) = file.append(&escaped(&event.to_string())) {
            let missing = &self.lineage.missing;
            missing.set(missing.get() + 1);
            let path = file.path().display();
            self.lineage.progress.note(&format!("cannot write to the lineage file {path}: {cause}"));
        }
    }
}

impl Drop for LineageRun<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.fail("a panic ended the work");
        }
    }
}

/// The files that a stage reads, as far as its plan knows them: those of earlier stages, and those of the user.
fn inputs(plan: &StagePlan, workspace: &Workspace) -> Vec<Value> {
    let read = plan.parts.iter().flat_map(|parts| parts.inputs.keys()).filter_map(|input| {
        let (stage, name) = input.split_once('/')?;
        let receipt = workspace.receipt(named(stage)?.name()).ok().flatten()?;
        let output = receipt.outputs.iter().find(|output| output.name == name)?;
        Some((workspace.input(input), output.digest.clone(), output.rows, output.bytes))
    });
    let outside = plan.files.values().map(|file| (file.path.clone().into(), file.digest.clone(), None, file.bytes));
    let facets = |(path, digest, rows, bytes): (std::path::PathBuf, String, Option<u64>, u64)| {
        let mut dataset = dataset(&path, &digest);
        let statistics = statistics(rows, bytes);
        let statistics = named_facet("InputStatisticsInputDatasetFacet", "1-0-0", statistics);
        let mut facets = json!({ "inputStatistics": statistics });
        if let Some(rows) = rows {
            // Older consumers know the rows of an input by this facet.
            let metrics = json!({ "rowCount": rows, "bytes": bytes, "columnMetrics": {} });
            facets["dataQualityMetrics"] = named_facet("DataQualityMetricsInputDatasetFacet", "1-0-3", metrics);
        }
        dataset["inputFacets"] = facets;
        dataset
    };
    read.chain(outside).map(facets).collect()
}

/// The files that a stage has published.
fn outputs(receipt: &Receipt, workspace: &Workspace) -> Vec<Value> {
    let outputs = receipt.outputs.iter().map(|output| {
        let mut dataset = dataset(&workspace.input(&format!("{}/{}", receipt.stage, output.name)), &output.digest);
        let statistics = statistics(output.rows, output.bytes);
        let statistics = named_facet("OutputStatisticsOutputDatasetFacet", "1-0-2", statistics);
        dataset["outputFacets"] = json!({ "outputStatistics": statistics });
        dataset
    });
    outputs.collect()
}

fn statistics(rows: Option<u64>, bytes: u64) -> Value {
    let mut statistics = json!({ "size": bytes, "fileCount": 1 });
    if let Some(rows) = rows {
        statistics["rowCount"] = rows.into();
    }
    statistics
}

/// A file, with what is known of its content.
fn dataset(path: &Path, digest: &str) -> Value {
    let path = store::real(path).unwrap_or_else(|| path.to_owned());
    let mut facets =
        json!({ "version": named_facet("DatasetVersionDatasetFacet", "1-0-1", json!({ "datasetVersion": digest })) });
    if path.extension().is_some_and(|extension| extension == "parquet")
        && let Ok(footer) = table::footer(&path)
    {
        let field = |(index, field): (usize, &std::sync::Arc<arrow_schema::Field>)| json!({ "name": field.name(), "type": field.data_type().to_string(), "ordinal_position": index + 1 });
        let fields: Vec<_> = footer.schema().fields().iter().enumerate().map(field).collect();
        facets["schema"] = named_facet("SchemaDatasetFacet", "1-2-0", json!({ "fields": fields }));
        let storage = json!({ "storageLayer": "file", "fileFormat": "parquet" });
        facets["storage"] = named_facet("StorageDatasetFacet", "1-0-1", storage);
    }
    let (namespace, name) = named_in(&path);
    json!({ "namespace": namespace, "name": name, "facets": facets })
}

/// The namespace of a path and its name there, as OpenLineage wants them: a file by its path, an object by its bucket and key.
fn named_in(path: &Path) -> (String, String) {
    let text = path.to_string_lossy().into_owned();
    let Some((scheme, rest)) = text.split_once("://").filter(|_| is_url(path)) else {
        return ("file".to_owned(), text);
    };
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    (format!("{scheme}://{bucket}"), key.to_owned())
}

fn parent_facet(run: &str, job: &Value) -> Value {
    let parent = json!({ "run": { "runId": run }, "job": { "namespace": job["namespace"], "name": job["name"] } });
    named_facet("ParentRunFacet", "1-2-0", parent)
}

/// A facet that OpenLineage defines in a file of its own.
fn named_facet(name: &str, version: &str, content: Value) -> Value {
    facet(&format!("facets/{version}/{name}.json#/$defs/{name}"), content)
}

fn facet(schema: &str, mut content: Value) -> Value {
    content["_producer"] = PRODUCER.into();
    content["_schemaURL"] = format!("{SPEC}/{schema}").into();
    content
}

/// A UUID of version 7 (RFC 9562): milliseconds since 1970, then random bits. These come from the random keys that the standard
/// library makes for hash maps.
fn uuid() -> String {
    let random = || u128::from(RandomState::new().hash_one(std::process::id()));
    let time = jiff::Timestamp::now().as_millisecond().max(0) as u128 & 0xffff_ffff_ffff;
    let bits = time << 80 | 0x7 << 76 | (random() & 0xfff) << 64 | 0b10 << 62 | (random() & (u128::MAX >> 66));
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_are_uuids_of_version_7() {
        let (first, second) = (uuid(), uuid());
        assert_ne!(first, second);
        for id in [first, second] {
            let lengths: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(&id[14..15], "7", "{id}");
            assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
        }
    }
}
