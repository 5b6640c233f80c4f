//! A trained model for Python.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use limpid::command::library::{Model as Loaded, Reading, Rows, absolute};
use limpid::error::Kind;
use limpid::progress::Progress;
use limpid::source::floats_of;
use numpy::PyArray1;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMemoryView, PyTuple};

use crate::errors::of_kind;
use crate::images::{Form, array, images, stacked};
use crate::local;
use crate::table::{Table, shaped};
use crate::watch::watched;

/// A trained model, which any number of threads may use at once: that of a run directory, which may be a URL (s3://, gs://, az://), or of
/// the folder of its train stage.
///
/// `threads` are all cores unless given. It is sent to other processes by its path.
///
/// Images are a NumPy array [n, rows, columns], [n, rows, columns, channels] or [n, numbers], of bytes or of floats in [0, 1] (by the
/// levels of the model's source, if that has some); anything with `__arrow_c_array__` or `__arrow_c_stream__`, with a column of images as
/// `limpid encode` takes them, or such a column alone; or a list of paths, of PIL's pictures or of the bytes of picture files. PIL's
/// pictures are taken as they are in memory, not turned by the orientation of their file. A model of rows takes [n, columns], or tables
/// with its columns.
///
/// The results are NumPy arrays, or a Table with `id`, `split`, `label` and `error` if the images were Arrow, or as `output` says.
#[pyclass(module = "limpid", frozen, weakref)]
pub struct Model {
    loaded: Arc<Loaded>,
    path: PathBuf,
    device: String,
    threads: Option<usize>,
}

/// What a method gives back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Numpy,
    Arrow,
}

impl Output {
    fn of(asked: Option<&str>, form: &Form) -> PyResult<Self> {
        match asked {
            None if matches!(form, Form::Arrow) => Ok(Output::Arrow),
            None | Some("numpy") => Ok(Output::Numpy),
            Some("arrow") => Ok(Output::Arrow),
            Some(other) => Err(PyValueError::new_err(format!("output is \"numpy\" or \"arrow\", and not {other:?}"))),
        }
    }
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(
        signature = (path, *, device="flex".to_owned(), threads=None),
        text_signature = "(path, *, device='flex', threads=None)"
    )]
    fn new(py: Python<'_>, path: PathBuf, device: String, threads: Option<usize>) -> PyResult<Self> {
        // Whatever the current folder is when it is sent to another process.
        let path = absolute(&path)?;
        let (from, on) = (path.clone(), device.clone());
        let loaded = watched(py, None, move |progress| Loaded::load(&from, &on, threads, progress))?;
        Ok(Self { loaded: Arc::new(loaded), path, device, threads })
    }

    /// Where it was loaded from; SettingsError of a run in a store.
    #[getter]
    fn path(&self, py: Python<'_>) -> PyResult<PathBuf> {
        local(py, &self.path)
    }

    /// The same as text, or the URL in a store.
    #[getter]
    fn location(&self) -> OsString {
        self.path.clone().into_os_string()
    }

    /// Rows, columns and channels of the images that the model was trained on.
    #[getter]
    fn image_shape(&self) -> (usize, usize, usize) {
        self.loaded.image().into()
    }

    /// Numbers of a code; None if it has no code.
    #[getter]
    fn code_size(&self) -> Option<usize> {
        self.loaded.code_size()
    }

    /// The columns of the rows that it takes, if it takes rows.
    #[getter]
    fn columns(&self) -> Option<Vec<String>> {
        self.loaded.columns()
    }

    /// The codes, [n, size]: to the bit those that `limpid encode` writes.
    ///
    /// `codes` is "image" for one of each image, "pooled" for the mean over its patches, "patches" for one of each patch. `column` is the
    /// column of images in a table; `resize` scales pictures to the size of the model's images, `crop` until they cover it; `progress`
    /// shows a bar, None only on a terminal and in a notebook. All of them hold for the other methods too.
    #[pyo3(
        signature = (images, *, codes="image".to_owned(), output=None, column=None, resize=false, crop=false, progress=Some(false)),
        text_signature = "(self, images, *, codes='image', output=None, column=None, resize=False, crop=False, progress=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are named where it is called")]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        codes: String,
        output: Option<&str>,
        column: Option<String>,
        resize: bool,
        crop: bool,
        progress: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (images, form) = self::images(images, &self.alone())?;
        let (output, reading, loaded) =
            (Output::of(output, &form)?, Reading { resize, crop, column }, self.loaded.clone());
        let with_error = output == Output::Arrow;
        let reporter = reporter(py, progress)?;
        let work = move |progress: &Progress| loaded.encode(images, &reading, (&codes, with_error), progress);
        let rows = watched(py, reporter, work)?;
        let table = Table::held(rows);
        match output {
            Output::Arrow => Ok(Bound::new(py, table)?.into_any()),
            Output::Numpy => table.column(py, "code", None),
        }
    }

    /// The images as the model makes them, in the form of those that were given: to the bit what `limpid denoise` writes, bytes of bytes and
    /// floats of floats. `ensemble` takes the mean over the eight orientations of each. Pictures of different sizes are a list of arrays.
    #[pyo3(
        signature = (images, *, ensemble=false, output=None, column=None, resize=false, crop=false, progress=Some(false)),
        text_signature = "(self, images, *, ensemble=False, output=None, column=None, resize=False, crop=False, progress=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are named where it is called")]
    fn denoise<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        ensemble: bool,
        output: Option<&str>,
        column: Option<String>,
        resize: bool,
        crop: bool,
        progress: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.made(py, images, (ensemble, false), output, Reading { resize, crop, column }, progress)
    }

    /// As `denoise`, as floats in [0, 1] that are not rounded to bytes: what `decode` makes of the codes, for a model that has them.
    #[pyo3(
        signature = (images, *, output=None, column=None, resize=false, crop=false, progress=Some(false)),
        text_signature = "(self, images, *, output=None, column=None, resize=False, crop=False, progress=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are named where it is called")]
    fn reconstruct<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        output: Option<&str>,
        column: Option<String>,
        resize: bool,
        crop: bool,
        progress: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.made(py, images, (false, true), output, Reading { resize, crop, column }, progress)
    }

    /// The images that codes stand for, as floats in [0, 1]: [n, rows, columns], or with channels; rows in the units of their columns.
    fn decode<'py>(&self, py: Python<'py>, codes: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let view = match PyMemoryView::from(codes) {
            Ok(view) => view,
            Err(_) if codes.hasattr("__array__")? => PyMemoryView::from(&codes.call_method0("__array__")?)?,
            Err(_) if codes.cast::<PyList>().is_ok() || codes.cast::<PyTuple>().is_ok() => {
                PyMemoryView::from(&stacked(codes)?)?
            }
            Err(_) => {
                let kind = codes.get_type().name()?;
                return Err(PyTypeError::new_err(format!("codes are a NumPy array or lists, and not {kind}")));
            }
        };
        let (held, sizes) = array(&view)?;
        let loaded = self.loaded.clone();
        if let Some(size) = loaded.code_size()
            && (sizes.len() != 2 || sizes[1] != size)
        {
            return Err(of_kind(
                py,
                Kind::Data,
                format!("the codes have the sizes {sizes:?}; the model takes (count, {size})"),
            ));
        }
        let made = watched(py, None, move |_| {
            let codes: Vec<f32> = floats_of(&held)?.into_iter().map(|number| number as f32).collect();
            loaded.decode(&codes)
        })?;
        let sides = self.sides();
        shaped(PyArray1::from_vec(py, made).into_any(), &[vec![sizes[0]], sides].concat())
    }

    /// A copy in another process loads the model again.
    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((OsString,), Bound<'py, PyDict>)> {
        let options = PyDict::new(py);
        options.set_item("device", &self.device)?;
        options.set_item("threads", self.threads)?;
        Ok(((self.path.clone().into_os_string(),), options))
    }

    fn __repr__(&self) -> String {
        let [height, width, channels] = self.loaded.image();
        let code = self.loaded.code_size().map_or(String::new(), |size| format!(", codes of {size}"));
        format!("limpid.Model({:?}: images of {height}×{width}×{channels}{code})", self.path.display().to_string())
    }
}

/// What shows bars; none unless they are asked for, or may be shown where they can be seen.
fn reporter(py: Python<'_>, progress: Option<bool>) -> PyResult<Option<Py<PyAny>>> {
    if progress == Some(false) {
        return Ok(None);
    }
    Ok(Some(py.import("limpid._progress")?.getattr("reporter")?.call1((progress,))?.unbind()))
}

impl Model {
    /// What a column of Arrow that comes alone is: images, or the one column that a model of rows takes.
    fn alone(&self) -> String {
        self.loaded.columns().and_then(|columns| columns.into_iter().next()).unwrap_or_else(|| "image".to_owned())
    }

    /// Sizes of one image, as NumPy has it.
    fn sides(&self) -> Vec<usize> {
        match self.loaded.image() {
            [1, 1, width] => vec![width],
            [height, width, 1] => vec![height, width],
            sides => sides.to_vec(),
        }
    }

    fn made<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        how: (bool, bool),
        output: Option<&str>,
        reading: Reading,
        progress: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (images, form) = self::images(images, &self.alone())?;
        let (output, loaded) = (Output::of(output, &form)?, self.loaded.clone());
        let reporter = reporter(py, progress)?;
        let rows: Rows = watched(py, reporter, move |progress| loaded.denoise(images, &reading, how, progress))?;
        let table = Table::held(rows);
        if output == Output::Arrow {
            return Ok(Bound::new(py, table)?.into_any());
        }
        match (self.loaded.columns(), form) {
            // Rows have the columns that they had.
            (Some(columns), _) if !table.is_list(&columns[0]) => {
                table.stacked(py, &columns.iter().map(String::as_str).collect::<Vec<_>>())
            }
            (Some(columns), _) => table.column(py, &columns[0], None),
            (None, Form::Array(sizes)) => table.column(py, "image", Some(&sizes[1..])),
            (None, _) => table.column(py, "image", None),
        }
    }
}
