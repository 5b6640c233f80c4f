#!/usr/bin/env python3
"""A denoiser that limpid trained beside the usual ones, on any folder of pictures: PSNR, SSIM and speed, as Markdown tables.

    pip install numpy pillow pyarrow scikit-image PyWavelets bm3d opencv-python-headless
    scripts/beside.py runs/photo-denoise bsd68 --sigma 15 25 50                 # adds noise to clean pictures
    scripts/beside.py runs/documents clean --noisy stained                      # pairs, by relative path without the format
    scripts/beside.py runs/photo-denoise set12 --sigma 25 --crops crops         # and writes crops side by side

With --sigma (of 255) normal noise is added that is neither clipped nor rounded, as papers have it, and each method is told σ; the
model is not. Of pairs the methods use an estimate of σ for each noisy picture (skimage.restoration.estimate_sigma). Results are
clipped to [0, 1] and, if the clean picture has 8 bits, rounded to bytes. Scores are means over the pictures: PSNR on the range 1, SSIM
with the Gaussian window of 11 pixels of its paper.

Methods, unless --methods chooses (all but torch):

    limpid    `limpid denoise`
    bm3d      the library of BM3D's authors
    wavelet   scikit-image's wavelets: BayesShrink, rescale_sigma
    nlm       scikit-image's non-local means: fast mode, 5×5 patches, h = 0.8 σ
    opencv    OpenCV's non-local means, which take 8 bits, so that their input is clipped and rounded; h = 1.1, 1.0 and 0.8 σ at
              σ = 15, 25 and 50, the best of the tenths on half of Set12
    torch     the same model in PyTorch, channels_last, a picture at a time; needs torch and safetensors

Speed is of all pictures on --threads threads: the whole process `limpid denoise`, from Parquet to Parquet; the other methods from
arrays to arrays, without imports, with as many processes of one thread that take a picture each, or PyTorch's threads. Time on a
machine that does nothing else. A model of grey images takes each channel of a colour picture by itself. limpid's tables hold pictures
of up to 1,048,576 numbers (1024×1024 in grey); cut larger ones.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
FORMATS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
METHODS = ["limpid", "bm3d", "wavelet", "nlm", "opencv", "torch"]
# Around a picture of a crop, in pixels.
GAP = 4


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path, help="the run directory of the model")
    parser.add_argument("clean", type=pathlib.Path, help="folder of clean pictures, sub-folders included")
    noise = parser.add_mutually_exclusive_group(required=True)
    noise.add_argument("--sigma", type=float, nargs="+", help="standard deviations of the noise, of 255")
    noise.add_argument("--noisy", type=pathlib.Path, help="folder of the same pictures with noise")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[name for name in METHODS if name != "torch"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=1, help="of the noise")
    parser.add_argument("--only", default="*", help="a pattern for the names of pictures, such as 'test00*'")
    parser.add_argument("--grey", action="store_true", help="make colour pictures grey")
    parser.add_argument("--crops", type=pathlib.Path, help="folder for PNG files: noisy, limpid, BM3D and clean, side by side")
    parser.add_argument("--crop", type=int, default=96, help="side of a crop, the one with the most detail unless --at says where")
    parser.add_argument("--at", type=int, nargs=2, metavar=("ROW", "COLUMN"), help="its upper left corner")
    parser.add_argument("--zoom", type=int, default=2, help="how large a pixel of a crop is")
    parser.add_argument("--limpid", type=pathlib.Path, default=HERE.parent / "target/release/limpid")
    return parser.parse_args()


OPTIONS = arguments()
# One thread in each of the processes of the other methods; set before their libraries are loaded.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps
from skimage.metrics import structural_similarity


def pictures(folder):
    """Paths of the pictures in a folder by their relative paths without the format."""
    paths = (path for path in sorted(folder.rglob(OPTIONS.only)) if path.suffix.lower() in FORMATS)
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def read(path):
    """A picture as [rows, columns, channels] in [0, 1], and whether it has 8 bits."""
    with Image.open(path) as picture:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):
            return np.asarray(picture, np.float32)[..., None] / 65535, False
        if picture.mode == "F":
            return np.asarray(picture, np.float32)[..., None], False
        grey = OPTIONS.grey or picture.mode in ("1", "L", "LA")
        values = np.asarray(picture.convert("L" if grey else "RGB"), np.float32) / 255
        return values.reshape(*values.shape[:2], -1), True


def by_shape(images):
    """Positions of images, in a list for each shape."""
    groups = {}
    for at, image in enumerate(images):
        groups.setdefault(image.shape, []).append(at)
    return groups


def planes(images):
    """Each channel as an image of its own, and a function that puts results together again."""
    def together(made):
        made = iter(made)
        return [np.concatenate([next(made) for _ in range(image.shape[2])], axis=2) for image in images]
    return [image[..., channel:channel + 1] for image in images for channel in range(image.shape[2])], together


def for_model(images):
    """Images as the model takes them, and a function from its results to those for the images."""
    channels = json.loads((OPTIONS.run / "train/model.json").read_text())["image"]["channels"]
    if channels == 1:
        return planes(images)
    if any(image.shape[2] != channels for image in images):
        sys.exit(f"the model takes images of {channels} channels, and there are pictures of others")
    return images, lambda made: made


def table(images, path):
    """Writes images of one shape as a table of limpid's, which may hold any numbers."""
    height, width, channels = images[0].shape
    sides = {"limpid.height": str(height), "limpid.width": str(width), "limpid.channels": str(channels)}
    like = next((OPTIONS.run / "ingest").glob("*.parquet"), None)
    version = (pq.read_schema(like).metadata or {}).get(b"limpid.schema-version", b"1").decode() if like else "1"
    size = height * width * channels
    schema = pa.schema([
        pa.field("id", pa.int64(), nullable=False),
        pa.field("split", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("label", pa.int64()),
        pa.field("image", pa.list_(pa.field("element", pa.float32(), nullable=False), size), nullable=False,
                 metadata=sides | {"limpid.unclipped": "true"}),
    ], metadata=sides | {"limpid.table": "images", "limpid.schema-version": version})
    values = pa.array(np.concatenate([image.ravel() for image in images]))
    columns = [pa.array(range(len(images))), pa.array(["test"] * len(images)).dictionary_encode(),
               pa.nulls(len(images), pa.int64()), pa.FixedSizeListArray.from_arrays(values, size)]
    columns = [column.cast(field.type) for column, field in zip(columns, schema)]
    # Row groups of a few images are shared out among threads.
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path, row_group_size=4, use_dictionary=["split"])


def limpid(noisy, _):
    images, back = for_model(noisy)
    made = [None] * len(images)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        groups = by_shape(images)
        names = ["x".join(map(str, shape)) for shape in groups]
        for name, positions in zip(names, groups.values()):
            table([images[at] for at in positions], folder / f"{name}.parquet")
        command = [OPTIONS.limpid, "denoise", OPTIONS.run, *(folder / f"{name}.parquet" for name in names),
                   "-o", folder / "made", "--threads", OPTIONS.threads]
        start = time.perf_counter()
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))} exited with {done.returncode}:\n{done.stderr[-2000:]}")
        for name, (shape, positions) in zip(names, groups.items()):
            column = pq.read_table(folder / f"made/{name}.parquet").sort_by("id")["image"]
            for at, row in zip(positions, column):
                values = row.values.to_numpy()
                values = values / np.float32(255) if values.dtype == np.uint8 else values
                made[at] = values.reshape(shape)
    return back(made), seconds


def torch(noisy, _):
    import torch
    sys.path.insert(0, str(HERE))
    import limpid_torch
    torch.set_num_threads(OPTIONS.threads)
    images, back = for_model(noisy)
    shapes = by_shape(images)
    models = {shape: limpid_torch.load(OPTIONS.run, shape[:2]).to(memory_format=torch.channels_last) for shape in shapes}
    made = []
    with torch.inference_mode():
        for shape, model in models.items():
            model(torch.zeros(1, int(np.prod(shape))))
        start = time.perf_counter()
        for image in images:
            made.append(models[image.shape](torch.from_numpy(image.reshape(1, -1))).numpy().reshape(image.shape))
        seconds = time.perf_counter() - start
    return back(made), seconds


def colours(image):
    """Grey images without the axis of channels."""
    return image[..., 0] if image.shape[2] == 1 else image


def bm3d(image, sigma):
    import bm3d
    return (bm3d.bm3d if image.shape[2] == 1 else bm3d.bm3d_rgb)(colours(image).astype(np.float64), sigma)


def axis(image):
    return {"channel_axis": None if image.shape[2] == 1 else -1}


def wavelet(image, sigma):
    from skimage.restoration import denoise_wavelet
    return denoise_wavelet(colours(image), sigma=sigma, method="BayesShrink", mode="soft", rescale_sigma=True, **axis(image),
                           convert2ycbcr=image.shape[2] == 3)


def nlm(image, sigma):
    from skimage.restoration import denoise_nl_means
    return denoise_nl_means(colours(image), h=0.8 * sigma, sigma=sigma, fast_mode=True, patch_size=5, patch_distance=6, **axis(image))


def opencv(image, sigma):
    import cv2
    cv2.setNumThreads(1)
    image = np.round(colours(image).clip(0, 1) * 255).astype(np.uint8)
    h = 255 * sigma * np.interp(255 * sigma, [15, 25, 50], [1.1, 1.0, 0.8])
    made = cv2.fastNlMeansDenoising(image, None, h) if image.ndim == 2 else cv2.fastNlMeansDenoisingColored(image, None, h, h)
    return made / np.float32(255)


def one(job):
    """One picture by one of the methods that have a function of a picture and σ."""
    method, image, sigma = job
    return np.asarray(METHOD[method](image, sigma), np.float32).reshape(image.shape)


METHOD = {"bm3d": bm3d, "wavelet": wavelet, "nlm": nlm, "opencv": opencv}


def shared(method):
    """One of these methods, for all pictures."""
    def apply(noisy, sigmas):
        with multiprocessing.Pool(OPTIONS.threads) as pool:
            # Imports happen before the clock starts.
            small = np.random.default_rng(0).random((32, 32, noisy[0].shape[2]), np.float32)
            warm = [(method, small, 0.1)] * (4 * OPTIONS.threads)
            pool.map(one, warm, chunksize=1)
            start = time.perf_counter()
            made = pool.map(one, [(method, *job) for job in zip(noisy, sigmas)], chunksize=1)
            return made, time.perf_counter() - start
    return apply


APPLY = {"noisy": lambda noisy, _: (noisy, None), "limpid": limpid, "torch": torch} | {name: shared(name) for name in METHOD}


def finish(made, rounded):
    """A result as it is scored: clipped, and rounded to bytes if the clean picture has them."""
    made = made.clip(0, 1)
    return np.floor(made * 255 + 0.5) / 255 if rounded else made


def score(made, clean):
    made, clean = made.astype(np.float64), clean.astype(np.float64)
    psnr = -10 * np.log10(max(np.square(made - clean).mean(), 1e-12))
    return psnr, structural_similarity(colours(made), colours(clean), data_range=1, gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False, **axis(clean))


def corner(clean):
    """Upper left corner of the crop: as asked for, or where the clean picture varies most, in steps of an eighth of the side."""
    side = OPTIONS.crop
    if OPTIONS.at:
        return OPTIONS.at
    steps = [range(0, max(length - side, 0) + 1, max(side // 8, 1)) for length in clean.shape[:2]]
    detail = sum(np.square(np.diff(clean.mean(axis=2), axis=axis)[:clean.shape[0] - 1, :clean.shape[1] - 1]) for axis in (0, 1))
    return max(((row, column) for row in steps[0] for column in steps[1]),
               key=lambda at: detail[at[0]:at[0] + side, at[1]:at[1] + side].sum())


def write_crops(name, row):
    """One PNG: crops of the pictures of a row, the last of which is clean, side by side."""
    (top, left), side = corner(row[-1]), OPTIONS.crop
    crops = [image[top:top + side, left:left + side] for image in row]
    crops = [np.broadcast_to(crop, (*crop.shape[:2], 3)).repeat(OPTIONS.zoom, 0).repeat(OPTIONS.zoom, 1) for crop in crops]
    white = np.ones((crops[0].shape[0], GAP, 3))
    strip = np.concatenate([part for crop in crops for part in (crop, white)][:-1], axis=1)
    path = OPTIONS.crops / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(strip.clip(0, 1) * 255).astype(np.uint8)).save(path, optimize=True)


def compare(title, names, clean, rounded, noisy, sigmas):
    """Runs the methods, prints their table and writes the crops."""
    pixels = sum(image.shape[0] * image.shape[1] for image in clean) / 1e6
    print(f"{title}, {len(clean)} pictures, {pixels:.2f} megapixels, {OPTIONS.threads} threads:\n")
    print("| | PSNR, dB | SSIM | seconds | megapixels/s |\n|---|---|---|---|---|")
    results = {}
    for method in ["noisy", *OPTIONS.methods]:
        results[method], seconds = APPLY[method](noisy, sigmas)
        # What is only noisy is scored as it is.
        finished = results[method] if method == "noisy" else map(finish, results[method], rounded)
        psnr, ssim = np.mean([score(made, truth) for made, truth in zip(finished, clean)], axis=0)
        speed = f"{seconds:.2f} | {pixels / seconds:.2f}" if seconds else " | "
        print(f"| {method} | {psnr:.2f} | {ssim:.4f} | {speed} |", flush=True)
    print()
    if OPTIONS.crops:
        shown = [results[name] for name in ("noisy", "limpid", "bm3d") if name in results] + [clean]
        for name, row in zip(names, zip(*shown)):
            write_crops(f"{title.split()[-1]}/{name}", row)


def main():
    paths = pictures(OPTIONS.clean)
    if not paths:
        sys.exit(f"there is no picture {OPTIONS.only} in {OPTIONS.clean}")
    clean, rounded = zip(*map(read, paths.values()))
    if OPTIONS.noisy:
        from skimage.restoration import estimate_sigma
        others = pictures(OPTIONS.noisy)
        if missing := [name for name in paths if name not in others]:
            sys.exit(f"{OPTIONS.noisy} lacks {len(missing)} pictures of {OPTIONS.clean}: {', '.join(missing[:10])}")
        noisy = [read(others[name])[0] for name in paths]
        if different := [name for name, a, b in zip(paths, clean, noisy) if a.shape != b.shape]:
            sys.exit(f"{len(different)} noisy pictures have other sizes or channels than the clean ones: {', '.join(different[:10])}")
        sigmas = [float(estimate_sigma(image, channel_axis=-1, average_sigmas=True)) for image in noisy]
        compare("pairs", paths, clean, rounded, noisy, sigmas)
    for sigma in OPTIONS.sigma or []:
        # Its own noise for each picture, which differs between strengths by the factor σ alone.
        normal = (np.random.default_rng([OPTIONS.seed, at]).standard_normal for at in range(len(clean)))
        noisy = [image + np.float32(sigma / 255) * draw(image.shape, np.float32) for image, draw in zip(clean, normal)]
        compare(f"σ = {sigma:g}", paths, clean, rounded, noisy, [sigma / 255] * len(clean))


if __name__ == "__main__":
    main()
