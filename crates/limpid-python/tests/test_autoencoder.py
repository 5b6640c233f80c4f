"""The transformer for scikit-learn."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import limpid  # noqa: E402


@parametrize_with_checks([limpid.Autoencoder(code=2, epochs=2, batch_size=20, threads=1)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_it_goes_into_a_pipeline():
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal(size=(200, 6)), random.normal(size=(200, 6)) + 4])
    labels = np.repeat([0, 1], 200)
    pipeline = make_pipeline(limpid.Autoencoder(code=3, epochs=30, batch_size=20), LogisticRegression())
    assert pipeline.fit(rows, labels).score(rows, labels) > 0.9
    autoencoder = pipeline[0]
    assert list(autoencoder.get_feature_names_out()) == ["autoencoder0", "autoencoder1", "autoencoder2"]
    assert autoencoder.inverse_transform(autoencoder.transform(rows)).shape == rows.shape
    assert autoencoder.score_samples(rows).shape == (400,)
    again = pickle.loads(pickle.dumps(autoencoder))
    assert again.transform(rows).tobytes() == autoencoder.transform(rows).tobytes()
    assert clone(autoencoder).fit(rows).transform(rows).tobytes() == autoencoder.transform(rows).tobytes()
    other = clone(autoencoder).set_params(random_state=5).fit(rows)
    assert other.transform(rows).tobytes() != autoencoder.transform(rows).tobytes()


def test_images_are_rows_too():
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8)
    autoencoder = limpid.Autoencoder(code=4, epochs=1).fit(images)
    codes = autoencoder.transform(images)
    assert codes.shape == (50, 4) and autoencoder.inverse_transform(codes).shape == (50, 8, 8)


def test_its_model_is_sent_to_other_processes():
    rows = np.random.default_rng(0).random((60, 5))
    autoencoder = limpid.Autoencoder(code=2, epochs=1).fit(rows)
    model = pickle.loads(pickle.dumps(autoencoder.model_))
    assert model.code_size == 2 and autoencoder.model_.path.is_dir()
    folder = autoencoder.model_.path
    # Those of the model before go with it, which is as good as ever where it is still held.
    held = autoencoder.model_
    autoencoder.fit(rows)
    assert autoencoder.model_.path != folder and folder.exists() and pickle.loads(pickle.dumps(held)).code_size == 2
    del held
    gc.collect()
    assert not folder.exists()
    folder = autoencoder.model_.path
    del autoencoder
    gc.collect()
    assert not folder.exists()


def test_the_model_says_how_many_features_there_are():
    rows = np.random.default_rng(0).random((60, 5))
    autoencoder = limpid.Autoencoder(code=2, epochs=1, settings={"model.dense.code": 3}).fit(rows)
    assert autoencoder.transform(rows).shape[1] == len(autoencoder.get_feature_names_out()) == 3
    with pytest.raises(NotFittedError):
        _ = limpid.Autoencoder().model_


def test_an_interrupted_search_ends(monkeypatch):
    def interrupted(*_, **__):
        raise limpid.Interrupted("interrupted") from KeyboardInterrupt()

    monkeypatch.setattr("limpid._autoencoder.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(limpid.Autoencoder(epochs=1), {"code": [2, 3]}, cv=2, scoring=lambda *_: 0.0).fit(np.random.default_rng(0).random((40, 5)))
