#!/usr/bin/env python3
"""A model that limpid trained, in PyTorch. Copy what you need: `load("runs/NAME")` is an nn.Module with encode and decode.

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


class Autoencoder(nn.Module):
    def __init__(self, description):
        super().__init__()
        self.height, self.width, self.channels = (description["image"][side] for side in ("height", "width", "channels"))
        (self.family, settings), = description["architecture"].items()
        self.linear_code = settings["code-activation"] == "linear"
        pixels = self.height * self.width * self.channels
        if self.family == "dense":
            widths = [pixels, *settings["hidden"], settings["code"]]
            self.encoder = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, widths[1:]))
            self.decoder = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths[::-1], widths[-2::-1]))
            return
        convolutions = lambda widths: nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in zip(widths, widths[1:]))
        self.encoder = convolutions([self.channels, *settings["channels"]])
        self.sizes = [(self.height, self.width)]
        for _ in settings["channels"]:
            self.sizes.append(tuple(-(-side // 2) for side in self.sizes[-1]))
        self.map = (*self.sizes[-1], settings["channels"][-1])
        if settings["code"] is not None:
            numbers = self.map[0] * self.map[1] * self.map[2]
            self.encoder_code = nn.Linear(numbers, settings["code"])
            self.decoder_code = nn.Linear(settings["code"], numbers)
        self.decoder = convolutions([self.map[2], *settings["decoder-channels"], self.channels])

    def encode(self, images):
        """[n, pixels] in [0, 1] to [n, code]"""
        x = images
        if self.family == "dense":
            for layer in self.encoder[:-1]:
                x = F.relu(layer(x))
            x = self.encoder[-1](x)
            return x if self.linear_code else F.relu(x)
        x = x.reshape(-1, self.height, self.width, self.channels).permute(0, 3, 1, 2)
        for layer in self.encoder:
            x = F.max_pool2d(F.relu(layer(x)), 2, ceil_mode=True)
        x = x.permute(0, 2, 3, 1).flatten(1)
        if hasattr(self, "encoder_code"):
            x = self.encoder_code(x)
            x = x if self.linear_code else F.relu(x)
        return x

    def decode(self, code):
        """[n, code] to images [n, pixels] in [0, 1]"""
        x = code
        if self.family == "dense":
            for layer in self.decoder[:-1]:
                x = F.relu(layer(x))
            return torch.sigmoid(self.decoder[-1](x))
        if hasattr(self, "decoder_code"):
            x = F.relu(self.decoder_code(x))
        x = x.reshape(-1, *self.map).permute(0, 3, 1, 2)
        for layer, size in zip(self.decoder, self.sizes[-2::-1]):
            x = F.relu(layer(F.interpolate(x, size, mode="nearest")))
        return torch.sigmoid(self.decoder[-1](x)).permute(0, 2, 3, 1).flatten(1)

    def forward(self, images):
        return self.decode(self.encode(images))


def load(run):
    """The model of a run, ready to be applied."""
    folder = pathlib.Path(run) / "train"
    description = json.loads((folder / "model.json").read_text())
    model = Autoencoder(description)
    model.load_state_dict(load_file(folder / description["weights"]))
    return model.eval()


if __name__ == "__main__":
    print(load(sys.argv[1]))
