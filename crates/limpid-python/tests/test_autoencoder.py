"""The transformer for scikit-learn."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
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
