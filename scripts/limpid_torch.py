#!/usr/bin/env python3
"""A model that limpid trained, in PyTorch. Copy what you need: `load("runs/NAME")` is an nn.Module, with encode and decode
unless it is a U-Net, which has no code.

Images go in as limpid's tables have them: [n, height·width·channels], row by row, channels last, in [0, 1]. The weights have
PyTorch's names and shapes, so that the state dict is the file itself. Run as a script, it prints the model.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F


class Model(nn.Module):
    predict = "image"

    def image(self, output, images=None):
        """What the last layer gives, for `images` if the model predicts noise, to images in [0, 1]."""
        return (images + output).clamp(0, 1) if self.predict == "noise" else torch.sigmoid(output)


class Dense(Model):
    def __init__(self, image, settings):
        super().__init__()
        self.linear_code = settings["code-activation"] == "linear"
        pixels = image["height"] * image["width"] * image["channels"]
        widths = [pixels, *settings["hidden"], settings["code"]]
        self.encoder = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, widths[1:]))
        self.decoder = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths[::-1], widths[-2::-1]))

    def encode(self, images):
        """[n, pixels] in [0, 1] to [n, code]"""
        x = images
        for layer in self.encoder[:-1]:
            x = F.relu(layer(x))
        x = self.encoder[-1](x)
        return x if self.linear_code else F.relu(x)

    def decode(self, code):
        """[n, code] to images [n, pixels] in [0, 1]"""
        for layer in self.decoder[:-1]:
            code = F.relu(layer(code))
        return self.image(self.decoder[-1](code))

    def forward(self, images):
        return self.decode(self.encode(images))


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first, self.second = convolution(channels, channels), convolution(channels, channels)

    def forward(self, x):
        return x + self.second(F.relu(self.first(x)))


def convolution(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def blocks(channels, count):
    return nn.Sequential(*(Residual(channels) for _ in range(count)))


def down(x, layer):
    return F.max_pool2d(F.relu(layer(x)), 2, ceil_mode=True)


def up(x, layer, size):
    return F.relu(layer(F.interpolate(x, size, mode="nearest")))


def unflat(x, height, width, channels):
    return x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


def flat(x):
    return x.permute(0, 2, 3, 1).flatten(1)


def sizes(image, poolings):
    """Rows and columns before the first pooling, after it, and so on."""
    sizes = [(image["height"], image["width"])]
    for _ in range(poolings):
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return sizes


class Conv(Model):
    def __init__(self, image, settings):
        super().__init__()
        self.shape = tuple(image[side] for side in ("height", "width", "channels"))
        self.linear_code = settings["code-activation"] == "linear"
        channels, decoder_channels = settings["channels"], settings["decoder-channels"]
        count = settings.get("residual-blocks", 0)
        layers = lambda widths: nn.ModuleList(convolution(*pair) for pair in zip(widths, widths[1:]))
        self.encoder = layers([self.shape[2], *channels])
        self.encoder_blocks = nn.ModuleList(blocks(width, count) for width in channels)
        self.sizes = sizes(image, len(channels))
        self.map = (*self.sizes[-1], channels[-1])
        if settings["code"] is not None:
            numbers = self.map[0] * self.map[1] * self.map[2]
            self.encoder_code = nn.Linear(numbers, settings["code"])
            self.decoder_code = nn.Linear(settings["code"], numbers)
        self.decoder = layers([self.map[2], *decoder_channels, self.shape[2]])
        self.decoder_blocks = nn.ModuleList(blocks(width, count) for width in decoder_channels)

    def encode(self, images):
        """[n, pixels] in [0, 1] to [n, code]"""
        x = unflat(images, *self.shape)
        for layer, residual in zip(self.encoder, self.encoder_blocks):
            x = residual(down(x, layer))
        x = flat(x)
        if hasattr(self, "encoder_code"):
            x = self.encoder_code(x)
            x = x if self.linear_code else F.relu(x)
        return x

    def decode(self, code, images=None):
        """[n, code] to images [n, pixels] in [0, 1]; a model that predicts noise needs its input too."""
        if hasattr(self, "decoder_code"):
            code = F.relu(self.decoder_code(code))
        x = unflat(code, *self.map)
        for layer, residual, size in zip(self.decoder, self.decoder_blocks, self.sizes[-2::-1]):
            x = residual(up(x, layer, size))
        return self.image(flat(self.decoder[-1](x)), images)

    def forward(self, images):
        return self.decode(self.encode(images), images)


class Level(nn.Module):
    def __init__(self, inputs, outputs, count):
        super().__init__()
        self.convolution, self.blocks = convolution(inputs, outputs), blocks(outputs, count)


class Unet(Model):
    def __init__(self, image, settings):
        super().__init__()
        self.shape = tuple(image[side] for side in ("height", "width", "channels"))
        channels, count = settings["channels"], settings["residual-blocks"]
        self.unshuffle = settings.get("unshuffle", False)
        inside = self.shape[2] * (4 if self.unshuffle else 1)
        self.first = Level(inside, channels[0], count)
        pairs = list(zip(channels, channels[1:]))
        self.down = nn.ModuleList(Level(inputs, outputs, count) for inputs, outputs in pairs)
        self.up = nn.ModuleList(Level(outputs, inputs, count) for inputs, outputs in reversed(pairs))
        self.last = convolution(channels[0], inside)
        self.sizes = sizes(image, len(pairs) + self.unshuffle)[self.unshuffle:]

    def forward(self, images):
        """[n, pixels] in [0, 1] to the same"""
        height, width, channels = self.shape
        x = unflat(images, *self.shape)
        if self.unshuffle:
            # Row by row of each 2×2 pixels, and then channel by channel: the order of limpid, where PyTorch has channels first.
            x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
            x = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 3, 5, 1, 2, 4).flatten(1, 3)
        x = self.first.blocks(F.relu(self.first.convolution(x)))
        skips = []
        for level in self.down:
            skips.append(x)
            x = level.blocks(down(x, level.convolution))
        for level, size in zip(self.up, self.sizes[-2::-1]):
            x = level.blocks(up(x, level.convolution, size) + skips.pop())
        x = self.last(x)
        if self.unshuffle:
            x = x.unflatten(1, (2, 2, channels)).permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)[:, :, :height, :width]
        return self.image(flat(x), images)


FAMILIES = {"dense": Dense, "conv": Conv, "unet": Unet}


def load(run):
    """The model of a run, ready to be applied."""
    folder = pathlib.Path(run) / "train"
    description = json.loads((folder / "model.json").read_text())
    (family, settings), = description["architecture"].items()
    model = FAMILIES[family](description["image"], settings)
    model.predict = description.get("predict", "image")
    model.load_state_dict(load_file(folder / description["weights"]))
    return model.eval()


if __name__ == "__main__":
    print(load(sys.argv[1]))
