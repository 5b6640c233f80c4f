#!/usr/bin/env python3
"""The mean PSNR of tables of images against a table of the same clean images: `psnr.py CLEAN.parquet OTHER.parquet...`.

Pixels are bytes, or floats in units of the range of 1. Each image counts alike: the PSNR of every image, then their mean, as papers on
denoising have it. Needs numpy and pyarrow.
"""

import sys

import numpy
import pyarrow.parquet


def images(path):
    column = pyarrow.parquet.read_table(path, columns=["id", "image"]).sort_by("id")["image"]
    values = [numpy.asarray(image) for image in column.to_numpy()]
    return [value / 255 if value.dtype == numpy.uint8 else value.astype(float) for value in values]


clean = images(sys.argv[1])
for path in sys.argv[2:]:
    errors = numpy.array([((made - image) ** 2).mean() for made, image in zip(images(path), clean, strict=True)])
    print(f"{path}: {(-10 * numpy.log10(errors)).mean():.2f} dB")
