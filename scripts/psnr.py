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
    values = numpy.stack(column.to_numpy())
    return values / 255 if values.dtype == numpy.uint8 else values.astype(float)


clean = images(sys.argv[1])
for path in sys.argv[2:]:
    errors = ((images(path) - clean) ** 2).mean(axis=1)
    print(f"{path}: {(-10 * numpy.log10(errors)).mean():.2f} dB")
