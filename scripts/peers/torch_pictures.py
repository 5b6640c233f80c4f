"""The training of a run in PyTorch: the same model, images, patches, noise, loss and batches, optimised for speed.

usage: torch_pictures.py RUN [--epochs N] [--threads N] [--seed N] [--start RUN]

RUN has trained at least once; its settings are those of the train stage's receipt, its model is made by limpid_torch.py, with the weights
of PyTorch's own start, and its images are those of `ingest`. Normal noise only, with or without clipping, of one strength or a
range. With --start the weights to begin with are those of another run of the same pipeline: trained with a learning rate of 1e-9, those
are its initial ones. Images are channels_last, which is PyTorch's best layout on a CPU. Prints one line an epoch: seconds of training alone and the
mean training loss. Needs torch, numpy, pyarrow, safetensors.
"""
import argparse, json, pathlib, statistics, sys, time
import numpy as np, pyarrow.parquet as pq, torch, torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import limpid_torch

a = argparse.ArgumentParser()
a.add_argument("run", type=pathlib.Path); a.add_argument("--epochs", type=int, default=2)
a.add_argument("--threads", type=int, default=2); a.add_argument("--seed", type=int, default=0)
a.add_argument("--start", type=pathlib.Path)
a = a.parse_args()
torch.set_num_threads(a.threads); torch.manual_seed(a.seed)

settings = json.loads((a.run / "train/_receipt.json").read_text())["parts"]["settings"]
batch, patch, augment = settings["training.batch-size"], settings.get("training.patch"), settings.get("training.augment", [])
std, clip = settings.get("corruption.gaussian.std", 0.0), settings.get("corruption.gaussian.clip", True)
low, high = std if isinstance(std, list) else (std, std)
loss_of = F.mse_loss if settings["model.loss"] == "mse" else F.binary_cross_entropy_with_logits

tables = [pq.read_table(path) for path in sorted((a.run / "ingest").glob("train-*.parquet"))]
height, width, channels = (int(tables[0].schema.metadata[f"limpid.{side}".encode()]) for side in ("height", "width", "channels"))
train = torch.from_numpy(np.concatenate([table["image"].combine_chunks().flatten().to_numpy() for table in tables]))
train = train.view(-1, height, width, channels)
per_image = -(-height * width // patch ** 2) if patch else 1

net = limpid_torch.load(a.start or a.run).train()
if a.start is None:
    for layer in net.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
net = net.to(memory_format=torch.channels_last)
predicts_noise = net.predict == "noise"
# The output of the last layer, as the loss takes it.
net.image = lambda output, images=None: images + output if predicts_noise else output
opt = torch.optim.Adam(net.parameters(), lr=settings["training.learning-rate"], fused=True)


def cut(image):
    """A patch of an image, mirrored and turned as the settings say; the image itself without patches."""
    x = train[image]
    if patch:
        top, left = (int(torch.randint(side - patch + 1, ())) for side in (height, width))
        x = x[top:top + patch, left:left + patch]
    if "flip" in augment and torch.rand(()) < 0.5:
        x = x.flip(1)
    return torch.rot90(x, int(torch.randint(4, ()))) if "rotate" in augment else x


def noisy(x):
    strength = low if low == high else torch.empty(len(x), 1).uniform_(low, high)
    x = x + strength * torch.randn_like(x)
    return x.clamp_(0, 1) if clip else x


times = []
for epoch in range(a.epochs):
    start, total = time.time(), 0.0
    steps = torch.randperm(len(train) * per_image).div(per_image, rounding_mode="floor").split(batch)
    for step in steps:
        images = torch.stack([cut(image) for image in step]) if patch or augment else train[step]
        clean = images.flatten(1).float().div_(255)
        loss = loss_of(net(noisy(clean) if high else clean), clean)
        loss.backward(); opt.step(); opt.zero_grad(set_to_none=True)
        total += loss.item()
    times.append(time.time() - start)
    print(f"epoch {epoch + 1}: {times[-1]:.3f} s, train {total / len(steps):.5f}", flush=True)
print(f"median {statistics.median(times):.3f} s an epoch, {len(train) * per_image / statistics.median(times):.1f} images/s")
